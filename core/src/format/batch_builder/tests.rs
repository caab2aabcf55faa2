use super::*;
use crate::format::{CrcCheck, Limits};

fn builder() -> BatchBuilder {
    BatchBuilder::new(BatchOptions::default())
}

#[test]
fn a_batch_ends_before_its_timestamps_spread_by_2_to_the_30() {
    let mut builder = builder();
    assert!(builder.push(&NewRecord::new(1 << 30)).unwrap());
    assert!(builder.push(&NewRecord::new(1)).unwrap(), "2^30 - 1 below");
    assert!(!builder.push(&NewRecord::new(0)).unwrap(), "2^30 below");
    assert!(!builder.push(&NewRecord::new((1 << 30) + 1)).unwrap(), "2^30 above the least");
    assert!(!builder.push(&NewRecord::new(i64::MAX)).unwrap());
    assert!(!builder.push(&NewRecord::new(i64::MIN)).unwrap());
    assert_eq!(builder.record_count(), 2);
    let batch = builder.finish(0).unwrap();
    assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (1 << 30, 1 << 30));
    assert!(builder.push(&NewRecord::new(i64::MIN)).unwrap(), "a new batch has a new spread");
    assert_eq!(builder.finish(0).unwrap().records(&Limits::default()).unwrap().iter().count(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "zstd is C")]
fn no_codec_makes_a_batch_longer_than_its_bound() {
    let mut state = 9_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(300_000)
    .collect();
    for codec in Codec::ALL {
        for len in [0, 1, 100, 70_000, noise.len()] {
            let mut builder = BatchBuilder::new(BatchOptions::default().compression(codec));
            builder.push(&NewRecord::new(0).value(&noise[..len])).unwrap();
            let bound = builder.finished_bound();
            assert!(builder.finish(0).unwrap().bytes().len() <= bound, "{codec}, {len} bytes");
        }
    }
}

#[test]
fn the_length_told_is_the_length_made() {
    let mut builder = builder();
    assert_eq!((builder.is_empty(), builder.encoded_len()), (true, 61));
    builder.push(&NewRecord::new(-1).key(&[7; 300]).headers(&[(b"a", None), (b"", Some(&[1; 70]))])).unwrap();
    builder.push(&NewRecord::new(-2).value(b"")).unwrap();
    let told = builder.encoded_len();
    assert_eq!(builder.finish(0).unwrap().bytes().len(), told);
    assert_eq!((builder.is_empty(), builder.encoded_len()), (true, 61));
}

#[test]
#[cfg_attr(miri, ignore = "zstd is C")]
fn options_end_in_the_header_and_sequences_count_on() {
    let options = BatchOptions::default()
        .compression(Codec::Zstd)
        .leader_epoch(4)
        .producer_id(1 << 40)
        .producer_epoch(7)
        .base_sequence(i32::MAX)
        .transactional(true)
        .control(true)
        .log_append_time(99);
    let mut builder = BatchBuilder::new(options);
    builder.push(&NewRecord::new(1)).unwrap();
    let header = *builder.finish(5).unwrap().header();
    assert_eq!((header.attributes.bits(), header.attributes.codec()), (0b111100, Some(Codec::Zstd)));
    assert!(header.attributes.is_transactional() && header.attributes.is_control());
    assert!(header.attributes.is_log_append_time() && !header.attributes.has_delete_horizon());
    assert_eq!((header.leader_epoch, header.producer_id, header.producer_epoch), (4, 1 << 40, 7));
    assert_eq!((header.base_sequence, header.max_timestamp, header.base_timestamp), (i32::MAX, 99, 1));
    builder.push(&NewRecord::new(1)).unwrap();
    assert_eq!(builder.finish(5).unwrap().header().base_sequence, 0);
}

#[test]
fn an_empty_batch_has_61_bytes_and_takes_its_offsets() {
    let batch = BatchBuilder::empty_batch(7, 0, &BatchOptions::default()).unwrap();
    assert_eq!((batch.bytes().len(), batch.base_offset(), batch.next_offset()), (61, 7, 8));
    assert_eq!(Batch::parse(batch.bytes(), 0, CrcCheck::Verify).unwrap(), batch);
    let header = *batch.header();
    assert_eq!((header.record_count, header.base_timestamp, header.max_timestamp), (0, -1, -1));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, -1));
    assert_eq!(BatchBuilder::empty_batch(7, 99, &BatchOptions::default()).unwrap().next_offset(), 107);
    for (offset, delta) in [(0, -1), (-1, 0), (i64::MAX - 1, 0), (i64::MAX - 2, 1)] {
        let error = BatchBuilder::empty_batch(offset, delta, &BatchOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn no_records_and_no_offset_make_no_batch() {
    assert_eq!(builder().finish(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut builder = builder();
    builder.push(&NewRecord::new(0)).unwrap();
    assert_eq!(builder.finish(-1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(builder.finish(0).unwrap().base_offset(), 0, "the record is still there");
}
