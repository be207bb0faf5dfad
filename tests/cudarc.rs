//! The example that multiplies memory of the crate `cudarc`, on emulated or real GPUs.

use std::os::unix::fs::symlink;
use std::process::Command;

#[path = "../examples/cudarc.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod example;

/// The emulated driver as a shared library, which cargo builds for the dev-dependency of that name.
const LIBRARY: &str = "libwarpdot_emulated_cuda.so";

#[test]
fn memory_of_cudarc_is_multiplied_where_it_is() {
    if std::env::var_os("WARPDOT_TEST_GPU").is_some_and(|kind| kind == "real") {
        let largest = example::run().expect("a product");
        assert!(largest < 1e-4, "{largest} off");
        return;
    }
    // cudarc opens the driver by its file name, and the loader looks where it was told when the process started: this
    // test again, for which the emulated driver is the real one.
    let program = std::env::current_exe().expect("a running test has a path");
    let library = program.with_file_name(LIBRARY);
    assert!(library.is_file(), "cargo has not built {}", library.display());
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["libcuda.so", "libcuda.so.1"] {
        symlink(&library, folder.path().join(name)).expect("a link");
    }
    let output = Command::new(program)
        .env("LD_LIBRARY_PATH", folder.path())
        .env("WARPDOT_TEST_GPU", "real")
        .output()
        .expect("a running test can run again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
