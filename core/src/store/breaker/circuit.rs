//! The states of a breaker, without a clock or a lock. All times are by the breaker's clock.

use std::time::Duration;

use super::BreakerOptions;
use crate::error::{Error, ErrorKind};
use crate::recorder::BreakerState;

/// Pauses double up to this, or stay at the first pause where that is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A request without an answer for so long counts as failed, for its caller may wait for ever.
const SILENCE: Duration = Duration::from_secs(10);

/// How a request ended, as far as that tells whether the store is there.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The store answered. It may have refused.
    Answered,
    /// The request failed because the store is away.
    Away(Error),
    /// The caller gave the request up. The store had answered nothing.
    GivenUp,
}

/// A change of state.
#[derive(Debug)]
pub(super) struct BreakerChange {
    pub(super) state: BreakerState,
    pub(super) failures: u32,
    /// The last failure. `None` when the breaker closes.
    pub(super) error: Option<Error>,
}

/// A request that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    number: u64,
    began: Duration,
}

#[derive(Debug)]
pub(super) struct Circuit {
    options: BreakerOptions,
    position: Position,
    /// Failures in a row.
    failures: u32,
    last: Option<Error>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Closed,
    Open {
        /// When it opened first. Probes that failed since change nothing here.
        since: Duration,
        until: Duration,
        pause: Duration,
    },
    HalfOpen {
        since: Duration,
        /// The pause that has passed.
        pause: Duration,
        /// The request that was let through. `None` after its caller gave it up: the next request takes its place.
        probe: Option<Admitted>,
    },
}

impl Circuit {
    pub(super) fn new(options: BreakerOptions) -> Self {
        Circuit { options, position: Position::Closed, failures: 0, last: None, next: 0 }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.position {
            Position::Closed => BreakerState::Closed,
            Position::Open { .. } => BreakerState::Open,
            Position::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn last(&self) -> Option<Error> {
        self.last.clone()
    }

    /// How long the breaker has not been closed.
    pub(super) fn lasting(&self, now: Duration) -> Option<Duration> {
        match self.position {
            Position::Closed => None,
            Position::Open { since, .. } | Position::HalfOpen { since, .. } => Some(now.saturating_sub(since)),
        }
    }

    /// How long no request is let through. `None` while the probe is under way, because its answer decides.
    pub(super) fn asked_in(&self, now: Duration) -> Option<Duration> {
        match self.position {
            Position::Open { until, .. } => Some(until.saturating_sub(now)),
            Position::HalfOpen { probe: Some(_), .. } => None,
            Position::Closed | Position::HalfOpen { probe: None, .. } => Some(Duration::ZERO),
        }
    }

    /// Whether a request would be let through now.
    pub(super) fn admits(&mut self, now: Duration) -> bool {
        self.settle(now);
        self.asked_in(now).is_some_and(|left| left.is_zero())
    }

    /// Lets a request through, or `None`.
    pub(super) fn admit(&mut self, now: Duration) -> (Option<Admitted>, Option<BreakerChange>) {
        if !self.admits(now) {
            return (None, None);
        }
        let admitted = Admitted { number: self.next, began: now };
        self.next = self.next.wrapping_add(1);
        let change = match self.position {
            Position::Closed => None,
            Position::Open { since, pause, .. } => {
                self.position = Position::HalfOpen { since, pause, probe: Some(admitted) };
                Some(self.change())
            }
            // It took the place of a probe that was given up, and the state is told already.
            Position::HalfOpen { since, pause, .. } => {
                self.position = Position::HalfOpen { since, pause, probe: Some(admitted) };
                None
            }
        };
        (Some(admitted), change)
    }

    /// A request has ended. Each is told once.
    pub(super) fn ended(&mut self, request: Admitted, verdict: Verdict, now: Duration) -> Option<BreakerChange> {
        let silent = now.saturating_sub(request.began) >= SILENCE;
        self.settle(now);
        match verdict {
            Verdict::Answered => self.answered(),
            Verdict::Away(error) => self.failed(request, error, now),
            Verdict::GivenUp if silent => self.failed(request, silence(), now),
            Verdict::GivenUp => {
                self.vacate(request);
                None
            }
        }
    }

    fn answered(&mut self) -> Option<BreakerChange> {
        (self.failures, self.last) = (0, None);
        match std::mem::replace(&mut self.position, Position::Closed) {
            Position::Closed => None,
            Position::Open { .. } | Position::HalfOpen { .. } => Some(self.change()),
        }
    }

    fn failed(&mut self, request: Admitted, error: Error, now: Duration) -> Option<BreakerChange> {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(error);
        match self.position {
            Position::Closed if self.failures >= self.options.failures => {
                let pause = self.options.pause;
                self.position = Position::Open { since: now, until: now.saturating_add(pause), pause };
                Some(self.change())
            }
            Position::HalfOpen { since, pause, probe: Some(probe) } if probe == request => {
                self.reopen(since, pause, now);
                Some(self.change())
            }
            // One that was sent before the breaker opened says nothing new.
            _ => None,
        }
    }

    /// Gives the place of a probe free that was given up.
    fn vacate(&mut self, request: Admitted) {
        if let Position::HalfOpen { probe, .. } = &mut self.position
            && *probe == Some(request)
        {
            *probe = None;
        }
    }

    /// A probe without an answer has failed when its time was up, whether or not its caller waits on.
    fn settle(&mut self, now: Duration) {
        if let Position::HalfOpen { since, pause, probe: Some(probe) } = self.position
            && now.saturating_sub(probe.began) >= SILENCE
        {
            self.failures = self.failures.saturating_add(1);
            self.last = Some(silence());
            self.reopen(since, pause, probe.began.saturating_add(SILENCE));
        }
    }

    fn reopen(&mut self, since: Duration, pause: Duration, at: Duration) {
        let longest = LONGEST_PAUSE.max(self.options.pause);
        let pause = pause.saturating_mul(2).min(longest);
        self.position = Position::Open { since, until: at.saturating_add(pause), pause };
    }

    fn change(&self) -> BreakerChange {
        BreakerChange { state: self.state(), failures: self.failures, error: self.last.clone() }
    }
}

fn silence() -> Error {
    Error::new(ErrorKind::TimedOut, format!("the store did not answer within {SILENCE:?}"))
}
