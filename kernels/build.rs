//! Hands the path of these sources, and the kernel families in them, to the build script that compiles them
//! to PTX.

/// One PTX module each: a GPU loads only the families that it runs.
const FAMILIES: [&str; 8] = ["quantize", "pack", "gemv", "gemv_id", "gemm", "rows", "quantize_rows", "read"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(ampere)");
    println!("cargo:rustc-check-cfg=cfg(family, values(\"{}\"))", FAMILIES.join("\", \""));
    println!("cargo:src={}", concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    println!("cargo:families={}", FAMILIES.join(","));
}
