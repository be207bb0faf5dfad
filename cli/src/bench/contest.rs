//! A kernel as a contender for the shortest time.

use super::replay::Replay;
use crate::{
    error::Error,
    measure::{same_bits, unwritten},
};
use rayon::ThreadPool;
use std::time::Duration;
use warpdot::{DeviceMatrix, Options};
use warpdot_measure::timing::Contender;

/// One kernel's product, again and again, going round copies of the weights.
pub(crate) struct Contest<'a> {
    copies: &'a [DeviceMatrix],
    pool: Option<&'a ThreadPool>,
    options: Options,
    m: usize,
    x: &'a [f32],
    next: usize,
    /// What products are timed by on a GPU.
    replay: Option<Replay<'a>>,
    y: Vec<f32>,
    /// The name of the kernel.
    pub(crate) kernel: String,
    /// The outputs of the first call.
    pub(crate) first: Vec<f32>,
    /// Samples that ended with other bits than the first call.
    pub(crate) deviating: u32,
    /// What went wrong, if anything did.
    pub(crate) failure: Option<warpdot::Error>,
}

impl<'a> Contest<'a> {
    /// Multiplies once. Threads are the `pool`'s, or rayon's usual ones; later products are those of `replay`, if that is
    /// given.
    pub(crate) fn new(
        copies: &'a [DeviceMatrix],
        pool: Option<&'a ThreadPool>,
        options: Options,
        m: usize,
        x: &'a [f32],
        replay: Option<Replay<'a>>,
    ) -> Result<Self, Error> {
        let outputs = m * copies[0].rows();
        let mut first = unwritten(outputs)?;
        let mut multiply = || copies[0].matmul_with(&options, m, x, &mut first);
        let run = match pool {
            Some(pool) => pool.install(multiply)?,
            None => multiply()?,
        };
        let (kernel, y) = (run.kernel.to_string(), unwritten(outputs)?);
        Ok(Self {
            copies,
            pool,
            options,
            m,
            x,
            next: 1,
            replay,
            y,
            kernel,
            first,
            deviating: 0,
            failure: None,
        })
    }

    /// The weights, as often as they are there.
    pub(crate) fn copies(&self) -> &'a [DeviceMatrix] {
        self.copies
    }

    /// The time of so many products on the device.
    fn multiply(&mut self, calls: usize) -> Result<Duration, warpdot::Error> {
        if let Some(replay) = &mut self.replay {
            replay.set_outputs(&self.y)?;
            let time = replay.time(calls)?;
            replay.outputs(&mut self.y)?;
            return Ok(time);
        }
        let mut time = Duration::ZERO;
        for _ in 0..calls {
            let weights = &self.copies[self.next % self.copies.len()];
            self.next += 1;
            time += weights.matmul_with(&self.options, self.m, self.x, &mut self.y)?.time;
        }
        Ok(time)
    }
}

impl Contender for Contest<'_> {
    fn call(&mut self) {
        self.time(1);
    }

    /// By the device's own clock, without the way to another pool's threads, or to a GPU and back.
    fn time(&mut self, calls: usize) -> f64 {
        if self.failure.is_some() {
            return 0.0;
        }
        self.y.fill(f32::NAN);
        let time = match self.pool {
            Some(pool) => pool.install(|| self.multiply(calls)),
            None => self.multiply(calls),
        };
        match time {
            Ok(time) => {
                self.deviating += u32::from(!same_bits(&self.y, &self.first));
                time.as_secs_f64()
            }
            Err(error) => {
                self.failure = Some(error);
                0.0
            }
        }
    }
}

/// Reading weights on a GPU, as a contender.
pub(crate) struct Reads<'a> {
    replay: Replay<'a>,
    /// What went wrong, if anything did.
    pub(crate) failure: Option<warpdot::Error>,
}

impl<'a> Reads<'a> {
    pub(crate) fn new(replay: Replay<'a>) -> Self {
        Self { replay, failure: None }
    }
}

impl Contender for Reads<'_> {
    fn call(&mut self) {
        self.time(1);
    }

    fn time(&mut self, calls: usize) -> f64 {
        if self.failure.is_some() {
            return 0.0;
        }
        match self.replay.time(calls) {
            Ok(time) => time.as_secs_f64(),
            Err(error) => {
                self.failure = Some(error);
                0.0
            }
        }
    }
}

/// A contender whose threads are a pool's.
pub(crate) struct In<'a, C>(pub(crate) Option<&'a ThreadPool>, pub(crate) C);

impl<C: Contender + Send> Contender for In<'_, C> {
    fn call(&mut self) {
        match self.0 {
            Some(pool) => pool.install(|| self.1.call()),
            None => self.1.call(),
        }
    }

    fn time(&mut self, calls: usize) -> f64 {
        match self.0 {
            Some(pool) => pool.install(|| self.1.time(calls)),
            None => self.1.time(calls),
        }
    }
}
