//! What the benches of warpdot share: medians of interleaved samples, verdicts by `f64`, what the machine does at
//! best, what else ran on it meanwhile, and results as lines of JSON.

#![forbid(unsafe_code)]

pub mod check;
pub mod line;
pub mod machine;
pub mod others;
pub mod roofs;
pub mod timing;
mod verdict;

pub use line::Line;
