//! Leaves a store alone that is away: after several failures in a row no request is sent, until one that is let through
//! from time to time is answered (docs/design.md, "The breaker").

mod circuit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::circuit::{Admitted, BreakerChange, Circuit, Verdict};
use super::config::{Settings, client};
use crate::error::{Error, ErrorKind, Result};
use crate::observer::Observer;
use crate::recorder::BreakerState;
use crate::runtime::Clock;
use crate::setters::setters;

/// When a store that fails is left alone. Start from `BreakerOptions::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// After how many failures in a row no request is sent (default 10). 0 turns the breaker off. A failure is one that
    /// says that the store is away: it is unavailable (500 and the like), a connection is broken, or there is no answer in
    /// time. Any other answer, such as 403, 404, 412 or 429, says that the store is there, and begins the count again.
    pub failures: u32,
    /// How long no request is sent before one is let through (default 1 s, at least 1 ms, at most 1 hour). When that one
    /// fails, the next pause is twice as long, up to 5 s, or up to this where it is longer.
    pub pause: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        BreakerOptions { failures: 10, pause: Duration::from_secs(1) }
    }
}

impl BreakerOptions {
    setters! { failures: u32, pause: Duration }

    /// What the settings of a store say. `None` for a store that has no such settings: it is in no cloud.
    pub(super) fn of(settings: &Settings) -> Result<Option<Self>> {
        if !settings.table().client_rows().any(|row| row.name == client::BREAKER_FAILURES.name) {
            return Ok(None);
        }
        let failures = settings.count(&client::BREAKER_FAILURES).and_then(|count| u32::try_from(count).ok());
        let too_many = || settings.bad(&client::BREAKER_FAILURES, "is too large: at most 4294967295 is allowed");
        let pause = settings.time(&client::BREAKER_PAUSE).unwrap_or_default();
        let options = BreakerOptions { failures: failures.ok_or_else(too_many)?, pause };
        match options.fault() {
            Some(fault) => Err(settings.bad(&client::BREAKER_PAUSE, fault)),
            None => Ok(Some(options)),
        }
    }

    /// Why the pause can't be used.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let allowed = Duration::from_millis(1)..=Duration::from_secs(3600);
        (!allowed.contains(&self.pause)).then_some("is too short or too long: 1ms to 1h is allowed")
    }
}

/// What the breaker of a store says now; [`StoreReader::breaker`](super::StoreReader::breaker) gives it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// Whether requests are sent.
    pub state: BreakerState,
    /// How many requests in a row have failed.
    pub failures: u32,
    /// How long the breaker has not been closed. `None` while it is closed.
    pub lasting: Option<Duration>,
    /// How long no request is sent. Zero where one would be sent now. `None` while one is under way whose answer decides.
    pub asked_in: Option<Duration>,
    /// The last failure. `None` after an answer.
    pub error: Option<Error>,
}

/// The breaker of one place. Messages name the store that was asked.
#[derive(Debug)]
pub(super) struct Breaker {
    clock: Arc<dyn Clock>,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    /// `None` where the options turn it off.
    pub(super) fn new(clock: &Arc<dyn Clock>, options: BreakerOptions) -> Option<Arc<Self>> {
        let circuit = Mutex::new(Circuit::new(options));
        (options.failures > 0).then(|| Arc::new(Breaker { clock: clock.clone(), circuit }))
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses while no request is let through. A request that passes here still needs a [`Pass`].
    pub(super) fn check(&self, url: &str) -> Result<()> {
        let now = self.clock.elapsed();
        let mut circuit = self.lock();
        if circuit.admits(now) { Ok(()) } else { Err(refusal(url, &circuit, now)) }
    }

    /// The right to send one request, whose end is to be told.
    pub(super) fn pass(self: &Arc<Self>, url: &str, observer: &Observer) -> Result<Pass> {
        let now = self.clock.elapsed();
        let (admitted, change) = {
            let mut circuit = self.lock();
            match circuit.admit(now) {
                (Some(admitted), change) => (admitted, change),
                (None, _) => return Err(refusal(url, &circuit, now)),
            }
        };
        tell(observer, url, change);
        Ok(Pass { breaker: self.clone(), url: url.to_string(), admitted })
    }

    pub(super) fn status(&self) -> BreakerStatus {
        let now = self.clock.elapsed();
        let circuit = self.lock();
        BreakerStatus {
            state: circuit.state(),
            failures: circuit.failures(),
            lasting: circuit.lasting(now),
            asked_in: circuit.asked_in(now),
            error: circuit.last(),
        }
    }
}

/// Call it under no lock.
fn tell(observer: &Observer, url: &str, change: Option<BreakerChange>) {
    if let Some(BreakerChange { state, failures, error }) = change {
        observer.breaker_changed(url, state, failures, error.as_ref());
    }
}

/// Why the store is not asked.
fn refusal(url: &str, circuit: &Circuit, now: Duration) -> Error {
    let (lasting, failures) = (circuit.lasting(now).unwrap_or_default(), circuit.failures());
    let again = match circuit.asked_in(now) {
        Some(left) => format!("it is asked again in {left:.1?}"),
        None => "one request is asking it now".to_string(),
    };
    let message = format!(
        "the store {url} has not been asked for {lasting:.1?}, because {failures} requests in a row failed; {again}"
    );
    let error = Error::new(ErrorKind::Unavailable, message);
    match circuit.last() {
        Some(last) => error.because_of(last),
        None => error,
    }
}

/// The right to send one request. Whoever has it says how the request ended.
#[must_use = "how the request ended must be told"]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    url: String,
    admitted: Admitted,
}

impl Pass {
    /// The store answered, though it may have refused.
    pub(super) fn answered(self, observer: &Observer) {
        self.ended(Verdict::Answered, observer);
    }

    /// The request failed. `status` is that of the answer, where it is known.
    pub(super) fn failed(self, error: &Error, status: Option<u16>, observer: &Observer) {
        self.ended(verdict(error, status), observer);
    }

    /// No caller wants the answer any more. `status` is that of the answer, where one had come.
    pub(super) fn given_up(self, status: Option<u16>, observer: &Observer) {
        let answered = status.is_some_and(|status| !says_away(status));
        self.ended(if answered { Verdict::Answered } else { Verdict::GivenUp }, observer);
    }

    fn ended(self, verdict: Verdict, observer: &Observer) {
        let now = self.breaker.clock.elapsed();
        let change = self.breaker.lock().ended(self.admitted, verdict, now);
        tell(observer, &self.url, change);
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass({})", self.url)
    }
}

/// What a failure says of the store.
fn verdict(error: &Error, status: Option<u16>) -> Verdict {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::TimedOut if status.is_none_or(|s| says_away(s) || s < 300) => {
            Verdict::Away(error.clone())
        }
        // Nothing came from the store.
        ErrorKind::Closed | ErrorKind::Internal => Verdict::GivenUp,
        _ => Verdict::Answered,
    }
}

/// Whether an answer with this status says that the store is away.
fn says_away(status: u16) -> bool {
    status == 408 || status >= 500
}
