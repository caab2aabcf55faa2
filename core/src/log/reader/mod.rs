//! Reading a partition's log.

mod answer;
mod fetch;
mod follow;
mod gather;
pub(crate) mod indexes;
mod job;
mod options;
mod piece;
mod refresh;
pub(crate) mod source;
mod stream;
mod supply;
mod times;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use self::job::{Job, Step};
use self::piece::Piece;
use self::source::Source;
use super::partition::{Partition, PartitionState};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Malformed;
use crate::store::Version;

pub(crate) use self::refresh::{exists as refresh_exists, read_log_json};

pub use self::answer::{Fetch, Hole};
pub use self::options::{FetchOptions, OnCorrupt, ReaderOptions};
pub use self::stream::{BatchStream, Notice, RecordStream, StreamRecord};
pub use self::times::TimedOffset;

/// Segments whose body's CRC was confirmed and that are remembered.
const MAX_FAITHFUL: usize = 16;

/// Reads a partition's log. Cheap to clone; it never writes (invariant 5).
///
/// It holds the bytes it read last, so that a loop of small fetches reads each segment once; give each
/// place that reads a reader of its own.
#[derive(Clone)]
pub struct Reader(Arc<Core>);

struct Core {
    state: Arc<PartitionState>,
    source: Source,
    options: ReaderOptions,
    window: Mutex<Option<Arc<Piece>>>,
    /// Segments whose base offsets are as they were written.
    faithful: Mutex<Vec<(i64, Version)>>,
}

impl Core {
    fn window(&self) -> Option<Arc<Piece>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_window(&self, piece: Piece) {
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(piece));
    }

    fn is_faithful(&self, base: i64, version: &Version) -> bool {
        let faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        faithful.iter().any(|(known, of)| *known == base && of.same_as(version))
    }

    fn remember_faithful(&self, base: i64, version: &Version) {
        let mut faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        if faithful.len() >= MAX_FAITHFUL {
            faithful.remove(0);
        }
        faithful.push((base, version.clone()));
    }
}

impl Partition {
    /// A reader. Asks nothing of the store.
    pub fn reader(&self, options: ReaderOptions) -> Reader {
        let state = self.state().clone();
        let source = Source::new(state.clone(), options.block_bytes, options.crc_check);
        Reader(Arc::new(Core { state, source, options, window: Mutex::default(), faithful: Mutex::default() }))
    }
}

impl Reader {
    /// The batches from the one that holds `offset` on, whole, of `max_bytes` in all; the first comes
    /// whatever its length (invariant 6). At the log's end the answer is empty. Where the offset is in
    /// a hole, the answer begins behind it and says so.
    ///
    /// Nothing is asked of the store when the bytes are held; a cold fetch takes what locating takes
    /// and two GETs (docs: request budget).
    ///
    /// # Errors
    /// Out of range with the log's range; not found for a partition that was never made; corrupt with
    /// key, position, offsets and the next readable offset; what the store answers.
    pub async fn fetch(&self, offset: i64, max_bytes: usize) -> Result<Fetch> {
        self.fetch_with(offset, FetchOptions::new(max_bytes)).await
    }

    /// Like [`fetch`](Self::fetch), with options.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_with(&self, offset: i64, options: FetchOptions) -> Result<Fetch> {
        if offset < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("offset {offset} is negative")));
        }
        let core = &self.0;
        let mut job = Job::new(offset, options, core.state.runtime().clock().elapsed());
        match core.advance(&mut job)? {
            Step::Done => Ok(core.answer(job)),
            Step::Need(need) => {
                let core = core.clone();
                let runtime = core.state.runtime().clone();
                runtime.run(async move { core.finish(job, need).await }).await
            }
        }
    }

    /// The batches from the one that holds `from` on, to the log's end as it is when it is reached.
    pub fn batches(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, false)
    }

    /// The records from offset `from` on, to the log's end as it is when it is reached.
    pub fn records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.batches(from))
    }

    /// Like [`batches`](Self::batches), but waits at the end for what is appended: woken by a writer in
    /// this process, else asking for the next key with growing waits.
    pub fn follow(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, true)
    }

    /// Like [`follow`](Self::follow), record by record.
    pub fn follow_records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.follow(from))
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

/// Bytes of a segment are not what they must be: where, which offsets that concerns, and where
/// reading can go on.
fn corrupt(malformed: Malformed, key: &str, first: i64, readable: Option<i64>) -> Error {
    let error = malformed.into_error(key);
    match readable {
        Some(next) => error.with_offsets(first, next.saturating_sub(1).max(first)).with_next_readable(next),
        None => error.with_hint("it is the newest segment; `kfs repair` can set it aside"),
    }
}

#[cfg(test)]
mod tests;
