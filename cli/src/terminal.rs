//! What goes to a terminal: text, and how far things are.

use crate::error::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

/// Prints a text and a newline to stdout. That nobody reads on, as with `head`, is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Print(error)),
        _ => Ok(()),
    }
}

/// Text out of a file, without what a terminal would take for commands.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut printable = String::new();
    for letter in text.chars() {
        if letter.is_control() {
            printable.extend(letter.escape_default());
        } else {
            printable.push(letter);
        }
    }
    printable.into()
}

/// Drawn on stderr, and only where that is a terminal; `position` is in indicatif's template language.
pub(crate) fn progress(steps: usize, position: &str) -> ProgressBar {
    let progress = ProgressBar::new(steps as u64);
    let style =
        ProgressStyle::with_template(&format!("{{spinner}} [{{elapsed}}] {{bar:30}} {position} {{msg}}"));
    if let Ok(style) = style {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn commands_to_the_terminal_are_shown_not_sent() {
        assert_eq!(printable("größe ≠ 1"), "größe ≠ 1");
        assert_eq!(printable("a\x1b[2Jb\n\u{9b}c"), "a\\u{1b}[2Jb\\n\\u{9b}c");
    }
}
