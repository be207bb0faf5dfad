//! From the environment to `$OUT_DIR/ptx.rs`, the table of modules that the library includes.

use crate::arch::{self, Arch, Code};
use crate::cache::{self, Cache};
use crate::compile::{self, Modules, Sources};
use crate::split::{self, Parts};
use crate::toolchain::{self, Failure, Toolchain};
use crate::verify;
use miniz_oxide::deflate::compress_to_vec;
use rayon::prelude::*;
use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// From 0 to 10; from 7 on little is gained.
const COMPRESSION: u8 = 7;

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
    let mut codes: Vec<Code> = archs.iter().map(|arch| arch.code).collect();
    codes.dedup();
    match toolchain::find(&codes) {
        Ok(toolchain) => {
            if toolchain.rustc.is_absolute() {
                println!("cargo::rerun-if-changed={}", toolchain.rustc.display());
            }
            let families: Vec<&str> = families.split(',').collect();
            let sources = Sources { formats: &formats, kernels: &kernels, families: &families };
            let modules = modules(&toolchain, &codes, sources, &out)?;
            write_table(&out, &archs, &modules, Ok(toolchain.version.lines().next().unwrap_or_default()))
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
            write_table(&out, &[], &[], Err(&reason))
        }
    }
}

/// The kernels of a family, compiled.
struct Module<'a> {
    code: Code,
    family: &'a str,
    ptx: String,
}

fn modules<'a>(
    toolchain: &Toolchain,
    codes: &[Code],
    sources: Sources<'a>,
    out: &Path,
) -> Result<Vec<Module<'a>>, String> {
    let cache = Cache::beside(out, &variable("TARGET")?)?;
    let sysroot = timed("core", || compile::core(toolchain, &cache))?;
    // Those that take longest first.
    let (known, mut families) = (sources.families, sources.families.to_vec());
    families.sort_by_key(|family| ["gemv", "gemm"].iter().position(|slow| slow == family).unwrap_or(2));
    let jobs: Vec<(Code, &str)> =
        families.iter().flat_map(|family| codes.iter().map(move |code| (*code, *family))).collect();
    let compiler = Modules::new(toolchain, sysroot, sources, out)?;
    let compile = |(code, family): (Code, &'a str)| -> Result<Module<'a>, String> {
        let name = format!("{family}.{}.ptx", code.cpu);
        let verifier = include_str!("verify.rs");
        let ptx = cache.text(&name, cache::key((compiler.key(code, family), verifier)), || {
            let work = out.join("work").join(code.cpu).join(family);
            let ptx = timed(&name, || compiler.compile(code, family, &work))?;
            let flaws: Vec<String> = verify::flaws(&ptx, code.cpu).iter().map(ToString::to_string).collect();
            if flaws.is_empty() { Ok(ptx) } else { Err(format!("{name}: {}", flaws.join("; "))) }
        })?;
        Ok(Module { code, family, ptx })
    };
    // A bridge hands them out in order.
    let compiled = || jobs.into_iter().par_bridge().map(compile).collect::<Result<Vec<_>, _>>();
    let mut modules = timed("all modules", || pool()?.install(compiled))?;
    modules.sort_by_key(|module| {
        let place = |family: &str| known.iter().position(|known| *known == family);
        (place(module.family), codes.iter().position(|code| *code == module.code))
    });
    Ok(modules)
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

/// Writes the table: the modules of each architecture, and the compiler's version or why there are none. Beside it, for
/// tests with other tools, a file for each module, with all kernels of a family.
///
/// Kernels are compressed one by one, those that several architectures or codes share once.
fn write_table(
    out: &Path,
    archs: &[Arch],
    modules: &[Module<'_>],
    compiler: Result<&str, &str>,
) -> Result<(), String> {
    let folder = out.join("ptx");
    // Also takes away the modules of architectures that are no longer wanted.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |file: PathBuf, bytes: &[u8]| {
        fs::write(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    };

    let (mut data, mut seen, mut statics, mut rows) =
        (Vec::new(), HashMap::new(), String::new(), String::new());
    for (number, Module { code, family, ptx }) in modules.iter().enumerate() {
        let Parts { declarations, kernels } =
            split::split(ptx).map_err(|flaw| format!("{family} for {}: {flaw}", code.cpu))?;
        let declarations: String = declarations.iter().flat_map(|line| [line, "\n"]).collect();
        let mut piece = |text: &str| {
            let (start, end) = *seen.entry(text.to_string()).or_insert_with(|| {
                let start = data.len();
                data.extend(compress_to_vec(text.as_bytes(), COMPRESSION));
                (start, data.len())
            });
            format!("Piece {{ start: {start}, end: {end} }}")
        };
        statics += &format!("const DECLARATIONS{number}: Piece = {};\n", piece(&declarations));
        statics += &format!("static KERNELS{number}: &[(&str, Piece)] = &[\n");
        for (name, text) in &kernels {
            statics += &format!("    ({name:?}, {}),\n", piece(text));
        }
        statics += "];\n";
        for arch in archs.iter().filter(|arch| arch.code == *code) {
            let whole: String = [arch.header(), declarations.clone()]
                .into_iter()
                .chain(kernels.iter().map(|(_, text)| text.to_string()))
                .collect();
            write(folder.join(format!("{family}.{}.ptx", arch.name)), whole.as_bytes())?;
        }
    }
    for arch in archs {
        for (number, module) in modules.iter().enumerate().filter(|(_, module)| module.code == arch.code) {
            rows += &format!(
                "    Ptx {{ arch: {:?}, family: {:?}, header: {:?}, declarations: DECLARATIONS{number}, \
                 kernels: KERNELS{number} }},\n",
                arch.name,
                module.family,
                arch.header()
            );
        }
    }
    let file = out.join("kernels.bin");
    write(file.clone(), &data)?;
    let table = format!(
        "{statics}static PTX: &[Ptx] = &[\n{rows}];\nstatic DATA: &[u8] = include_bytes!({file:?});\n\
         const COMPILER: Result<&str, &str> = {compiler:?};\n"
    );
    write(out.join("ptx.rs"), table.as_bytes())
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
