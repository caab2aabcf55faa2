//! A log's end, as the poller sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::runtime::BoxFuture;

/// The end of a log that fetches wait at.
pub(crate) trait Tail: Send + Sync {
    /// What to do about it now, by the clock's elapsed time.
    fn next_poll(self: Arc<Self>, now: Duration) -> NextPoll;

    /// Lets go of what fetches that have ended left with it. Whether one still waits.
    fn is_awaited(&self) -> bool;
}

/// When the store is asked about a tail.
pub(crate) enum NextPoll {
    /// No fetch waits for it.
    Never,
    /// Not before this time.
    At(Duration),
    /// Now, by this future. When `stop` is dropped it ends soon, and its failure is kept.
    Now { poll: BoxFuture<()>, stop: oneshot::Sender<()> },
}
