//! Every PTX file through NVIDIA's assembler, for the architecture that it was compiled for.
//!
//! A kernel must keep its values in registers: no spills, no stack, no local loads or stores.

use crate::process;
use crate::python::Python;
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel that breaks every rule, to see on each run that this is noticed.
const SPILLS: &str = include_str!("ptxas/spills.ptx");

/// What the assembler says about one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Function {
    name: String,
    /// Unknown for a function that is no kernel.
    registers: Option<u32>,
    /// Bytes of stack, of spill stores and of spill loads.
    memory: [u32; 3],
    /// Local loads and stores among the instructions.
    local_accesses: usize,
}

impl Function {
    fn is_good(&self) -> bool {
        self.registers.is_some() && self.memory == [0; 3] && self.local_accesses == 0
    }
}

/// Assembles all files, prints the registers of every kernel, and fails on what should be in registers but is not.
pub(crate) fn check(python: &Python, files: &[PathBuf], work: &Path) -> Result<String> {
    fs::create_dir_all(work)?;
    let bad = work.join("spills.sm_75.ptx");
    fs::write(&bad, SPILLS)?;
    let control = assemble(python, &bad, work)?.1;
    ensure!(
        control
            .iter()
            .all(|function| function.memory.iter().all(|bytes| *bytes > 0) && function.local_accesses > 0),
        "a kernel that spills was not found out: {control:?}"
    );

    let mut table: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    let mut flaws = Vec::new();
    let assembled: Vec<_> =
        files.par_iter().map(|file| assemble(python, file, work)).collect::<Result<_>>()?;
    for (arch, functions) in assembled {
        for function in functions {
            if !function.is_good() {
                flaws.push(format!("for {arch}: {function:?}"));
            }
            table.entry(function.name).or_default().insert(arch.clone(), function.registers.unwrap_or(0));
        }
    }
    let kernels: usize = table.values().map(BTreeMap::len).sum();
    println!("Registers of each kernel:\n{}", print(&table));
    ensure!(flaws.is_empty(), "values that are not in registers:\n{}", flaws.join("\n"));
    Ok(format!("{} files, {kernels} kernels: no spills, stack, or local accesses", files.len()))
}

/// Assembles `family.arch.ptx`; the architecture and its functions.
fn assemble(python: &Python, file: &Path, work: &Path) -> Result<(String, Vec<Function>)> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let (_, arch) = name.split_once('.').with_context(|| format!("{name} names no architecture"))?;
    let cubin = work.join(format!("{name}.cubin"));
    let output = Command::new(&python.ptxas)
        .arg(format!("-arch={arch}"))
        .args(["-v", "-o"])
        .args([cubin.as_path(), file])
        .output()
        .context("could not start ptxas")?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("ptxas refuses {}:\n{report}", file.display());
    }
    let mut functions = parse(&report);

    let entries = fs::read_to_string(file)?.lines().filter(|line| line.contains(".entry ")).count();
    let kernels = functions.iter().filter(|function| function.registers.is_some()).count();
    ensure!(kernels == entries, "ptxas reports on {kernels} of the {entries} kernels of {name}:\n{report}");

    let listing = process::output(Command::new(&python.nvdisasm).arg("-c").arg(&cubin))?;
    for function in &mut functions {
        function.local_accesses = local_accesses(&listing, &function.name)
            .with_context(|| format!("{name}: nvdisasm lists no {}", function.name))?;
    }
    Ok((arch.to_string(), functions))
}

/// Reads what `ptxas -v` prints.
fn parse(report: &str) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for line in report.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            functions.push(Function { name: name.trim().to_string(), ..Function::default() });
        }
        let Some(function) = functions.last_mut() else { continue };
        if line.contains("bytes stack frame") {
            let what = ["stack frame", "spill stores", "spill loads"];
            function.memory =
                what.map(|what| number_before(line, &format!(" bytes {what}")).unwrap_or(u32::MAX));
        } else if line.contains(": Used ") {
            function.registers = number_before(line, " registers");
        }
    }
    functions
}

/// The number that stands right before `unit`.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let (before, _) = line.split_once(unit)?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Local loads and stores of a function in a listing, or `None` if it is not there.
fn local_accesses(listing: &str, function: &str) -> Option<usize> {
    let start = format!(".text.{function}:");
    let lines = listing.lines().skip_while(|line| *line != start).skip(1);
    let mut instructions = 0;
    let mut accesses = 0;
    for line in lines.take_while(|line| !line.starts_with(".text.")) {
        // `/*0040*/  @!P0 LDL.64 R2, [R1] ;`
        let Some((_, instruction)) = line.split_once("*/") else { continue };
        let name = instruction.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default();
        instructions += 1;
        accesses += usize::from(name.starts_with("LDL") || name.starts_with("STL"));
    }
    (instructions > 0).then_some(accesses)
}

/// Kernels down, architectures across.
fn print(table: &BTreeMap<String, BTreeMap<String, u32>>) -> comfy_table::Table {
    let mut archs: Vec<&String> = table.values().flat_map(BTreeMap::keys).collect();
    archs.sort_by_key(|arch| {
        (arch.trim_start_matches("sm_").trim_end_matches(char::is_alphabetic).len(), *arch)
    });
    archs.dedup();
    let mut printed = comfy_table::Table::new();
    printed.load_style(comfy_table::presets::NOTHING);
    printed.set_header(std::iter::once("kernel").chain(archs.iter().map(|arch| arch.as_str())));
    for (kernel, registers) in table {
        let cells = archs.iter().map(|arch| registers.get(*arch).map_or(String::new(), u32::to_string));
        printed.add_row(std::iter::once(kernel.clone()).chain(cells));
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let good = Function { name: "gemm_q8_0".into(), registers: Some(126), ..Function::default() };
        let bad = Function {
            name: "spills".into(),
            registers: Some(24),
            memory: [176, 112, 116],
            local_accesses: 0,
        };
        let helper = Function { name: "helper".into(), ..Function::default() };
        assert_eq!(parse(include_str!("ptxas/report.txt")), [good.clone(), bad.clone(), helper.clone()]);
        assert!(good.is_good());
        assert!(!bad.is_good());
        assert!(!helper.is_good(), "a function that was not inlined");
        assert!(!Function { local_accesses: 1, ..good }.is_good());
        assert_eq!(parse("ptxas info    : 0 bytes gmem\n"), []);
    }

    #[test]
    fn properties_that_cannot_be_read_are_bad() {
        let report = "Function properties for f\n 0 bytes stack frame, none spilled\n: Used 9 registers\n";
        assert!(!parse(report)[0].is_good());
    }

    #[test]
    fn local_accesses_are_counted_per_function() {
        let listing = include_str!("ptxas/listing.txt");
        assert_eq!(local_accesses(listing, "clean"), Some(0));
        assert_eq!(local_accesses(listing, "spills"), Some(3));
        assert_eq!(local_accesses(listing, "missing"), None);
    }
}
