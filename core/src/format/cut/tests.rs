use super::*;
use crate::format::{BatchBuilder, BatchOptions, Codec, CrcCheck, NewRecord};

const LIMITS: fn() -> Limits = Limits::default;

/// Ten records whose timestamps rise and fall.
fn batch(options: BatchOptions) -> Batch {
    let mut builder = BatchBuilder::new(options.producer_id(77).producer_epoch(3).base_sequence(9));
    for (number, timestamp) in [50, 10, 40, 90, 20, 60, 30, 80, 70, 100].into_iter().enumerate() {
        let value = format!("value {number}");
        let headers = [(&b"h"[..], Some(&b"x"[..]))];
        builder.push(&NewRecord::new(timestamp).key(b"k").value(value.as_bytes()).headers(&headers)).unwrap();
    }
    builder.finish(1_000).unwrap()
}

fn records(batch: &Batch) -> Vec<crate::format::OwnedRecord> {
    batch.records(&LIMITS()).unwrap().into_iter().map(|record| record.unwrap()).collect()
}

#[test]
fn the_records_below_the_offset_stay_whatever_the_codec() {
    for codec in Codec::ALL {
        let whole = batch(BatchOptions::default().compression(codec).transactional(true).leader_epoch(4));
        for kept in 1..10_usize {
            let cut = whole.cut_before(1_000 + kept as i64, &LIMITS()).unwrap().unwrap();
            let cut = Batch::parse(cut.bytes(), 0, CrcCheck::Verify).unwrap();
            assert_eq!(records(&cut), records(&whole)[..kept], "{codec}");
            let (header, before) = (cut.header(), whole.header());
            assert_eq!((header.record_count, header.last_offset_delta), (kept as i32, kept as i32 - 1));
            let greatest = records(&whole)[..kept].iter().map(|record| record.timestamp_ms).max().unwrap();
            assert_eq!((header.max_timestamp, header.base_timestamp), (greatest, before.base_timestamp));
            assert_eq!(
                (
                    header.attributes,
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                    header.leader_epoch
                ),
                (before.attributes, 77, 3, 9, 4)
            );
        }
        assert_eq!(whole.cut_before(1_010, &LIMITS()).unwrap().unwrap().bytes(), whole.bytes());
        assert_eq!(whole.cut_before(1_000, &LIMITS()).unwrap(), None);
        assert_eq!(whole.cut_before(-5, &LIMITS()).unwrap(), None);
    }
}

#[test]
fn with_log_append_time_the_timestamp_stays_the_batchs() {
    let cut = batch(BatchOptions::default().log_append_time(555)).cut_before(1_004, &LIMITS()).unwrap().unwrap();
    assert_eq!(cut.header().max_timestamp, 555);
    assert!(records(&cut).iter().all(|record| record.timestamp_ms == 555));
}

#[test]
fn offsets_that_compaction_emptied_are_kept_as_offsets() {
    let whole = BatchBuilder::empty_batch(7, 9, &BatchOptions::default().producer_id(5)).unwrap();
    let cut = whole.cut_before(10, &LIMITS()).unwrap().unwrap();
    let header = cut.header();
    assert_eq!((header.base_offset, header.next_offset(), header.record_count, header.producer_id), (7, 10, 0, 5));
    assert!(cut.check_crc().is_ok());
}

#[test]
fn the_first_record_of_a_time_is_found_in_the_order_of_offsets() {
    let whole = batch(BatchOptions::default().compression(Codec::Lz4));
    for (time, offset) in [(0, Some(1_000)), (51, Some(1_003)), (91, Some(1_009)), (100, Some(1_009)), (101, None)] {
        assert_eq!(whole.first_not_before(time, &LIMITS()).unwrap(), offset, "{time}");
    }
}

#[test]
fn records_that_cant_be_read_are_an_error() {
    let whole = batch(BatchOptions::default().compression(Codec::Gzip));
    let tight = LIMITS().max_decompressed_batch(8);
    assert!(whole.cut_before(1_003, &tight).is_err());
    assert!(whole.first_not_before(60, &tight).is_err());
}

#[test]
fn the_same_records_are_the_same_batch_however_they_are_compressed() {
    let of = |level: i32| {
        let compression = crate::format::Compression::from(Codec::Zstd).with_level(level).unwrap();
        batch(BatchOptions::default().compression(compression))
    };
    let (one, other) = (of(1), of(19));
    assert!(one.is_same_but_for_compression(&other, &LIMITS()).unwrap());
    let shorter = other.cut_before(1_009, &LIMITS()).unwrap().unwrap();
    assert!(!one.is_same_but_for_compression(&shorter, &LIMITS()).unwrap());
}
