//! A segment, field by field, as far as it can be read.

use bytes::Bytes;
use kfs_core::format::{CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed, Segment, crc32c};
use serde_json::{Map, Value, json};

use super::Wanted;
use super::batch::{self, Found};
use super::fields::{Cursor, Section};
use crate::failure::Outcome;
use crate::output::Out;
use crate::times;

/// What was found in a segment's bytes, or in bytes that are batches alone.
#[derive(Debug)]
pub(super) struct Anatomy {
    header: Option<Section>,
    batches: Vec<Found>,
    footer: Option<Section>,
    problem: Option<Malformed>,
}

/// Takes a segment apart.
pub(super) fn segment(bytes: &Bytes) -> Anatomy {
    let footer_at = bytes.len().saturating_sub(FOOTER_LEN).max(HEADER_LEN.min(bytes.len()));
    let (body_and_header, footer) = bytes.split_at_checked(footer_at).unwrap_or_default();
    let (batches, walk) = walk(bytes, HEADER_LEN as u64, footer_at as u64);
    let body = body_and_header.get(HEADER_LEN..).unwrap_or_default();
    Anatomy {
        header: Some(header(bytes)),
        batches,
        footer: Some(footer_fields(footer, footer_at as u64, crc32c(body))),
        // What the whole check finds first says most; the walk knows what it could not read.
        problem: Segment::parse(bytes, CrcCheck::Verify).err().or(walk),
    }
}

/// Takes bytes apart that are batches back to back.
pub(super) fn batches(bytes: &Bytes) -> Anatomy {
    let (batches, problem) = walk(bytes, 0, bytes.len() as u64);
    Anatomy { header: None, batches, footer: None, problem }
}

fn walk(bytes: &Bytes, from: u64, end: u64) -> (Vec<Found>, Option<Malformed>) {
    let mut found = Vec::new();
    let mut position = from;
    while position < end {
        match batch::at(bytes, position, end) {
            Ok(batch) => {
                position = batch.end();
                found.push(batch);
            }
            Err(malformed) => return (found, Some(malformed)),
        }
    }
    (found, None)
}

fn header(bytes: &Bytes) -> Section {
    let mut cursor = Cursor::new("header", bytes.get(..HEADER_LEN).unwrap_or(bytes), 0);
    cursor.magic("magic");
    cursor.u16("version");
    cursor.u16("flags");
    cursor.i64("base_offset");
    cursor.i32("message_count");
    if let Some(ms) = cursor.i64("created_ms") {
        cursor.note(times::show(ms));
    }
    cursor.u32("reserved");
    cursor.section
}

fn footer_fields(bytes: &[u8], position: u64, computed: u32) -> Section {
    let mut cursor = Cursor::new("footer", bytes, position);
    if let Some(crc) = cursor.crc("crc") {
        cursor.note(if crc == computed { "holds".to_string() } else { format!("WRONG: the body has {computed:08x}") });
    }
    cursor.i64("last_offset");
    cursor.magic("magic");
    cursor.section
}

impl Anatomy {
    pub(super) fn is_sound(&self) -> bool {
        self.problem.is_none() && self.batches.iter().all(Found::crc_holds)
    }

    /// The batch that holds an offset.
    pub(super) fn holding(&self, offset: i64) -> Option<&Found> {
        self.batches.iter().find(|b| (b.header.base_offset..=b.header.last_offset()).contains(&offset))
    }

    pub(super) fn json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(header) = &self.header {
            map.insert("header".into(), json!(header.json()));
        }
        let batches: Vec<_> = self.batches.iter().map(batch::json).collect();
        map.insert("batches".into(), json!(batches));
        if let Some(footer) = &self.footer {
            map.insert("footer".into(), json!(footer.json()));
        }
        map.insert("problem".into(), json!(self.problem.as_ref().map(ToString::to_string)));
        map
    }

    pub(super) fn print(&self, wanted: Wanted, out: &mut Out) -> Outcome {
        if let Some(header) = &self.header {
            header.print(out)?;
        }
        if wanted == Wanted::All {
            for (i, found) in self.batches.iter().enumerate() {
                batch::fields(found, format!("batch {i}")).print(out)?;
            }
        } else {
            out.line(&format!("{} batches", self.batches.len()))?;
            out.line(&format!(
                "{:>12}  {:>10}  {:>14}  {:>14}  {:>8}  {:>24}  attributes",
                "position", "bytes", "base offset", "last offset", "records", "max timestamp"
            ))?;
            for found in &self.batches {
                out.line(&row(found))?;
            }
        }
        if let Some(footer) = &self.footer {
            footer.print(out)?;
        }
        if let Some(problem) = &self.problem {
            out.line(&format!("problem: {problem}"))?;
        }
        Ok(())
    }
}

fn row(found: &Found) -> String {
    let header = &found.header;
    let mut attributes = batch::attributes(header.attributes);
    if !found.crc_holds() {
        attributes.push("CRC WRONG".into());
    }
    format!(
        "{:>12}  {:>10}  {:>14}  {:>14}  {:>8}  {:>24}  {}",
        found.position,
        found.bytes.len(),
        header.base_offset,
        header.last_offset(),
        header.record_count,
        times::show(header.max_timestamp),
        attributes.join(", ")
    )
}
