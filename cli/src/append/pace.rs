//! When the input pauses, so that what was read is flushed.

use std::time::Duration;

/// In a busy pipe only so long a silence is a pause: to flush at each gap would make many small segments.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// How the input comes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Somebody reads the report, and may write on only when what was written is durable.
    answered: bool,
    came: Option<Duration>,
    busy: bool,
}

impl Pace {
    pub(super) fn new(answered: bool) -> Self {
        Pace { answered, ..Pace::default() }
    }

    /// Something came at `now`; `pending`: what came before it is not durable yet. Whoever waits for answers
    /// writes nothing meanwhile, so a pipe is busy when something comes all the same. Without answers it is
    /// busy while gaps are short.
    pub(super) fn came(&mut self, now: Duration, pending: bool) {
        let gap = self.came.map(|before| now.saturating_sub(before));
        self.busy = pending || (!self.answered && gap.is_some_and(|gap| gap < PAUSE));
        self.came = Some(now);
    }

    /// How long nothing must come until that is a pause.
    pub(super) fn pause(&self) -> Duration {
        if self.busy { PAUSE } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_single_record_is_flushed_at_once() {
        for answered in [false, true] {
            let mut pace = Pace::new(answered);
            pace.came(ms(5), false);
            assert_eq!(pace.pause(), Duration::ZERO);
            pace.came(ms(500), false);
            assert_eq!(pace.pause(), Duration::ZERO);
        }
    }

    #[test]
    fn who_waits_for_each_answer_waits_for_nothing_else() {
        let mut pace = Pace::new(true);
        for n in 0..100 {
            pace.came(ms(n), false);
            assert_eq!(pace.pause(), Duration::ZERO);
        }
    }

    #[test]
    fn a_busy_pipe_gathers() {
        let mut answered = Pace::new(true);
        answered.came(ms(0), false);
        answered.came(ms(1), true);
        assert_eq!(answered.pause(), PAUSE);
        let mut unanswered = Pace::new(false);
        unanswered.came(ms(0), false);
        unanswered.came(ms(5), false);
        assert_eq!(unanswered.pause(), PAUSE);
        unanswered.came(ms(500), false);
        assert_eq!(unanswered.pause(), Duration::ZERO);
    }
}
