//! Alternating measurements.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

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
    clock(ClockId::ThreadCPUTime)
}

fn clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Watches how much of the machine other processes use.
pub struct Others {
    start: Instant,
    busy: f64,
    own: f64,
}

impl Others {
    /// From now on.
    pub fn watch() -> Self {
        Self { start: Instant::now(), busy: busy_time(), own: clock(ClockId::ProcessCPUTime).as_secs_f64() }
    }

    /// The share of all CPUs' time that others have used; coarse within the first second.
    pub fn share(&self) -> f64 {
        let others = busy_time() - self.busy - (clock(ClockId::ProcessCPUTime).as_secs_f64() - self.own);
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        (others / (self.start.elapsed().as_secs_f64() * cpus)).clamp(0.0, 1.0)
    }

    /// Waits until others use less than a twentieth, but no longer than told.
    pub fn wait_for_quiet(patience: Duration) {
        let start = Instant::now();
        while start.elapsed() < patience {
            let others = Self::watch();
            std::thread::sleep(Duration::from_secs(1));
            if others.share() < 0.05 {
                break;
            }
        }
    }
}

/// Seconds that all CPUs together have worked since they started; 0 where the system does not tell.
fn busy_time() -> f64 {
    /// Of Linux's interface, on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // Without the fourth and fifth, which are idle time.
    let busy = |(i, ticks): (usize, &f64)| if i == 3 || i == 4 || i > 7 { 0.0 } else { *ticks };
    ticks.iter().enumerate().map(busy).sum::<f64>() / TICKS_PER_SECOND
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
