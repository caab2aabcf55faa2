//! `log.manifest`: a hint that names the segments of a log, so that a reader of a long one need not search for them.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{array, be_i64, be_u16, be_u32};
use super::{Malformed, crc32c};

const MAGIC: [u8; 4] = *b"KFLM";
const VERSION: u16 = 1;
const HEADER: usize = 48;
const ENTRY: usize = 24;
const CRC: usize = 4;
/// So many of the newest segments are named one by one.
const DENSE: usize = 1 << 17;
/// Of those before them, one of so many is named.
const EVERY: u64 = 256;
/// An ETag of more bytes is left out.
const MAX_E_TAG: usize = 255;

/// What a store said of an object, as a manifest keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedVersion<'a> {
    /// The ETag as the store gave it. Empty where there is none.
    pub e_tag: &'a str,
    /// Bytes of the object.
    pub size: u64,
    /// When the store last modified it, Unix milliseconds.
    pub modified_ms: i64,
}

/// A manifest that was read: a view over the object's bytes.
#[derive(Clone, Debug)]
pub struct LogManifest {
    bytes: Bytes,
    count: usize,
}

impl LogManifest {
    /// Bytes of a manifest that names so many segments, without their ETags.
    pub(crate) fn least_len(segments: usize) -> u64 {
        segments.saturating_mul(ENTRY).saturating_add(HEADER + CRC) as u64
    }

    /// Reads and checks all of it.
    ///
    /// # Errors
    /// [`Malformed`], *unsupported* for another version.
    pub fn parse(bytes: &Bytes) -> Result<Self, Malformed> {
        let body_end = bytes.len().saturating_sub(CRC);
        let Some(magic) = array::<4>(bytes, 0).filter(|_| body_end >= HEADER) else {
            let found = format!("{} bytes", bytes.len());
            return Err(Malformed::new(bytes.len() as u64, found, format!("at least {}", HEADER + CRC)));
        };
        if magic != MAGIC {
            return Err(Malformed::new(0, format!("magic {:?}", magic.escape_ascii().to_string()), "\"KFLM\""));
        }
        let version = be_u16(bytes, 4).unwrap_or(0);
        if version != VERSION {
            return Err(Malformed::unsupported(4, format!("log manifest version {version}"), "version 1"));
        }
        let computed = crc32c(bytes.get(..body_end).unwrap_or_default());
        let found = be_u32(bytes, body_end).unwrap_or(0);
        if found != computed {
            return Err(Malformed::new(body_end as u64, format!("CRC {found:08x}"), format!("{computed:08x}")));
        }
        let flags = be_u16(bytes, 6).unwrap_or(0);
        if flags != 0 {
            return Err(Malformed::new(6, format!("flags {flags:#06x}"), "0"));
        }
        let (count, text) = (size_at(bytes, 24), size_at(bytes, 28));
        let entries = count.checked_mul(ENTRY).and_then(|entries| entries.checked_add(HEADER));
        if entries.and_then(|end| end.checked_add(text)) != Some(body_end) {
            let found = format!("{count} entries and {text} bytes of text");
            return Err(Malformed::new(24, found, format!("what fills {} bytes", bytes.len())));
        }
        let manifest = LogManifest { bytes: bytes.clone(), count };
        manifest.check()?;
        Ok(manifest)
    }

    /// Base offsets ascend, and so do the ends of the ETags within the text.
    fn check(&self) -> Result<(), Malformed> {
        let text = self.text();
        if !text.is_ascii() {
            return Err(Malformed::new(entry_at(self.count) as u64, "bytes that are no ASCII", "ETags"));
        }
        let (mut base, mut end) = (-1, self.log_json_end());
        if end > text.len() {
            return Err(Malformed::new(44, format!("an ETag to byte {end}"), format!("{} at most", text.len())));
        }
        for at in 0..self.count {
            let (next, next_end) = (self.base(at).unwrap_or(-1), self.text_end(at));
            if next <= base || next_end < end || next_end > text.len() {
                let found = format!("base offset {next} with an ETag to byte {next_end}");
                let expected = format!("more than {base}, and {end} to {}", text.len());
                return Err(Malformed::new(entry_at(at) as u64, found, expected));
            }
            (base, end) = (next, next_end);
        }
        Ok(())
    }

    /// How many segments it names.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the object.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// When it was made, Unix milliseconds.
    pub fn created_ms(&self) -> i64 {
        be_i64(&self.bytes, 8).unwrap_or(0)
    }

    /// From this base offset on each segment is named.
    pub fn dense_from(&self) -> i64 {
        be_i64(&self.bytes, 16).unwrap_or(i64::MAX)
    }

    /// The version of `log.json` when the manifest was made. `None` where there was none.
    pub fn log_json(&self) -> Option<NamedVersion<'_>> {
        let size = u64::from(be_u32(&self.bytes, 40)?);
        let e_tag = self.e_tag(0, self.log_json_end())?;
        (size > 0).then_some(NamedVersion { e_tag, size, modified_ms: be_i64(&self.bytes, 32)? })
    }

    /// The base offset of the segment with this number, from 0.
    pub fn base(&self, at: usize) -> Option<i64> {
        if at < self.count { be_i64(&self.bytes, entry_at(at)) } else { None }
    }

    /// The version of the segment with this number.
    pub fn version(&self, at: usize) -> Option<NamedVersion<'_>> {
        self.base(at)?;
        let from = at.checked_sub(1).map_or(self.log_json_end(), |before| self.text_end(before));
        let entry = entry_at(at);
        let modified_ms = be_i64(&self.bytes, entry.checked_add(8)?)?;
        let size = u64::from(be_u32(&self.bytes, entry.checked_add(16)?)?);
        Some(NamedVersion { e_tag: self.e_tag(from, self.text_end(at))?, size, modified_ms })
    }

    /// The number of the segment with the greatest base offset at or below an offset.
    pub fn at_most(&self, offset: i64) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.base(middle) {
                Some(base) if base <= offset => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        low.checked_sub(1)
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(entry_at(self.count)..self.bytes.len().saturating_sub(CRC)).unwrap_or_default()
    }

    fn e_tag(&self, from: usize, to: usize) -> Option<&str> {
        std::str::from_utf8(self.text().get(from..to)?).ok()
    }

    fn log_json_end(&self) -> usize {
        size_at(&self.bytes, 44)
    }

    fn text_end(&self, at: usize) -> usize {
        size_at(&self.bytes, entry_at(at).saturating_add(20))
    }
}

/// Where the entry with this number begins.
fn entry_at(number: usize) -> usize {
    number.saturating_mul(ENTRY).saturating_add(HEADER)
}

fn size_at(bytes: &[u8], at: usize) -> usize {
    be_u32(bytes, at).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}

/// An entry to be written.
#[derive(Debug)]
struct NewEntry {
    base: i64,
    e_tag: Box<str>,
    size: u32,
    modified_ms: i64,
}

impl NewEntry {
    fn new(base: i64, version: NamedVersion<'_>) -> Self {
        let NamedVersion { e_tag, size, modified_ms } = version;
        let fits = e_tag.len() <= MAX_E_TAG && e_tag.is_ascii();
        // No segment has as many bytes. One that claims to is not found by this entry.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        NewEntry { base, e_tag: if fits { e_tag.into() } else { "".into() }, size, modified_ms }
    }
}

/// Makes a manifest of the segments of a log. Memory is bounded: of old segments few are kept.
#[derive(Debug)]
pub struct LogManifestBuilder {
    created_ms: i64,
    sampled: Vec<NewEntry>,
    newest: VecDeque<NewEntry>,
    /// Segments that are no longer among the newest.
    old: u64,
}

impl LogManifestBuilder {
    /// Begins one.
    pub fn new(created_ms: i64) -> Self {
        LogManifestBuilder { created_ms, sampled: Vec::new(), newest: VecDeque::new(), old: 0 }
    }

    /// Adds a segment. Base offsets ascend; one that does not is passed over.
    pub fn push(&mut self, base: i64, version: NamedVersion<'_>) {
        if base < 0 || self.newest.back().is_some_and(|last| last.base >= base) {
            return;
        }
        self.newest.push_back(NewEntry::new(base, version));
        if self.newest.len() <= DENSE {
            return;
        }
        if let Some(old) = self.newest.pop_front() {
            if self.old.is_multiple_of(EVERY) {
                self.sampled.push(old);
            }
            self.old = self.old.saturating_add(1);
        }
    }

    /// How many segments it names.
    pub fn len(&self) -> usize {
        self.sampled.len().saturating_add(self.newest.len())
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// The object's bytes. `log_json` is the version of `log.json`, if there is one.
    pub fn finish(self, log_json: Option<NamedVersion<'_>>) -> Bytes {
        let count = self.len();
        let log_json = log_json.map(|version| NewEntry::new(0, version));
        let named = log_json.iter().chain(&self.sampled).chain(&self.newest);
        let text: usize = named.clone().map(|entry| entry.e_tag.len()).sum();
        let mut out = BytesMut::with_capacity(entry_at(count).saturating_add(text).saturating_add(CRC));
        let (size, modified_ms) = log_json.as_ref().map_or((0, 0), |entry| (entry.size, entry.modified_ms));
        let mut end = log_json.as_ref().map_or(0, |entry| entry.e_tag.len());
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_i64(self.created_ms);
        out.put_i64(self.newest.front().map_or(i64::MAX, |entry| entry.base));
        out.put_u32(u32_of(count));
        out.put_u32(u32_of(text));
        out.put_i64(modified_ms);
        out.put_u32(size);
        out.put_u32(u32_of(end));
        for entry in self.sampled.iter().chain(&self.newest) {
            end = end.saturating_add(entry.e_tag.len());
            out.put_i64(entry.base);
            out.put_i64(entry.modified_ms);
            out.put_u32(entry.size);
            out.put_u32(u32_of(end));
        }
        for entry in named {
            out.put_slice(entry.e_tag.as_bytes());
        }
        let crc = crc32c(&out);
        out.put_u32(crc);
        out.freeze()
    }
}

/// A manifest for which this is too much would not be read, and is a hint.
fn u32_of(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
