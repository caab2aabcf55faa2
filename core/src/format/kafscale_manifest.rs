//! `manifest.json`: what KafScale's SQL processor reads in place of a listing of a namespace.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{JsonObject, Malformed, Namespace, ObjectName, PartitionId};

/// Bytes of one piece of a document.
const PIECE: usize = 256 << 10;
/// Who made an entry, where this library did.
const OWN_NAME: &str = "libkfs";

/// A segment as `manifest.json` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafscaleEntry {
    /// The partition.
    pub partition: PartitionId,
    /// Its first offset: the number in its key.
    pub base_offset: i64,
    /// The last offset that it may hold. Without it nothing is left out by offset.
    pub last_offset: Option<i64>,
    /// The least and the greatest timestamp that the SQL processor finds in it, Unix milliseconds. Without them nothing is
    /// left out by time.
    pub times: Option<(i64, i64)>,
    /// Bytes of the object.
    pub size: u64,
    /// When the store last modified the object, Unix milliseconds.
    pub modified_ms: i64,
    /// The offset and the times are those of the segment's content: this library wrote the entry. KafScale takes the last
    /// offset from the next key, which is too low for a segment that was merged.
    pub is_exact: bool,
}

impl KafscaleEntry {
    /// An entry with what the segment's content tells.
    pub fn new(partition: PartitionId, base_offset: i64, last_offset: i64, size: u64, modified_ms: i64) -> Self {
        let last_offset = Some(last_offset);
        KafscaleEntry { partition, base_offset, last_offset, times: None, size, modified_ms, is_exact: true }
    }

    /// Takes what can be read of a document in a namespace: an array of entries, or an object that has it as `entries`.
    /// Members that are not known are passed over, and so are entries that name no segment.
    ///
    /// # Errors
    /// [`Malformed`] for what is not such JSON. Entries before that place were given.
    pub fn read_all(bytes: &[u8], namespace: &Namespace, each: impl FnMut(KafscaleEntry)) -> Result<(), Malformed> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let reading = EntryReading { namespace, each, last: None };
        json.deserialize_any(reading).and_then(|()| json.end()).map_err(|error| {
            let found = error.to_string();
            Malformed::new(position(bytes, &error), found, "the JSON of a manifest")
        })
    }
}

/// Where an error was met.
fn position(bytes: &[u8], error: &serde_json::Error) -> u64 {
    let before = bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let lines = before.fold(0_usize, |sum, line| sum.saturating_add(line.len()));
    lines.saturating_add(error.column().saturating_sub(1)) as u64
}

/// Writes a document, entry by entry, into pieces that need no space in one place.
#[derive(Debug)]
pub struct KafscaleManifest {
    pieces: Vec<Bytes>,
    piece: BytesMut,
    len: u64,
    updated: String,
    full_keys: Option<Namespace>,
}

impl KafscaleManifest {
    /// An empty document that is written at this time, in Unix milliseconds.
    pub fn new(updated_ms: i64) -> Self {
        let (pieces, piece) = (Vec::new(), BytesMut::new());
        KafscaleManifest { pieces, piece, len: 0, updated: rfc3339(updated_ms), full_keys: None }
    }

    /// Names the keys of a topic that is called as its namespace in full. KafScale takes a key that begins with the namespace
    /// for a full one, and the topic's name would look like that. Only for a bucket without a prefix: elsewhere KafScale's
    /// namespace begins with the prefix, and keys relative to it are right.
    #[must_use]
    pub fn with_full_keys_in(mut self, namespace: &Namespace) -> Self {
        self.full_keys = Some(namespace.clone());
        self
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &KafscaleEntry) {
        let first = self.len == 0;
        let before = self.piece.len();
        let KafscaleEntry { partition, base_offset: base, last_offset, times, size, modified_ms, is_exact } = entry;
        let (topic, number, updated) = (partition.topic(), partition.partition(), &self.updated);
        let is_full = self.full_keys.as_ref().is_some_and(|namespace| namespace.as_str() == topic.as_str());
        let folder = if is_full { partition.prefix() } else { format!("{topic}/{number}/") };
        let (segment, index) = (ObjectName::Segment(*base), ObjectName::Index(*base));
        let (min_ts, max_ts) = (OrNull(times.map(|(min, _)| min)), OrNull(times.map(|(_, max)| max)));
        let (last, modified) = (OrNull(*last_offset), rfc3339(*modified_ms));
        // None of these needs escaping: a name has letters, digits, dots, dashes and underscores.
        let mut out = (&mut self.piece).writer();
        let opening = if first { "[" } else { "," };
        let written = write!(
            out,
            "{opening}\n{{\"topic\":\"{topic}\",\"partition\":{number},\"segment_key\":\"{folder}{segment}\",\
             \"index_key\":\"{folder}{index}\",\"size_bytes\":{size},\"min_offset\":{base},\"max_offset\":{last},\
             \"min_ts\":{min_ts},\"max_ts\":{max_ts},\"last_modified\":\"{modified}\",\"updated_at\":\"{updated}\""
        );
        let by = if *is_exact { write!(out, ",\"by\":\"{OWN_NAME}\"}}") } else { write!(out, "}}") };
        let _memory_takes_all = written.and(by);
        self.len = self.len.saturating_add(self.piece.len().saturating_sub(before) as u64);
        if self.piece.len() >= PIECE {
            self.pieces.push(self.piece.split().freeze());
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The document in pieces.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.piece.put_slice(if self.len == 0 { b"[]\n" } else { b"\n]\n" });
        self.pieces.push(self.piece.freeze());
        self.pieces
    }
}

/// A number, or `null`.
struct OrNull(Option<i64>);

impl fmt::Display for OrNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("null"),
        }
    }
}

/// A time as RFC 3339 writes it, in UTC; empty for one that is not known.
fn rfc3339(ms: i64) -> String {
    /// The end of the year 9999, beyond which there is no such text.
    const LAST_MS: u64 = 253_402_300_799_999;
    match u64::try_from(ms) {
        Ok(ms @ 1..=LAST_MS) => {
            let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH);
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => String::new(),
    }
}

/// Unix milliseconds of such a text; 0 for one that can't be read.
fn milliseconds(text: &str) -> i64 {
    let time = humantime::parse_rfc3339(text).unwrap_or(UNIX_EPOCH);
    let since = SystemTime::duration_since(&time, UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

#[derive(Deserialize)]
struct JsonEntry<'a> {
    #[serde(default, borrow)]
    segment_key: Cow<'a, str>,
    #[serde(default)]
    size_bytes: u64,
    #[serde(default)]
    max_offset: Option<i64>,
    #[serde(default)]
    min_ts: Option<i64>,
    #[serde(default)]
    max_ts: Option<i64>,
    #[serde(default, borrow)]
    last_modified: Cow<'a, str>,
    #[serde(default, borrow)]
    by: Cow<'a, str>,
}

/// Goes through a document and gives its entries one by one.
struct EntryReading<'n, F> {
    namespace: &'n Namespace,
    each: F,
    /// The partition of the entry before: most have the same, and share its name.
    last: Option<PartitionId>,
}

impl<F: FnMut(KafscaleEntry)> EntryReading<'_, F> {
    fn take(&mut self, json: &JsonEntry<'_>) {
        let key = json.segment_key.trim_start_matches('/');
        let relative = || PartitionId::parse_key(&format!("{}/{key}", self.namespace));
        let Some((mut partition, ObjectName::Segment(base_offset))) = PartitionId::parse_key(key).or_else(relative)
        else {
            return;
        };
        match &self.last {
            Some(last) if *last == partition => partition = last.clone(),
            _ => self.last = Some(partition.clone()),
        }
        (self.each)(KafscaleEntry {
            partition,
            base_offset,
            last_offset: json.max_offset,
            times: json.min_ts.zip(json.max_ts),
            size: json.size_bytes,
            modified_ms: milliseconds(&json.last_modified),
            is_exact: json.by == OWN_NAME,
        });
    }
}

impl<'de, F: FnMut(KafscaleEntry)> Visitor<'de> for EntryReading<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(JsonObject(entry)) = entries.next_element::<JsonObject<JsonEntry<'de>>>()? {
            self.take(&entry);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            match &*name {
                "entries" => {
                    // In an object there may be anything else as well.
                    let entries: Vec<JsonObject<JsonEntry<'de>>> = members.next_value()?;
                    entries.iter().for_each(|JsonObject(entry)| self.take(entry));
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
