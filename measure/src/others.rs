//! What else runs on the machine.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::machine;

/// Watches how much of the machine other processes use.
pub struct Others {
    start: Instant,
    busy: f64,
    own: f64,
}

impl Others {
    /// From now on.
    pub fn watch() -> Self {
        Self { start: Instant::now(), busy: busy_time(), own: own_time() }
    }

    /// The share of all CPUs' time that others have used; coarse within the first second.
    pub fn share(&self) -> f64 {
        let others = busy_time() - self.busy - (own_time() - self.own);
        let all = self.start.elapsed().as_secs_f64() * machine::threads() as f64;
        (others / all.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
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

/// Of Linux's interface, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds that all CPUs together have worked since they started; 0 where the system does not tell.
fn busy_time() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // Without the fourth and fifth, which are idle time.
    let busy = |(i, ticks): (usize, &f64)| if i == 3 || i == 4 || i > 7 { 0.0 } else { *ticks };
    ticks.iter().enumerate().map(busy).sum::<f64>() / TICKS_PER_SECOND
}

/// Seconds of CPU time of this process; 0 where the system does not tell.
fn own_time() -> f64 {
    ticks_of(&fs::read_to_string("/proc/self/stat").unwrap_or_default()) / TICKS_PER_SECOND
}

/// The user and system time in a line of `/proc/PID/stat`, whose second field, a name, may have spaces in it.
fn ticks_of(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_found() {
        let line = "12 (a b) c) R 1 2 3 4 5 6 7 8 9 10 31 47 1000 1000 20";
        assert_eq!(ticks_of(line), 78.0);
        assert_eq!(ticks_of(""), 0.0);
    }

    #[test]
    fn shares_are_shares() {
        let others = Others::watch();
        let share = others.share();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}
