//! Alternating measurements.

use std::time::{Duration, Instant};

/// Something to be timed.
pub trait Contender {
    /// What is timed.
    fn call(&mut self);

    /// Puts threads to sleep that would wait for the next call by spinning, while others are timed.
    fn rest(&mut self) {}
}

/// Medians of a contender's samples.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Seconds per call.
    pub seconds: f64,
    /// Its time by that of the first contender, sample by sample: above 1 where the first is quicker.
    pub ratio: f64,
}

/// How samples are taken.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Samples of each contender.
    pub samples: usize,
    /// Calls in a sample.
    pub calls: usize,
    /// Calls before the first sample.
    pub warm_up: usize,
}

/// Takes samples of all contenders in turn, each time beginning with another one, so that none is always the one
/// that comes after a certain other.
pub fn alternate(plan: Plan, contenders: &mut [&mut dyn Contender]) -> Vec<Timing> {
    for contender in &mut *contenders {
        for _ in 0..plan.warm_up {
            contender.call();
        }
        contender.rest();
    }
    let count = contenders.len();
    let mut seconds = vec![Vec::with_capacity(plan.samples); count];
    for sample in 0..plan.samples {
        for turn in 0..count {
            let which = (sample + turn) % count;
            seconds[which].push(sample_of(plan.calls, contenders[which]));
        }
    }
    let ratios = |times: &[f64]| times.iter().zip(&seconds[0]).map(|(time, first)| time / first).collect();
    let ratios: Vec<Vec<f64>> = seconds.iter().map(|times| ratios(times)).collect();
    seconds.iter().zip(&ratios).map(|(s, r)| Timing { seconds: median(s), ratio: median(r) }).collect()
}

/// Seconds per call, of `calls` calls after a pause and one more call that wakes the threads.
fn sample_of(calls: usize, contender: &mut dyn Contender) -> f64 {
    // Idle threads spin for a while; whoever came before is to be asleep.
    std::thread::sleep(Duration::from_millis(10));
    contender.call();
    let start = Instant::now();
    for _ in 0..calls {
        contender.call();
    }
    let seconds = start.elapsed().as_secs_f64() / calls as f64;
    contender.rest();
    seconds
}

/// As [`alternate`], by the CPU time of this thread, for contenders that use no other; as many calls a sample as
/// take about `least`.
pub fn alternate_on_this_thread(
    samples: usize,
    least: Duration,
    contenders: &mut [&mut dyn Contender],
) -> Vec<Timing> {
    let calls: Vec<usize> = contenders
        .iter_mut()
        .map(|contender| {
            contender.call();
            let start = thread_time();
            contender.call();
            let once = (thread_time() - start).as_secs_f64();
            (least.as_secs_f64() / once.max(1e-9)).ceil() as usize
        })
        .collect();
    let count = contenders.len();
    let mut seconds = vec![Vec::with_capacity(samples); count];
    for sample in 0..samples {
        for turn in 0..count {
            let which = (sample + turn) % count;
            let start = thread_time();
            for _ in 0..calls[which] {
                contenders[which].call();
            }
            seconds[which].push((thread_time() - start).as_secs_f64() / calls[which] as f64);
        }
    }
    seconds
        .iter()
        .map(|times| {
            let ratios: Vec<f64> = times.iter().zip(&seconds[0]).map(|(time, first)| time / first).collect();
            Timing { seconds: median(times), ratio: median(&ratios) }
        })
        .collect()
}

/// CPU time of this thread so far.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
