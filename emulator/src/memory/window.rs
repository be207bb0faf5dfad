//! Where shared and local memory appear in the generic address space. Everything else there is global
//! memory.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Shared,
    Local,
}

/// Addresses inside the windows start here, so that a null pointer is out of bounds. The same for both
/// kinds of launch: a multiple of every alignment that an instruction asks for.
pub(crate) const SHARED_OFFSET: u32 = 1024;
pub(crate) const LOCAL_OFFSET: u32 = 1024;

const SHARED_BASE: u64 = 0x0200_0000_0000;
const LOCAL_BASE: u64 = 0x0300_0000_0000;
const SIZE: u64 = 1 << 32;

/// Device memory lies above both windows.
pub(crate) const GLOBAL_BASE: u64 = 0x7000_0000_0000;
pub(crate) const GLOBAL_SIZE: u64 = 1 << 46;

pub(crate) fn base(window: Window) -> u64 {
    match window {
        Window::Shared => SHARED_BASE,
        Window::Local => LOCAL_BASE,
    }
}

/// The window that a generic address falls into, and the address inside it.
pub(crate) fn of(address: u64) -> Option<(Window, u64)> {
    [Window::Shared, Window::Local]
        .into_iter()
        .find(|&window| address.wrapping_sub(base(window)) < SIZE)
        .map(|window| (window, address - base(window)))
}
