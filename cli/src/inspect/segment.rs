//! A segment, field by field, as far as it can be read.

use std::ops::Range;

use bytes::Bytes;
use kfs_core::format::{CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed, Segment, crc32c};
use kfs_core::text::counted;
use serde_json::json;

use super::Wanted;
use super::batch::{self, Found};
use super::fields::{Cursor, Section};
use super::json_object::JsonObject;
use crate::failure::Outcome;
use crate::output::Out;
use crate::times;

/// A segment's bytes, or bytes that are batches alone. Batches are gone through as they are shown, not kept:
/// a segment of 2 GiB may have 35 million.
#[derive(Debug)]
pub(super) struct Anatomy {
    header: Option<Section>,
    footer: Option<Section>,
    bytes: Bytes,
    /// Where the batches start and end.
    body: Range<u64>,
    /// Zeros after them to the end of the bytes, of a file that a broker preallocated.
    zeros: Option<Range<u64>>,
    count: u64,
    crcs_hold: bool,
    problem: Option<Malformed>,
}

/// Takes a segment apart.
pub(super) fn segment(bytes: &Bytes) -> Anatomy {
    let footer_at = bytes.len().saturating_sub(FOOTER_LEN).max(HEADER_LEN.min(bytes.len()));
    let (body_and_header, footer) = bytes.split_at_checked(footer_at).unwrap_or_default();
    let body = body_and_header.get(HEADER_LEN..).unwrap_or_default();
    let footer = footer_fields(footer, footer_at as u64, crc32c(body));
    let mut anatomy = survey(bytes, HEADER_LEN as u64..footer_at as u64);
    (anatomy.header, anatomy.footer) = (Some(header(bytes)), Some(footer));
    // What the whole check finds first says most; the walk knows what it could not read.
    anatomy.problem = Segment::parse(bytes, CrcCheck::Verify).err().or(anatomy.problem);
    anatomy
}

/// Takes bytes apart that are batches back to back.
pub(super) fn batches(bytes: &Bytes) -> Anatomy {
    let mut anatomy = survey(bytes, 0..bytes.len() as u64);
    // Only the batch before it tells where a row of zeros begins: its own bytes may end with some.
    let end = anatomy.batches().map(|batch| batch.end()).last().unwrap_or(0);
    let rest = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    if !rest.is_empty() && rest.iter().all(|byte| *byte == 0) {
        anatomy.zeros = Some(end..anatomy.body.end);
        anatomy.body.end = end;
        anatomy.problem = None;
    }
    anatomy
}

fn survey(bytes: &Bytes, body: Range<u64>) -> Anatomy {
    let bytes = bytes.clone();
    let mut anatomy =
        Anatomy { header: None, footer: None, bytes, body, zeros: None, count: 0, crcs_hold: true, problem: None };
    for found in anatomy.walk() {
        match found {
            Ok(found) => {
                anatomy.count = anatomy.count.saturating_add(1);
                anatomy.crcs_hold &= found.crc_holds();
            }
            Err(malformed) => anatomy.problem = Some(malformed),
        }
    }
    anatomy
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
        self.problem.is_none() && self.crcs_hold
    }

    /// The batches in order; an error, where one can't be read, is the last.
    fn walk(&self) -> impl Iterator<Item = Result<Found, Malformed>> + use<> {
        let (bytes, mut body) = (self.bytes.clone(), self.body.clone());
        std::iter::from_fn(move || {
            if body.start >= body.end {
                return None;
            }
            let found = batch::at(&bytes, body.start, body.end);
            body.start = found.as_ref().map_or(body.end, Found::end);
            Some(found)
        })
    }

    fn batches(&self) -> impl Iterator<Item = Found> + use<> {
        self.walk().map_while(Result::ok)
    }

    /// The batch that holds an offset.
    pub(super) fn holding(&self, offset: i64) -> Option<Found> {
        self.batches().find(|b| (b.header.base_offset..=b.header.last_offset()).contains(&offset))
    }

    /// Writes the members of a JSON object, batch by batch.
    pub(super) fn write_json(&self, object: &mut JsonObject<'_>) -> Outcome {
        if let Some(header) = &self.header {
            object.member("header", &json!(header.json()))?;
        }
        object.array("batches", self.batches().map(|found| json!(batch::json(&found))))?;
        if let Some(footer) = &self.footer {
            object.member("footer", &json!(footer.json()))?;
        }
        if let Some(zeros) = &self.zeros {
            object.member("zeros_at_the_end", &json!(zeros.end.saturating_sub(zeros.start)))?;
        }
        object.member("problem", &json!(self.problem.as_ref().map(ToString::to_string)))
    }

    pub(super) fn print(&self, wanted: Wanted, out: &mut Out) -> Outcome {
        if let Some(header) = &self.header {
            header.print(out)?;
        }
        if wanted == Wanted::All {
            for (i, found) in self.batches().enumerate() {
                batch::fields(&found, format!("batch {i}")).print(out)?;
            }
        } else {
            out.line(&counted(self.count, "batch"))?;
            out.line(&format!(
                "{:>12}  {:>10}  {:>14}  {:>14}  {:>8}  {:>24}  attributes",
                "position", "bytes", "base offset", "last offset", "records", "max timestamp"
            ))?;
            for found in self.batches() {
                out.line(&row(&found))?;
            }
        }
        if let Some(footer) = &self.footer {
            footer.print(out)?;
        }
        if let Some(zeros) = &self.zeros {
            let count = zeros.end.saturating_sub(zeros.start);
            out.line(&format!("{} from byte {} to the end: a preallocated file", counted(count, "zero"), zeros.start))?;
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
