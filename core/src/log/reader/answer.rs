//! What a fetch gives.

use bytes::Bytes;

use super::gather::ChunkAt;
use crate::error::Error;
use crate::format::{Batch, CrcCheck, Limits, Malformed, PartitionId};

/// Offsets that the log does not hold, though it goes on after them: retention or a foreign tool
/// removed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Hole {
    /// The first offset that is missing.
    pub from: i64,
    /// The next offset that exists.
    pub to: i64,
}

impl Hole {
    pub(crate) fn new(from: i64, to: i64) -> Self {
        Hole { from, to }
    }
}

/// The answer to a fetch: whole batches in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetch {
    /// Stretches of whole batches, as they are stored. The first batch holds the offset asked for
    /// (or the next that exists) and may begin below it.
    pub chunks: Vec<Bytes>,
    /// Where to fetch next.
    pub next_offset: i64,
    /// One past the last offset that is known to be durable. A lower bound before the log's end was
    /// reached or [`Partition::refresh`](crate::Partition::refresh) was called.
    pub high_watermark: i64,
    /// The first offset that is served.
    pub log_start: i64,
    /// Offsets that were asked for and do not exist; the answer begins after them.
    pub hole: Option<Hole>,
    /// What was corrupt and skipped, with key, position and offsets; only with
    /// [`OnCorrupt::Skip`](crate::OnCorrupt::Skip).
    pub skipped: Vec<Error>,
    /// The offset that was asked for, below which records are left out.
    pub(crate) from: i64,
    /// How the reader decodes records: its bounds, and whether it gives control records.
    pub(crate) limits: Limits,
    pub(crate) control_records: bool,
    /// Where the chunks stand.
    pub(crate) partition: PartitionId,
    /// There is a batch at `next_offset`, and it did not fit.
    pub(crate) refused: bool,
    pub(crate) places: Vec<Option<ChunkAt>>,
}

impl Fetch {
    /// Whether there is no batch in it: the end of the log was reached.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Goes on with a later fetch, which begins where this one ends.
    pub(super) fn append(&mut self, more: Fetch) {
        self.chunks.extend(more.chunks);
        self.places.extend(more.places);
        self.skipped.extend(more.skipped);
        self.hole = self.hole.or(more.hole);
        (self.next_offset, self.refused) = (more.next_offset, more.refused);
        (self.high_watermark, self.log_start) = (more.high_watermark, more.log_start);
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).fold(0, usize::saturating_add)
    }

    /// The batches. They were found whole when they were read.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, Malformed>> + '_ {
        self.chunks.iter().flat_map(|chunk| crate::format::batches(chunk, CrcCheck::AlreadyChecked))
    }
}
