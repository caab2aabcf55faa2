use super::*;
use crate::format::{BatchBuilder, BatchOptions, CrcCheck, NewRecord, Segment, SegmentBuilder};

/// A segment of three batches, of which the second is long.
fn segment() -> Bytes {
    let mut builder = SegmentBuilder::new(10, 0, 1).unwrap();
    for len in [5, 700, 0] {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.push(&NewRecord::new(5).value(&vec![7; len])).unwrap();
        builder.push(&batch.finish(0).unwrap(), None).unwrap();
    }
    builder.finish().unwrap().chunks.concat().into()
}

/// The cuts of a segment that comes in pieces of this size.
fn cuts(segment: &Bytes, piece: usize, keeps: bool) -> (Vec<Cut>, BatchCutter) {
    let mut cutter = BatchCutter::new(segment.len() as u64, keeps);
    let mut cuts = Vec::new();
    for at in (0..segment.len()).step_by(piece) {
        assert!(cutter.piece.is_empty() || cutter.is_at_end());
        cutter.push(segment.slice(at..segment.len().min(at + piece)));
        cuts.extend(std::iter::from_fn(|| cutter.next()));
    }
    assert!(cutter.is_at_end());
    (cuts, cutter)
}

#[test]
fn whatever_the_pieces_are_the_batches_and_the_crc_of_the_body_are_the_same() {
    let bytes = segment();
    let segment = Segment::parse(&bytes, CrcCheck::Verify).unwrap();
    for piece in 1..=bytes.len() {
        for keeps in [true, false] {
            let (cuts, cutter) = cuts(&bytes, piece, keeps);
            assert_eq!(cutter.body_crc(), segment.footer().crc, "pieces of {piece}");
            let mut expected = segment.batches();
            for cut in cuts {
                let Cut::Batch(cut) = cut else { panic!("{cut:?}") };
                let at = expected.next().unwrap();
                assert_eq!((cut.position, &cut.header, cut.crc), (at.position, at.batch.header(), Ok(())));
                assert!(cut.batch.as_ref().is_none_or(|batch| *batch == at.batch), "pieces of {piece}");
                assert!(cut.batch.is_some() || !keeps, "pieces of {piece}");
            }
            assert!(expected.next().is_none());
        }
    }
}

#[test]
fn a_crc_that_is_wrong_is_told_and_the_next_batch_follows() {
    let mut bytes = segment().to_vec();
    let second = Segment::parse(&segment(), CrcCheck::Verify).unwrap().batches().nth(1).unwrap().position;
    bytes[usize::try_from(second).unwrap() + 300] ^= 1;
    let bytes = Bytes::from(bytes);
    for piece in [1, 61, 100, 333, bytes.len()] {
        let (cuts, _) = cuts(&bytes, piece, false);
        let faults: Vec<_> = cuts
            .iter()
            .map(|cut| match cut {
                Cut::Batch(cut) => cut.crc.as_ref().err().map(Malformed::position),
                Cut::None { .. } => panic!("{cut:?}"),
            })
            .collect();
        assert_eq!(faults, [None, Some(second + 17), None], "pieces of {piece}");
    }
}

#[test]
fn a_batch_that_reaches_into_the_footer_and_one_without_a_header_are_the_last_cut() {
    let good = segment();
    let third = Segment::parse(&good, CrcCheck::Verify).unwrap().batches().nth(2).unwrap().position;
    let third = usize::try_from(third).unwrap();
    for (at, value, has_header) in [(third + 11, 0xff, true), (third + 16, 9, false)] {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        let bytes = Bytes::from(bytes);
        let body = bytes.slice(..bytes.len() - FOOTER_LEN);
        let expected = Batch::parse(&body, third, CrcCheck::Verify).unwrap_err();
        for piece in 1..=bytes.len() {
            let (mut cuts, _) = cuts(&bytes, piece, true);
            assert_eq!(cuts.len(), 3, "pieces of {piece}");
            let Some(Cut::None { malformed, header }) = cuts.pop() else { panic!("{cuts:?}") };
            assert_eq!((malformed, header.is_some()), (expected.clone(), has_header), "pieces of {piece}");
        }
    }
}

#[test]
fn what_is_too_short_for_a_batch_gives_none() {
    for len in 0..=HEADER_LEN + FOOTER_LEN {
        assert!(cuts(&segment().slice(..len), 1, true).0.is_empty(), "{len}");
    }
}
