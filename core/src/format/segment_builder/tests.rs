use super::*;
use crate::format::{BatchBuilder, BatchOptions, CrcCheck, NewRecord, Segment};

fn batch(records: i32, value: usize) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![7; value];
    for _ in 0..records {
        builder.push(&NewRecord::new(5).value(&value)).unwrap();
    }
    builder.finish(0).unwrap()
}

fn parse(built: &BuiltSegment) -> Segment {
    Segment::parse(&Bytes::from(built.chunks.concat()), CrcCheck::Verify).unwrap()
}

#[test]
fn small_batches_share_one_chunk_and_large_ones_are_not_copied() {
    let (small, large) = (batch(1, 10), batch(1, 100_000));
    let mut builder = SegmentBuilder::new(0, 0, 100).unwrap();
    for pushed in [&small, &small, &large, &small, &small, &large, &large] {
        builder.push(pushed, None).unwrap();
    }
    let built = builder.finish().unwrap();
    let payload = large.bytes().as_ptr_range();
    let shared: Vec<bool> = built.chunks.iter().map(|chunk| payload.contains(&chunk.as_ptr())).collect();
    assert_eq!(shared, [false, true, false, true, false, true, false]);
    assert_eq!((parse(&built).next_offset(), parse(&built).batch_count()), (7, 7));
}

#[test]
#[cfg_attr(miri, ignore = "large")]
fn the_segment_is_right_for_batches_around_every_threshold() {
    for len in (900..1100).chain(3900..4300) {
        let mut builder = SegmentBuilder::new(3, 1, 1).unwrap();
        builder.push(&batch(1, 1), None).unwrap();
        builder.push(&batch(1, len), Some(5)).unwrap();
        builder.push(&batch(2, len), None).unwrap();
        assert_eq!(builder.next_offset(), 7);
        let size = builder.size();
        let built = builder.finish().unwrap();
        assert_eq!((built.size, built.message_count, built.last_offset), (size, 4, 6));
        let segment = parse(&built);
        assert_eq!(segment.bytes().len() as u64, size);
        assert_eq!(segment.index(1), built.sparse);
    }
}

#[test]
fn a_leader_epoch_is_stamped_only_when_given() {
    let sent = batch(1, 1).with_base_offset(0, Some(3)).unwrap();
    let mut builder = SegmentBuilder::new(0, 0, 100).unwrap();
    builder.push(&sent, None).unwrap();
    builder.push(&sent, Some(9)).unwrap();
    let segment = parse(&builder.finish().unwrap());
    let epochs: Vec<i32> = segment.batches().map(|at| at.batch.header().leader_epoch).collect();
    assert_eq!(epochs, [3, 9]);
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_builder_as_it_was() {
    let full = BatchBuilder::empty_batch(0, i32::MAX, &BatchOptions::default()).unwrap();
    let mut bytes = full.bytes().to_vec();
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let full = Batch::parse(&Bytes::from(bytes), 0, CrcCheck::AlreadyChecked).unwrap();
    let mut builder = SegmentBuilder::new(0, 0, 100).unwrap();
    builder.push(&full, None).unwrap();
    let before = (builder.size(), builder.next_offset(), builder.message_count(), builder.batch_count());
    assert!(!builder.fits(&batch(1, 1)));
    assert_eq!(builder.push(&batch(1, 1), None).unwrap_err().kind(), ErrorKind::InvalidInput);
    let after = (builder.size(), builder.next_offset(), builder.message_count(), builder.batch_count());
    assert_eq!(before, after);
    assert!(builder.push(&BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap(), None).is_ok());
    assert_eq!(builder.finish().unwrap().message_count, i32::MAX);
}

#[test]
#[cfg_attr(miri, ignore = "large")]
fn a_segment_stays_below_2_gib() {
    let large = batch(1, 64 << 20);
    let mut builder = SegmentBuilder::new(0, 0, 100).unwrap();
    let mut pushed = 0;
    while builder.fits(&large) {
        builder.push(&large, None).unwrap();
        pushed += 1;
    }
    assert_eq!(pushed, 31);
    assert!(builder.push(&large, None).is_err());
    let built = builder.finish().unwrap();
    assert!(built.size <= MAX_SEGMENT_LEN);
    assert_eq!(built.chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(), built.size);
}

#[test]
fn offsets_end_before_the_last_one() {
    let mut builder = SegmentBuilder::new(i64::MAX - 3, 0, 100).unwrap();
    assert!(builder.push(&batch(3, 1), None).is_err());
    builder.push(&batch(2, 1), None).unwrap();
    assert_eq!(builder.next_offset(), i64::MAX - 1);
    assert!(builder.push(&batch(1, 1), None).is_err());
    assert_eq!(parse(&builder.finish().unwrap()).next_offset(), i64::MAX - 1);
    assert!(SegmentBuilder::new(-1, 0, 1).is_err());
    assert!(SegmentBuilder::new(i64::MAX - 1, 0, 1).is_err());
}

#[test]
fn own_offsets_ascend_and_start_at_the_segments() {
    let at = |offset| batch(2, 1).with_base_offset(offset, None).unwrap();
    let mut builder = SegmentBuilder::new(10, 0, 100).unwrap();
    assert!(builder.push_at_own_offset(&at(11)).is_err());
    builder.push_at_own_offset(&at(10)).unwrap();
    assert!(builder.push_at_own_offset(&at(11)).is_err());
    builder.push_at_own_offset(&at(20)).unwrap();
    builder.push(&at(0), None).unwrap();
    let built = builder.finish().unwrap();
    assert_eq!((built.base_offset, built.last_offset, built.message_count), (10, 23, 6));
    let offsets: Vec<i64> = parse(&built).batches().map(|at| at.batch.base_offset()).collect();
    assert_eq!(offsets, [10, 20, 22]);
}

#[test]
fn a_segment_of_empty_batches_is_valid_and_has_no_time_index() {
    let mut builder = SegmentBuilder::new(5, 9, 100).unwrap().with_time_index(Limits::default());
    builder.push(&BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap(), None).unwrap();
    builder.push(&BatchBuilder::empty_batch(0, 3, &BatchOptions::default()).unwrap(), None).unwrap();
    let built = builder.finish().unwrap();
    assert_eq!((built.message_count, built.last_offset, built.sparse.len()), (0, 9, 1));
    assert_eq!(built.time_index, None);
    assert_eq!(parse(&built).time_range(&Limits::default()).unwrap(), None);
    assert!(SegmentBuilder::new(0, 0, 1).unwrap().finish().is_err(), "a segment of no batches");
}

#[test]
fn a_segment_whose_records_can_not_all_be_read_has_no_time_index() {
    let empty = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap();
    let mut bytes = empty.bytes().to_vec();
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    let promised = Batch::parse(&Bytes::from(bytes), 0, CrcCheck::AlreadyChecked).unwrap();
    let readable = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap();
    let mut builder = SegmentBuilder::new(0, 0, 100).unwrap().with_time_index(Limits::default());
    builder.push(&readable, None).unwrap();
    builder.push(&promised, None).unwrap();
    builder.push(&readable, None).unwrap();
    let built = builder.finish().unwrap();
    assert!(built.time_index.is_none());
    assert_eq!(built.batch_count, 3, "the segment itself is whole");
}
