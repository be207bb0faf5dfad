//! The GPU kernels in this build: PTX that its build script compiled, for the driver to translate.

use miniz_oxide::inflate::decompress_to_vec;

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
    /// Tables and shared memory, a declaration a line.
    declarations: Piece,
    /// The kernels by name; many architectures share them.
    kernels: &'static [(&'static str, Piece)],
}

/// A compressed text: a part of `DATA`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Piece {
    start: usize,
    end: usize,
}

impl Piece {
    fn text(self) -> String {
        let text = decompress_to_vec(&DATA[self.start..self.end]).ok().map(String::from_utf8);
        text.and_then(Result::ok).expect("the build script compressed a text")
    }
}

impl Ptx {
    /// All kernels of the family as one module.
    pub fn text(&self) -> String {
        let kernels = self.kernels.iter().map(|(_, kernel)| kernel.text());
        [self.header.into(), self.declarations.text()].into_iter().chain(kernels).collect()
    }

    /// One kernel as a module, as the driver takes it: a fraction of the time that the family would take it.
    ///
    /// # Errors
    /// [`Error::NoKernels`] if the family does not have it.
    pub fn kernel_text(&self, kernel: &str) -> Result<String, Error> {
        let found = self.kernels.iter().find(|(name, _)| *name == kernel);
        let reason = || format!("no {kernel} in {} for {}", self.family, self.arch);
        let (_, kernel) = found.ok_or_else(|| Error::NoKernels { reason: reason() })?;
        let (kernel, declarations) = (kernel.text(), self.declarations.text());
        let needed = declarations.lines().filter(|line| kernel.contains(declared(line)));
        Ok([self.header].into_iter().chain(needed.flat_map(|line| [line, "\n"])).chain([&*kernel]).collect())
    }

    /// Whether `self` and `other` are the same but for the lines that name the PTX version and the architecture.
    pub fn same_code(&self, other: &Self) -> bool {
        (self.declarations, self.kernels) == (other.declarations, other.kernels)
    }
}

/// The name in a declaration such as `.global .align 2 .b8 name[512] = {0, 1};`.
fn declared(line: &str) -> &str {
    let before = line.split(['[', '=', ';']).next().unwrap_or_default();
    before.split_whitespace().last().unwrap_or_default()
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

/// How many bytes all modules take in the binary, compressed.
pub fn embedded_bytes() -> usize {
    DATA.len()
}

/// The module of the kernel family `family` for the architecture `arch`.
///
/// # Errors
/// [`Error::NoKernels`] if this build does not have it.
pub fn find(arch: &str, family: &str) -> Result<&'static Ptx, Error> {
    let found = all()?.iter().find(|ptx| ptx.arch == arch && ptx.family == family);
    found.ok_or_else(|| Error::NoKernels { reason: format!("none of {family} for {arch}") })
}
