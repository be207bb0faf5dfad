//! Alternating measurements.

use std::time::{Duration, Instant};

/// Something to be timed.
pub trait Contender {
    /// What is timed.
    fn call(&mut self);

    /// The seconds that `calls` calls in a row take: by the clock on the wall, unless it knows better.
    fn time(&mut self, calls: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..calls {
            self.call();
        }
        start.elapsed().as_secs_f64()
    }

    /// Puts threads to sleep that would wait for the next call by spinning, while others are timed.
    fn rest(&mut self) {}
}

/// Medians of a contender's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
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
/// that comes after a certain other. Calls `sampled` after each sample.
///
/// # Panics
/// If no samples are to be taken.
pub fn alternate(
    plan: Plan,
    contenders: &mut [&mut dyn Contender],
    mut sampled: impl FnMut(),
) -> Vec<Timing> {
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
            sampled();
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
    let seconds = contender.time(calls) / calls as f64;
    contender.rest();
    seconds
}

/// The median, the upper one of an even number.
///
/// # Panics
/// If there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Takes `seconds`, more from sample to sample, and writes down its turns.
    struct Fake<'a> {
        name: char,
        seconds: f64,
        turns: &'a RefCell<String>,
    }

    impl Contender for Fake<'_> {
        fn call(&mut self) {}

        fn time(&mut self, calls: usize) -> f64 {
            self.turns.borrow_mut().push(self.name);
            self.seconds *= 2.0;
            self.seconds * calls as f64
        }
    }

    #[test]
    fn samples_alternate_and_medians_are_taken() {
        let turns = RefCell::default();
        let mut fakes = [('a', 1.0), ('b', 3.0)].map(|(name, seconds)| Fake { name, seconds, turns: &turns });
        let [a, b] = &mut fakes;
        let mut sampled = 0;
        let plan = Plan { samples: 3, calls: 5, warm_up: 1 };
        let timings = alternate(plan, &mut [a, b], || sampled += 1);
        assert_eq!(*turns.borrow(), "abbaab");
        assert_eq!(sampled, 6);
        assert_eq!(timings, [Timing { seconds: 4.0, ratio: 1.0 }, Timing { seconds: 12.0, ratio: 3.0 }]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 3.0);
    }
}
