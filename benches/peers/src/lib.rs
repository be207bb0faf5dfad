//! warpdot's CPU path side by side with candle and, with the feature `ggml`, with ggml.

pub mod blocks;
#[cfg(feature = "ggml")]
pub mod ggml;
pub mod numbers;
pub mod operands;
pub mod report;
pub mod thread_time;
