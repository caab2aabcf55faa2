//! How long creates take, and when one that takes longer is sent a second time (docs/design.md, "Hedged creates").

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::setters::setters;

/// How many of the last creates of a size class are remembered.
const REMEMBERED: usize = 128;
/// Creates of at least this many bytes are one class.
const LARGEST_CLASS: usize = 16;
/// The most creates in a row that may all be hedged, after many that were not.
const BURST: u32 = 10;
/// What one hedge costs, in hundredths.
const PRICE: u32 = 100;

/// When a create of a segment or an index that is slow is sent a second time. Start from `HedgeOptions::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HedgeOptions {
    /// The least time without an answer after which a create is sent a second time (default 50 ms). It is the 99th percentile
    /// of the last creates of about the same size where that is longer.
    pub least_wait: Duration,
    /// How many creates of about the same size must have been answered before one is hedged (default 50, at most 128).
    pub least_samples: usize,
    /// How many of a hundred creates may be hedged (default 10, at most 100).
    pub most_of_hundred: u32,
}

impl Default for HedgeOptions {
    fn default() -> Self {
        HedgeOptions { least_wait: Duration::from_millis(50), least_samples: 50, most_of_hundred: 10 }
    }
}

impl HedgeOptions {
    setters! { least_wait: Duration, least_samples: usize, most_of_hundred: u32 }
}

/// What one store knows of its creates.
#[derive(Debug)]
pub(crate) struct Hedges {
    options: HedgeOptions,
    state: Mutex<HedgeState>,
}

#[derive(Debug, Default)]
struct HedgeState {
    /// By size class: how long the last creates took, the oldest first.
    took: Vec<VecDeque<Duration>>,
    /// What hedges may cost now, in hundredths.
    credit: u32,
}

impl Hedges {
    pub(super) fn new(options: HedgeOptions) -> Self {
        Hedges { options, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HedgeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A create of this many bytes begins: how long it may have no answer before it is hedged. `None` while too few of
    /// its size are known.
    pub(crate) fn begins(&self, size: u64) -> Option<Duration> {
        let mut state = self.lock();
        let share = self.options.most_of_hundred.min(PRICE);
        state.credit = state.credit.saturating_add(share).min(BURST.saturating_mul(PRICE));
        let known = state.took.get(class_of(size)).map(|took| took.iter().copied().collect()).unwrap_or_default();
        drop(state);
        percentile_99(known, self.options.least_samples.min(REMEMBERED)).map(|wait| wait.max(self.options.least_wait))
    }

    /// A create of this many bytes was answered after this time, or its hedge was.
    pub(crate) fn took(&self, size: u64, time: Duration) {
        let (mut state, class) = (self.lock(), class_of(size));
        if state.took.len() <= class {
            state.took.resize_with(class.saturating_add(1), VecDeque::new);
        }
        if let Some(took) = state.took.get_mut(class) {
            if took.len() >= REMEMBERED {
                took.pop_front();
            }
            took.push_back(time);
        }
    }

    /// Whether one more create may be hedged now. If so, that is taken for done.
    pub(crate) fn take(&self) -> bool {
        let mut state = self.lock();
        match state.credit.checked_sub(PRICE) {
            Some(left) => {
                state.credit = left;
                true
            }
            None => false,
        }
    }
}

/// Creates whose sizes differ by less than twice are one class, and all of less than 64 KiB are.
fn class_of(size: u64) -> usize {
    let class = (size >> 16).checked_ilog2().map_or(0, |log| log.saturating_add(1));
    usize::try_from(class).unwrap_or(LARGEST_CLASS).min(LARGEST_CLASS)
}

/// The time that 99 of 100 do not exceed. `None` where fewer than `least` are known; zero where none is needed.
fn percentile_99(mut known: Vec<Duration>, least: usize) -> Option<Duration> {
    if known.len() < least {
        return None;
    }
    known.sort_unstable();
    let rank = known.len().saturating_mul(99).div_ceil(100);
    Some(rank.checked_sub(1).and_then(|index| known.get(index).copied()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_hedged_before_enough_of_its_size_is_known() {
        let hedges = Hedges::new(HedgeOptions::default());
        for n in 0..50 {
            assert_eq!(hedges.begins(100), None, "{n}");
            hedges.took(100, MS * 200);
        }
        assert_eq!(hedges.begins(100), Some(MS * 200));
        assert_eq!(hedges.begins(1 << 20), None, "another size");
    }

    #[test]
    fn the_wait_is_the_99th_percentile_of_the_last_creates_and_no_less_than_the_least() {
        let hedges = Hedges::new(HedgeOptions::default());
        for n in 1..=100 {
            hedges.took(0, MS * n);
        }
        assert_eq!(hedges.begins(0), Some(MS * 99));
        for _ in 0..128 {
            hedges.took(0, MS);
        }
        assert_eq!(hedges.begins(0), Some(MS * 50), "older ones are forgotten");
    }

    #[test]
    fn no_more_than_the_share_is_hedged() {
        let hedges = Hedges::new(HedgeOptions::default().least_samples(0));
        assert!(!hedges.take(), "none at the beginning");
        let hedged = (0..1_000).filter(|_| hedges.begins(0).is_some() && hedges.take()).count();
        assert_eq!(hedged, 100);
        for _ in 0..1_000 {
            hedges.begins(0);
        }
        assert_eq!((0..1_000).filter(|_| hedges.take()).count(), 10, "what was not used is not saved up");
    }

    #[test]
    fn sizes_that_differ_by_less_than_twice_are_one_class() {
        assert_eq!([0, 65_535, 65_536, 131_071, 131_072, u64::MAX].map(class_of), [0, 0, 1, 1, 2, 16]);
    }
}
