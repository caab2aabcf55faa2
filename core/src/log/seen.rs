//! When something was last seen in the store, by clocks that may stand still or go back (docs/design.md, "The stale writer").

use std::time::Duration;

use crate::mutant::mutant;
use crate::runtime::Clock;

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    elapsed: Duration,
    wall_ms: i64,
}

impl Seen {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Seen { elapsed: clock.elapsed(), wall_ms: clock.wall_ms() }
    }

    /// Time since then: the greater of both clocks. `None` when the wall clock went back, for then
    /// nothing is known.
    fn age(&self, clock: &dyn Clock) -> Option<Duration> {
        if mutant!(TrustMonotonicClock) {
            return Some(clock.elapsed().saturating_sub(self.elapsed));
        }
        let wall = clock.wall_ms().checked_sub(self.wall_ms)?;
        let wall = Duration::from_millis(u64::try_from(wall).ok()?);
        Some(clock.elapsed().saturating_sub(self.elapsed).max(wall))
    }

    /// Whether it is longer ago than the bound, or can't be told.
    pub(crate) fn is_past(&self, bound: Duration, clock: &dyn Clock) -> bool {
        self.age(clock).is_none_or(|age| age > bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::BoxFuture;

    #[derive(Debug)]
    struct At(u64, i64);

    impl Clock for At {
        fn wall_ms(&self) -> i64 {
            self.1
        }
        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.0)
        }
        fn sleep(&self, _: Duration) -> BoxFuture<()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn the_greater_clock_counts_and_a_wall_clock_that_went_back_is_past() {
        let seen = Seen::now(&At(1_000, 50_000));
        let bound = Duration::from_millis(100);
        assert!(!seen.is_past(bound, &At(1_100, 50_100)));
        assert!(seen.is_past(bound, &At(1_101, 50_000)), "the wall clock stood still");
        assert!(seen.is_past(bound, &At(1_000, 50_101)), "the monotonic clock stood still");
        assert!(seen.is_past(bound, &At(1_001, 49_999)), "the wall clock went back");
    }
}
