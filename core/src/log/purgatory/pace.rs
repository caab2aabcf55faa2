//! How often the store is asked what follows the end of one log, by the fetches that wait there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;

/// The pace of all polls of one partition. A fetch takes the turn before it polls, so that a hundred fetches at the same
/// tail send the requests of one.
#[derive(Debug, Default)]
pub(crate) struct PollPace(Mutex<PaceNow>);

#[derive(Debug, Default)]
struct PaceNow {
    /// How long to wait between two polls. It doubles with each that finds nothing.
    wait: Duration,
    /// When the turn was last taken.
    taken: Option<Duration>,
    /// A poll is under way.
    polling: bool,
    /// How the last poll failed, and when.
    failed: Option<(Duration, Error)>,
}

/// It is too early to poll, or a poll is under way.
#[derive(Debug)]
pub(crate) struct TooEarly {
    /// When to try again.
    pub(crate) until: Duration,
    /// How the last poll failed, if no other poll has been sent since.
    pub(crate) failed: Option<Error>,
}

impl PollPace {
    fn lock(&self) -> MutexGuard<'_, PaceNow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn, which must be given back by [`end`](Self::end). `asked` is when the store was last asked what
    /// follows, by anybody; `limits` are the shortest and the longest wait.
    ///
    /// # Errors
    /// Too early when the pace says so, or when a poll is under way.
    pub(crate) fn take(
        &self,
        asked: Option<Duration>,
        now: Duration,
        limits: (Duration, Duration),
    ) -> Result<(), TooEarly> {
        let mut pace = self.lock();
        pace.wait = within(pace.wait, limits);
        if pace.polling {
            return Err(pace.too_early(asked, now.saturating_add(within(Duration::ZERO, limits))));
        }
        match asked.max(pace.taken).map(|asked| asked.saturating_add(pace.wait)) {
            Some(due) if due > now => Err(pace.too_early(asked, due)),
            _ => {
                (pace.polling, pace.taken) = (true, Some(now));
                Ok(())
            }
        }
    }

    /// How the last poll failed, if the store was not asked since. `asked` is as in [`take`](Self::take).
    pub(crate) fn failure(&self, asked: Option<Duration>) -> Option<Error> {
        self.lock().failure(asked)
    }

    /// The poll has ended. After one that brought news the next comes soon. `failed` is how and when it failed.
    pub(crate) fn end(&self, news: bool, failed: Option<(Duration, Error)>) {
        let mut pace = self.lock();
        (pace.polling, pace.failed) = (false, failed);
        pace.wait = if news { Duration::ZERO } else { pace.wait.saturating_mul(2) };
    }
}

impl PaceNow {
    fn too_early(&self, asked: Option<Duration>, until: Duration) -> TooEarly {
        TooEarly { until, failed: self.failure(asked) }
    }

    fn failure(&self, asked: Option<Duration>) -> Option<Error> {
        let failed = self.failed.as_ref().filter(|(at, _)| asked.is_none_or(|asked| asked < *at));
        failed.map(|(_, error)| error.clone())
    }
}

/// At least a millisecond, so that no poller runs without a pause.
fn within(wait: Duration, (least, most): (Duration, Duration)) -> Duration {
    let least = least.max(Duration::from_millis(1));
    wait.max(least).min(most.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const LIMITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

    #[test]
    fn the_wait_between_two_polls_doubles_until_one_brings_news() {
        let pace = PollPace::default();
        let until = |asked, now| pace.take(asked, now, LIMITS).unwrap_err().until;
        let mut now = Duration::from_secs(100);
        for wait in [50, 100, 200, 400, 800, 1000, 1000] {
            pace.take(None, now, LIMITS).unwrap();
            assert_eq!(until(None, now), now + LIMITS.0, "one at a time");
            pace.end(false, None);
            let due = until(None, now);
            assert_eq!(due, now + Duration::from_millis(if wait == 50 { 100 } else { (wait * 2).min(1000) }));
            now = due;
        }
        pace.take(None, now, LIMITS).unwrap();
        pace.end(true, None);
        assert_eq!(until(None, now), now + LIMITS.0);
        let asked = now + Duration::from_millis(40);
        assert_eq!(until(Some(asked), asked), asked + LIMITS.0, "what others asked counts too");
    }

    #[test]
    fn a_poll_that_failed_is_told_until_the_store_is_asked_again() {
        let pace = PollPace::default();
        let now = Duration::from_secs(100);
        let failed = |asked| pace.take(asked, now, LIMITS).unwrap_err().failed.map(|error| error.kind());
        pace.take(None, now, LIMITS).unwrap();
        pace.end(false, Some((now, Error::new(ErrorKind::PermissionDenied, "no"))));
        assert_eq!(failed(None), Some(ErrorKind::PermissionDenied));
        assert_eq!(failed(Some(now - LIMITS.0)), Some(ErrorKind::PermissionDenied));
        assert_eq!(failed(Some(now)), None, "somebody else was answered since");
    }
}
