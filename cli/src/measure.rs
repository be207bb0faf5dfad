//! One product on one device, several times.

use crate::{error::Error, pieces::zeros};
use std::time::Duration;
use warpdot::{DeviceMatrix, Options};

/// What came of it.
pub(crate) struct Measurement {
    pub(crate) kernel: String,
    /// The median, if there were timed runs.
    pub(crate) time: Option<Duration>,
    /// The outputs of the first run.
    pub(crate) y: Vec<f32>,
    /// Runs, of how many, that gave other bits than the first.
    pub(crate) deviating: u32,
}

/// Multiplies once to warm up, and `repeat` times to measure.
pub(crate) fn measure(
    weights: &DeviceMatrix,
    options: &Options,
    m: usize,
    x: &[f32],
    repeat: u32,
) -> Result<Measurement, Error> {
    let len = m * weights.rows();
    let mut y = unwritten(len)?;
    let kernel = weights.matmul_with(options, m, x, &mut y)?.kernel.to_string();

    let mut again = unwritten(len)?;
    let mut times = Vec::new();
    let mut deviating = 0;
    for _ in 0..repeat {
        again.fill(f32::NAN);
        times.push(weights.matmul_with(options, m, x, &mut again)?.time);
        deviating += u32::from(!same_bits(&y, &again));
    }
    times.sort_unstable();
    let time = times.get(times.len() / 2).copied();
    Ok(Measurement { kernel, time, y, deviating })
}

/// Outputs that fail every check unless they are written.
pub(crate) fn unwritten(len: usize) -> Result<Vec<f32>, Error> {
    let mut y = zeros("Y", len)?;
    y.fill(f32::NAN);
    Ok(y)
}

pub(crate) fn same_bits(a: &[f32], b: &[f32]) -> bool {
    bytemuck::cast_slice::<f32, u32>(a) == bytemuck::cast_slice::<f32, u32>(b)
}
