//! The handle of a partition.

use std::fmt;
use std::sync::Arc;

use super::state::PartitionState;
use super::watermarks::Watermarks;
use super::writer::{Writer, WriterOptions};
use crate::error::Result;
use crate::format::PartitionId;

/// A partition's log by name. Making one asks nothing of the store; cheap to clone.
#[derive(Clone)]
pub struct Partition(Arc<PartitionState>);

impl Partition {
    pub(crate) fn new(state: Arc<PartitionState>) -> Self {
        Partition(state)
    }

    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> &PartitionId {
        &self.0.id
    }

    /// The base offset of the segment that holds an offset, as far as this process knows: what a
    /// fetch looks up first. For the benchmark of that.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn known_segment(&self, offset: i64) -> Option<i64> {
        self.0.with_catalog(|catalog| match catalog.lookup(offset) {
            super::catalog::Lookup::In { base, .. } => Some(base),
            _ => None,
        })
    }

    /// The range of the log as far as this process knows it, without asking the store; `None` before
    /// anything was learned. A writer in this process keeps it exact while it is not fenced;
    /// else [`refresh`](Self::refresh) asks the store. `None` in a forked child.
    pub fn watermarks(&self) -> Option<Watermarks> {
        if self.0.bucket.fork.is_forked() { None } else { self.0.watermarks.get() }
    }

    /// Opens a writer with the default options, as [`writer_with`](Self::writer_with) does. Dropping the future does the
    /// same, too.
    ///
    /// # Errors
    /// As [`writer_with`](Self::writer_with).
    pub async fn writer(&self) -> Result<Writer> {
        self.writer_with(WriterOptions::default()).await
    }

    /// Opens a writer: checks a bucket on the network, once in a process ([`preflight`](crate::store::preflight)), finds the
    /// tail, checks the newest segment and makes its index right. An empty
    /// partition is left untouched until the first append. Dropping the future ends
    /// the wait; the opening goes on for 30 s at most.
    ///
    /// # Errors
    /// Conflict when another start offset was fixed, or an exclusive writer is open in this process;
    /// corrupt when the newest segment is not whole; fenced when it holds a higher leader epoch; closed
    /// when the bucket is; unsupported when the bucket does not do what a log needs; permission denied when it may not be
    /// written.
    pub async fn writer_with(&self, options: WriterOptions) -> Result<Writer> {
        let state = self.0.clone();
        self.0.runtime().ask(super::writer::open(state, options)).await
    }

    /// Creates the log without an append: `log.json` with its start offset. When it exists already,
    /// its start offset is accepted if it is the same.
    ///
    /// Dropping the future ends the wait. The log may still be created within 30 s.
    ///
    /// # Errors
    /// Conflict when the log exists with another start offset; invalid input for an offset out of
    /// range; unsupported when the bucket does not do what a log needs; what the store answers.
    pub async fn create(&self, start_offset: i64) -> Result<()> {
        let state = self.0.clone();
        self.0.runtime().ask(async move { super::writer::create(&state, start_offset).await }).await
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.0.id.to_string()).finish()
    }
}
