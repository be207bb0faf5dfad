//! Matrices of plain numbers in host memory, as products read and write them.

use half::{bf16, f16};
use warpdot_formats::{Bf16, F16};

use crate::Error;
use crate::bytes::expect_length;
#[cfg(target_arch = "x86_64")]
use crate::isa::Vectorize;

/// Numbers of some type.
pub trait Counted: sealed::Counted {}

impl<N: sealed::Counted> Counted for N {}

mod sealed {
    pub trait Counted {
        /// How many numbers there are.
        fn count(&self) -> usize;
    }
}

macro_rules! numbers {
    ($($variant:ident $number:ty;)*) => {
        /// Numbers of a type to read.
        #[derive(Clone, Copy, Debug)]
        pub enum Numbers<'a> {
            $(
                #[doc = concat!("`", stringify!($number), "`.")]
                $variant(&'a [$number]),
            )*
        }

        /// Numbers of a type to write.
        #[derive(Debug)]
        pub enum NumbersMut<'a> {
            $(
                #[doc = concat!("`", stringify!($number), "`.")]
                $variant(&'a mut [$number]),
            )*
        }

        impl sealed::Counted for Numbers<'_> {
            fn count(&self) -> usize {
                match self {
                    $(Self::$variant(numbers) => numbers.len(),)*
                }
            }
        }

        impl sealed::Counted for NumbersMut<'_> {
            fn count(&self) -> usize {
                match self {
                    $(Self::$variant(numbers) => numbers.len(),)*
                }
            }
        }

        impl NumbersMut<'_> {
            fn reborrow(&mut self) -> NumbersMut<'_> {
                match self {
                    $(Self::$variant(numbers) => NumbersMut::$variant(numbers),)*
                }
            }
        }

        impl Numbers<'_> {
            /// The numbers from `first` on, as many as `out` has room for.
            #[inline(always)]
            fn load(&self, first: usize, out: &mut [f32]) {
                match self {
                    $(Self::$variant(numbers) => {
                        for (out, number) in out.iter_mut().zip(&numbers[first..]) {
                            *out = number.widened();
                        }
                    })*
                }
            }

            /// Fetches `count` numbers from `first` on.
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            fn fetch(&self, isa: impl Vectorize, first: usize, count: usize) {
                match self {
                    $(Self::$variant(numbers) => fetch(isa, &numbers[first..][..count]),)*
                }
            }
        }

        $(
            impl<'a> From<&'a [$number]> for Numbers<'a> {
                fn from(numbers: &'a [$number]) -> Self {
                    Self::$variant(numbers)
                }
            }

            impl<'a> From<&'a mut [$number]> for NumbersMut<'a> {
                fn from(numbers: &'a mut [$number]) -> Self {
                    Self::$variant(numbers)
                }
            }
        )*
    };
}

numbers! {
    F32 f32;
    F16 f16;
    Bf16 bf16;
}

/// A number that products read or write.
pub(crate) trait Plain: Copy + Send + Sync {
    /// Exactly the same number.
    fn widened(self) -> f32;

    /// The nearest number, ties to even.
    fn nearest(value: f32) -> Self;
}

impl Plain for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    #[inline(always)]
    fn nearest(value: f32) -> Self {
        value
    }
}

impl Plain for f16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        F16(self.to_bits()).to_f32()
    }

    #[inline(always)]
    fn nearest(value: f32) -> Self {
        Self::from_bits(F16::from_f32(value).0)
    }
}

impl Plain for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        Bf16(self.to_bits()).to_f32()
    }

    #[inline(always)]
    fn nearest(value: f32) -> Self {
        Self::from_bits(Bf16::from_f32(value).0)
    }
}

/// Fetches all cache lines of `numbers`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn fetch<T>(isa: impl Vectorize, numbers: &[T]) {
    for line in numbers.chunks(64 / size_of::<T>()) {
        isa.prefetch(line.as_ptr().cast());
    }
}

/// A row-major matrix of `f32`, `f16` or `bf16` numbers, whose rows may have gaps between them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<N> {
    pub(crate) numbers: N,
    rows: usize,
    columns: usize,
    pub(crate) stride: usize,
}

/// A matrix to read.
pub type Tensor<'a> = Rows<Numbers<'a>>;

/// A matrix to write. What lies between the rows is not touched.
pub type TensorMut<'a> = Rows<NumbersMut<'a>>;

impl<N: Counted> Rows<N> {
    /// A matrix whose rows follow each other without a gap.
    ///
    /// # Errors
    /// If there are not rows * columns numbers.
    pub fn new(numbers: impl Into<N>, rows: usize, columns: usize) -> Result<Self, Error> {
        Self::with_stride(numbers, rows, columns, columns)
    }

    /// A matrix with `stride` numbers from the start of a row to that of the next.
    ///
    /// # Errors
    /// If the stride is less than `columns`, or the numbers end before the last row does, or go on after its stride.
    pub fn with_stride(
        numbers: impl Into<N>,
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let numbers = numbers.into();
        check(numbers.count(), rows, columns, stride)?;
        Ok(Self { numbers, rows, columns, stride })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

impl TensorMut<'_> {
    /// The same matrix, for a while.
    pub(crate) fn reborrow(&mut self) -> TensorMut<'_> {
        Rows { numbers: self.numbers.reborrow(), rows: self.rows, columns: self.columns, stride: self.stride }
    }
}

impl Tensor<'_> {
    /// The numbers as `f32`, which is exact, without gaps between the rows.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows * self.columns];
        if self.columns > 0 {
            all.chunks_exact_mut(self.columns).enumerate().for_each(|(row, out)| self.load(row, 0, out));
        }
        all
    }

    /// The numbers of a row from column `first` on, as many as `out` has room for.
    #[inline(always)]
    pub(crate) fn load(&self, row: usize, first: usize, out: &mut [f32]) {
        self.numbers.load(row * self.stride + first, out);
    }

    /// Fetches `count` numbers of a row from column `first` on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn fetch(&self, isa: impl Vectorize, row: usize, first: usize, count: usize) {
        self.numbers.fetch(isa, row * self.stride + first, count);
    }
}

/// Checks that `found` numbers make up such a matrix.
fn check(found: usize, rows: usize, columns: usize, stride: usize) -> Result<(), Error> {
    if stride < columns {
        return Err(Error::Stride { stride, columns });
    }
    let overflow = Error::Overflow { m: rows, n: 1, k: stride };
    let whole = rows.checked_mul(stride).ok_or(overflow)?;
    let least = whole - if rows == 0 { 0 } else { stride - columns };
    let what =
        if stride == columns { "numbers (rows * columns)" } else { "numbers (to the end of the last row)" };
    expect_length(what, found.clamp(least, whole), found)
}
