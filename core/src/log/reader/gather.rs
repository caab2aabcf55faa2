//! What a fetch has found so far.

use bytes::Bytes;

use crate::format::{BATCH_HEADER_LEN, BatchHeader};

/// Chunks of whole batches, in order, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Gather {
    /// The next offset that is wanted.
    position: i64,
    max_bytes: usize,
    /// The first batch is taken whatever its length.
    whole_first: bool,
    /// No offset from here on is wanted.
    until: Option<i64>,
    bytes: usize,
    chunks: Vec<Chunk>,
}

/// Whole batches, and where the first of them stands.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) at: Option<ChunkAt>,
}

/// A place in a segment; batches that are not stored yet have none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkAt {
    /// The segment's base offset.
    pub(crate) segment: i64,
    pub(crate) position: u64,
}

impl ChunkAt {
    /// This many bytes further.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        ChunkAt { position: self.position.saturating_add(bytes as u64), ..self }
    }
}

impl Gather {
    pub(crate) fn new(offset: i64, max_bytes: usize, whole_first: bool) -> Self {
        Gather { position: offset, max_bytes, whole_first, until: None, bytes: 0, chunks: Vec::new() }
    }

    /// The same, but no offset from `until` on is wanted.
    pub(crate) fn until(mut self, until: i64) -> Self {
        self.until = Some(until);
        self
    }

    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.max_bytes.saturating_sub(self.bytes)
    }

    /// Whether no further batch can fit.
    pub(crate) fn is_full(&self) -> bool {
        (!self.is_empty() && self.room() < BATCH_HEADER_LEN) || self.until.is_some_and(|until| self.position >= until)
    }

    /// Whether a batch of this length is taken: the first is, whatever its length (invariant 6), unless another
    /// partition of the same fetch comes further.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        (self.is_empty() && self.whole_first) || len <= self.room()
    }

    /// A batch was taken; the next offset wanted is this.
    pub(crate) fn took(&mut self, len: usize, next_offset: i64) {
        self.bytes += len;
        self.position = next_offset;
    }

    /// Bytes of batches that were taken.
    pub(crate) fn hand_over(&mut self, bytes: Bytes, at: Option<ChunkAt>) {
        self.chunks.push(Chunk { bytes, at });
    }

    /// Takes whole batches that are not stored yet, if they go on where this ends.
    pub(crate) fn take_buffered(&mut self, batches: Vec<Bytes>) -> bool {
        let mut took = false;
        for bytes in batches {
            let Ok(header) = BatchHeader::parse(&bytes) else { break };
            if header.next_offset() <= self.position {
                continue;
            }
            if header.base_offset > self.position || !self.has_room(bytes.len()) {
                break;
            }
            self.took(bytes.len(), header.next_offset());
            self.hand_over(bytes, None);
            took = true;
        }
        took
    }

    /// Goes on at a later offset.
    pub(crate) fn skip_to(&mut self, offset: i64) {
        self.position = self.position.max(offset);
    }

    pub(crate) fn into_chunks(self) -> Vec<Chunk> {
        self.chunks
    }
}
