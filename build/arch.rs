//! The architectures that PTX is compiled for.

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arch {
    /// As `.target` in PTX calls it.
    pub(crate) name: &'static str,
    /// The PTX version of its modules. A driver of CUDA 11.8 reads 7.8.
    pub(crate) version: &'static str,
    /// What its kernels are compiled as.
    pub(crate) code: Code,
}

/// Code that architectures have in common, under headers of their own.
///
/// LLVM makes the same of our kernels for all architectures of a group, line by line, so it does so once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The first architecture that has all its instructions, as `-C target-cpu` calls it.
    pub(crate) cpu: &'static str,
    /// The PTX version, as a target feature, where the compiler's own choice is too low for the instructions.
    pub(crate) feature: Option<&'static str>,
    /// Whether it has `mma.sync` of int8 with 16 rows.
    pub(crate) ampere: bool,
}

const TURING: Code = Code { cpu: "sm_75", feature: Some("+ptx78"), ampere: false };
const AMPERE: Code = Code { cpu: "sm_80", feature: Some("+ptx78"), ampere: true };
/// Has pairs of `f32`.
const BLACKWELL: Code = Code { cpu: "sm_100", feature: None, ampere: true };

/// Plain ones run on every later chip, those with `f` on their family, those with `a` on that chip alone.
pub(crate) const ARCHS: [Arch; 9] = [
    Arch { name: "sm_75", version: "7.8", code: TURING },
    Arch { name: "sm_80", version: "7.8", code: AMPERE },
    Arch { name: "sm_86", version: "7.8", code: AMPERE },
    Arch { name: "sm_89", version: "7.8", code: AMPERE },
    Arch { name: "sm_90", version: "7.8", code: AMPERE },
    Arch { name: "sm_90a", version: "8.0", code: AMPERE },
    Arch { name: "sm_100f", version: "8.8", code: BLACKWELL },
    Arch { name: "sm_120", version: "8.7", code: BLACKWELL },
    Arch { name: "sm_120a", version: "8.7", code: BLACKWELL },
];

impl Arch {
    /// The first lines of its modules.
    pub(crate) fn header(self) -> String {
        format!(".version {}\n.target {}\n.address_size 64\n", self.version, self.name)
    }
}

/// The architectures of a comma-separated list; all of them without one.
pub(crate) fn select(list: Option<&str>) -> Result<Vec<Arch>, String> {
    let names = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut wanted = Vec::new();
    for name in names {
        if !ARCHS.iter().any(|arch| arch.name == name) {
            let known = ARCHS.map(|arch| arch.name).join(", ");
            return Err(format!("WARPDOT_PTX_ARCHS has {name:?}, which is none of {known}"));
        }
        wanted.push(name);
    }
    Ok(ARCHS.into_iter().filter(|arch| wanted.is_empty() || wanted.contains(&arch.name)).collect())
}
