//! What a fetch gives, and where its batches stand, for errors about their records.

use bytes::Bytes;

use super::gather::ChunkAt;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, BatchHeader, CrcCheck, Limits, Malformed, PartitionId};
use crate::log::watermarks::Watermarks;
use crate::text::offset_range;

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
    /// The offsets from `from` on, below `to`.
    pub fn new(from: i64, to: i64) -> Self {
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
    /// There is a batch at `next_offset`, and it did not fit.
    pub(crate) refused: bool,
    /// What most answers of a fetch of many partitions lack. They should fit into a line of the processor's cache, for a
    /// hundred fetches of a thousand partitions may be answered at once.
    pub(super) details: Option<Box<FetchDetails>>,
}

/// What an answer has that holds a batch, or a fault of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct FetchDetails {
    pub(super) hole: Option<Hole>,
    pub(super) skipped: Vec<Error>,
    /// How its batches were asked for. `None` if there is no batch.
    pub(super) origin: Option<FetchOrigin>,
    /// Where each chunk stands, if that is known.
    pub(super) places: Vec<Option<ChunkAt>>,
}

impl FetchDetails {
    /// `None` where there is nothing to tell.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        let is_empty =
            self.hole.is_none() && self.skipped.is_empty() && self.origin.is_none() && self.places.is_empty();
        (!is_empty).then(|| Box::new(self))
    }
}

/// How the batches of a fetch were asked for.
#[derive(Clone, Debug)]
pub(crate) struct FetchOrigin {
    pub(crate) partition: PartitionId,
    /// The offset that was asked for, below which records are left out.
    pub(crate) from: i64,
    /// How the reader decodes records: its bounds, and whether it gives control records.
    pub(crate) limits: Limits,
    pub(crate) control_records: bool,
}

impl Fetch {
    /// The answer of a [`LogSource`](crate::LogSource) to a fetch at `offset`: these batches, in order, and the log's range.
    /// Their bytes are shared. Their CRCs were checked when they were parsed, or are trusted, so they are not checked again.
    ///
    /// # Errors
    /// Invalid input if the batches do not rise, or if the first one ends at or below `offset`.
    pub fn of_batches(
        partition: &PartitionId,
        offset: i64,
        batches: &[Batch],
        watermarks: &Watermarks,
    ) -> Result<Fetch> {
        let mut next_offset = offset;
        for (number, batch) in batches.iter().enumerate() {
            // The first one may begin below the offset that it holds.
            let overlaps = number > 0 && batch.base_offset() < next_offset;
            if overlaps || batch.next_offset() <= next_offset {
                let offsets = offset_range(batch.base_offset(), batch.last_offset());
                let message =
                    format!("a batch of partition {partition} with {offsets}, where offset {next_offset} comes next");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            next_offset = batch.next_offset();
        }
        Ok(Fetch {
            chunks: batches.iter().map(|batch| batch.bytes().clone()).collect(),
            next_offset,
            high_watermark: watermarks.high_watermark.max(next_offset),
            log_start: watermarks.log_start,
            refused: false,
            details: FetchDetails {
                origin: (!batches.is_empty()).then(|| {
                    let (partition, limits) = (partition.clone(), Limits::default());
                    FetchOrigin { partition, from: offset, limits, control_records: false }
                }),
                places: vec![None; batches.len()],
                ..FetchDetails::default()
            }
            .boxed(),
        })
    }

    /// The same answer of a [`LogSource`](crate::LogSource), which begins after these offsets that it does not hold.
    #[must_use]
    pub fn with_hole(mut self, hole: Hole) -> Self {
        self.details_mut().hole = Some(hole);
        self
    }

    /// Offsets that were asked for and do not exist; the answer begins after them.
    pub fn hole(&self) -> Option<Hole> {
        self.details.as_ref()?.hole
    }

    /// What was corrupt and skipped, with key, position and offsets; only with
    /// [`OnCorrupt::Skip`](crate::OnCorrupt::Skip).
    pub fn skipped(&self) -> &[Error] {
        self.details.as_ref().map_or(&[], |details| &details.skipped)
    }

    pub(super) fn details_mut(&mut self) -> &mut FetchDetails {
        self.details.get_or_insert_default()
    }

    pub(super) fn origin(&self) -> Option<&FetchOrigin> {
        self.details.as_ref()?.origin.as_ref()
    }

    /// Whether there is no batch in it: the end of the log was reached.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Goes on with a later fetch, which begins where this one ends.
    pub(super) fn append(&mut self, more: Fetch) {
        if let Some(later) = more.details {
            let details = self.details_mut();
            details.origin = details.origin.take().or(later.origin);
            details.places.extend(later.places);
            details.skipped.extend(later.skipped);
            details.hole = details.hole.or(later.hole);
        }
        self.chunks.extend(more.chunks);
        (self.next_offset, self.refused) = (more.next_offset, more.refused);
        (self.high_watermark, self.log_start) = (more.high_watermark, more.log_start);
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The batches. They were found whole when they were read.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, Malformed>> + '_ {
        self.chunks.iter().flat_map(|chunk| crate::format::batches(chunk, CrcCheck::AlreadyChecked))
    }

    /// The place of a batch, by the number of the chunk that it stands in and where it begins there.
    pub fn place(&self, chunk: usize, at: usize) -> BatchPlace {
        let place = self.details.as_ref().and_then(|details| details.places.get(chunk).copied().flatten());
        let partition = self.origin().map(|origin| origin.partition.clone());
        BatchPlace::new(partition, place.map(|place| place.plus(at)))
    }
}

/// Where a batch stands in its partition.
#[derive(Clone, Debug)]
pub struct BatchPlace {
    partition: Option<PartitionId>,
    at: Option<ChunkAt>,
}

impl BatchPlace {
    pub(super) fn new(partition: Option<PartitionId>, at: Option<ChunkAt>) -> Self {
        BatchPlace { partition, at }
    }

    pub(super) fn stands(&mut self, at: Option<ChunkAt>) {
        self.at = at;
    }

    /// The key of its segment; `None` for a batch that is not stored yet.
    pub fn key(&self) -> Option<String> {
        self.at.zip(self.partition.as_ref()).map(|(at, partition)| partition.segment_key(at.segment))
    }

    /// The position of its first byte in the segment; `None` for a batch that is not stored yet.
    pub fn position(&self) -> Option<u64> {
        self.at.map(|at| at.position)
    }

    /// The error for records of this batch that can't be decoded. It has the segment's key, the position in
    /// it, the batch's offsets, and the next offset that can be read.
    pub fn undecodable(&self, batch: &BatchHeader, malformed: Malformed) -> Error {
        let malformed = malformed.offset_position(self.position().unwrap_or(0));
        let error = match self.key() {
            Some(key) => malformed.into_error(&key),
            None => malformed.into(),
        };
        let next = batch.next_offset();
        let error = error.with_offsets(batch.base_offset, batch.last_offset()).with_next_readable(next);
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        error.with_hint(format!(
            "the batch was stored as it was given, and nothing can repair it: read on at offset {next}, or skip it \
             (`kfs cat --skip-corrupt`)"
        ))
    }
}
