//! PTX text to tokens, each with its line. Comments and white space end here.

use super::{PtxError, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name, a directive or an opcode: `%r1`, `.reg`, `ld.global.L2::128B.b32`.
    Word(&'a str),
    Integer(u64),
    /// The bits of `0fXXXXXXXX`.
    Single(u32),
    /// The bits of `0dXXXXXXXXXXXXXXXX` or of a decimal literal.
    Double(u64),
    Text,
    Punct(u8),
}

/// Splits the text; the line of a token is at the same index of the second list.
pub(crate) fn tokens(text: &str) -> Result<(Vec<Token<'_>>, Vec<u32>)> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let (mut tokens, mut lines) = (Vec::new(), Vec::new());
    while lexer.skip_blanks()? {
        lines.push(lexer.line);
        tokens.push(lexer.token()?);
    }
    Ok((tokens, lines))
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        *self.text.as_bytes().get(self.at + ahead).unwrap_or(&0)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError::new(self.line, message))
    }

    /// Moves to the next token; false at the end of the text.
    fn skip_blanks(&mut self) -> Result<bool> {
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (c, _) if c.is_ascii_whitespace() => self.at += 1,
                (b'/', b'/') => {
                    self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at)
                }
                (b'/', b'*') => {
                    let Some(length) = self.text[self.at..].find("*/") else {
                        return self.error("a comment has no end");
                    };
                    self.line += self.text[self.at..self.at + length].matches('\n').count() as u32;
                    self.at += length + 2;
                }
                // A text copied out of a C string ends in a zero byte.
                (0, _) => self.at = self.text.len(),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn token(&mut self) -> Result<Token<'a>> {
        match self.peek(0) {
            b'0'..=b'9' => self.number(),
            b'"' => match self.text[self.at + 1..].find('"') {
                Some(length) => {
                    self.at += length + 2;
                    Ok(Token::Text)
                }
                None => self.error("a string has no end"),
            },
            c if starts_word(c, self.peek(1)) => {
                let start = self.at;
                self.at += 1;
                loop {
                    if is_word(self.peek(0)) || self.peek(0) == b'.' {
                        self.at += 1;
                    } else if self.peek(0) == b':' && self.peek(1) == b':' {
                        self.at += 2;
                    } else {
                        return Ok(Token::Word(&self.text[start..self.at]));
                    }
                }
            }
            c if c.is_ascii_punctuation() => {
                self.at += 1;
                Ok(Token::Punct(c))
            }
            _ => self.error("PTX text is ASCII; found another character"),
        }
    }

    fn digits(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while accept(self.peek(0)) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn number(&mut self) -> Result<Token<'a>> {
        let radix = match (self.peek(0), self.peek(1)) {
            (b'0', b'f' | b'F') => return self.float_bits(8).map(|bits| Token::Single(bits as u32)),
            (b'0', b'd' | b'D') => return self.float_bits(16).map(Token::Double),
            (b'0', b'x' | b'X') => 16,
            (b'0', b'b' | b'B') => 2,
            (b'0', b'0'..=b'7') => 8,
            _ => 10,
        };
        if radix == 10 {
            return self.decimal();
        }
        self.at += if radix == 8 { 1 } else { 2 };
        let digits = self.digits(|c| c.is_ascii_hexdigit());
        self.skip_unsigned_suffix();
        match u64::from_str_radix(digits, radix) {
            Ok(value) => Ok(Token::Integer(value)),
            Err(_) => self.error(format!("`{digits}` is not an integer of base {radix}")),
        }
    }

    fn decimal(&mut self) -> Result<Token<'a>> {
        let start = self.at;
        self.digits(|c| c.is_ascii_digit());
        let mut is_float = false;
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            is_float = true;
            self.at += 1;
            self.digits(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(0), b'e' | b'E') {
            is_float = true;
            self.at += 1;
            self.digits(|c| matches!(c, b'+' | b'-'));
            self.digits(|c| c.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        let token = if is_float {
            text.parse().ok().map(|value: f64| Token::Double(value.to_bits()))
        } else {
            self.skip_unsigned_suffix();
            text.parse().ok().map(Token::Integer)
        };
        token.map_or_else(|| self.error(format!("`{text}` is not a number")), Ok)
    }

    fn skip_unsigned_suffix(&mut self) {
        if self.peek(0) == b'U' {
            self.at += 1;
        }
    }

    fn float_bits(&mut self, length: usize) -> Result<u64> {
        self.at += 2;
        let digits = self.digits(|c| c.is_ascii_hexdigit());
        if digits.len() != length {
            return self.error(format!("a float literal has {length} hexadecimal digits, not `{digits}`"));
        }
        u64::from_str_radix(digits, 16).map_err(|_| PtxError::new(self.line, "not a float literal"))
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$')
}

fn starts_word(first: u8, second: u8) -> bool {
    first.is_ascii_alphabetic()
        || matches!(first, b'_' | b'$')
        || (matches!(first, b'%' | b'.') && (is_word(second) || second == b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_the_compiler_prints() {
        let (tokens, lines) =
            tokens("// x\n@!%p1 ld.global.L2::128B.b32 \t%r1, [%rd2+-4];\n$L_2: mov 0f3F800000, 0xFFU;")
                .unwrap();
        assert_eq!(
            tokens,
            [
                Token::Punct(b'@'),
                Token::Punct(b'!'),
                Token::Word("%p1"),
                Token::Word("ld.global.L2::128B.b32"),
                Token::Word("%r1"),
                Token::Punct(b','),
                Token::Punct(b'['),
                Token::Word("%rd2"),
                Token::Punct(b'+'),
                Token::Punct(b'-'),
                Token::Integer(4),
                Token::Punct(b']'),
                Token::Punct(b';'),
                Token::Word("$L_2"),
                Token::Punct(b':'),
                Token::Word("mov"),
                Token::Single(0x3f80_0000),
                Token::Punct(b','),
                Token::Integer(255),
                Token::Punct(b';'),
            ]
        );
        assert_eq!((lines[0], lines[13]), (2, 3));
    }

    #[test]
    fn refuses_what_is_not_ptx() {
        for (text, line) in [("\n/* x", 2), ("mov 0f12;", 1), ("\n\nü", 3), ("99999999999999999999", 1)] {
            assert_eq!(tokens(text).unwrap_err().line, line, "{text}");
        }
    }
}
