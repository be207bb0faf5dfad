//! What a module must not have before it is embedded.

use std::collections::BTreeSet;
use std::fmt;

/// What is wrong with a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// Its `.target` is another architecture.
    Target(String),
    /// It has no kernel.
    NoEntry,
    /// It needs a function or a table that it does not have: a call into `core` that was not inlined, or a
    /// `static` of another crate.
    Undefined(String),
    /// A kernel keeps an array in local memory, which is off the chip.
    LocalMemory,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => write!(f, "it is for {target}"),
            Self::NoEntry => write!(f, "it has no kernel"),
            Self::Undefined(name) => write!(f, "it needs {name}, which it does not define"),
            Self::LocalMemory => write!(f, "it uses local memory"),
        }
    }
}

/// Everything wrong with a module for `arch`.
pub(crate) fn flaws(ptx: &str, arch: &str) -> Vec<Flaw> {
    let tokens: Vec<&str> = ptx
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.split_inclusive(is_punctuation).flat_map(separate))
        .collect();
    let after = |word: &str| tokens.iter().position(|token| *token == word).and_then(|at| tokens.get(at + 1));

    let mut flaws = BTreeSet::new();
    let target = after(".target").copied().unwrap_or("no architecture");
    if target != arch {
        flaws.insert(Flaw::Target(target.into()));
    }
    if after(".entry").is_none() {
        flaws.insert(Flaw::NoEntry);
    }
    if tokens.iter().any(|token| *token == ".local" || token.starts_with("__local_depot")) {
        flaws.insert(Flaw::LocalMemory);
    }

    let (mut defined, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for (at, token) in tokens.iter().enumerate() {
        let name = || name_after(&tokens[at + 1..]);
        match *token {
            ".func" if at > 0 && tokens[at - 1] == ".extern" => needed.extend(name()),
            ".func" => defined.extend(name()),
            "call" | "call.uni" => needed.extend(name()),
            ".extern" if [Some(&".global"), Some(&".const")].contains(&tokens.get(at + 1)) => {
                let sized = |token: &&&str| !token.starts_with('.') && token.parse::<u32>().is_err();
                needed.extend(tokens[at + 1..].iter().find(sized).copied());
            }
            _ => {}
        }
    }
    flaws.extend(needed.difference(&defined).map(|name| Flaw::Undefined((*name).into())));
    flaws.into_iter().collect()
}

fn is_punctuation(c: char) -> bool {
    c.is_whitespace() || "(),;{}[]".contains(c)
}

/// A word and the punctuation that ends it, as tokens.
fn separate(piece: &str) -> impl Iterator<Item = &str> {
    let word = piece.trim_end_matches(is_punctuation);
    [word, piece[word.len()..].trim()].into_iter().filter(|token| !token.is_empty())
}

/// The name of a function, behind what it returns, in parentheses, and attributes.
fn name_after<'a>(tokens: &[&'a str]) -> Option<&'a str> {
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        match *token {
            "(" => {
                tokens.find(|token| **token == ")")?;
            }
            attribute if attribute.starts_with('.') => {}
            "," => {}
            name => return Some(name),
        }
    }
    None
}
