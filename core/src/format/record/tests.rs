use super::*;
use crate::format::{Batch, BatchBuilder, BatchOptions, CrcCheck, NewRecord, crc32c};

/// A batch around a hand-made records part.
fn batch_of(records: &[u8], count: i32, last_offset_delta: i32) -> Batch {
    let empty = BatchBuilder::empty_batch(100, last_offset_delta, &BatchOptions::default()).unwrap();
    let mut bytes = [empty.bytes(), records].concat();
    bytes[8..12].copy_from_slice(&((49 + records.len()) as i32).to_be_bytes());
    bytes[27..35].copy_from_slice(&1000i64.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    Batch::parse(&bytes.into(), 0, CrcCheck::Verify).unwrap()
}

fn read(records: &[u8], count: i32, last_offset_delta: i32) -> Result<Vec<OwnedRecord>, Malformed> {
    let records = batch_of(records, count, last_offset_delta).records(&Limits::default()).unwrap();
    let borrowed: Result<Vec<_>, _> = records.iter().map(|record| record.map(|r| r.to_owned())).collect();
    let owned: Result<Vec<_>, _> = records.into_iter().collect();
    assert_eq!(borrowed, owned);
    borrowed
}

/// length, attributes, timestamp delta, offset delta, key "k", value "v", no headers
const GOOD: [u8; 9] = [16, 0, 2, 0, 2, b'k', 2, b'v', 0];

#[test]
fn a_record_is_read_field_by_field() {
    let [record] = &read(&GOOD, 1, 0).unwrap()[..] else { panic!() };
    assert_eq!((record.offset, record.timestamp_ms, record.attributes), (100, 1001, 0));
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(record.headers().len(), 0);
}

#[test]
fn null_is_not_empty_and_headers_repeat_in_their_order() {
    let bytes = [30, 7, 1, 0, 1, 0, 6, 2, b'h', 2, b'1', 2, b'h', 1, 0, 0];
    let [record] = &read(&bytes, 1, 0).unwrap()[..] else { panic!() };
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (None, Some(&b""[..])));
    assert_eq!((record.attributes, record.timestamp_ms), (7, 999));
    let header = |key: &'static [u8], value: Option<&'static [u8]>| Header { key, value };
    let headers: Vec<_> = record.headers().collect();
    assert_eq!(headers, [header(b"h", Some(b"1")), header(b"h", None), header(b"", Some(b""))]);
}

#[test]
fn offsets_may_skip_but_not_leave_the_batch() {
    let at = |delta: u8| [16, 0, 2, delta, 2, b'k', 2, b'v', 0];
    let offsets =
        |bytes: &[u8], count| read(bytes, count, 9).map(|all| all.iter().map(|r| r.offset).collect::<Vec<_>>());
    assert_eq!(offsets(&[at(4), at(18)].concat(), 2).unwrap(), [102, 109]);
    assert!(offsets(&at(20), 1).unwrap_err().to_string().contains("expected 0 to 9"));
    assert!(offsets(&at(1), 1).unwrap_err().to_string().contains("offset delta"));
}

#[test]
fn fewer_or_more_records_than_promised_are_an_error() {
    assert!(read(&GOOD, 2, 1).unwrap_err().to_string().contains("record 1 of 2"));
    assert!(read(&[GOOD, GOOD].concat(), 1, 1).unwrap_err().to_string().contains("bytes after it"));
    assert_eq!(read(&[GOOD, GOOD].concat(), 1, 1).unwrap_err().position(), 61 + 9);
    assert!(read(&[0], 0, 0).is_err());
    assert_eq!(read(&[], 0, 0).unwrap(), []);
}

#[test]
fn wrong_fields_are_named() {
    for (bytes, what) in [
        (&[1][..], "length"),
        (&[18, 0, 2, 0, 2, b'k', 2, b'v', 0], "length"),
        (&[0xfe, 0xff, 0xff, 0xff, 0x0f], "length"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "length"),
        (&[0], "fewer bytes"),
        (&[2, 0], "fewer bytes"),
        (&[4, 0, 0x80], "fewer bytes"),
        (&[16, 0, 2, 0, 3, b'k', 2, b'v', 0], "key"),
        (&[16, 0, 2, 0, 40, b'k', 2, b'v', 0], "key"),
        (&[16, 0, 2, 0, 2, b'k', 5, b'v', 0], "value"),
        (&[16, 0, 2, 0, 2, b'k', 6, b'v', 0], "value"),
        (&[16, 0, 2, 0, 2, b'k', 2, b'v', 2], "headers"),
        (&[16, 0, 2, 0, 2, b'k', 2, b'v', 1], "headers"),
        (&[20, 0, 2, 0, 2, b'k', 2, b'v', 2, 1, 1], "headers"),
        (&[20, 0, 2, 0, 2, b'k', 2, b'v', 2, 0, 3], "headers"),
        (&[18, 0, 2, 0, 2, b'k', 2, b'v', 0, 0], "bytes after its headers"),
        (&[22, 0, 2, 0, 2, b'k', 2, b'v', 2, 0, 1, 0], "bytes after its headers"),
    ] {
        let error = read(bytes, 1, 0).unwrap_err();
        assert!(error.to_string().contains(what), "{bytes:?}: {error}");
        assert_eq!(error.position(), 61);
    }
}

#[test]
fn a_count_of_headers_that_lies_allocates_nothing() {
    let bytes = [24, 0, 2, 0, 2, b'k', 2, b'v', 0xfe, 0xff, 0xff, 0xff, 0x0f];
    assert!(read(&bytes, 1, 0).unwrap_err().to_string().contains("headers"));
}

#[test]
fn a_timestamp_beyond_64_bits_is_an_error() {
    let mut bytes = vec![0, 0];
    crate::format::varint::put(&mut bytes, i64::MAX);
    bytes.extend_from_slice(&[0, 1, 1, 0]);
    bytes[0] = 2 * (bytes.len() as u8 - 1);
    assert!(read(&bytes, 1, 0).unwrap_err().to_string().contains("timestamp beyond 64 bits"));
}

#[test]
fn after_an_error_an_iterator_ends() {
    let records = batch_of(&GOOD, 3, 2).records(&Limits::default()).unwrap();
    let mut iter = records.iter();
    assert!(iter.next().unwrap().is_ok());
    assert!(iter.next().unwrap().is_err());
    assert!(iter.next().is_none());
    assert!(iter.next().is_none());
    let mut owned = records.into_iter();
    assert!(owned.next().unwrap().is_ok());
    assert!(owned.next().unwrap().is_err());
    assert!(owned.next().is_none());
}

#[test]
fn records_of_an_uncompressed_batch_borrow_its_bytes() {
    let batch = batch_of(&GOOD, 1, 0);
    let records = batch.records(&Limits::default()).unwrap();
    let within = batch.bytes().as_ptr_range();
    let record = records.iter().next().unwrap().unwrap();
    let owned = record.to_owned();
    for part in [record.value.unwrap(), &record.value_bytes().unwrap(), &owned.key.unwrap(), &owned.value.unwrap()] {
        assert!(within.contains(&part.as_ptr()));
    }
}

#[test]
fn with_log_append_time_every_record_has_the_batchs_time() {
    let mut builder = BatchBuilder::new(BatchOptions::default().log_append_time(77));
    builder.push(&NewRecord::new(5)).unwrap();
    builder.push(&NewRecord::new(9)).unwrap();
    let records = builder.finish(0).unwrap().records(&Limits::default()).unwrap();
    let times: Vec<i64> = records.iter().map(|record| record.unwrap().timestamp_ms).collect();
    assert_eq!(times, [77, 77]);
}

#[test]
fn a_fault_in_decompressed_records_says_so() {
    let mut builder = BatchBuilder::new(BatchOptions::default().compression(Codec::Lz4));
    builder.push(&NewRecord::new(5).value(b"v")).unwrap();
    let batch = builder.finish(0).unwrap();
    let mut bytes = batch.bytes().to_vec();
    bytes[23..27].copy_from_slice(&1i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&2i32.to_be_bytes());
    let batch = Batch::parse(&bytes.into(), 0, CrcCheck::AlreadyChecked).unwrap();
    let error = batch.records(&Limits::default()).unwrap().iter().nth(1).unwrap().unwrap_err();
    assert!(error.to_string().contains("of the decompressed records"), "{error}");
    assert_eq!(error.position(), 61);
}

#[test]
fn an_empty_batch_has_no_records_whatever_its_codec_bits_say() {
    for codec in Codec::ALL {
        let mut bytes = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap().bytes().to_vec();
        bytes[22] = codec as u8;
        let batch = Batch::parse(&bytes.into(), 0, CrcCheck::AlreadyChecked).unwrap();
        assert_eq!(batch.records(&Limits::default()).unwrap().iter().count(), 0);
    }
}
