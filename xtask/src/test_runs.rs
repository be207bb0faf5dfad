//! `cargo test`, and what its test binaries say at their ends.

use crate::process;
use anyhow::{Result, ensure};
use std::ops::AddAssign;
use std::process::Command;

/// How many tests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Runs a `cargo test` command and sums up; no test at all is a failure.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let mut binaries = 0;
    let mut total = Counts::default();
    process::run_by_lines(command, |line| {
        if let Some(counts) = parse(line) {
            total += counts;
            binaries += 1;
        }
    })?;
    let Counts { passed, failed, ignored } = total;
    ensure!(passed > 0 && failed == 0, "{passed} tests passed, {failed} failed");
    Ok(format!("{passed} passed, {failed} failed, {ignored} ignored in {binaries} runs"))
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
fn parse(line: &str) -> Option<Counts> {
    let result = line.strip_prefix("test result: ")?;
    let (_, counts) = result.split_once(". ")?;
    let count = |what: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(what))
            .and_then(|number| number.trim().parse().ok())
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read() {
        let line = "test result: FAILED. 32 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s";
        assert_eq!(parse(line), Some(Counts { passed: 32, failed: 2, ignored: 1 }));
        assert_eq!(parse("test parses_a_result ... ok"), None);
    }

    #[test]
    fn runs_are_summed_up_and_none_is_a_failure() {
        let shell = |script: &str| run(Command::new("sh").args(["-c", script]));
        let results = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured';\
                       echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured'";
        assert_eq!(shell(results).unwrap(), "5 passed, 0 failed, 1 ignored in 2 runs");
        assert!(shell("echo nothing").is_err());
        assert!(shell(&format!("{results}; exit 101")).is_err());
    }
}
