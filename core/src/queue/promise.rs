//! That an operation completes exactly once, and how it is cancelled.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::completion::{Completion, Ended};
use super::job::Job;
use super::{CompletionQueue, QueueCore};
use crate::error::Error;
use crate::fork::ForkGuard;
use crate::log::writer::WaitingAppend;
use crate::runtime::lost_task;

/// The one completion of an operation. Dropping it unkept completes the operation with an error.
pub(super) struct Promise {
    /// The process of the queue.
    fork: ForkGuard,
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

/// Cancels one operation. Dropping it changes nothing: the operation goes on.
pub struct CancelHandle {
    fork: ForkGuard,
    promise: Weak<Promise>,
    work: CancelledWork,
}

/// What is given up when an operation is cancelled.
pub(super) enum CancelledWork {
    /// It was over when the call returned, or can't be cancelled any more.
    Over,
    /// An append that waits for room.
    Append(WaitingAppend),
    Job(Weak<Job>),
}

impl CancelHandle {
    pub(super) fn new(promise: &Arc<Promise>, work: CancelledWork) -> Self {
        CancelHandle { fork: promise.fork, promise: Arc::downgrade(promise), work }
    }

    /// Cancels the operation if it is not over. `true`: its completion is [`Ended::Cancelled`]. `false`: it completes, or
    /// did complete, as if this had not been called. Either way there is exactly one completion.
    ///
    /// An append is cancelled in time as long as it waits for room; then it was not stored. A fetch can be cancelled until it
    /// completes. To cancel a flush or a close ends the wait only, and the work goes on. In a forked child nothing of its parent
    /// is cancelled.
    pub fn cancel(&self) -> bool {
        if self.fork.is_forked() {
            return false;
        }
        // A promise that is gone was kept.
        let Some(promise) = self.promise.upgrade() else { return false };
        match &self.work {
            CancelledWork::Over => false,
            CancelledWork::Append(waiting) => waiting.withdraw() && promise.keep(Ended::Cancelled),
            CancelledWork::Job(job) => {
                let in_time = promise.keep(Ended::Cancelled);
                if let (true, Some(job)) = (in_time, job.upgrade()) {
                    job.stop();
                }
                in_time
            }
        }
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.promise.strong_count() == 0 { "CancelHandle(over)" } else { "CancelHandle" })
    }
}
