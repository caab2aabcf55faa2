//! When the store is asked again, and after which pause: for a log, and for the calls of [`Store`](super::Store).
//!
//! A log asks until no caller wants the answer any more, by a handle without [`Tries`]. A call of the storage interface is
//! tried a fixed number of times.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::config::{Settings, client as rows};
use super::{Store, StoreReader, SyncFailure};
use crate::error::{Error, ErrorKind, LONGEST_STORE_PAUSE, Result};
use crate::observer::Observer;
use crate::runtime::{Clock, Entropy, Runtime, SystemClock, SystemEntropy};

/// The pause after the first failure of a call, before chance shortens it. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// More tries than this are a loop that somebody forgot.
const MOST_RETRIES: u32 = 20;
/// A call without a time limit waits for ever on a server that is silent.
const LONGEST_OPERATION: Duration = Duration::from_secs(24 * 3600);

/// Whether a request that failed so may succeed later. After a failed fsync no later one proves anything.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) && SyncFailure::of(error).is_none()
}

/// The pause after a failure: what the store asked for, and then half of `full` to all of it. So the clients
/// that the store sent away at the same time do not come back at the same time. Together they are at most
/// [`LONGEST_STORE_PAUSE`], unless `full` alone is longer.
pub(crate) fn pause_after(error: &Error, full: Duration, entropy: &dyn Entropy) -> Duration {
    let asked = error.retry_after().unwrap_or_default().min(LONGEST_STORE_PAUSE.saturating_sub(full));
    asked.saturating_add(spread(full, entropy))
}

/// Half of it to all of it.
pub(crate) fn spread(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let mut random = [0_u8; 1];
    // A failing generator only costs the spread.
    let _ = entropy.fill(&mut random);
    let [random] = random;
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / 255.0)
}

/// How often, and for how long, a call of the storage interface is tried.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    /// How many tries follow the first one.
    retries: u32,
    /// How long a call may take, with all its tries and pauses.
    limit: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What has failed of a call.
#[derive(Debug, Default)]
struct Failed {
    tries: u32,
    last: Option<Error>,
}

impl Tries {
    fn new(retries: u32, limit: Duration) -> Self {
        Tries { retries, limit, clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    /// What the settings of a store on the network say. All their times have the same bounds.
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let retries = settings.count(&rows::RETRIES).and_then(|count| u32::try_from(count).ok());
        let Some(retries) = retries.filter(|retries| *retries <= MOST_RETRIES) else {
            return Err(settings.bad(&rows::RETRIES, &format!("is too large: at most {MOST_RETRIES} is allowed")));
        };
        let is_usable = |time: Duration| !time.is_zero() && time <= LONGEST_OPERATION;
        let mut rows = settings.table().rows();
        if let Some(row) = rows.find(|row| settings.time(row).is_some_and(|time| !is_usable(time))) {
            return Err(settings.bad(row, "is not usable: more than 0 and at most 24 hours are allowed"));
        }
        Ok(Tries::new(retries, settings.time(&rows::OPERATION_TIMEOUT).unwrap_or_default()))
    }

    /// The pause before the try that follows this failure. `None` when none follows.
    pub(super) fn pause(&self, tries: u32, error: &Error, spent: Duration) -> Option<Duration> {
        if tries > self.retries || !may_pass(error) {
            return None;
        }
        let times = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let full = FIRST_PAUSE.saturating_mul(times).min(LONGEST_PAUSE);
        let pause = pause_after(error, full, &*self.entropy);
        // A pause that ends with the call would be waited in vain.
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_STORE_PAUSE);
        Some(pause).filter(|pause| asked.max(*pause) < self.limit.saturating_sub(spent))
    }

    pub(super) async fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause).await;
    }

    /// Waits for a call for as long as one may take.
    async fn within<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let late = self.clock.sleep(self.limit);
        futures_util::pin_mut!(call);
        match select(call, late).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(_) => None,
        }
    }

    /// Makes a call.
    async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        observer: &Observer,
        doing: &'static str,
        key: &str,
        ask: impl FnMut() -> F,
    ) -> Result<T> {
        let mut failed = Failed::default();
        let answered = self.within(self.until_answered(observer, doing, &mut failed, ask)).await;
        answered.unwrap_or_else(|| Err(self.late(doing, key, failed)))
    }

    /// Asks until there is an answer that no further try may better, and tells of each failure.
    async fn until_answered<T, F: Future<Output = Result<T>>>(
        &self,
        observer: &Observer,
        doing: &'static str,
        failed: &mut Failed,
        mut ask: impl FnMut() -> F,
    ) -> Result<T> {
        let (began, what) = (self.clock.elapsed(), (doing, observer.now()));
        let mut told = false;
        loop {
            let error = match ask().await {
                Err(error) if may_pass(&error) => error,
                answer => {
                    if told {
                        observer.answered_again(None, what, failed.tries);
                    }
                    return answer;
                }
            };
            failed.tries = failed.tries.saturating_add(1);
            let spent = self.clock.elapsed().saturating_sub(began);
            let Some(pause) = self.pause(failed.tries, &error, spent) else {
                return Err(tried(error, failed.tries));
            };
            told = observer.retry(None, what, (failed.tries, pause), &error, told);
            failed.last = Some(error);
            self.sleep(pause).await;
        }
    }

    /// The error of a call whose time ran out.
    fn late(&self, doing: &str, key: &str, failed: Failed) -> Error {
        let message = format!("{doing} took longer than the operation_timeout, which is {:?}", self.limit);
        let error = Error::new(ErrorKind::TimedOut, message)
            .with_hint("set a longer operation_timeout, or pass large objects by get_stream and put_stream");
        let error = if key.is_empty() { error } else { error.with_key(key) };
        match failed.last {
            Some(last) => tried(error.because_of(last), failed.tries.saturating_add(1)),
            None => error,
        }
    }
}

/// The error of a request that was tried so often.
pub(super) fn tried(error: Error, tries: u32) -> Error {
    if tries < 2 {
        return error;
    }
    let message = format!("{} (tried {tries} times)", error.message());
    error.with_message(message)
}

impl StoreReader {
    /// Makes a call of the storage interface, as often as this handle tries one.
    pub(super) async fn again<T, F: Future<Output = Result<T>>>(
        &self,
        doing: &'static str,
        key: &str,
        mut ask: impl FnMut() -> F,
    ) -> Result<T> {
        // A log's handle takes no more room on the stack than the request itself.
        let Some(tries) = &self.tries else { return ask().await };
        Box::pin(tries.call(&self.observer, doing, key, ask)).await
    }

    /// Makes a call that is tried once, within the time that a call may take.
    ///
    /// # Errors
    /// `TimedOut` when it took longer. It may still be applied.
    pub(super) async fn once<F: Future>(
        &self,
        doing: &'static str,
        key: &str,
        ask: impl FnOnce() -> F,
    ) -> Result<F::Output> {
        let Some(tries) = &self.tries else { return Ok(ask().await) };
        let answered = Box::pin(tries.within(ask())).await;
        answered.ok_or_else(|| tries.late(doing, key, Failed::default()))
    }
}

impl Store {
    /// The same store, each of whose calls is tried up to `retries` times more after failures that may pass, with growing
    /// pauses, and takes at most `operation_timeout` with all its tries. It is for a store that a caller brings: one that
    /// [`open`](Self::open) made has the settings `retries` and `operation_timeout` for this, and directories and memory
    /// need no retries. It has no effect on a log in the store, which asks again by itself.
    ///
    /// # Errors
    /// `InvalidInput` for more than 20 retries, and for a time of 0 or of more than 24 hours.
    pub fn with_retries(mut self, retries: u32, operation_timeout: Duration) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if retries > MOST_RETRIES {
            return refuse(format!("{retries} retries are too many: at most {MOST_RETRIES} are allowed"));
        }
        if operation_timeout.is_zero() || operation_timeout > LONGEST_OPERATION {
            let message =
                format!("the operation_timeout is {operation_timeout:?}: more than 0 and at most 24 hours are allowed");
            return refuse(message);
        }
        self.reader.tries = Some(Arc::new(Tries::new(retries, operation_timeout)));
        Ok(self)
    }

    /// The same store, whose calls are tried once and have no time limit: for a log, which has its own.
    pub(crate) fn without_retries(mut self) -> Self {
        self.reader.tries = None;
        self
    }

    /// The same store, whose calls wait by this runtime's clock.
    pub(crate) fn waiting_on(mut self, runtime: &Runtime) -> Self {
        if let Some(tries) = self.reader.tries.as_mut().map(Arc::make_mut) {
            tries.clock = runtime.clock().clone();
            tries.entropy = runtime.entropy().clone();
        }
        self
    }
}
