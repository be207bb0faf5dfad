//! What the tests of the command share.
#![allow(dead_code, unused_imports)] // each test binary uses its part

#[path = "../../../gguf/tests/common/mod.rs"]
mod common;

pub(crate) use common::*;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

pub(crate) fn warpdot(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warpdot")).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the command prints when all is well.
#[track_caller]
pub(crate) fn prints(arguments: &[&str]) -> String {
    let output = warpdot(arguments);
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// Asserts a one-line error, the exit code 2, and nothing on stdout.
#[track_caller]
pub(crate) fn assert_fails(arguments: &[&str], message: &str) {
    let output = warpdot(arguments);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    assert_eq!(text(&output.stderr), format!("error: {message}\n"));
}

/// A folder with one file in it.
pub(crate) struct File {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, bytes).unwrap();
        Self { folder, path }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Another path in the folder.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// What is in the folder, by name.
    pub(crate) fn listing(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
