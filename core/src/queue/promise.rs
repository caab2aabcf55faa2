//! That an operation completes exactly once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::completion::{Completion, Ended};
use super::{CompletionQueue, QueueCore};
use crate::error::Error;
use crate::fork::ForkGuard;
use crate::runtime::lost_task;

/// The one completion of an operation. Dropping it unkept completes the operation with an error.
pub(super) struct Promise {
    /// The process of the queue.
    pub(super) fork: ForkGuard,
    queue: Weak<QueueCore>,
    tag: u64,
    /// The number of its job, or 0.
    pub(super) job: u64,
    kept: AtomicBool,
    /// How an operation ends that was lost with this error.
    lost: fn(Error) -> Ended,
}

impl Promise {
    pub(super) fn new(queue: &CompletionQueue, tag: u64, job: u64, lost: fn(Error) -> Ended) -> Arc<Self> {
        Arc::new(Promise {
            fork: queue.0.fork,
            queue: Arc::downgrade(&queue.0),
            tag,
            job,
            kept: AtomicBool::new(false),
            lost,
        })
    }

    /// Completes the operation, unless that was done. Whether this call did. Call it under no lock.
    pub(super) fn keep(&self, ended: Ended) -> bool {
        if self.kept.swap(true, Ordering::AcqRel) {
            return false;
        }
        if let Some(queue) = self.queue.upgrade() {
            queue.push(self.job, Completion { tag: self.tag, ended });
        }
        true
    }

    /// The completion is dropped: no queue wants it.
    pub(super) fn forget(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Completes an operation whose task ended before it had a result.
    pub(super) fn lose(&self, panicked: bool) {
        if !self.kept.load(Ordering::Acquire) {
            self.keep((self.lost)(lost_task(panicked)));
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.lose(std::thread::panicking());
    }
}
