//! The handle of a reader.

use std::fmt;
use std::sync::Arc;

use super::answer::Fetch;
use super::committed::{read_batches, read_committed};
use super::core::ReaderCore;
use super::job::{FetchJob, FetchStep};
use super::options::{FetchOptions, Isolation, ReaderOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::log::partition::Partition;
use crate::log::state::PartitionState;
use crate::runtime::Running;

/// Reads a partition's log. Cheap to clone; it never writes (invariant 5).
///
/// What it reads from the store is held in the bucket's block cache, which all readers share
/// ([`BucketOptions::cache_bytes`](crate::BucketOptions::cache_bytes)), so that a loop of small fetches
/// reads each segment once. Give each place that reads a reader of its own: it remembers where it stood,
/// and reads ahead while it goes on from there.
#[derive(Clone)]
pub struct Reader(pub(super) Arc<ReaderCore>);

impl Partition {
    /// A reader with the default options. Asks nothing of the store.
    pub fn reader(&self) -> Reader {
        self.reader_with(ReaderOptions::default())
    }

    /// A reader. Asks nothing of the store.
    pub fn reader_with(&self, options: ReaderOptions) -> Reader {
        Reader(Arc::new(ReaderCore::new(self.state().clone(), options)))
    }
}

impl Reader {
    /// The batches from the one that holds `offset` on, whole, of `max_bytes` in all; the first comes
    /// whatever its length (invariant 6). At the log's end the answer is empty. Where the offset is in
    /// a hole, the answer begins after it and says so.
    ///
    /// Small segments that follow each other are read at the same time.
    ///
    /// Nothing is asked of the store when the bytes are held; a cold fetch takes what locating takes
    /// and two GETs (docs/design.md, "Request budget").
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// Out of range with the log's range; not found for a partition that was never made; corrupt with
    /// key, position, offsets and the next readable offset; closed in a forked child; what the store answers.
    pub async fn fetch(&self, offset: i64, max_bytes: usize) -> Result<Fetch> {
        self.fetch_with(offset, FetchOptions::new(max_bytes)).await
    }

    /// Like [`fetch`](Self::fetch), with options.
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_with(&self, offset: i64, options: FetchOptions) -> Result<Fetch> {
        if offset < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("offset {offset} is negative")));
        }
        let core = &self.0;
        core.state.bucket.fork.check()?;
        if core.options.isolation == Isolation::ReadCommitted || core.state.source.is_some() {
            return self.begin_fetch(offset, options).await;
        }
        let mut job = FetchJob::new(offset, options);
        match core.advance(&mut job)? {
            FetchStep::Done => Ok(core.answer(job)),
            FetchStep::Need(need) => {
                let core = core.clone();
                let runtime = core.state.runtime().clone();
                runtime.ask(async move { core.finish(job, need).await }).await
            }
        }
    }

    /// A fetch that runs on the runtime alone, while no caller waits for it.
    pub(super) fn begin_fetch(&self, offset: i64, options: FetchOptions) -> Running<Fetch> {
        let core = self.0.clone();
        self.0.state.runtime().ask(async move {
            match core.options.isolation {
                Isolation::ReadUncommitted => read_batches(core, offset, options).await,
                Isolation::ReadCommitted => read_committed(core, offset, options, read_batches).await,
            }
        })
    }

    /// Where what it asks of the store can be seen.
    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.0.state
    }

    /// The partition that it reads.
    pub fn partition(&self) -> Partition {
        Partition::new(self.0.state.clone())
    }

    /// The options it was made with.
    pub fn options(&self) -> &ReaderOptions {
        &self.0.options
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.0.state.id.to_string()).finish()
    }
}
