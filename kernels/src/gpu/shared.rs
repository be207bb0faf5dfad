//! The memory that the threads of a block share.

#[cfg(target_arch = "nvptx64")]
core::arch::global_asm!(".extern .shared .align 16 .b8 dynamic_shared[];");

/// `WORDS` 32-bit words of the block's dynamic shared memory.
///
/// Threads may read and write the same word; one that reads a word that another writes with no
/// [`sync_threads`](super::thread::sync_threads) between them gets either value.
#[derive(Clone, Copy, Debug)]
pub struct Words<const WORDS: usize> {
    /// In the shared address space, in bytes.
    address: u32,
}

impl<const WORDS: usize> Words<WORDS> {
    /// The words that start `offset` words into the dynamic shared memory.
    ///
    /// # Safety
    /// The kernel was launched with dynamic shared memory for `offset + WORDS` words.
    #[inline(always)]
    pub unsafe fn at(offset: u32) -> Self {
        Self { address: start() + 4 * offset }
    }

    /// Writes word `index`, if there is one.
    #[inline(always)]
    pub fn set(self, index: u32, value: u32) {
        if (index as usize) < WORDS {
            let address = self.address + 4 * index;
            gpu_only!((address, value), {
                // SAFETY: the word belongs to the memory that `at` was promised.
                unsafe {
                    core::arch::asm!("st.shared.b32 [{}], {};", in(reg32) address, in(reg32) value, options(nostack))
                }
            })
        }
    }

    /// Writes words `4 * index` to `4 * index + 3`, if there are any. The first word's offset is a multiple of 4.
    #[inline(always)]
    pub fn set4(self, index: u32, values: [u32; 4]) {
        if (index as usize) < WORDS / 4 {
            let address = self.address + 16 * index;
            gpu_only!((address, values), {
                let [a, b, c, d] = values;
                // SAFETY: the words belong to the memory that `at` was promised, and are aligned as in `get4`.
                unsafe {
                    core::arch::asm!(
                        "st.shared.v4.b32 [{}], {{{}, {}, {}, {}}};",
                        in(reg32) address, in(reg32) a, in(reg32) b, in(reg32) c, in(reg32) d,
                        options(nostack)
                    )
                }
            })
        }
    }

    /// Word `index`, or zero if there is none.
    #[inline(always)]
    pub fn get(self, index: u32) -> u32 {
        if (index as usize) < WORDS {
            let address = self.address + 4 * index;
            // SAFETY: the word belongs to the memory that `at` was promised.
            unsafe { load(address) }
        } else {
            0
        }
    }

    /// Words `2 * index` and `2 * index + 1`, or zeros if there are none. The first word's offset is a multiple of 2.
    #[inline(always)]
    pub fn get2(self, index: u32) -> [u32; 2] {
        if (index as usize) < WORDS / 2 {
            let address = self.address + 8 * index;
            // SAFETY: the words belong to the memory that `at` was promised, and are aligned as in `get4`.
            unsafe { load2(address) }
        } else {
            [0; 2]
        }
    }

    /// Words `4 * index` to `4 * index + 3`, or zeros if there are none.
    #[inline(always)]
    pub fn get4(self, index: u32) -> [u32; 4] {
        if (index as usize) < WORDS / 4 {
            let address = self.address + 16 * index;
            // SAFETY: the words belong to the memory that `at` was promised, whose start and whose parts' offsets are
            // multiples of 16 bytes.
            unsafe { load4(address) }
        } else {
            [0; 4]
        }
    }
}

/// Where the dynamic shared memory starts, a multiple of 16 in the shared address space.
#[inline(always)]
pub(super) fn start() -> u32 {
    gpu_only!((), {
        let address: u32;
        // SAFETY: reads the address of the symbol that is declared above.
        unsafe {
            core::arch::asm!("mov.u32 {}, dynamic_shared;", out(reg32) address, options(pure, nomem, nostack))
        };
        address
    })
}

/// The word at an address.
///
/// # Safety
/// It is a multiple of 4, in the shared address space, and the block has shared memory there.
#[inline(always)]
pub(super) unsafe fn load(address: u32) -> u32 {
    gpu_only!((address), {
        let value: u32;
        // SAFETY: the caller's.
        unsafe {
            core::arch::asm!(
                "ld.shared.b32 {}, [{}];", out(reg32) value, in(reg32) address,
                options(pure, readonly, nostack)
            );
        }
        value
    })
}

/// The two words at an address.
///
/// # Safety
/// As for [`load`], and it is a multiple of 8.
#[inline(always)]
pub(super) unsafe fn load2(address: u32) -> [u32; 2] {
    gpu_only!((address), {
        let (a, b): (u32, u32);
        // SAFETY: the caller's.
        unsafe {
            core::arch::asm!(
                "ld.shared.v2.b32 {{{}, {}}}, [{}];",
                out(reg32) a, out(reg32) b, in(reg32) address,
                options(pure, readonly, nostack)
            );
        }
        [a, b]
    })
}

/// The four words at an address.
///
/// # Safety
/// As for [`load`], and it is a multiple of 16.
#[inline(always)]
pub(super) unsafe fn load4(address: u32) -> [u32; 4] {
    gpu_only!((address), {
        let (a, b, c, d): (u32, u32, u32, u32);
        // SAFETY: the caller's.
        unsafe {
            core::arch::asm!(
                "ld.shared.v4.b32 {{{}, {}, {}, {}}}, [{}];",
                out(reg32) a, out(reg32) b, out(reg32) c, out(reg32) d, in(reg32) address,
                options(pure, readonly, nostack)
            );
        }
        [a, b, c, d]
    })
}
