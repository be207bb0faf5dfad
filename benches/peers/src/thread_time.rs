//! Alternating measurements by the CPU time of one thread.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use warpdot_measure::timing::{Contender, Timing, median};

/// As [`alternate`](warpdot_measure::timing::alternate), by the CPU time of this thread, for contenders that use no
/// other; as many calls a sample as take about `least`.
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
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
