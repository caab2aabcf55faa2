//! What the fuzz targets do with their bytes.
//!
//! Each is a function here, so that stable Rust can replay a corpus (`tests/replay.rs`). None may
//! panic, hang or use memory beyond its limits; what reads must also be written back the same.

mod differential;

use bytes::Bytes;
use kfs_core::format::{
    Batch, BatchBuilder, BatchOptions, ClaimMarker, Codec, CrcCheck, Limits, LogIdentity, NewRecord, PartitionId,
    Records, Segment, SegmentBuilder, SparseIndex, TimeIndex, batches, crc32c,
};

pub use differential::{ONLY_THEIRS, differential};

/// What a target does with its bytes; it panics at a fault.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("segment", segment),
    ("index", index),
    ("time_index", time_index),
    ("batch", batch),
    ("record", record),
    ("key", key),
    ("log_json", log_json),
    ("claim_json", claim_json),
    ("gzip", gzip),
    ("snappy", snappy),
    ("lz4", lz4),
    ("zstd", zstd),
    ("differential", differential),
];

fn limits() -> Limits {
    Limits::default().max_decompressed_batch(1 << 20)
}

/// A whole segment object, as stored and with CRCs switched off.
pub fn segment(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(segment) = Segment::parse(&bytes, CrcCheck::Verify) {
        written_again(&segment);
    }
    if let Ok(segment) = Segment::parse(&bytes, CrcCheck::AlreadyChecked) {
        let index = segment.index(1);
        assert_eq!(index.len() + segment.overlaps().len(), segment.batch_count());
        let _ = segment.time_range(&limits());
    }
}

/// The batches of a sound segment, given to a builder, make the same object.
fn written_again(segment: &Segment) {
    if !segment.overlaps().is_empty() {
        return;
    }
    let header = segment.header();
    let mut builder = SegmentBuilder::new(header.base_offset, header.created_ms, 100).expect("it was read");
    for at in segment.batches() {
        builder.push_at_own_offset(&at.batch).expect("it was read");
    }
    assert_eq!(builder.finish().expect("it has a batch").chunks.concat(), segment.bytes()[..]);
}

/// A sparse index object.
pub fn index(data: &[u8]) {
    let Ok(index) = SparseIndex::parse(data) else { return };
    assert_eq!(SparseIndex::parse(&index.encode()).expect("it was read"), index);
    for entry in index.entries() {
        assert_eq!(index.find(entry.offset), Some(entry));
        assert!(index.next_after(entry.position).is_none_or(|next| next.offset > entry.offset));
    }
}

/// A time index object.
pub fn time_index(data: &[u8]) {
    if let Ok(range) = TimeIndex::parse(data) {
        assert_eq!(range.encode(), data);
    }
}

/// Batches back to back, as an append takes them.
pub fn batch(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for check in [CrcCheck::Verify, CrcCheck::AlreadyChecked] {
        for batch in batches(&bytes, check).flatten() {
            let moved = batch.with_base_offset(7, Some(1));
            assert!(moved.is_err() || batch.bytes()[16..] == moved.expect("it is one").bytes()[16..]);
            if let Ok(records) = batch.records(&limits()) {
                read(&records);
            }
        }
    }
}

/// The records part of a batch: codec, record count, then the bytes.
pub fn record(data: &[u8]) {
    let [codec, count, records @ ..] = data else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    if let Ok(records) = with_header(codec, i32::from(*count), records).records(&limits()) {
        read(&records);
    }
}

/// The records part of a gzip batch.
pub fn gzip(data: &[u8]) {
    compressed(Codec::Gzip, data);
}

/// The records part of a snappy batch.
pub fn snappy(data: &[u8]) {
    compressed(Codec::Snappy, data);
}

/// The records part of an LZ4 batch.
pub fn lz4(data: &[u8]) {
    compressed(Codec::Lz4, data);
}

/// The records part of a zstd batch.
pub fn zstd(data: &[u8]) {
    compressed(Codec::Zstd, data);
}

/// How many records there are is known only when they are decompressed: the header promises more
/// than any, so that all are read. What is read is then compressed and read again.
fn compressed(codec: Codec, data: &[u8]) {
    let Ok(records) = with_header(codec, i32::MAX, data).records(&limits()) else { return };
    assert!(records.bytes().len() <= limits().max_decompressed_batch);
    read(&records);
    let mut builder = BatchBuilder::new(BatchOptions::default().compression(codec));
    let mut kept = Vec::new();
    for record in records.iter().flatten() {
        let mut new = NewRecord::new(record.timestamp_ms);
        (new.key, new.value) = (record.key, record.value);
        if !matches!(builder.push(&new), Ok(true)) {
            break;
        }
        kept.push(record);
    }
    if kept.is_empty() {
        return;
    }
    let batch = builder.finish(0).expect("its records were taken");
    let again = batch.records(&Limits::default()).expect("it was compressed here");
    assert_eq!(again.iter().count(), kept.len());
    for (again, record) in again.iter().zip(kept) {
        let again = again.expect("it was compressed here");
        assert_eq!((again.timestamp_ms, again.key, again.value), (record.timestamp_ms, record.key, record.value));
    }
}

/// A batch of these records, header and CRC sound.
fn with_header(codec: Codec, count: i32, records: &[u8]) -> Batch {
    let empty = BatchBuilder::empty_batch(0, i32::MAX, &BatchOptions::default()).expect("it fits");
    let mut bytes = [&empty.bytes()[..], records].concat();
    bytes[22] = codec as u8;
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    Batch::parse(&seal(bytes), 0, CrcCheck::Verify).expect("the header is sound")
}

/// Puts a batch's length and CRC right; there is a whole header.
fn seal(mut bytes: Vec<u8>) -> Bytes {
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A `log.json` object.
pub fn log_json(data: &[u8]) {
    let Ok(identity) = LogIdentity::parse(data) else { return };
    assert_eq!(LogIdentity::parse(&identity.encode()).expect("it was read"), identity);
    let made = LogIdentity::new(identity.log_id.clone(), identity.start_offset, identity.created_ms);
    assert_eq!(made.expect("it was read"), identity);
}

/// A `claim.json` object.
pub fn claim_json(data: &[u8]) {
    let Ok(marker) = ClaimMarker::parse(data) else { return };
    assert_eq!(ClaimMarker::parse(&marker.encode()).expect("it was read"), marker);
}

fn read(records: &Records) {
    let mut count = 0;
    let mut whole = true;
    for record in records {
        let Ok(record) = record else {
            whole = false;
            continue;
        };
        assert_eq!(record.headers().count(), record.headers().len());
        assert_eq!(record.to_owned().value.as_deref(), record.value);
        count += 1;
    }
    assert!(!whole || count == records.count());
}

/// An object key.
pub fn key(data: &[u8]) {
    let Ok(key) = std::str::from_utf8(data) else { return };
    if let Some((partition, name)) = PartitionId::parse_key(key) {
        assert_eq!(partition.key(name), key);
    }
    let _ = PartitionId::parse(key, Default::default());
}
