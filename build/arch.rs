//! The architectures that PTX is compiled for.

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arch {
    /// As `.target` in PTX, and as `-C target-cpu`, call it.
    pub(crate) name: &'static str,
    /// The PTX version, as a target feature, where the compiler's own choice is too low for instructions that
    /// the architecture has. A driver of CUDA 11.8 reads 7.8.
    pub(crate) feature: Option<&'static str>,
}

/// Plain ones run on every later chip, those with `f` on their family, those with `a` on that chip alone.
pub(crate) const ARCHS: [Arch; 9] = [
    Arch { name: "sm_75", feature: Some("+ptx78") },
    Arch { name: "sm_80", feature: Some("+ptx78") },
    Arch { name: "sm_86", feature: Some("+ptx78") },
    Arch { name: "sm_89", feature: Some("+ptx78") },
    Arch { name: "sm_90", feature: Some("+ptx78") },
    Arch { name: "sm_90a", feature: None },
    Arch { name: "sm_100f", feature: None },
    Arch { name: "sm_120", feature: None },
    Arch { name: "sm_120a", feature: None },
];

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
