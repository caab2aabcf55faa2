//! The word that ends a flush's retries.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

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

    /// The work's result, or `None` when the writer gave up before it came.
    pub(super) async fn unless_aborted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let aborted = self.notify.notified();
        if self.is_aborted() {
            return None;
        }
        futures_util::pin_mut!(work, aborted);
        match select(work, aborted).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }
}
