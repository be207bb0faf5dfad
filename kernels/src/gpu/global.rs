//! The memory of the GPU, which a kernel's arguments point to.

use crate::arguments::View;
#[cfg(target_arch = "nvptx64")]
use warpdot_formats::{Bf16, F16, FloatType};

/// Memory that a kernel writes, each element by one thread.
#[derive(Clone, Copy, Debug)]
pub struct Output<T> {
    start: *mut T,
    len: usize,
}

impl<T: Copy> Output<T> {
    /// The `len` elements from `start`.
    ///
    /// # Safety
    /// - `start` is valid for writes of `len` elements while the kernel runs, and aligned.
    /// - Nothing reads them before the kernel has ended, and no two threads write the same one.
    #[inline(always)]
    pub unsafe fn new(start: *mut T, len: usize) -> Self {
        Self { start, len }
    }

    /// Writes element `index`, if there is one.
    #[inline(always)]
    pub fn set(self, index: usize, value: T) {
        if index < self.len {
            // SAFETY: the index is below the length that `new` was promised.
            unsafe { self.start.add(index).write(value) }
        }
    }
}

/// The `len` elements from `start`, which a kernel reads.
///
/// # Safety
/// `start` is valid for reads of `len` initialized elements while the kernel runs, aligned, and nothing writes
/// them meanwhile.
#[inline(always)]
pub unsafe fn input<'a, T>(start: *const T, len: usize) -> &'a [T] {
    // SAFETY: as promised by the caller.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// A row-major matrix of plain numbers whose type is known when the kernel runs.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    view: View,
    rows: u32,
    columns: u32,
}

impl Matrix {
    /// The `rows` x `columns` numbers of `view`.
    ///
    /// # Safety
    /// Unless the address is 0: the numbers, of the type and with the stride of the view, are initialized where
    /// [`get`](Self::get) reads them, valid for writes where [`set`](Self::set) is called, and aligned. While the
    /// kernel runs, nothing but this thread touches a number that it writes.
    #[inline(always)]
    pub unsafe fn new(view: View, rows: u32, columns: u32) -> Self {
        Self { view, rows, columns }
    }

    /// Whether there is an element there.
    #[inline(always)]
    pub fn has(self, row: u32, column: u32) -> bool {
        self.view.address != 0 && row < self.rows && column < self.columns
    }

    /// The element there, if there is one.
    #[inline(always)]
    pub fn get(self, row: u32, column: u32) -> Option<f32> {
        if !self.has(row, column) {
            return None;
        }
        let index = self.index(row, column);
        gpu_only!((index), {
            // SAFETY: an element of the matrix, as `new` was promised.
            Some(unsafe {
                if self.view.ty == FloatType::F32.id() {
                    f32::from_bits(load32(self.view.address + 4 * index))
                } else if self.view.ty == FloatType::F16.id() {
                    F16(load16(self.view.address + 2 * index)).to_f32()
                } else {
                    Bf16(load16(self.view.address + 2 * index)).to_f32()
                }
            })
        })
    }

    /// Writes the number of the matrix's type that is nearest to `value`, if there is such an element.
    #[inline(always)]
    pub fn set(self, row: u32, column: u32, value: f32) {
        if !self.has(row, column) {
            return;
        }
        let index = self.index(row, column);
        gpu_only!((index, value), {
            // SAFETY: an element of the matrix, as `new` was promised.
            unsafe {
                if self.view.ty == FloatType::F32.id() {
                    store32(self.view.address + 4 * index, value.to_bits());
                } else if self.view.ty == FloatType::F16.id() {
                    store16(self.view.address + 2 * index, F16::from_f32(value).0);
                } else {
                    store16(self.view.address + 2 * index, Bf16::from_f32(value).0);
                }
            }
        });
    }

    /// [`set`](Self::set) for the elements in `column`, a multiple of 4, and in the three next to it, of which the
    /// matrix has all or none: in one store, if the address of the first is a multiple of what that takes.
    #[inline(always)]
    pub fn set4(self, row: u32, column: u32, values: [f32; 4]) {
        if !self.has(row, column) || self.columns - column < 4 {
            return;
        }
        let index = self.index(row, column);
        gpu_only!((index, values), {
            let [a, b, c, d] = values.map(f32::to_bits);
            if self.view.ty == FloatType::F32.id() {
                let address = self.view.address + 4 * index;
                // SAFETY: elements of the matrix, as `new` was promised.
                unsafe {
                    if address.is_multiple_of(16) {
                        store32x4(address, [a, b, c, d]);
                    } else {
                        store32(address, a);
                        store32(address + 4, b);
                        store32(address + 8, c);
                        store32(address + 12, d);
                    }
                }
            } else {
                let address = self.view.address + 2 * index;
                let is_f16 = self.view.ty == FloatType::F16.id();
                let [a, b, c, d] = values.map(
                    #[inline(always)]
                    |value| if is_f16 { F16::from_f32(value).0 } else { Bf16::from_f32(value).0 },
                );
                // SAFETY: as above.
                unsafe {
                    if address.is_multiple_of(8) {
                        let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
                        store32x2(address, [pair(a, b), pair(c, d)]);
                    } else {
                        store16(address, a);
                        store16(address + 2, b);
                        store16(address + 4, c);
                        store16(address + 6, d);
                    }
                }
            }
        });
    }

    #[inline(always)]
    fn index(self, row: u32, column: u32) -> u64 {
        u64::from(row) * u64::from(self.view.stride) + u64::from(column)
    }
}

/// Defines a load and a store by an address that the compiler cannot know to be global.
macro_rules! access {
    ($load:ident, $store:ident, $bits:ty, $class:ident, $name:literal) => {
        #[cfg(target_arch = "nvptx64")]
        #[inline(always)]
        unsafe fn $load(address: u64) -> $bits {
            let value: $bits;
            // SAFETY: the caller's.
            unsafe {
                core::arch::asm!(
                    concat!("ld.global.", $name, " {}, [{}];"), out($class) value, in(reg64) address,
                    options(pure, readonly, nostack)
                );
            }
            value
        }

        #[cfg(target_arch = "nvptx64")]
        #[inline(always)]
        unsafe fn $store(address: u64, value: $bits) {
            // SAFETY: the caller's.
            unsafe {
                core::arch::asm!(
                    concat!("st.global.", $name, " [{}], {};"), in(reg64) address, in($class) value,
                    options(nostack)
                );
            }
        }
    };
}
access!(load32, store32, u32, reg32, "b32");
access!(load16, store16, u16, reg16, "b16");

/// Defines a store of several words by such an address.
macro_rules! store_words {
    ($store:ident, $count:literal, $instruction:literal, $($word:ident),*) => {
        #[cfg(target_arch = "nvptx64")]
        #[inline(always)]
        unsafe fn $store(address: u64, [$($word),*]: [u32; $count]) {
            // SAFETY: the caller's.
            unsafe {
                core::arch::asm!(
                    $instruction, in(reg64) address, $(in(reg32) $word,)* options(nostack)
                );
            }
        }
    };
}
store_words!(store32x2, 2, "st.global.v2.b32 [{}], {{{}, {}}};", a, b);
store_words!(store32x4, 4, "st.global.v4.b32 [{}], {{{}, {}, {}, {}}};", a, b, c, d);
