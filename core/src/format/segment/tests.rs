use super::*;
use crate::format::{BatchBuilder, BatchOptions, NewRecord, SegmentBuilder};

fn batch(offset: i64, records: i32) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for i in 0..records {
        builder.push(&NewRecord::new(5 + i64::from(i)).value(b"value")).unwrap();
    }
    builder.finish(offset).unwrap()
}

/// A segment of these batches as they are, without the checks of the builder.
fn assembled(batches: &[Batch], message_count: i32, last_offset: i64) -> Vec<u8> {
    let body: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let mut out = b"KAFS\0\x01\0\0".to_vec();
    out.extend_from_slice(&batches.first().map_or(0, Batch::base_offset).to_be_bytes());
    out.extend_from_slice(&message_count.to_be_bytes());
    out.extend_from_slice(&1_767_225_600_000i64.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc::crc32c(&body).to_be_bytes());
    out.extend_from_slice(&last_offset.to_be_bytes());
    out.extend_from_slice(b"END!");
    out
}

fn parse(bytes: Vec<u8>) -> Result<Segment, Malformed> {
    Segment::parse(&Bytes::from(bytes), CrcCheck::Verify)
}

fn sample() -> Vec<u8> {
    assembled(&[batch(10, 2), batch(12, 3), batch(20, 1)], 6, 20)
}

#[test]
fn a_segment_is_read_with_its_batches_and_positions() {
    let segment = parse(sample()).unwrap();
    assert_eq!((segment.base_offset(), segment.next_offset(), segment.batch_count()), (10, 21, 3));
    assert_eq!((segment.header().message_count, segment.header().created_ms), (6, 1_767_225_600_000));
    assert_eq!(segment.footer().last_offset, 20);
    let offsets: Vec<i64> = segment.batches().map(|at| at.batch.base_offset()).collect();
    assert_eq!(offsets, [10, 12, 20]);
    for at in segment.batches() {
        let there = Batch::parse(segment.bytes(), at.position as usize, CrcCheck::Verify).unwrap();
        assert_eq!(there, at.batch);
        assert!(!at.overlaps);
    }
    let range = segment.time_range(&Limits::default()).unwrap().unwrap();
    assert_eq!((range.min_ts, range.max_ts, range.min_offset, range.max_offset), (5, 7, 10, 20));
}

/// Invariant 7. Bytes 20 to 27 are the creation time, which nothing contradicts.
#[test]
fn no_byte_but_the_creation_time_can_be_flipped_unseen() {
    let good = sample();
    let step = if cfg!(miri) { 29 } else { 1 };
    for at in (0..good.len()).filter(|at| !(20..28).contains(at)).step_by(step) {
        for bit in 0..8 {
            let mut damaged = good.clone();
            damaged[at] ^= 1 << bit;
            let error = parse(damaged).expect_err(&format!("byte {at} bit {bit}"));
            assert!(error.position() <= good.len() as u64);
        }
    }
}

#[test]
fn a_flipped_footer_is_named() {
    let good = sample();
    let footer = good.len() - 16;
    for (at, expected) in [(0, footer), (3, footer), (4, footer + 4), (11, footer + 4), (12, footer + 12)] {
        let mut damaged = good.clone();
        damaged[footer + at] ^= 1;
        assert_eq!(parse(damaged).unwrap_err().position(), expected as u64);
    }
}

#[test]
fn a_segment_cut_anywhere_is_an_error() {
    let good = sample();
    for len in 0..good.len() {
        assert!(parse(good[..len].to_vec()).is_err(), "cut to {len} bytes");
    }
    assert!(parse([&good[..], &[0]].concat()).is_err());
}

#[test]
fn header_fields_that_can_not_be_are_named() {
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = sample();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        parse(damaged).unwrap_err()
    };
    assert_eq!(with(0, b"kafs").position(), 0);
    assert!(with(4, &[0, 2]).is_unsupported());
    assert_eq!(with(6, &[0, 1]).position(), 6);
    assert_eq!(with(8, &11i64.to_be_bytes()).position(), 32, "the first batch is not at the segment's base");
    assert_eq!(with(8, &(-1i64).to_be_bytes()).position(), 8);
    assert_eq!(with(16, &7i32.to_be_bytes()).position(), 16);
    assert_eq!(with(16, &(-1i32).to_be_bytes()).position(), 16);
    assert_eq!(with(28, &[1]).position(), 28);
}

#[test]
fn a_segment_holds_at_least_one_batch() {
    assert!(parse(assembled(&[], 0, 0)).is_err());
}

#[test]
fn damage_that_only_the_body_crc_covers_is_found_and_can_be_skipped_by_name() {
    let mut damaged = sample();
    // The leader epoch of the second batch.
    let second = parse(sample()).unwrap().batches().nth(1).unwrap().position as usize;
    damaged[second + 15] ^= 1;
    let footer = damaged.len() as u64 - 16;
    assert_eq!(parse(damaged.clone()).unwrap_err().position(), footer);
    assert!(Segment::parse(&Bytes::from(damaged), CrcCheck::AlreadyChecked).is_ok());
}

/// What KafScale writes of a produce call of two batches: the second keeps the client's offset, and
/// header, footer and index know only the first.
#[test]
fn a_batch_below_its_predecessors_end_is_read_reported_and_left_out_of_the_index() {
    let batches = [batch(10, 2), batch(0, 3), batch(12, 1), batch(0, 1)];
    let segment = parse(assembled(&batches, 3, 12)).unwrap();
    assert_eq!((segment.next_offset(), segment.batch_count()), (13, 4));
    let overlaps: Vec<_> = segment.overlaps().iter().map(|o| (o.base_offset, o.expected_offset)).collect();
    assert_eq!(overlaps, [(0, 12), (0, 13)]);
    let marked: Vec<bool> = segment.batches().map(|at| at.overlaps).collect();
    assert_eq!(marked, [false, true, false, true]);
    assert_eq!(segment.batches().nth(1).unwrap().position, segment.overlaps()[0].position);
    let indexed: Vec<i64> = segment.index(1).entries().map(|entry| entry.offset).collect();
    assert_eq!(indexed, [10, 12]);
    assert_eq!(segment.time_range(&Limits::default()).unwrap().unwrap().min_offset, 10);
    for (message_count, last_offset) in [(7, 12), (3, 0), (3, 11)] {
        assert!(parse(assembled(&batches, message_count, last_offset)).is_ok());
    }
    for (message_count, last_offset) in [(8, 12), (3, 13), (3, 9)] {
        assert!(parse(assembled(&batches, message_count, last_offset)).is_err(), "{message_count} {last_offset}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "large")]
fn large_batches_are_checked_by_the_combined_crc() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(&NewRecord::new(0).value(&[9; 200_000])).unwrap();
    let large = builder.finish(0).unwrap();
    let mut segment = SegmentBuilder::new(0, 0, 1).unwrap();
    for _ in 0..3 {
        segment.push(&large, None).unwrap();
    }
    let good = segment.finish().unwrap().chunks.concat();
    assert_eq!(parse(good.clone()).unwrap().footer().crc, crc::crc32c(&good[32..good.len() - 16]));
    for at in [32 + 15, 250_000, good.len() - 16] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        assert!(parse(damaged).is_err(), "{at}");
    }
}
