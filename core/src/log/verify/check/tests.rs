use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::*;
use crate::format::{Batch, CrcCheck, Segment, SegmentBuilder};
use crate::log::fixtures::{NOW, batch};
use crate::log::verify::{SegmentBytes, verify_segment, verify_segment_from};

fn built(batches: &[Batch]) -> (Bytes, Bytes) {
    let mut builder = SegmentBuilder::new(10, NOW, 2).unwrap();
    for batch in batches {
        builder.push(batch, None).unwrap();
    }
    let built = builder.finish().unwrap();
    (built.chunks.concat().into(), built.index)
}

/// What is found in a segment that comes in pieces of this size.
fn in_pieces(bytes: &SegmentBytes, piece: usize, records: Option<&Limits>) -> CheckedSegment {
    let segment = &bytes.segment;
    let beside = Beside { index: bytes.index.clone(), index_expected: true, ..Beside::default() };
    let size = segment.len() as u64;
    let frame = SegmentFrame { key: &bytes.key, base: bytes.base, size, first: segment, last: segment };
    let mut check = SegmentCheck::new(&frame, beside, records);
    for at in (0..segment.len()).step_by(piece) {
        if !check.wants_more() {
            break;
        }
        check.push(segment.slice(at..segment.len().min(at + piece)));
    }
    check.finish()
}

#[test]
fn whatever_the_pieces_are_the_findings_are_the_same() {
    let (good, index) = built(&[batch(3, 10), batch(4, 100), batch(3, 1)]);
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x21;
        Bytes::from(bytes)
    });
    let cut = (0..good.len()).step_by(9).map(|len| good.slice(..len));
    for segment in flipped.chain(cut).chain([good.clone()]) {
        let bytes = SegmentBytes::new("a.kfs", segment).base(10).index(Some(index.clone()));
        for records in [None, Some(&Limits::default())] {
            let whole = verify_segment(&bytes, records);
            assert_eq!(whole.segment.is_some(), Segment::parse(&bytes.segment, CrcCheck::Verify).is_ok());
            for piece in [1, 50, 61, 200, 777] {
                let checked = in_pieces(&bytes, piece, records);
                assert_eq!(checked.findings, whole.findings, "pieces of {piece}");
                assert_eq!(checked.whole, whole.header, "pieces of {piece}");
                assert_eq!(checked.next_offset, whole.next_offset, "pieces of {piece}");
                assert_eq!((checked.batches, checked.records), (whole.batches, whole.records), "pieces of {piece}");
            }
        }
    }
}

/// A file that counts how many bytes are read at most from one place on, and that may lose its end after its footer was
/// read.
struct Watched {
    file: Cursor<Bytes>,
    most: u64,
    seen: u64,
    second_ends_at: u64,
}

impl Watched {
    fn new(bytes: &Bytes) -> Self {
        Watched { file: Cursor::new(bytes.clone()), most: 0, seen: 0, second_ends_at: u64::MAX }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_footer = self.file.get_ref().len() as u64 - self.file.position() <= FOOTER_LEN as u64;
        if self.file.position() >= self.second_ends_at && !is_footer {
            return Ok(0);
        }
        let read = self.file.read(buffer)?;
        self.seen += read as u64;
        self.most = self.most.max(self.seen);
        Ok(read)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.seen = 0;
        self.file.seek(to)
    }
}

#[test]
fn a_file_is_read_a_piece_at_a_time_and_gives_the_findings_of_its_bytes() {
    const PIECE: usize = 16 << 20;
    let (good, index) = built(&[batch(2, 9 << 20), batch(1, 20 << 20), batch(3, 1)]);
    let in_second = 32 + 61 + 30 + (20 << 20);
    for at in [None, Some(in_second), Some(good.len() - 100)] {
        let mut bytes = good.to_vec();
        if let Some(at) = at {
            bytes[at] ^= 1;
        }
        let bytes = SegmentBytes::new("a.kfs", bytes.into()).base(10).index(Some(index.clone()));
        let beside = SegmentBytes { segment: Bytes::new(), ..bytes.clone() };
        for records in [None, Some(&Limits::default())] {
            let mut file = Watched::new(&bytes.segment);
            let report = verify_segment_from(&mut file, &beside, records).unwrap();
            let whole = verify_segment(&bytes, records);
            assert_eq!(report.findings, whole.findings, "{at:?}");
            assert_eq!(report.findings.len(), usize::from(at.is_some()), "{:?}", report.findings);
            assert_eq!((report.header, report.next_offset), (whole.header, whole.next_offset));
            assert_eq!((report.batches, report.records), (whole.batches, whole.records));
            assert!(report.segment.is_none() && file.most == PIECE as u64, "{}", file.most);
        }
    }
}

#[test]
fn a_file_that_becomes_shorter_meanwhile_is_an_error_and_no_finding() {
    let (good, _) = built(&[batch(2, 9 << 20)]);
    let mut file = Watched::new(&good);
    // Its footer is read before that.
    file.second_ends_at = 16 << 20;
    let error = verify_segment_from(&mut file, &SegmentBytes::new("a.kfs", Bytes::new()), None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
}
