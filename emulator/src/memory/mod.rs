//! The memories of a device: [`global`], [`shared`] and [`local`], each with a shadow that knows what
//! has been written.

pub(crate) mod global;
pub(crate) mod local;
pub(crate) mod shared;
pub(crate) mod window;

use crate::diagnostic::{Access, Space, Violation};

/// The result of an access; the violation is boxed, as the good path is hot.
pub(crate) type Checked<T> = Result<T, Box<Violation>>;

/// The widest vector access: eight 32-bit words.
pub(crate) const MAX_ACCESS: usize = 32;

#[inline(always)]
pub(crate) fn check_alignment(space: Space, access: Access, address: u64, bytes: u64) -> Checked<()> {
    if address & (bytes - 1) == 0 {
        return Ok(());
    }
    Err(Box::new(Violation::Misaligned { space, access, address, bytes }))
}
