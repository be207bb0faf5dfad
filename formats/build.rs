//! Hands the path of these sources to the build script that compiles the GPU kernels.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:src={}", concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
}
