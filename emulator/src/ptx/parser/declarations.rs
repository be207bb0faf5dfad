//! Declarations: variables with their initial values, parameters and registers.

use super::{Body, Parser};
use crate::ptx::Result;
use crate::ptx::lexer::Token;
use crate::ptx::tree::{Parameter, RegisterKind, StateSpace, Variable};

/// What a kernel takes at most.
const MAX_PARAMETER_BYTES: usize = 32_764;

impl<'a> Parser<'a> {
    pub(super) fn variable(&mut self, line: u32, space: StateSpace) -> Result<Variable<'a>> {
        let (mut align, mut element, mut lanes) = (0, None, 1);
        let name = loop {
            let word = self.word()?;
            match word {
                ".align" => align = self.alignment()?,
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                _ if word.starts_with('.') => match type_bytes(word) {
                    Some(bytes) => element = Some(bytes),
                    None => return self.error(format!("variables of type `{word}` are not supported")),
                },
                name => break name,
            }
        };
        let Some(element) = element else { return self.error(format!("variable `{name}` has no type")) };
        let mut variable = Variable {
            line,
            name,
            space,
            align: align.max(element * lanes),
            bytes: Some(element * lanes),
            init: Vec::new(),
            relocations: Vec::new(),
        };
        while self.eat(b'[') {
            if self.eat(b']') {
                variable.bytes = None;
                continue;
            }
            let length = self.integer()?;
            variable.bytes = match variable.bytes.and_then(|bytes| bytes.checked_mul(length)) {
                Some(bytes) => Some(bytes),
                None => return self.error(format!("variable `{name}` has no size that can be counted")),
            };
            self.expect(b']')?;
        }
        if self.eat(b'=') {
            self.initialiser(&mut variable, element as usize)?;
            variable.bytes = Some(variable.bytes.unwrap_or(0).max(variable.init.len() as u64));
        }
        if align != 0 {
            variable.align = align;
        }
        self.expect(b';')?;
        Ok(variable)
    }

    fn initialiser(&mut self, variable: &mut Variable<'a>, element: usize) -> Result<()> {
        if self.eat(b'{') {
            while !self.eat(b'}') {
                self.initialiser(variable, element)?;
                self.eat(b',');
            }
            return Ok(());
        }
        let offset = variable.init.len();
        let value = match self.peek() {
            Some(Token::Word("generic")) => {
                self.at += 1;
                self.expect(b'(')?;
                let name = self.word()?;
                self.expect(b')')?;
                let displacement = self.displacement()?;
                variable.relocations.push((offset, name, displacement as u64));
                0
            }
            Some(Token::Word(name)) => {
                self.at += 1;
                let displacement = self.displacement()?;
                variable.relocations.push((offset, name, displacement as u64));
                0
            }
            Some(Token::Single(bits)) => {
                self.at += 1;
                bits.into()
            }
            Some(Token::Double(bits)) => {
                self.at += 1;
                if element == 4 { (f64::from_bits(bits) as f32).to_bits().into() } else { bits }
            }
            _ => self.integer()?,
        };
        if variable.relocations.last().is_some_and(|&(at, _, _)| at == offset) && element != 8 {
            return self.error("an address takes eight bytes");
        }
        variable.init.extend_from_slice(&value.to_le_bytes()[..element]);
        Ok(())
    }

    fn alignment(&mut self) -> Result<u64> {
        match self.integer()? {
            align if align.is_power_of_two() && align <= 4096 => Ok(align),
            align => self.error(format!("an alignment is a power of two up to 4096, not {align}")),
        }
    }

    pub(super) fn parameter(&mut self, end: usize) -> Result<Parameter<'a>> {
        let (mut bytes, mut align) = (0, 0);
        let name = loop {
            let word = self.word()?;
            match word {
                ".param" => {}
                // `.ptr .global .align 4` describes what the pointer points to.
                ".ptr" => {
                    while matches!(
                        self.peek(),
                        Some(Token::Word(".global" | ".const" | ".shared" | ".local" | ".align"))
                    ) {
                        if self.word()? == ".align" {
                            self.integer()?;
                        }
                    }
                }
                ".align" => align = self.alignment()? as usize,
                _ if word.starts_with('.') => match type_bytes(word) {
                    Some(size) => bytes = size as usize,
                    None => return self.error(format!("parameters of type `{word}` are not supported")),
                },
                name => break name,
            }
        };
        let natural = bytes.max(1);
        if self.eat(b'[') {
            bytes = bytes.saturating_mul(self.integer()? as usize);
            self.expect(b']')?;
        }
        if bytes == 0 || bytes > MAX_PARAMETER_BYTES {
            return self
                .error(format!("parameter `{name}` has {bytes} bytes, expected 1 to {MAX_PARAMETER_BYTES}"));
        }
        let align = if align == 0 { natural } else { align };
        Ok(Parameter { name, offset: end.next_multiple_of(align), bytes })
    }

    pub(super) fn registers(&mut self, body: &mut Body<'a>) -> Result<()> {
        let word = self.word()?;
        let kind = match (word, type_bytes(word)) {
            (".pred", _) => RegisterKind::Predicate,
            (_, Some(1 | 2)) => RegisterKind::Bits16,
            (_, Some(4)) => RegisterKind::Bits32,
            (_, Some(8)) => RegisterKind::Bits64,
            _ => return self.error(format!("registers of type `{word}` are not supported")),
        };
        loop {
            let name = self.word()?;
            if self.eat(b'<') {
                let count = u32::try_from(self.integer()?).unwrap_or(u32::MAX).min(1 << 20);
                self.expect(b'>')?;
                let first = body.declare(kind, count);
                if let Some(scope) = body.open.last_mut() {
                    scope.families.insert(name, (first, count));
                }
            } else {
                let register = body.declare(kind, 1);
                if let Some(scope) = body.open.last_mut() {
                    scope.singles.insert(name, register);
                }
            }
            if !self.eat(b',') {
                return self.expect(b';');
            }
        }
    }
}

pub(super) fn state_space(word: &str) -> Option<StateSpace> {
    match word {
        ".global" => Some(StateSpace::Global),
        ".const" => Some(StateSpace::Const),
        ".shared" => Some(StateSpace::Shared),
        ".local" => Some(StateSpace::Local),
        _ => None,
    }
}

fn type_bytes(word: &str) -> Option<u64> {
    Some(match word {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        _ => return None,
    })
}
