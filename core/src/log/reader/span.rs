//! The blocks of a segment that a fetch holds.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{BATCH_HEADER_LEN, BatchHeader, CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed};
use crate::log::cache::{BatchStart, Block, Soundness};
use crate::store::Version;

/// Blocks that follow each other, of one version of one segment.
#[derive(Clone, Debug)]
pub(crate) struct BlockSpan {
    first: Arc<Block>,
    rest: Vec<Arc<Block>>,
    /// A batch is known to start there.
    start: BatchStart,
    /// The body's CRC was found right, so base offsets are as they were written.
    faithful: bool,
}

impl BlockSpan {
    /// Of one block and what follows it.
    pub(crate) fn new(first: Arc<Block>, mut rest: Vec<Arc<Block>>, start: BatchStart) -> Self {
        // Bytes of two versions never stand in one span.
        let mut end = first.end();
        let follows = |block: &Arc<Block>| {
            let follows = block.at() == end && block.is(first.base(), first.version());
            end = block.end();
            follows
        };
        let fitting = rest.iter().map(follows).take_while(|follows| *follows).count();
        rest.truncate(fitting);
        BlockSpan { first, rest, start, faithful: false }
    }

    /// Of blocks that follow each other.
    ///
    /// # Errors
    /// Internal if there is no block.
    pub(crate) fn of(blocks: Vec<Arc<Block>>, start: BatchStart) -> Result<Self> {
        let mut blocks = blocks.into_iter();
        match blocks.next() {
            Some(first) => Ok(Self::new(first, blocks.collect(), start)),
            None => Err(Error::new(ErrorKind::Internal, "no block was read")),
        }
    }

    pub(crate) fn base(&self) -> i64 {
        self.first.base()
    }

    pub(crate) fn version(&self) -> &Version {
        self.first.version()
    }

    pub(crate) fn size(&self) -> u64 {
        self.version().size()
    }

    /// The block that it begins with.
    pub(crate) fn first(&self) -> &Arc<Block> {
        &self.first
    }

    /// Where serving ended, or can begin.
    pub(crate) fn start(&self) -> BatchStart {
        self.start
    }

    /// Whether it is this version of this segment.
    pub(crate) fn is(&self, base: i64, version: &Version) -> bool {
        self.first.is(base, version)
    }

    /// The position after the last byte held.
    pub(crate) fn end(&self) -> u64 {
        self.rest.last().unwrap_or(&self.first).end()
    }

    /// Whether all of the object is held.
    pub(crate) fn is_whole(&self) -> bool {
        self.first.at() == 0 && self.end() == self.size()
    }

    /// Whether there is nothing of the object beyond its one block.
    pub(crate) fn is_one_block(&self) -> bool {
        self.rest.is_empty() && self.first.is_whole()
    }

    pub(super) fn block(&self, index: usize) -> Option<&Arc<Block>> {
        match index.checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.rest.get(index),
        }
    }

    /// The block at or after the one at `index` that holds a position, and where in it.
    pub(super) fn locate(&self, mut index: usize, position: u64) -> Option<(usize, usize)> {
        loop {
            let block = self.block(index)?;
            if position < block.end() {
                return Some((index, usize::try_from(position.checked_sub(block.at())?).ok()?));
            }
            index += 1;
        }
    }

    /// `len` bytes from a position on, if all are held. They are copied where they lie in several blocks.
    pub(crate) fn bytes(&self, position: u64, len: usize) -> Option<Bytes> {
        let (mut index, mut from) = self.locate(0, position)?;
        let block = self.block(index)?.bytes();
        if let Some(to) = from.checked_add(len).filter(|to| *to <= block.len()) {
            return Some(block.slice(from..to));
        }
        // Nothing is allocated that is not held.
        if self.end().checked_sub(position)? < len as u64 {
            return None;
        }
        let mut joined = BytesMut::with_capacity(len);
        while joined.len() < len {
            let rest = self.block(index)?.bytes().get(from..)?;
            let take = rest.len().min(len - joined.len());
            joined.extend_from_slice(rest.get(..take)?);
            (index, from) = (index + 1, 0);
        }
        Some(joined.freeze())
    }

    /// Where the footer starts.
    pub(super) fn body_end(&self) -> u64 {
        self.size().saturating_sub(FOOTER_LEN as u64)
    }

    /// Whether there is room for a batch: every segment holds at least one.
    pub(super) fn has_body(&self) -> bool {
        self.body_end() > HEADER_LEN as u64
    }

    /// The footer's bytes, if they are held.
    pub(crate) fn footer(&self) -> Option<Bytes> {
        self.bytes(self.body_end(), FOOTER_LEN)
    }

    /// The batch's base offset at a position, if its header is held and sound.
    pub(crate) fn base_offset_at(&self, position: u64) -> Option<i64> {
        let header = self.bytes(position, BATCH_HEADER_LEN)?;
        BatchHeader::parse(&header).ok().map(|header| header.base_offset)
    }

    /// A batch is known to start there.
    pub(crate) fn note(&mut self, place: BatchStart) {
        self.start = place;
        if let Some(block) = self.locate(0, place.position).and_then(|(index, _)| self.block(index)) {
            block.note(place);
        }
    }

    /// The body's CRC is right.
    pub(crate) fn set_faithful(&mut self) {
        self.faithful = true;
    }

    pub(super) fn is_faithful(&self) -> bool {
        self.faithful
    }

    /// What is wrong with the object outside its batches.
    pub(crate) fn whole_fault(&self, check: CrcCheck) -> Option<&Malformed> {
        match self.first.soundness(check) {
            Soundness::Broken { fault, in_batch: false } => Some(fault),
            _ => None,
        }
    }

    /// The last place at or below an offset that is known.
    pub(super) fn place(&self, offset: i64) -> Option<BatchStart> {
        let start = Some(self.start).filter(|start| start.offset <= offset);
        let known = self.rest.iter().rev().find_map(|block| block.place(offset)).or_else(|| self.first.place(offset));
        known.into_iter().chain(start).max_by_key(|place| (place.offset, place.position))
    }
}
