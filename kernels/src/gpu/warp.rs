//! The 32 threads that execute together.

intrinsic!("llvm.nvvm.read.ptx.sreg.laneid", laneid() -> u32);
intrinsic!("llvm.nvvm.shfl.sync.idx.i32", shfl_idx(mask: u32, value: u32, lane: u32, clamp: u32) -> u32);
intrinsic!("llvm.nvvm.shfl.sync.bfly.i32", shfl_bfly(mask: u32, value: u32, lanes: u32, clamp: u32) -> u32);

/// Threads in a warp.
pub const SIZE: u32 = 32;

#[cfg(target_arch = "nvptx64")]
const EVERYONE: u32 = u32::MAX;
/// The last lane that a shuffle may read from.
#[cfg(target_arch = "nvptx64")]
const CLAMP: u32 = SIZE - 1;

/// The thread's index in its warp.
#[inline(always)]
pub fn lane_id() -> u32 {
    // SAFETY: reads a special register.
    gpu_only!((), unsafe { laneid() })
}

/// A value that fits a 32-bit register, as shuffles move it.
pub trait Register: Copy {
    /// The value's bits.
    fn to_bits(self) -> u32;
    /// The value with the bits `bits`.
    fn from_bits(bits: u32) -> Self;
}

impl Register for u32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        self
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits
    }
}

impl Register for f32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        f32::to_bits(self)
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        f32::from_bits(bits)
    }
}

/// The `value` of lane `lane` modulo 32. All threads of the warp must get here together.
#[inline(always)]
pub fn shuffle_idx<T: Register>(value: T, lane: u32) -> T {
    // SAFETY: moves a register; a lane that is absent yields an arbitrary value of a type without invalid ones.
    gpu_only!(
        (value.to_bits(), lane),
        T::from_bits(unsafe { shfl_idx(EVERYONE, value.to_bits(), lane, CLAMP) })
    )
}

/// The `value` of the lane whose index differs in the bits of `lanes`. All threads of the warp must get here
/// together.
#[inline(always)]
pub fn shuffle_xor<T: Register>(value: T, lanes: u32) -> T {
    // SAFETY: as in `shuffle_idx`.
    gpu_only!(
        (value.to_bits(), lanes),
        T::from_bits(unsafe { shfl_bfly(EVERYONE, value.to_bits(), lanes, CLAMP) })
    )
}

/// `values` of all lanes combined by `combine`, which must be associative and commutative, on every lane.
///
/// `lanes` is how many consecutive lanes belong together: 2, 4, 8, 16 or 32.
#[inline(always)]
pub fn reduce<T: Register>(value: T, lanes: u32, combine: impl Fn(T, T) -> T) -> T {
    let (mut value, mut distance) = (value, lanes / 2);
    while distance > 0 {
        value = combine(value, shuffle_xor(value, distance));
        distance /= 2;
    }
    value
}
