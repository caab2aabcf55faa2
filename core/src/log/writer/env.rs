//! What one commit works with: the store, the clock, the options, and how it retries.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::options::WriterOptions;
use super::pace::spread;
use super::seen::Seen;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::PartitionId;
use crate::log::partition::PartitionState;
use crate::runtime::Runtime;
use crate::store::{Store, SyncFailure};

pub(super) struct Env<'a> {
    pub(super) state: &'a Arc<PartitionState>,
    pub(super) options: &'a WriterOptions,
    pub(super) control: &'a Control,
}

/// A flush that ended without being durable. It ends its writer (invariant 4).
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
}

impl Failure {
    pub(super) fn fatal(error: Error, stored: Stored) -> Self {
        Failure { error: error.with_stored(stored) }
    }
}

impl Env<'_> {
    pub(super) fn store(&self) -> &Store {
        self.state.store()
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

    /// Waits for a request at most 30 s and a second for each MiB. `Err` when it took longer, `None`
    /// when the writer gave up; in both cases it may still be applied.
    pub(super) async fn bounded<T>(&self, size: u64, request: impl Future<Output = T>) -> Option<Result<T>> {
        self.control.unless_aborted(bounded(self.state.runtime(), size, request)).await
    }

    /// A read, retried until it is answered or the writer gives up (`None`). Not found and whatever
    /// retrying can't mend is an answer.
    pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
        &self,
        mut read: impl FnMut() -> F,
    ) -> Option<Result<T>> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.bounded(64 << 20, read()).await? {
                Ok(Ok(value)) => return Some(Ok(value)),
                Ok(Err(error)) | Err(error) => error,
            };
            let passing = error.is_retriable() || error.kind() == ErrorKind::PermissionDenied;
            if !passing || SyncFailure::of(&error).is_some() {
                return Some(Err(error));
            }
            backoff.wait(self).await?;
        }
    }
}

/// Waits for a request at most 30 s and a second for each MiB. When it took longer it may still be applied.
pub(crate) async fn bounded<T>(runtime: &Runtime, size: u64, request: impl Future<Output = T>) -> Result<T> {
    let limit = Duration::from_secs(30).saturating_add(Duration::from_secs(size >> 20));
    let answer = runtime.timeout(limit, request).await;
    answer.ok_or_else(|| Error::new(ErrorKind::TimedOut, format!("the store did not answer within {limit:?}")))
}

/// Growing pauses between tries: 50 ms doubled up to 5 s, of which a random half is waited.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// `None` when the writer gave up meanwhile.
    pub(super) async fn wait(&mut self, env: &Env<'_>) -> Option<()> {
        let full = Duration::from_millis(50).saturating_mul(1 << self.tries.min(7)).min(Duration::from_secs(5));
        self.tries = self.tries.saturating_add(1);
        let pause = spread(full, env.state.runtime());
        env.control.unless_aborted(env.state.runtime().clock().sleep(pause)).await
    }
}

/// The writer was closed before the flush was settled.
pub(super) fn gave_up(may_have_landed: bool) -> Failure {
    let stored = if may_have_landed { Stored::Perhaps } else { Stored::Not };
    Failure::fatal(
        Error::new(ErrorKind::Closed, "the writer's close deadline passed before the flush was durable"),
        stored,
    )
}
