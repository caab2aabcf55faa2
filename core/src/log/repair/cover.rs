//! The empty batches that take the place of a newest segment which is set aside, so that none of its offsets is given
//! again.

use bytes::Bytes;

use crate::error::Result;
use crate::format::{
    BatchBuilder, BatchCutter, BuiltSegment, CrcCheck, Cut, CutBatch, MAX_OFFSET, Segment, SegmentBuilder,
    SegmentFooter, SegmentHeader, SparseIndex, TimeIndex,
};

/// What is added where a segment's end can't be told. A segment is smaller than 2^31 bytes, and no codec packs
/// records, whose offset deltas all differ, into less than a 512th of a byte each.
const MARGIN: i64 = 1 << 40;

/// Where a broken segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    /// No offset from here on was in it.
    pub(super) next: i64,
    /// Its own bytes say so. Else it is a bound beyond all that it can have held.
    pub(super) known: bool,
    /// The highest leader epoch that can be read in it, -1 for none.
    pub(super) leader_epoch: i32,
}

/// What stands at a segment's ends and beside it, each if it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around<'a> {
    /// Its first bytes.
    pub(super) first: &'a [u8],
    /// Its last bytes.
    pub(super) last: &'a [u8],
    pub(super) index: Option<&'a Bytes>,
    pub(super) time_index: Option<&'a Bytes>,
}

/// Where a segment ended, by its batches and by what stands around them.
pub(super) fn end_of(base: i64, readable: &Readable, around: Around<'_>) -> SegmentEnd {
    let Around { first, last, index, time_index } = around;
    let leader_epoch = readable.leader_epoch;
    if readable.is_sound() {
        return SegmentEnd { next: readable.next, known: true, leader_epoch };
    }
    let footer = SegmentFooter::at_end_of(last).map(|footer| footer.last_offset.saturating_add(1));
    let counted = SegmentHeader::parse(first).ok().map(|h| base.saturating_add(i64::from(h.message_count)));
    let indexed = index.and_then(|bytes| SparseIndex::parse(bytes).ok()?.entries().last().map(|e| e.offset));
    let timed = time_index.and_then(|bytes| TimeIndex::parse(bytes).ok()).map(|times| times.max_offset);
    // What can't be true of a segment that begins there is broken itself.
    let believed = |end: &i64| (base..=base.saturating_add(MARGIN)).contains(end);
    let sidecars = [indexed, timed].into_iter().flatten().map(|last| last.saturating_add(1));
    let least = sidecars.chain(counted).filter(believed).fold(readable.next.max(base.saturating_add(1)), i64::max);
    match footer.filter(believed) {
        Some(end) if end >= least => SegmentEnd { next: end, known: true, leader_epoch },
        footer => {
            let least = least.max(footer.unwrap_or(0));
            SegmentEnd { next: least.saturating_add(MARGIN).min(MAX_OFFSET - 1), known: false, leader_epoch }
        }
    }
}

/// The batches of a segment that comes in pieces: those from the front, up to the first header that can't be read.
pub(super) struct Readable {
    cutter: BatchCutter,
    base: i64,
    next: i64,
    leader_epoch: i32,
    /// All batches so far are whole, by their CRCs.
    are_whole: bool,
    /// A batch can't be read, or is not the one that follows.
    is_over: bool,
}

impl Readable {
    /// For a segment of this many bytes.
    pub(super) fn new(base: i64, size: u64) -> Self {
        let cutter = BatchCutter::new(size, false);
        Readable { cutter, base, next: base, leader_epoch: -1, are_whole: true, is_over: false }
    }

    /// Takes the next piece, and says whether another one is of any use.
    pub(super) fn push(&mut self, piece: Bytes) -> bool {
        self.cutter.push(piece);
        while !self.is_over
            && let Some(cut) = self.cutter.next()
        {
            match cut {
                Cut::Batch(CutBatch { header, crc, .. }) if header.base_offset == self.next => {
                    self.are_whole &= crc.is_ok();
                    self.next = header.next_offset();
                    self.leader_epoch = self.leader_epoch.max(header.leader_epoch);
                }
                _ => self.is_over = true,
            }
        }
        !self.is_over && !self.cutter.is_at_end()
    }

    /// All batches are whole, and fill the segment up to its footer.
    fn is_sound(&self) -> bool {
        self.are_whole && !self.is_over && self.cutter.is_at_end() && self.next > self.base
    }
}

/// A segment without a record that takes all offsets from `base` up to `next`.
pub(super) fn covering(
    base: i64,
    next: i64,
    leader_epoch: i32,
    created_ms: i64,
    interval: i32,
) -> Result<BuiltSegment> {
    let mut builder = SegmentBuilder::new(base, created_ms, interval)?;
    for batch in BatchBuilder::empty_batches(next.saturating_sub(base))? {
        builder.push(&batch, (leader_epoch >= 0).then_some(leader_epoch))?;
    }
    builder.finish()
}

/// Whether a segment holds no record, as the one that [`covering`] makes.
pub(super) fn is_cover(bytes: &Bytes) -> bool {
    let segment = Segment::parse(bytes, CrcCheck::Verify);
    segment.is_ok_and(|segment| segment.batches().all(|at| at.batch.header().record_count == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BatchOptions;

    /// Where a segment ended, whatever the pieces are in which it comes.
    fn end_of(base: i64, segment: &Bytes, index: Option<&Bytes>, time_index: Option<&Bytes>) -> SegmentEnd {
        let of_pieces = |len: usize| {
            let mut readable = Readable::new(base, segment.len() as u64);
            for at in (0..segment.len()).step_by(len) {
                if !readable.push(segment.slice(at..segment.len().min(at + len))) {
                    break;
                }
            }
            super::end_of(base, &readable, Around { first: segment, last: segment, index, time_index })
        };
        let end = of_pieces(segment.len().max(1));
        for len in [1, 7, 16, 61, 100] {
            assert_eq!(of_pieces(len), end, "pieces of {len}");
        }
        end
    }

    fn segment() -> Bytes {
        let mut builder = SegmentBuilder::new(20, 0, 1).unwrap();
        for delta in [2, 3, 2] {
            builder.push(&BatchBuilder::empty_batch(0, delta, &BatchOptions::default()).unwrap(), Some(7)).unwrap();
        }
        builder.finish().unwrap().chunks.concat().into()
    }

    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut bytes = segment().to_vec();
        change(&mut bytes);
        bytes.into()
    }

    #[test]
    fn the_end_is_what_the_batches_or_else_the_footer_say() {
        let known = |bytes: Bytes| end_of(20, &bytes, None, None);
        let expected = SegmentEnd { next: 30, known: true, leader_epoch: 7 };
        assert_eq!(known(segment()), expected);
        let size = segment().len();
        assert_eq!(
            known(changed(|bytes| bytes[size - 1] ^= 1)),
            expected,
            "the footer is broken, the batches are sound"
        );
        assert_eq!(known(changed(|bytes| bytes[size - 5] ^= 1)), expected, "its last offset is another");
        assert_eq!(known(changed(|bytes| bytes[32 + 17] ^= 1)), expected, "a CRC is broken, the footer agrees");
        assert_eq!(known(changed(|bytes| bytes[40] ^= 1)).next, 30, "a batch's length is broken, the footer is there");
    }

    #[test]
    fn an_end_that_nothing_tells_is_bounded_beyond_all_that_was_there() {
        let all = segment();
        let index = Segment::parse(&all, CrcCheck::Verify).unwrap().index(1).encode();
        let cut = all.slice(..120);
        for bytes in [Bytes::new(), vec![0; all.len()].into(), cut.clone(), b"junk".as_slice().into()] {
            let end = end_of(20, &bytes, None, None);
            assert!(!end.known && end.next > 20 + MARGIN, "{end:?}");
        }
        assert_eq!(end_of(20, &cut, None, None).next, 23 + MARGIN, "one batch can be read");
        let end = end_of(20, &cut, Some(&index), None);
        assert!(!end.known && end.next >= 21 + MARGIN);
        let timed = TimeIndex::of(0, 28).encode();
        assert_eq!(end_of(20, &cut, None, Some(&timed)).next, 29 + MARGIN);
        let beyond = changed(|bytes| {
            let size = bytes.len();
            bytes[40] ^= 1;
            bytes[size - 12] = 0x7f;
        });
        assert!(!end_of(20, &beyond, None, None).known, "a footer beyond all measure is not believed");
        assert!(end_of(MAX_OFFSET - 5, &Bytes::new(), None, None).next < MAX_OFFSET);
    }

    #[test]
    fn a_cover_takes_all_offsets_up_to_the_end() {
        for (base, next) in [(20, 30), (20, 21), (0, i64::from(i32::MAX) + 1), (5, 5 + MARGIN)] {
            let built = covering(base, next, 3, 9, 100).unwrap();
            assert_eq!(built.last_offset + 1, next);
            let bytes: Bytes = built.chunks.concat().into();
            assert!(is_cover(&bytes) && bytes.len() < 64 << 10);
            let segment = Segment::parse(&bytes, CrcCheck::Verify).unwrap();
            assert_eq!((segment.next_offset(), segment.header().message_count), (next, 0));
            assert_eq!(segment.batches().next().unwrap().batch.header().leader_epoch, 3);
            assert_eq!(segment.index(100).encode(), built.index);
        }
        assert!(!is_cover(&Bytes::new()));
    }
}
