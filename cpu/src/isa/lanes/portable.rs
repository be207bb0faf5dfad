use warpdot_formats::Format;

use super::{Lanes, ROWS, WORDS};
use crate::isa::Portable;

/// `[f(0), f(1), ...]`.
fn lanes<T>(f: impl FnMut(usize) -> T) -> [T; ROWS] {
    std::array::from_fn(f)
}

impl Lanes for Portable {
    type Ints = [i32; ROWS];
    type Floats = [f32; ROWS];
    const BIAS: u8 = 0;
    const VECTORS: usize = 1;

    fn words<F: Format>(self, codes: &Self::Codes, run: usize) -> [u32; WORDS] {
        codes[run]
    }

    fn ints(self, value: i32) -> Self::Ints {
        [value; ROWS]
    }

    fn dot(self, sums: Self::Ints, codes: &[u32; ROWS], activations: u32) -> Self::Ints {
        let signed = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
        let activations = signed(activations);
        lanes(|i| {
            let products = signed(codes[i]).into_iter().zip(activations).map(|(code, x)| code * x);
            sums[i] + products.sum::<i32>()
        })
    }

    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        ints.map(|int| int as f32)
    }

    fn floats(self, value: f32) -> Self::Floats {
        [value; ROWS]
    }

    fn load_lanes(self, values: &[f32; ROWS]) -> Self::Floats {
        *values
    }

    fn store_lanes(self, values: Self::Floats, to: &mut [f32; ROWS]) {
        *to = values;
    }

    fn add_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        lanes(|i| a[i] + b[i])
    }

    fn mul_lanes(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        lanes(|i| a[i] * b[i])
    }

    fn fma_lanes(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        lanes(|i| a[i].mul_add(b[i], c[i]))
    }
}
