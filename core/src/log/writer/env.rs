//! What one commit works with: the store, the clock, the options, how it retries, and the word that ends its retries.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::options::WriterOptions;
use super::outcome::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::log::retry::{Retry, may_pass_for_a_commit};
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::runtime::Runtime;
use crate::store::{Created, HeldPlaces, Sent, Store};

/// What a writer does that looks at the tail.
pub(super) const LOOKING: &str = "looking at the end of the log";

/// Set when a close's deadline passes: retries stop, and a request that is on its way is no longer waited for.
#[derive(Debug, Default)]
pub(super) struct Control {
    aborted: AtomicBool,
    notify: Notify,
}

impl Control {
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// The work's result.
    ///
    /// # Errors
    /// The writer gave up before the result came.
    pub(super) async fn unless_aborted<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let aborted = self.notify.notified();
        if self.is_aborted() {
            return Err(Stop::gave_up());
        }
        futures_util::pin_mut!(work, aborted);
        match select(work, aborted).await {
            Either::Left((value, _)) => Ok(value),
            Either::Right(_) => Err(Stop::gave_up()),
        }
    }
}

pub(super) struct Env<'a> {
    pub(super) state: &'a Arc<PartitionState>,
    pub(super) options: &'a WriterOptions,
    pub(super) control: &'a Control,
}

impl Env<'_> {
    pub(super) fn store(&self) -> &Store {
        self.state.commits()
    }

    /// Waits for places among the requests under way, for as long as it takes: what waits for its turn is
    /// not sent, and the time of its request does not run.
    pub(super) async fn hold(&self, requests: u32) -> Result<HeldPlaces<'_>, Stop> {
        Ok(self.control.unless_aborted(self.store().hold(requests)).await??)
    }

    pub(super) fn id(&self) -> &PartitionId {
        &self.state.id
    }

    pub(super) fn now(&self) -> Seen {
        Seen::now(&**self.state.runtime().clock())
    }

    /// Whether a moment is longer ago than the bound on an unseen tail.
    pub(super) fn is_stale(&self, seen: Seen) -> bool {
        seen.is_past(self.options.stale_after, &**self.state.runtime().clock())
    }

    /// Waits for a request at most 30 s and a second for each MiB. The inner `Err` says that it took longer, the outer
    /// that the writer gave up. In both cases it may still be applied.
    pub(super) async fn bounded<T>(&self, size: u64, request: impl Future<Output = T>) -> Result<Result<T>, Stop> {
        self.control.unless_aborted(bounded(self.state.runtime(), size, request)).await
    }

    /// A read, retried until it is answered or the writer gives up. Not found and whatever retrying can't mend ends it,
    /// too. The size of what is read is not known: a try that took too long is
    /// followed by one that may take twice as long.
    pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
        &self,
        doing: &'static str,
        mut read: impl FnMut() -> F,
    ) -> Result<T, Stop> {
        let mut retry = self.retry(doing);
        let mut size = 64 << 20;
        loop {
            match self.bounded(size, read()).await? {
                Ok(Err(error)) | Err(error) if may_pass_for_a_commit(&error) => {
                    if error.kind() == ErrorKind::TimedOut {
                        size = size.saturating_mul(2);
                    }
                    self.again(&mut retry, error).await?;
                }
                Ok(answer) => {
                    retry.done();
                    return Ok(answer?);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Something that is asked of the store until it is done, and that can be seen meanwhile.
    pub(super) fn retry(&self, doing: &'static str) -> Retry<'_> {
        Retry::begin(&self.state.retries, self.state.runtime(), doing)
    }

    /// A wait for another writer, which can be seen while it lasts.
    pub(super) fn waits(&self, doing: &'static str, name: &str, what: &str) -> Retry<'_> {
        let who = if name.is_empty() { "another writer".to_owned() } else { format!("another writer ({name})") };
        let retry = self.retry(doing);
        self.state.observer().waits(self.id(), doing, &format!("{who} {what}"));
        retry.note(Error::new(ErrorKind::Unavailable, format!("{who} {what}")).with_key(self.id().claim_json_key()));
        retry
    }

    /// Waits after a failure until it is time for the next try.
    pub(super) async fn again(&self, retry: &mut Retry<'_>, error: Error) -> Result<(), Stop> {
        self.control.unless_aborted(retry.after(error)).await
    }
}

/// Waits for a request at most 30 s and a second for each MiB. When it took longer it may still be applied. The
/// time does not run while the request waits for its place among those under way.
pub(crate) async fn bounded<T>(runtime: &Runtime, size: u64, request: impl Future<Output = T>) -> Result<T> {
    let limit = Duration::from_secs(30).saturating_add(Duration::from_secs(size >> 20));
    futures_util::pin_mut!(request);
    let mut request = Sent(request);
    let clock = runtime.clock();
    // Of the limit, what is left when the request was sent; and the sleep that ends with it.
    let (mut left, mut running) = (limit, None);
    poll_fn(|context| {
        let (polled, waits) = request.poll(context);
        if let Poll::Ready(answer) = polled {
            return Poll::Ready(Ok(answer));
        }
        if waits {
            if let Some((since, _)) = running.take() {
                left = left.saturating_sub(clock.elapsed().saturating_sub(since));
            }
            return Poll::Pending;
        }
        let (_, sleep) = running.get_or_insert_with(|| (clock.elapsed(), clock.sleep(left)));
        sleep
            .poll_unpin(context)
            .map(|()| Err(Error::new(ErrorKind::TimedOut, format!("the store did not answer within {limit:?}"))))
    })
    .await
}

/// Whether no try can create an object that was refused so: the store lacks what is needed, or what is
/// no object has the name.
pub(super) fn is_hopeless(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt)
}

/// Why an object that is not there was not created.
pub(super) fn not_created(created: Created, key: &str) -> Error {
    match created {
        Created::Refused(error) | Created::Unknown(error) | Created::SyncFailed { error, .. } => error,
        Created::Exists | Created::Yes(_) => {
            let message = "the store answered a conflict, as if the key existed, and keeps nothing there";
            let hint = "it may pass; if it lasts, the store answers conditional PUTs wrongly: use another store, or a newer \
                        version of this one";
            Error::new(ErrorKind::Unavailable, message).with_hint(hint).with_key(key)
        }
    }
}
