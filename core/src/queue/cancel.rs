//! How an operation is cancelled.

use std::fmt;
use std::sync::{Arc, Weak};

use super::completion::Ended;
use super::job::Job;
use super::promise::Promise;
use crate::fork::ForkGuard;
use crate::log::writer::WaitingAppend;

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
