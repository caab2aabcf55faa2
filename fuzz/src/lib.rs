//! What the fuzz targets do with their bytes.
//!
//! Each is a function here, so that stable Rust can replay a corpus (`tests/replay.rs`). None may
//! panic, hang or use memory beyond its limits; what reads must also be written back the same.

use bytes::Bytes;
use kfs_core::format::{
    Batch, BatchBuilder, BatchOptions, Codec, CrcCheck, Limits, PartitionId, Records, Segment, SegmentBuilder,
    SparseIndex, TimeIndex, batches,
};

/// All targets by name.
pub const TARGETS: [(&str, fn(&[u8])); 6] = [
    ("segment", segment),
    ("index", index),
    ("time_index", time_index),
    ("batch", batch),
    ("record", record),
    ("key", key),
];

fn limits() -> Limits {
    Limits::default().with_max_decompressed_batch(1 << 20)
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
    let empty = BatchBuilder::empty_batch(0, 255, &BatchOptions::default()).expect("it fits");
    let mut bytes = [&empty.bytes()[..], records].concat();
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec % Codec::ALL.len() as u8;
    bytes[60] = *count;
    let batch = Batch::parse(&bytes.into(), 0, CrcCheck::AlreadyChecked).expect("the header is sound");
    if let Ok(records) = batch.records(&limits()) {
        read(&records);
    }
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
