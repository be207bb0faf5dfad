//! The GPU kernels in this build: PTX that its build script compiled, for the driver to translate.

use crate::Error;

/// The PTX of one kernel family for one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ptx {
    /// The architecture, `sm_90a` for example.
    pub arch: &'static str,
    /// The kernels' family, `gemv` for example.
    pub family: &'static str,
    /// The lines that name the PTX version and the architecture.
    header: &'static str,
    /// The kernels; many architectures share one.
    body: &'static str,
}

impl Ptx {
    /// The module, as the driver takes it.
    pub fn text(&self) -> String {
        [self.header, self.body].concat()
    }

    /// The kernels without the lines that name the PTX version and the architecture: what architectures may
    /// have in common, and is embedded once then.
    pub fn body(&self) -> &'static str {
        self.body
    }
}

include!(concat!(env!("OUT_DIR"), "/ptx.rs"));

/// The version of the compiler that the modules come from.
///
/// # Errors
/// [`Error::NoKernels`] if there was none when this library was built.
pub fn compiler() -> Result<&'static str, Error> {
    COMPILER.map_err(|reason| Error::NoKernels { reason: reason.into() })
}

/// All modules, architecture by architecture.
///
/// # Errors
/// [`Error::NoKernels`] if this build has none.
pub fn all() -> Result<&'static [Ptx], Error> {
    compiler().map(|_| PTX)
}

/// The architectures of the modules, oldest first.
///
/// # Errors
/// [`Error::NoKernels`] if this build has none.
pub fn archs() -> Result<Vec<&'static str>, Error> {
    let mut archs: Vec<&str> = all()?.iter().map(|ptx| ptx.arch).collect();
    archs.dedup();
    Ok(archs)
}

/// The module of the kernel family `family` for the architecture `arch`.
///
/// # Errors
/// [`Error::NoKernels`] if this build does not have it.
pub fn find(arch: &str, family: &str) -> Result<&'static Ptx, Error> {
    let found = all()?.iter().find(|ptx| ptx.arch == arch && ptx.family == family);
    found.ok_or_else(|| Error::NoKernels { reason: format!("none of {family} for {arch}") })
}
