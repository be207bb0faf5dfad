//! Which device a module or an instruction needs, as the driver's own compiler would insist.

use super::opcode::Opcode;
use crate::ptx::tree::{Module, Version};
use crate::ptx::{PtxError, Result};

/// The architecture and PTX version that a module is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// 75 for `sm_75`.
    pub(crate) sm: u32,
    pub(crate) version: Version,
}

/// Why a device does not take a module.
#[derive(Debug)]
pub(crate) enum Mismatch {
    /// The PTX version is younger than the driver.
    Version(PtxError),
    /// The target is no architecture, or not one that this device can run.
    Target(PtxError),
}

/// The youngest PTX version that the emulated driver knows, and how it reports itself.
pub(crate) const NEWEST_PTX: Version = (9, 0);
pub(crate) const DRIVER_VERSION: i32 = 13_000;

/// Parses `.target` and holds it against a device: plain targets run on every later device, `a` ones on
/// exactly their own, `f` ones on the later members of their family.
pub(crate) fn of(module: &Module, device: (u32, u32)) -> std::result::Result<Target, Mismatch> {
    if module.version > NEWEST_PTX {
        let ((major, minor), (newest_major, newest_minor)) = (module.version, NEWEST_PTX);
        let message =
            format!("PTX version {major}.{minor} is newer than the driver's {newest_major}.{newest_minor}");
        return Err(Mismatch::Version(PtxError::new(1, message)));
    }
    let error = |message| Err(Mismatch::Target(PtxError::new(module.target_line, message)));
    let name = module.target;
    let digits = name.strip_prefix("sm_").unwrap_or("");
    let number = digits.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let Ok(sm) = number.parse::<u32>() else { return error(format!("`{name}` is no target")) };
    let (major, minor) = (sm / 10, sm % 10);
    let runs = match &digits[number.len()..] {
        "" => (major, minor) <= device,
        "a" => (major, minor) == device,
        "f" => major == device.0 && minor <= device.1,
        _ => return error(format!("`{name}` is no target")),
    };
    if !runs {
        return error(format!("`{name}` does not run on a device of capability {}.{}", device.0, device.1));
    }
    Ok(Target { sm, version: module.version })
}

/// Instructions younger than the oldest architecture: base, a modifier (or none), and what they need.
const NEEDS: &[(&str, &str, u32, Version)] = &[
    ("cp", "async", 80, (7, 0)),
    ("redux", "", 80, (7, 0)),
    ("elect", "", 90, (8, 0)),
    ("stmatrix", "", 90, (7, 8)),
    ("ldmatrix", "", 75, (6, 5)),
    ("createpolicy", "", 80, (7, 4)),
    ("mma", "m8n8k16", 75, (6, 5)),
    ("mma", "m8n8k32", 75, (6, 5)),
    ("mma", "m16n8k8", 75, (6, 5)),
    ("mma", "m16n8k4", 80, (7, 0)),
    ("mma", "m16n8k16", 80, (7, 0)),
    ("mma", "m16n8k32", 80, (7, 0)),
    ("mma", "m16n8k64", 80, (7, 0)),
    ("mma", "bf16", 80, (7, 0)),
    ("mma", "tf32", 80, (7, 0)),
    ("mma", "e4m3", 89, (8, 4)),
    ("mma", "e5m2", 89, (8, 4)),
    ("cvt", "bf16", 80, (7, 0)),
    ("cvt", "bf16x2", 80, (7, 0)),
    ("cvt", "tf32", 80, (7, 0)),
    ("cvt", "e4m3x2", 89, (7, 8)),
    ("cvt", "e5m2x2", 89, (7, 8)),
    ("fma", "bf16", 80, (7, 0)),
    ("fma", "bf16x2", 80, (7, 0)),
    ("tanh", "", 75, (7, 0)),
    ("ld", "L1::no_allocate", 70, (7, 4)),
    ("ld", "L2::cache_hint", 80, (7, 4)),
    ("ld", "L2::128B", 75, (7, 4)),
    ("ld", "L2::256B", 80, (7, 4)),
    ("ld", "v8", 100, (8, 8)),
];

pub(crate) fn check(opcode: &Opcode, target: Target) -> Result<()> {
    for &(base, modifier, sm, version) in NEEDS {
        let applies = opcode.base == base && (modifier.is_empty() || opcode.has(modifier));
        if applies && target.sm < sm {
            return opcode.unsupported(format!("needs sm_{sm}, the target is sm_{}", target.sm));
        }
        if applies && target.version < version {
            let ((major, minor), (is_major, is_minor)) = (version, target.version);
            return opcode.unsupported(format!("needs PTX {major}.{minor}, not {is_major}.{is_minor}"));
        }
    }
    Ok(())
}
