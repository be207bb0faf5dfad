//! Tokens to the syntax tree. Register names are resolved here, scope by scope; everything else keeps its
//! name.

mod declarations;

use std::collections::HashMap;

use super::lexer::{self, Token};
use super::tree::{Entry, Instruction, Label, Module, Operand, RegisterId, RegisterKind};
use super::{PtxError, Result};
use declarations::state_space;

pub(crate) fn parse(text: &str) -> Result<Module<'_>> {
    let (tokens, lines) = lexer::tokens(text)?;
    Parser { tokens, lines, at: 0 }.module()
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    lines: Vec<u32>,
    at: usize,
}

/// The registers that one `{ }` declares: `%r<9>` is a family, `t` a single one.
#[derive(Default)]
struct Scope<'a> {
    id: usize,
    families: HashMap<&'a str, (u32, u32)>,
    singles: HashMap<&'a str, u32>,
}

/// A function body while it is read.
struct Body<'a> {
    entry: Entry<'a>,
    open: Vec<Scope<'a>>,
}

impl<'a> Body<'a> {
    fn register(&self, name: &str) -> Option<RegisterId> {
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let index: Option<u32> = name[family.len()..].parse().ok();
        self.open.iter().rev().find_map(|scope| {
            let single = scope.singles.get(name).copied();
            let member = || {
                let &(first, count) = scope.families.get(family)?;
                index.filter(|&index| index < count).map(|index| first + index)
            };
            single.or_else(member).map(RegisterId)
        })
    }

    fn declare(&mut self, kind: RegisterKind, count: u32) -> u32 {
        let first = self.entry.registers.len() as u32;
        self.entry.registers.extend((0..count).map(|_| kind));
        first
    }
}

impl<'a> Parser<'a> {
    fn line(&self) -> u32 {
        self.lines.get(self.at).or(self.lines.last()).copied().unwrap_or(1)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError::new(self.line(), message))
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<Token<'a>> {
        match self.peek() {
            Some(token) => {
                self.at += 1;
                Ok(token)
            }
            None => self.error("the text ends in the middle of a statement"),
        }
    }

    fn eat(&mut self, punct: u8) -> bool {
        let found = self.peek() == Some(Token::Punct(punct));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, punct: u8) -> Result<()> {
        if self.eat(punct) {
            return Ok(());
        }
        self.error(format!("expected `{}`, found {}", punct as char, self.found()))
    }

    fn found(&self) -> String {
        match self.peek() {
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Punct(c)) => format!("`{}`", c as char),
            Some(Token::Integer(value)) => format!("`{value}`"),
            Some(Token::Single(_) | Token::Double(_)) => "a float".into(),
            Some(Token::Text) => "a string".into(),
            None => "the end of the text".into(),
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.error(format!("expected a name, found {}", self.found())),
        }
    }

    fn integer(&mut self) -> Result<u64> {
        let negative = self.eat(b'-');
        match self.peek() {
            Some(Token::Integer(value)) => {
                self.at += 1;
                Ok(if negative { value.wrapping_neg() } else { value })
            }
            _ => self.error(format!("expected an integer, found {}", self.found())),
        }
    }

    fn module(mut self) -> Result<Module<'a>> {
        let mut module = Module::default();
        while self.peek().is_some() {
            let line = self.line();
            match self.word()? {
                ".version" => module.version = self.version()?,
                ".target" => {
                    module.target_line = line;
                    module.target = self.word()?;
                    while self.eat(b',') {
                        self.word()?;
                    }
                }
                ".address_size" => {
                    if self.integer()? != 64 {
                        return self.error("only `.address_size 64` exists here");
                    }
                }
                ".visible" | ".weak" | ".extern" | ".common" => {}
                ".entry" => {
                    let entry = self.entry(line)?;
                    if module.entries.iter().any(|other| other.name == entry.name) {
                        return Err(PtxError::new(line, format!("entry `{}` exists twice", entry.name)));
                    }
                    module.entries.push(entry);
                }
                ".func" => return Err(PtxError::new(line, "`.func` is not supported: inline every call")),
                ".file" | ".loc" => self.skip_line(line),
                ".section" => self.skip_braces()?,
                ".pragma" | ".alias" => self.skip_statement()?,
                word => match state_space(word) {
                    Some(space) => {
                        let variable = self.variable(line, space)?;
                        module.variables.push(variable);
                    }
                    None => return Err(PtxError::new(line, format!("directive `{word}` is not supported"))),
                },
            }
        }
        if module.target.is_empty() || module.version == (0, 0) {
            return Err(PtxError::new(1, "a PTX module states its `.version` and its `.target`"));
        }
        Ok(module)
    }

    /// `8.0` reaches us as a double.
    fn version(&mut self) -> Result<(u32, u32)> {
        match self.next()? {
            Token::Double(bits) => {
                let tenths = (f64::from_bits(bits) * 10.0).round() as u32;
                Ok((tenths / 10, tenths % 10))
            }
            _ => self.error("`.version` is followed by major.minor"),
        }
    }

    fn skip_line(&mut self, line: u32) {
        while self.peek().is_some() && self.line() == line {
            self.at += 1;
        }
    }

    fn skip_statement(&mut self) -> Result<()> {
        while self.next()? != Token::Punct(b';') {}
        Ok(())
    }

    fn skip_braces(&mut self) -> Result<()> {
        while self.next()? != Token::Punct(b'}') {}
        Ok(())
    }

    fn entry(&mut self, line: u32) -> Result<Entry<'a>> {
        let mut entry = Entry {
            line,
            name: self.word()?,
            parameters: Vec::new(),
            required_block: None,
            max_threads: None,
            registers: Vec::new(),
            variables: Vec::new(),
            instructions: Vec::new(),
            labels: Vec::new(),
            branch_tables: Vec::new(),
            scopes: vec![0],
        };
        if self.eat(b'(') {
            while !self.eat(b')') {
                let end = entry.parameters.last().map_or(0, |last| last.offset + last.bytes);
                entry.parameters.push(self.parameter(end)?);
                self.eat(b',');
            }
        }
        while !self.eat(b'{') {
            match self.word()? {
                ".reqntid" => entry.required_block = Some(self.triple()?),
                ".maxntid" => {
                    entry.max_threads = Some(self.triple()?.into_iter().fold(1, u32::saturating_mul))
                }
                ".maxnreg" | ".minnctapersm" | ".maxnctapersm" => {
                    self.integer()?;
                }
                ".noreturn" | ".blocksareclusters" => {}
                ".pragma" => self.skip_statement()?,
                word => return self.error(format!("directive `{word}` is not supported on an entry")),
            }
        }
        let mut body = Body { entry, open: vec![Scope::default()] };
        while !body.open.is_empty() {
            self.statement(&mut body)?;
        }
        Ok(body.entry)
    }

    fn triple(&mut self) -> Result<[u32; 3]> {
        let mut triple = [1; 3];
        for (i, value) in triple.iter_mut().enumerate() {
            if i > 0 && !self.eat(b',') {
                break;
            }
            *value = self.integer()? as u32;
        }
        Ok(triple)
    }

    fn statement(&mut self, body: &mut Body<'a>) -> Result<()> {
        let line = self.line();
        if self.eat(b'{') {
            let id = body.entry.scopes.len();
            body.entry.scopes.push(body.open.last().map_or(0, |scope| scope.id));
            body.open.push(Scope { id, ..Scope::default() });
            return Ok(());
        }
        if self.eat(b'}') {
            body.open.pop();
            return Ok(());
        }
        if self.eat(b';') {
            return Ok(());
        }
        let guard = if self.eat(b'@') {
            let negated = self.eat(b'!');
            let name = self.word()?;
            let Some(register) = body.register(name) else {
                return self.error(format!("register `{name}` is not declared"));
            };
            Some((register, negated))
        } else {
            None
        };
        let word = self.word()?;
        let scope = body.open.last().map_or(0, |scope| scope.id);
        if guard.is_none() {
            if self.eat(b':') {
                let instruction = body.entry.instructions.len();
                if self.peek() == Some(Token::Word(".branchtargets")) {
                    self.at += 1;
                    let targets = self.names()?;
                    body.entry.branch_tables.push((word, targets));
                } else {
                    body.entry.labels.push(Label { name: word, scope, instruction });
                }
                return Ok(());
            }
            match word {
                ".reg" => return self.registers(body),
                ".loc" | ".file" => {
                    self.skip_line(line);
                    return Ok(());
                }
                ".pragma" => return self.skip_statement(),
                _ => {}
            }
            if let Some(space) = state_space(word) {
                let variable = self.variable(line, space)?;
                body.entry.variables.push(variable);
                return Ok(());
            }
        }
        if word.starts_with('.') {
            return Err(PtxError::new(line, format!("directive `{word}` is not supported in a kernel")));
        }
        let mut operands = Vec::new();
        while !self.eat(b';') {
            operands.push(self.operand(body)?);
            if !self.eat(b',') && self.peek() != Some(Token::Punct(b';')) {
                return self.error(format!("expected `,` or `;`, found {}", self.found()));
            }
        }
        body.entry.instructions.push(Instruction { line, scope, guard, opcode: word, operands });
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<&'a str>> {
        let mut names = vec![self.word()?];
        while self.eat(b',') {
            names.push(self.word()?);
        }
        self.expect(b';')?;
        Ok(names)
    }

    fn operand(&mut self, body: &Body<'a>) -> Result<Operand<'a>> {
        if self.eat(b'[') {
            let base = self.operand(body)?;
            let displacement = self.displacement()?;
            self.expect(b']')?;
            return Ok(match base {
                Operand::Symbol(name, at) => {
                    Operand::Address(Box::new(Operand::Symbol(name, 0)), at.wrapping_add(displacement))
                }
                base => Operand::Address(Box::new(base), displacement),
            });
        }
        if self.eat(b'{') {
            let mut parts = Vec::new();
            while !self.eat(b'}') {
                parts.push(self.operand(body)?);
                self.eat(b',');
            }
            return Ok(Operand::Vector(parts));
        }
        if self.eat(b'!') {
            let name = self.word()?;
            return match body.register(name) {
                Some(register) => Ok(Operand::NotRegister(register)),
                None => self.error(format!("register `{name}` is not declared")),
            };
        }
        let negative = self.eat(b'-');
        let operand = match self.next()? {
            Token::Integer(value) => Operand::Integer(if negative { value.wrapping_neg() } else { value }),
            Token::Single(bits) => Operand::Single(bits ^ (u32::from(negative) << 31)),
            Token::Double(bits) => Operand::Double(bits ^ (u64::from(negative) << 63)),
            Token::Word("_") => Operand::Sink,
            Token::Word(name) => match body.register(name) {
                Some(register) => Operand::Register(register),
                None if name.starts_with('%') => Operand::Special(name),
                None => Operand::Symbol(name, self.displacement()?),
            },
            _ => {
                self.at -= 1;
                return self.error(format!("expected an operand, found {}", self.found()));
            }
        };
        if self.eat(b'|') {
            let second = self.operand(body)?;
            return Ok(Operand::Pair(Box::new(operand), Box::new(second)));
        }
        Ok(operand)
    }

    /// `+4`, `-4` (after LLVM also `+-4`), or nothing.
    fn displacement(&mut self) -> Result<i64> {
        if self.eat(b'+') {
            return self.integer().map(|value| value as i64);
        }
        if self.peek() == Some(Token::Punct(b'-')) {
            return self.integer().map(|value| value as i64);
        }
        Ok(0)
    }
}
