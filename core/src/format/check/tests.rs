use super::*;
use crate::format::{BATCH_HEADER_LEN, BatchBuilder, BatchOptions, Codec, CrcCheck, NewRecord, crc32c};

/// A good batch of three records, the latest of which is the second.
fn good(options: BatchOptions) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, value) in [(1000, "a"), (3000, "b"), (2000, "c")] {
        builder.push(&NewRecord::new(timestamp).value(value.as_bytes())).unwrap();
    }
    builder.finish(7).unwrap()
}

/// The batch with other bytes in it, and a CRC that is right for them.
fn edited(batch: &Batch, edit: impl FnOnce(&mut Vec<u8>)) -> Batch {
    let mut bytes = batch.bytes().to_vec();
    edit(&mut bytes);
    let length = (bytes.len() as i32 - 12).to_be_bytes();
    bytes[8..12].copy_from_slice(&length);
    let crc = crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    Batch::parse(&bytes.into(), 0, CrcCheck::Verify).unwrap()
}

fn plain() -> Batch {
    good(BatchOptions::default())
}

/// Records of 9 bytes with these offset deltas.
fn with_deltas(deltas: &[u8], last_offset_delta: i32) -> Batch {
    let empty = BatchBuilder::empty_batch(7, last_offset_delta, &BatchOptions::default()).unwrap();
    edited(&empty, |bytes| {
        bytes.extend(deltas.iter().flat_map(|delta| [16, 0, 2, 2 * delta, 2, b'k', 2, b'v', 0]));
        bytes[57..61].copy_from_slice(&(deltas.len() as i32).to_be_bytes());
        // As the records have it.
        bytes[35..43].fill(0);
    })
}

fn set_max_timestamp(batch: &Batch, max_timestamp: i64) -> Batch {
    edited(batch, |bytes| bytes[35..43].copy_from_slice(&max_timestamp.to_be_bytes()))
}

fn refusal(check: BatchCheck, batch: Batch) -> String {
    check.check(batch).unwrap_err().to_string()
}

#[test]
#[cfg_attr(miri, ignore = "zstd is C")]
fn produce_sets_a_wrong_max_timestamp_right_with_its_crc_whatever_the_codec() {
    for codec in Codec::ALL {
        let right = good(BatchOptions::default().compression(codec));
        for wrong in [-1, 2999, 3001, i64::MIN, i64::MAX] {
            let mended = BatchCheck::Produce.check(set_max_timestamp(&right, wrong)).unwrap();
            assert_eq!(mended, right, "{codec}: {wrong}");
            assert_eq!(Batch::parse(mended.bytes(), 0, CrcCheck::Verify).unwrap(), right, "{codec}: {wrong}");
        }
        assert_eq!(BatchCheck::Produce.check(right.clone()).unwrap(), right, "{codec}");
    }
}

#[test]
fn a_max_timestamp_is_set_in_place_where_nobody_else_holds_the_bytes() {
    let alone = set_max_timestamp(&plain(), -1);
    let place = alone.bytes().as_ptr();
    assert_eq!(BatchCheck::Produce.check(alone).unwrap().bytes().as_ptr(), place);
    let shared = set_max_timestamp(&plain(), -1);
    let before = shared.clone();
    assert_eq!(BatchCheck::Produce.check(shared).unwrap(), plain());
    assert_eq!(before.header().max_timestamp, -1);
    assert_eq!(before.check_crc(), Ok(()), "what others hold is as it was");
}

#[test]
fn produce_wants_offset_deltas_that_count_from_zero() {
    assert!(BatchCheck::Produce.check(with_deltas(&[0, 1, 2], 2)).is_ok());
    let twice = refusal(BatchCheck::Produce, with_deltas(&[0, 0], 1));
    assert_eq!(twice, "at byte 70: found offset delta 0 in record 1 of 2, expected 1");
    for wrong in [[1, 2, 0], [0, 2, 1], [0, 2, 2]] {
        assert!(refusal(BatchCheck::Produce, with_deltas(&wrong, 2)).contains("offset delta"), "{wrong:?}");
    }
    let gap = refusal(BatchCheck::Produce, with_deltas(&[0, 2], 2));
    assert_eq!(gap, "at byte 57: found a record count of 2, expected 3, the last offset delta plus 1");
}

#[test]
fn produce_refuses_what_no_producer_sends() {
    let control = good(BatchOptions::default().control(true));
    assert!(refusal(BatchCheck::Produce, control).contains("found a control batch"));
    let empty = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap();
    assert!(refusal(BatchCheck::Produce, empty).contains("a record count of 0"));
    let left_over = edited(&plain(), |bytes| bytes.push(0));
    assert!(refusal(BatchCheck::Produce, left_over).contains("bytes after it"));
}

#[test]
fn produce_takes_log_append_time_only_where_the_writer_allows_it() {
    let stamped = good(BatchOptions::default().log_append_time(9));
    assert!(refusal(BatchCheck::Produce, stamped.clone()).contains("marked LogAppendTime"));
    assert_eq!(BatchCheck::Produce.check_from(stamped.clone(), true).unwrap(), stamped, "its time is kept");
}

#[test]
fn decode_takes_compacted_control_and_empty_batches_as_they_are() {
    let empty = BatchBuilder::empty_batch(0, 4, &BatchOptions::default()).unwrap();
    for batch in [
        empty,
        with_deltas(&[1, 4, 6], 8),
        with_deltas(&[0, 0], 1),
        good(BatchOptions::default().control(true)),
        good(BatchOptions::default().log_append_time(9)),
        set_max_timestamp(&plain(), -1),
    ] {
        assert_eq!(BatchCheck::Decode.check(batch.clone()).unwrap(), batch);
    }
}

#[test]
fn produce_and_decode_refuse_records_that_do_not_decode_and_crc_takes_them() {
    let cut = edited(&plain(), |bytes| bytes[BATCH_HEADER_LEN] = 0x7e);
    let left_over = edited(&plain(), |bytes| bytes.push(0));
    let garbled = edited(&plain(), |bytes| {
        bytes[22] |= Codec::Snappy as u8;
        bytes.splice(BATCH_HEADER_LEN.., *b"not snappy at all");
    });
    for batch in [cut, left_over, garbled] {
        for check in [BatchCheck::Produce, BatchCheck::Decode] {
            assert!(check.check(batch.clone()).unwrap_err().position() >= BATCH_HEADER_LEN as u64);
        }
        assert_eq!(BatchCheck::Crc.check(batch.clone()).unwrap(), batch);
    }
}

#[test]
#[cfg_attr(miri, ignore = "256 MiB take it hours")]
fn no_check_takes_records_beyond_what_readers_take_by_default_but_crc() {
    let limit = Limits::default().max_decompressed_batch;
    let value = vec![0; limit];
    let mut payload = Vec::new();
    crate::format::compression::compress(Codec::Lz4.into(), &value, &mut payload).unwrap();
    payload.extend_from_within(..);
    // Two frames: twice the limit.
    let large = edited(&plain(), |bytes| {
        bytes[22] |= Codec::Lz4 as u8;
        bytes.splice(BATCH_HEADER_LEN.., payload);
    });
    for check in [BatchCheck::Produce, BatchCheck::Decode] {
        assert!(refusal(check, large.clone()).contains(&format!("more than {limit} bytes")));
    }
    assert!(BatchCheck::Crc.check(large).is_ok());
}
