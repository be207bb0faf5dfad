//! The one list of formats. Kernel entries, dispatch, tests and documentation are generated from it.

use crate::{
    Format, FormatVisitor, Iq1M, Iq1S, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Mxfp4, Nvfp4, Q1_0,
    Q2_0, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Tq1_0, Tq2_0,
};

/// Calls a macro with the whole list of formats: pairs of the block type and the suffix of its kernel ids.
///
/// ```
/// macro_rules! count {
///     ($(($block:ident, $suffix:ident)),* $(,)?) => { [$(stringify!($suffix)),*].len() };
/// }
/// assert_eq!(warpdot_formats::for_each_format!(count), warpdot_formats::GgmlType::ALL.len());
/// ```
#[macro_export]
macro_rules! for_each_format {
    ($callback:ident) => {
        $callback! {
            (Q4_0, q4_0), (Q4_1, q4_1), (Q5_0, q5_0), (Q5_1, q5_1), (Q8_0, q8_0),
            (Q2K, q2k), (Q3K, q3k), (Q4K, q4k), (Q5K, q5k), (Q6K, q6k),
            (Iq1S, iq1s), (Iq1M, iq1m), (Iq2Xxs, iq2xxs), (Iq2Xs, iq2xs), (Iq2S, iq2s),
            (Iq3Xxs, iq3xxs), (Iq3S, iq3s), (Iq4Nl, iq4nl), (Iq4Xs, iq4xs),
            (Tq1_0, tq1_0), (Tq2_0, tq2_0), (Q1_0, q1_0), (Q2_0, q2_0),
            (Mxfp4, mxfp4), (Nvfp4, nvfp4),
        }
    };
}

macro_rules! define_ggml_type {
    ($(($block:ident, $suffix:ident)),* $(,)?) => {
        /// A block format chosen at run time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum GgmlType {
            $(
                #[doc = concat!("The format of [`", stringify!($block), "`] blocks.")]
                $block,
            )*
        }

        impl GgmlType {
            /// Every format, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$block),*];

            /// Runs `visitor` for this format.
            pub fn visit<V: FormatVisitor>(self, visitor: V) -> V::Output {
                match self {
                    $(Self::$block => visitor.visit::<$block>(),)*
                }
            }

            /// ggml's number for the format, as it stands in GGUF files.
            pub const fn id(self) -> u32 {
                match self {
                    $(Self::$block => <$block as Format>::ID,)*
                }
            }

            /// ggml's name, `Q4_K` for example.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$block => <$block as Format>::NAME,)*
                }
            }

            /// The end of the ids of this format's kernels, `q4k` for example.
            pub const fn suffix(self) -> &'static str {
                match self {
                    $(Self::$block => stringify!($suffix),)*
                }
            }

            /// Weights in a block.
            pub const fn block_weights(self) -> usize {
                match self {
                    $(Self::$block => <$block as Format>::WEIGHTS,)*
                }
            }

            /// Bytes in a block.
            pub const fn block_bytes(self) -> usize {
                match self {
                    $(Self::$block => size_of::<$block>(),)*
                }
            }
        }
    };
}

for_each_format!(define_ggml_type);

impl GgmlType {
    /// The format with ggml's number `id`, if it is one of the list.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|ty| ty.id() == id)
    }

    /// The format called `name` by ggml, in any case and with or without underscores.
    pub fn from_name(name: &str) -> Option<Self> {
        let letters = |name: &'static str| name.bytes().filter(|byte| *byte != b'_');
        Self::ALL.iter().copied().find(|ty| {
            letters(ty.name())
                .map(|byte| byte.to_ascii_lowercase())
                .eq(name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()))
        })
    }
}

impl core::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::GgmlType;

    #[test]
    fn ids_and_names_find_their_type() {
        for &ty in GgmlType::ALL {
            assert_eq!(GgmlType::from_id(ty.id()), Some(ty));
            assert_eq!(GgmlType::from_name(ty.name()), Some(ty));
            assert_eq!(GgmlType::from_name(ty.suffix()), Some(ty));
        }
        assert_eq!(GgmlType::from_id(4), None);
        assert_eq!(GgmlType::from_name("Q4"), None);
    }
}
