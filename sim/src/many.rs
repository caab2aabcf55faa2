//! Many seeds, on several threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Report, run};

/// What many simulations came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Simulations.
    pub seeds: u64,
    /// Appends begun, acked, failed as not stored, failed as perhaps stored.
    pub appends: [u64; 4],
    /// Requests that were sent.
    pub requests: u64,
    /// Creates of segments and indexes that were sent a second time.
    pub hedges: u64,
    /// Segments that were ever in a log.
    pub segments: u64,
    /// Segments that landed where the log had long passed.
    pub ghosts: u64,
    /// Those that failed, by seed.
    pub failed: Vec<Report>,
}

impl Totals {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        for (total, number) in self.appends.iter_mut().zip(report.appends) {
            *total += number as u64;
        }
        self.requests += report.requests;
        self.hedges += report.hedges;
        self.segments += report.segments as u64;
        self.ghosts += report.ghosts as u64;
        if report.violation.is_some() {
            self.failed.push(report);
        }
    }
}

/// Runs `count` seeds from `from` on, on as many threads as there are processors unless `threads` says otherwise. Stops
/// beginning others after the first failure unless `keep_going` is set.
pub fn run_many(from: u64, count: u64, threads: Option<usize>, keep_going: bool) -> Totals {
    let end = from.saturating_add(count);
    let next = AtomicU64::new(from);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..self::threads(threads) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let report = run(seed, false);
                    if report.violation.is_some() && !keep_going {
                        next.store(end, Ordering::Relaxed);
                    }
                    totals.lock().unwrap_or_else(PoisonError::into_inner).add(report);
                }
            });
        }
    });
    let mut totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.failed.sort_by_key(|report| report.seed);
    totals
}

/// As many threads as are asked for, else as there are processors.
pub(crate) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
