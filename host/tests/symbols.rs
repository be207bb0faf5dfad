//! The list of driver functions against the source of `cust_raw`, which declares them.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use warpdot_host::driver::FUNCTIONS;

/// The source of `cust_raw`, wherever cargo keeps it.
fn bindings() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        // Other platforms' dependencies need not have been downloaded.
        .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "cust_raw"))
        .expect("cust_raw is a dependency");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a package has a manifest"));
    std::fs::read_to_string(manifest.with_file_name("src").join("cuda.rs"))
        .expect("cust_raw has its bindings there")
}

#[test]
fn every_function_that_cust_raw_declares_has_a_slot() {
    let bindings = bindings();
    let declared: BTreeSet<&str> = bindings
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("pub fn "))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let listed: BTreeSet<&str> = FUNCTIONS.iter().copied().collect();
    assert_eq!(listed.len(), FUNCTIONS.len(), "a name is listed twice");
    let missing: Vec<_> = declared.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&declared).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
    assert!(declared.len() > 300, "only {} declarations found", declared.len());
    // The names of the declarations are those that the linker sees, and the resolver preserves what they pass.
    for surprise in ["link_name", "...", "extern \"system\""] {
        assert!(!bindings.contains(surprise), "{surprise}");
    }
}
