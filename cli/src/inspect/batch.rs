//! A record batch, field by field.

use bytes::Bytes;
use kfs_core::format::{Attributes, Batch, BatchHeader, CrcCheck, Malformed, crc32c};
use serde_json::{Map, Value, json};

use super::fields::{Cursor, Section};
use crate::times;

/// A batch that stands in an object.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) position: u64,
    pub(super) header: BatchHeader,
    /// Its bytes, if all are there.
    pub(super) bytes: Bytes,
    pub(super) computed_crc: u32,
}

impl Found {
    pub(super) fn crc_holds(&self) -> bool {
        self.computed_crc == self.header.crc
    }

    /// Where what follows it stands.
    pub(super) fn end(&self) -> u64 {
        self.position.saturating_add(self.bytes.len() as u64)
    }

    pub(super) fn batch(&self) -> Result<Batch, Malformed> {
        Batch::parse(&self.bytes, 0, CrcCheck::AlreadyChecked)
    }
}

/// The batch at a position of an object's bytes. Its CRC may be wrong.
pub(super) fn at(bytes: &Bytes, position: u64, end: u64) -> Result<Found, Malformed> {
    let from = usize::try_from(position).unwrap_or(usize::MAX);
    let to = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
    let rest = if from < to { bytes.slice(from..to) } else { Bytes::new() };
    let batch = Batch::parse(&rest, 0, CrcCheck::AlreadyChecked).map_err(|e| e.offset_position(position))?;
    /// The CRC covers everything from the attributes on.
    const CRC_FROM: usize = 21;
    let computed_crc = crc32c(batch.bytes().get(CRC_FROM..).unwrap_or_default());
    Ok(Found { position, header: *batch.header(), bytes: batch.bytes().clone(), computed_crc })
}

/// All fields of its header.
pub(super) fn fields(found: &Found, title: String) -> Section {
    let mut cursor = Cursor::new(title, &found.bytes, found.position);
    let time = |cursor: &mut Cursor<'_>, ms: Option<i64>| {
        if let Some(ms) = ms.filter(|ms| *ms >= 0) {
            cursor.note(times::show(ms));
        }
    };
    cursor.i64("base_offset");
    cursor.i32("batch_length");
    cursor.note(format!("{} bytes in all", found.bytes.len()));
    cursor.i32("partition_leader_epoch");
    cursor.i8("magic");
    cursor.crc("crc");
    if found.crc_holds() {
        cursor.note("holds");
    } else {
        cursor.note(format!("WRONG: the bytes have {:08x}", found.computed_crc));
    }
    cursor.i16("attributes");
    cursor.note(attributes(found.header.attributes).join(", "));
    cursor.i32("last_offset_delta");
    cursor.note(format!("last offset {}", found.header.last_offset()));
    let base = cursor.i64("base_timestamp");
    time(&mut cursor, base);
    let max = cursor.i64("max_timestamp");
    time(&mut cursor, max);
    cursor.i64("producer_id");
    cursor.i16("producer_epoch");
    cursor.i32("base_sequence");
    cursor.i32("record_count");
    cursor.section
}

/// As JSON: the fields, and what follows from them.
pub(super) fn json(found: &Found) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("position".into(), json!(found.position));
    map.insert("bytes".into(), json!(found.bytes.len()));
    map.insert("last_offset".into(), json!(found.header.last_offset()));
    map.append(&mut fields(found, String::new()).json());
    map.insert("crc_holds".into(), json!(found.crc_holds()));
    let attributes = attributes(found.header.attributes);
    map.insert("codec".into(), json!(attributes.first()));
    map.insert("flags".into(), json!(attributes.get(1..)));
    map
}

/// The codec's name, then the flags that are set.
pub(super) fn attributes(attributes: Attributes) -> Vec<String> {
    let codec = attributes.codec().map_or_else(|| "unknown codec".to_string(), |codec| codec.name().to_string());
    let mut names = vec![codec];
    for (set, name) in [
        (attributes.is_log_append_time(), "log append time"),
        (attributes.is_transactional(), "transactional"),
        (attributes.is_control(), "control"),
        (attributes.has_delete_horizon(), "delete horizon"),
    ] {
        if set {
            names.push(name.to_string());
        }
    }
    names
}
