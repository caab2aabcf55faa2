//! Where a batch that was read stands, for errors about its records.

use super::answer::Fetch;
use super::gather::ChunkAt;
use crate::error::{Error, ErrorKind};
use crate::format::{BatchHeader, Malformed, PartitionId};

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

impl Fetch {
    /// The place of a batch, by the number of the chunk that it stands in and where it begins there.
    pub fn place(&self, chunk: usize, at: usize) -> BatchPlace {
        let place = self.places.get(chunk).copied().flatten();
        let partition = self.origin.as_ref().map(|origin| origin.partition.clone());
        BatchPlace::new(partition, place.map(|place| place.plus(at)))
    }
}
