//! From the environment to `$OUT_DIR/ptx.rs`, the table of modules that the library includes.

use crate::arch::{self, Arch};
use crate::cache::{self, Cache};
use crate::compile::{self, Modules, Sources};
use crate::toolchain::{self, Failure, Toolchain};
use crate::verify;
use rayon::prelude::*;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Compiles and embeds all modules. Without a toolchain the table is empty and says what to do about it.
pub(crate) fn run() -> Result<(), String> {
    for name in ["WARPDOT_NVPTX_RUSTC", "WARPDOT_PTX_ARCHS", "WARPDOT_REQUIRE_PTX", "WARPDOT_PTX_TIMINGS"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let (os, machine) = (variable("CARGO_CFG_TARGET_OS")?, variable("CARGO_CFG_TARGET_ARCH")?);
    if os != "linux" || !["x86_64", "aarch64"].contains(&machine.as_str()) {
        return Err(format!("the feature `cuda` needs Linux on x86_64 or aarch64, not {os} on {machine}"));
    }
    let formats = PathBuf::from(variable("DEP_WARPDOT_FORMATS_SRC")?);
    let kernels = PathBuf::from(variable("DEP_WARPDOT_KERNELS_SRC")?);
    let families = variable("DEP_WARPDOT_KERNELS_FAMILIES")?;
    for folder in [Path::new("build"), &formats, &kernels] {
        println!("cargo::rerun-if-changed={}", folder.display());
    }

    let out = PathBuf::from(variable("OUT_DIR")?);
    let archs = arch::select(env::var("WARPDOT_PTX_ARCHS").ok().as_deref())?;
    match toolchain::find(&archs) {
        Ok(toolchain) => {
            if toolchain.rustc.is_absolute() {
                println!("cargo::rerun-if-changed={}", toolchain.rustc.display());
            }
            let families: Vec<&str> = families.split(',').collect();
            let sources = Sources { formats: &formats, kernels: &kernels, families: &families };
            let modules = modules(&toolchain, &archs, sources, &out)?;
            write_table(&out, &modules, Ok(toolchain.version.lines().next().unwrap_or_default()))
        }
        Err(Failure::Unusable(reason)) => Err(reason),
        Err(Failure::None(reasons)) => {
            // A path that does not exist counts as changed: the next build looks again.
            println!("cargo::rerun-if-changed=build/looks-again-until-a-toolchain-is-there");
            let reason = format!(
                "no Rust compiler that can make PTX was found; run `cargo xtask setup` and build again ({reasons})"
            );
            let message = format!("this build carries no GPU kernels: {reason}");
            if flag("WARPDOT_REQUIRE_PTX") {
                return Err(message);
            }
            println!("cargo::warning={message}");
            write_table(&out, &[], Err(&reason))
        }
    }
}

/// An embedded module.
struct Module<'a> {
    arch: &'a str,
    family: &'a str,
    file: PathBuf,
}

fn modules<'a>(
    toolchain: &Toolchain,
    archs: &'a [Arch],
    sources: Sources<'a>,
    out: &Path,
) -> Result<Vec<Module<'a>>, String> {
    let cache = Cache::beside(out, &variable("TARGET")?)?;
    let sysroot = timed("core", || compile::core(toolchain, &cache))?;
    let folder = out.join("ptx");
    // Also takes away the modules of architectures that are no longer wanted.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let jobs: Vec<(&Arch, &str)> =
        archs.iter().flat_map(|arch| sources.families.iter().map(move |family| (arch, *family))).collect();
    let compiler = Modules::new(toolchain, sysroot, sources, out)?;
    let compile = |(arch, family): (&'a Arch, &'a str)| {
        let name = format!("{family}.{}.ptx", arch.name);
        let verifier = include_str!("verify.rs");
        let ptx = cache.text(&name, cache::key((compiler.key(*arch, family), verifier)), || {
            let work = out.join("work").join(arch.name).join(family);
            let ptx = timed(&name, || compiler.compile(*arch, family, &work))?;
            let flaws: Vec<String> = verify::flaws(&ptx, arch.name).iter().map(ToString::to_string).collect();
            if flaws.is_empty() { Ok(ptx) } else { Err(format!("{name}: {}", flaws.join("; "))) }
        })?;
        let file = folder.join(name);
        fs::write(&file, ptx).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Module { arch: arch.name, family, file })
    };
    timed("all modules", || pool()?.install(|| jobs.into_par_iter().with_max_len(1).map(compile).collect()))
}

/// As many threads as cargo may run jobs, unless `RAYON_NUM_THREADS` says otherwise.
fn pool() -> Result<rayon::ThreadPool, String> {
    let mut builder = rayon::ThreadPoolBuilder::new();
    if env::var_os("RAYON_NUM_THREADS").is_none() {
        builder =
            builder.num_threads(env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(0));
    }
    builder.build().map_err(|error| error.to_string())
}

/// Writes the table: the modules, and the compiler's version or why there are none.
///
/// Architectures differ in the first lines of their modules, and seldom after them: each distinct rest is
/// embedded once.
fn write_table(out: &Path, modules: &[Module<'_>], compiler: Result<&str, &str>) -> Result<(), String> {
    let failed = |file: &Path, error: std::io::Error| format!("{}: {error}", file.display());
    let (mut bodies, mut rows, mut consts) = (Vec::<String>::new(), String::new(), String::new());
    for Module { arch, family, file } in modules {
        let text = fs::read_to_string(file).map_err(|error| failed(file, error))?;
        let (header, body) = split(&text);
        let number = bodies.iter().position(|known| known == body).unwrap_or(bodies.len());
        if number == bodies.len() {
            let file = out.join(format!("body{number}.ptx"));
            fs::write(&file, body).map_err(|error| failed(&file, error))?;
            consts += &format!("const BODY{number}: &str = include_str!({file:?});\n");
            bodies.push(body.into());
        }
        rows += &format!(
            "    Ptx {{ arch: {arch:?}, family: {family:?}, header: {header:?}, body: BODY{number} }},\n"
        );
    }
    let table = format!(
        "{consts}static PTX: &[Ptx] = &[\n{rows}];\nconst COMPILER: Result<&str, &str> = {compiler:?};\n"
    );
    let file = out.join("ptx.rs");
    fs::write(&file, table).map_err(|error| failed(&file, error))
}

/// A module's first lines, which name its PTX version and architecture, and the rest.
fn split(ptx: &str) -> (&str, &str) {
    let start = ptx.find("\n.address_size").map_or(0, |at| at + 1);
    let length = ptx[start..].find('\n').map_or(0, |end| end + 1);
    ptx.split_at(start + length)
}

/// Runs a step; with `WARPDOT_PTX_TIMINGS=1` says how long it took.
fn timed<T>(step: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    if flag("WARPDOT_PTX_TIMINGS") {
        println!("cargo::warning={:6.2} s  {step}", start.elapsed().as_secs_f64());
    }
    result
}

fn flag(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value == "1")
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo gave this build script no {name}"))
}
