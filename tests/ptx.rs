//! The embedded PTX: complete, for the right architectures, and free of what would change results or slow it down.

#[path = "../build/arch.rs"]
mod arch;
#[path = "../build/split.rs"]
mod split;
#[path = "../build/verify.rs"]
mod verify;

use split::{Parts, split};
use std::collections::BTreeSet;
use verify::{Flaw, flaws};
use warpdot::{GgmlType, ptx};
use warpdot_kernels::launch::KERNELS;

struct Module {
    arch: &'static str,
    family: &'static str,
    text: String,
}

fn modules() -> Vec<Module> {
    let all = ptx::all().expect("this build carries PTX");
    all.iter().map(|ptx| Module { arch: ptx.arch, family: ptx.family, text: ptx.text() }).collect()
}

#[test]
fn every_architecture_has_every_family_once() {
    let families: BTreeSet<&str> = KERNELS.iter().map(|kernel| kernel.family.name()).collect();
    let archs = ptx::archs().unwrap();
    assert!(archs.iter().all(|name| arch::ARCHS.iter().any(|arch| arch.name == *name)), "{archs:?}");
    assert_eq!(modules().len(), archs.len() * families.len());
    for arch in archs {
        for family in &families {
            assert!(ptx::find(arch, family).unwrap().text().contains(&format!(".target {arch}\n")));
        }
    }
    assert!(ptx::find("sm_1", "gemv").is_err());
}

#[test]
fn modules_have_the_kernels_of_their_family_and_no_flaw() {
    for Module { arch, family, text } in modules() {
        let expected: BTreeSet<&str> = KERNELS
            .iter()
            .filter(|kernel| kernel.family.name() == family)
            .map(|kernel| kernel.entry)
            .collect();
        let entries: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(".visible .entry "))
            .map(|line| line.trim_end_matches('('))
            .collect();
        assert_eq!(entries, expected, "{family} for {arch}");
        assert_eq!(flaws(&text, arch), [], "{family} for {arch}");
    }
}

#[test]
fn a_kernel_is_a_module() {
    for ptx in ptx::all().unwrap() {
        let family = ptx.text();
        let whole = split(&family).unwrap();
        assert!(family.starts_with(&arch::select(Some(ptx.arch)).unwrap()[0].header()));
        for (name, kernel) in &whole.kernels {
            let text = ptx.kernel_text(name).unwrap();
            let alone = split(&text).unwrap();
            assert_eq!(alone.kernels, [(*name, *kernel)], "{}", ptx.arch);
            assert_eq!(flaws(&text, ptx.arch), [], "{name} for {}", ptx.arch);
            for declaration in &whole.declarations {
                let declared = declaration.split('[').next().unwrap().split_whitespace().last().unwrap();
                let declares = alone.declarations.contains(declaration);
                assert_eq!(declares, kernel.contains(declared), "{declared} of {name} for {}", ptx.arch);
            }
        }
        assert!(ptx.kernel_text("gemv_f64_m3").is_err());
    }
}

/// So that a build for all architectures stays small.
#[test]
fn embedded_modules_are_small() {
    assert!((1..12 << 20).contains(&ptx::embedded_bytes()), "{} bytes", ptx::embedded_bytes());
}

/// The driver's compiler takes about a second for a megabyte.
#[test]
fn the_first_use_of_a_format_has_little_to_compile() {
    for arch in ptx::archs().unwrap() {
        for &ty in GgmlType::ALL {
            let of_format = KERNELS.iter().filter(|kernel| kernel.ty == Some(ty));
            let bytes = |kernel: &warpdot_kernels::launch::Kernel| {
                ptx::find(arch, kernel.family.name()).unwrap().kernel_text(kernel.entry).unwrap().len()
            };
            let total: usize = of_format.map(bytes).sum();
            assert!(total < 600_000, "{total} bytes of {ty} for {arch}");
        }
    }
}

#[test]
fn a_module_is_taken_apart() {
    let table = ".global .align 2 .b8 t[2] = {1, 2};";
    let kernels =
        [".visible .entry a(\n)\n{\n\tret;\n}\n", ".visible .entry b(.param .u64 p)\n{\n{ret;}\n}\n"];
    let text = format!(".version 8.0\n// .globl a\n{table}\n\n{}// end\n{}", kernels[0], kernels[1]);
    let expected = Parts { declarations: vec![table], kernels: vec![("a", kernels[0]), ("b", kernels[1])] };
    assert_eq!(split(&text).unwrap(), expected);
    assert!(split(".func f()\n{\n}\n").unwrap_err().contains(".func f()"));
    assert!(split(".visible .entry a(\n").unwrap_err().contains("does not end"));
}

#[test]
fn modules_are_readable_by_drivers_of_their_architecture() {
    for Module { arch, family, text } in modules() {
        let version = text.lines().find_map(|line| line.strip_prefix(".version ")).expect("a version");
        let (major, minor) = version.split_once('.').expect("major.minor");
        let version: (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
        let plain = arch.trim_start_matches("sm_").parse::<u32>();
        let expected = if plain.is_ok_and(|number| number <= 90) { (7, 8)..=(7, 8) } else { (8, 0)..=(8, 8) };
        assert!(expected.contains(&version), "{family} for {arch} is {version:?}");
    }
}

#[test]
fn kernels_cannot_panic_and_call_nothing() {
    for Module { arch, family, text } in modules() {
        for word in [".func", "call", "trap;"] {
            assert!(!text.split_whitespace().any(|token| token == word), "{family} for {arch} has {word}");
        }
    }
}

#[test]
fn arithmetic_is_rounded_as_written() {
    for Module { arch, family, text } in modules() {
        let operations = text.lines().map(str::trim).filter_map(|line| line.split_whitespace().next());
        let float: BTreeSet<&str> = operations.filter(|operation| operation.ends_with(".f32")).collect();
        for operation in float {
            let parts: Vec<&str> = operation.split('.').collect();
            // Without .rn the driver may contract a product and a sum; .ftz and .approx are other numbers.
            let exact = match parts[0] {
                "add" | "sub" | "mul" | "fma" | "div" | "rcp" => parts[1..] == ["rn", "f32"],
                "cvt" | "setp" | "selp" | "mov" | "neg" | "abs" => !parts.contains(&"ftz"),
                // LLVM makes these of comparisons with constants. Of two zeros they may take the other one: no block
                // depends on which, as the tests of quantizers see to.
                "min" | "max" => parts[1..] == ["f32"],
                _ => false,
            };
            assert!(exact, "{family} for {arch} has {operation}");
        }
    }
}

const GOOD: &str = "
.version 8.0
.target sm_90a
.address_size 64
// .extern .func not_really, in a comment
.func (.param .b32 retval0) twice(.param .b32 twice_param_0) { ret; }
.visible .entry kernel(
	.param .u64 .ptr .align 1 kernel_param_0
)
{
	{ // callseq 0, 0
	.param .b32 param0;
	.param .b32 retval0;
	call.uni (retval0), twice, (param0);
	} // callseq 0
	ret;
}
";

#[test]
fn a_flaw_is_found() {
    assert_eq!(flaws(GOOD, "sm_90a"), []);
    assert_eq!(flaws(GOOD, "sm_90"), [Flaw::Target("sm_90a".into())]);
    assert_eq!(flaws("", "sm_90"), [Flaw::Target("no architecture".into()), Flaw::NoEntry]);

    let declared = ".extern .func  (.param .b32 func_retval0) memcmp\n(\n\t.param .b64 memcmp_param_0\n)\n;";
    let undefined = |name: &str| [Flaw::Undefined(name.into())];
    assert_eq!(flaws(&format!("{GOOD}{declared}"), "sm_90a"), undefined("memcmp"));
    let panics = ".extern .func _ZN4core9panicking5panicE(.param .b64 a) .noreturn;";
    assert_eq!(flaws(&format!("{GOOD}{panics}"), "sm_90a"), undefined("_ZN4core9panicking5panicE"));
    // The same function declared here and defined there is no flaw.
    let forward = ".extern .func (.param .b32 retval0) twice(.param .b32 twice_param_0);";
    assert_eq!(flaws(&format!("{GOOD}{forward}"), "sm_90a"), []);
    for call in ["call.uni (retval0), \n\tthrice, \n\t(\n\tparam0\n\t);", "call (retval0), thrice, (param0);"]
    {
        assert_eq!(
            flaws(&GOOD.replace("call.uni (retval0), twice, (param0);", call), "sm_90a"),
            undefined("thrice")
        );
    }

    let table = ".extern .global .align 4 .b8 TABLE[16];\n.extern .shared .align 128 .b8 smem[];";
    assert_eq!(flaws(&format!("{GOOD}{table}"), "sm_90a"), undefined("TABLE"));

    let depot = GOOD.replace("\tret;", "\t.local .align 4 .b8 \t__local_depot0[16];\n\tret;");
    assert_eq!(flaws(&depot, "sm_90a"), [Flaw::LocalMemory]);
    let message = flaws(&depot, "sm_90a")[0].to_string();
    assert!(message.contains("local memory"), "{message}");
}

#[test]
fn a_list_narrows_the_architectures() {
    let names = |list| arch::select(list).map(|archs| archs.iter().map(|arch| arch.name).collect::<Vec<_>>());
    assert_eq!(names(None).unwrap().len(), arch::ARCHS.len());
    assert_eq!(names(Some("")), names(None));
    assert_eq!(names(Some("sm_120a, sm_75,")).unwrap(), ["sm_75", "sm_120a"]);
    let error = names(Some("sm_90a,sm_9")).unwrap_err();
    assert!(error.contains("\"sm_9\"") && error.contains("sm_75, sm_80"), "{error}");
}
