//! The records of a batch.

use bytes::Bytes;

use super::batch_header::{BATCH_HEADER_LEN, BatchHeader};
use super::varint::Cursor;
use super::{Codec, Limits, Malformed, compression};
use crate::text::counted;

/// The records of one batch, decompressed if need be.
///
/// ```
/// # use kfs_core::format::{BatchBuilder, BatchOptions, Limits, NewRecord};
/// # let mut builder = BatchBuilder::new(BatchOptions::default());
/// # builder.push(&NewRecord::new(0).value(b"v"))?;
/// # let batch = builder.finish(7)?;
/// for record in &batch.records(&Limits::default())? {
///     let record = record?;
///     assert_eq!((record.offset, record.value), (7, Some(&b"v"[..])));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    start: Start,
}

/// The first records of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordPrefix {
    pub(super) count: i32,
    /// Their bytes, decompressed.
    pub(super) len: usize,
    /// The greatest of their timestamps.
    pub(super) max_timestamp: Option<i64>,
}

/// What records are read against.
#[derive(Clone, Copy, Debug)]
struct Start {
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    /// With LogAppendTime, every record's timestamp.
    append_time: Option<i64>,
    count: i32,
    compressed: bool,
}

impl Records {
    /// Of a batch's header and the bytes after it. Positions of errors count from the header's start.
    pub(super) fn of(header: &BatchHeader, payload: &Bytes, limits: &Limits) -> Result<Self, Malformed> {
        let codec = match header.attributes.codec() {
            // What compaction empties may keep its codec bits.
            Some(_) if payload.is_empty() => Codec::None,
            Some(codec) => codec,
            None => return Err(Malformed::unsupported(21, "an unknown codec", "codec 0 to 4")),
        };
        let bytes = match codec {
            Codec::None => payload.clone(),
            codec => compression::decompress(codec, payload, limits)
                .map_err(|e| e.offset_position(BATCH_HEADER_LEN as u64))?,
        };
        let attributes = header.attributes;
        Ok(Records {
            bytes,
            start: Start {
                base_offset: header.base_offset,
                last_offset_delta: header.last_offset_delta,
                base_timestamp: header.base_timestamp,
                append_time: attributes.is_log_append_time().then_some(header.max_timestamp),
                count: header.record_count,
                compressed: codec != Codec::None,
            },
        })
    }

    /// How many records the batch's header promises.
    pub fn count(&self) -> i32 {
        self.start.count
    }

    /// The records part, decompressed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What is wrong with a record that can be decoded; the first has the index 0. It goes through the
    /// records once more to find its place.
    #[cold]
    pub(crate) fn malformed(&self, index: usize, found: &str, expected: String) -> Malformed {
        let mut records = self.iter();
        if let Some(before) = index.checked_sub(1) {
            let _ = records.nth(before);
        }
        self.start.place(self.bytes.len().saturating_sub(records.rest.len()), found.to_owned(), expected)
    }

    /// The first records, up to the first one that is not below the offset.
    pub(super) fn below(&self, offset: i64) -> Result<RecordPrefix, Malformed> {
        let (mut records, mut prefix) = (self.iter(), RecordPrefix { count: 0, len: 0, max_timestamp: None });
        while let Some(record) = records.next() {
            let record = record?;
            if record.offset >= offset {
                break;
            }
            prefix.count = prefix.count.saturating_add(1);
            prefix.len = self.bytes.len().saturating_sub(records.rest.len());
            prefix.max_timestamp = prefix.max_timestamp.max(Some(record.timestamp_ms));
        }
        Ok(prefix)
    }

    /// Goes through the records. The last item is an error when there are fewer records than
    /// promised, or bytes after the last.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { owner: &self.bytes, rest: &self.bytes, left: self.start.count, start: self.start }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, Malformed>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

impl IntoIterator for Records {
    type Item = Result<OwnedRecord, Malformed>;
    type IntoIter = IntoRecords;

    fn into_iter(self) -> IntoRecords {
        IntoRecords { at: 0, left: self.start.count, records: self }
    }
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The absolute offset.
    pub offset: i64,
    /// Unix milliseconds: the record's own, or the batch's with LogAppendTime.
    pub timestamp_ms: i64,
    /// The key; `None` is null, which is not empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null (a tombstone), which is not empty.
    pub value: Option<&'a [u8]>,
    /// The record's attributes; Kafka uses none so far.
    pub attributes: i8,
    headers: Headers<'a>,
    owner: &'a Bytes,
}

impl<'a> Record<'a> {
    /// The headers in their order; names may repeat. They were checked with the record, so this
    /// can't fail.
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The key as shared bytes, not copied.
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key.map(|key| self.owner.slice_ref(key))
    }

    /// The value as shared bytes, not copied.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value.map(|value| self.owner.slice_ref(value))
    }

    /// A record that keeps the batch's bytes alive; copies nothing.
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key_bytes(),
            value: self.value_bytes(),
            attributes: self.attributes,
            headers: self.owner.slice_ref(self.headers.cursor.rest()),
            header_count: self.headers.left,
        }
    }
}

/// One record that shares its batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The absolute offset.
    pub offset: i64,
    /// Unix milliseconds: the record's own, or the batch's with LogAppendTime.
    pub timestamp_ms: i64,
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
    /// The record's attributes.
    pub attributes: i8,
    headers: Bytes,
    header_count: usize,
}

impl OwnedRecord {
    /// The headers in their order; names may repeat.
    pub fn headers(&self) -> Headers<'_> {
        Headers { cursor: Cursor::new(&self.headers), left: self.header_count }
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The name, UTF-8 by Kafka's rule, which nothing enforces.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

/// A record's headers, in their order.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Headers<'a> {
    #[inline(always)]
    fn read(&mut self) -> Option<Header<'a>> {
        let len = self.cursor.len()?;
        let key = self.cursor.take(len)?;
        let value = match self.cursor.nullable_len()? {
            Some(len) => Some(self.cursor.take(len)?),
            None => None,
        };
        Some(Header { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.read()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Iterator over a batch's records; ends after an error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    owner: &'a Bytes,
    rest: &'a [u8],
    left: i32,
    start: Start,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return if self.rest.is_empty() { None } else { Some(Err(self.fail(Fault::Trailing))) };
        }
        match decode(self.rest, self.owner, &self.start) {
            Ok((record, rest)) => {
                self.rest = rest;
                self.left -= 1;
                Some(Ok(record))
            }
            Err(fault) => Some(Err(self.fail(fault))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Records of a batch that promises too many are fewer; one more item may be an error.
        (0, usize::try_from(self.left).ok().map(|left| left.saturating_add(1)))
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

impl RecordIter<'_> {
    #[cold]
    #[inline(never)]
    fn fail(&mut self, fault: Fault) -> Malformed {
        let at = self.owner.len() - self.rest.len();
        let error = self.start.malformed(fault, at, self.left);
        self.left = 0;
        self.rest = &[];
        error
    }
}

/// Iterator over a batch's records that owns the batch; copies and allocates nothing per record.
#[derive(Clone, Debug)]
pub struct IntoRecords {
    records: Records,
    at: usize,
    left: i32,
}

impl Iterator for IntoRecords {
    type Item = Result<OwnedRecord, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let owner = &self.records.bytes;
        let rest = owner.get(self.at..).unwrap_or_default();
        let mut iter = RecordIter { owner, rest, left: self.left, start: self.records.start };
        let record = iter.next().map(|record| record.map(|r| r.to_owned()));
        (self.at, self.left) = (owner.len() - iter.rest.len(), iter.left);
        record
    }
}

impl std::iter::FusedIterator for IntoRecords {}

/// Why a record can't be read.
#[derive(Clone, Copy)]
enum Fault {
    Length,
    Body,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
    Excess,
    Trailing,
}

impl Start {
    #[cold]
    fn malformed(&self, fault: Fault, at: usize, left: i32) -> Malformed {
        let last = self.last_offset_delta;
        let (what, expected) = match fault {
            Fault::Length => ("a length that runs past the end", "a whole record".to_owned()),
            Fault::Body => ("fewer bytes than a record has", "attributes, timestamp and offset".to_owned()),
            Fault::Offset => ("an offset delta outside the batch", format!("0 to {last}")),
            Fault::Timestamp => ("a timestamp beyond 64 bits", "base timestamp plus delta".to_owned()),
            Fault::Key => ("a key length that runs past the record's end", "-1, or a key".to_owned()),
            Fault::Value => ("a value length that runs past the record's end", "-1, or a value".to_owned()),
            Fault::Headers => ("headers that run past the record's end", "whole headers".to_owned()),
            Fault::Excess => ("bytes after its headers", "the end of the record".to_owned()),
            Fault::Trailing => ("bytes after it", "the end of the batch".to_owned()),
        };
        let index = self.count - left;
        let found = match fault {
            Fault::Trailing => format!("{what}, the last of {}", counted(index, "record")),
            _ => format!("{what} in record {index} of {}", self.count),
        };
        self.place(at, found, expected)
    }

    /// An error about the byte `at` of the decompressed records.
    fn place(&self, at: usize, found: String, expected: String) -> Malformed {
        if self.compressed {
            let found = format!("{found}, at byte {at} of the decompressed records");
            return Malformed::new(BATCH_HEADER_LEN as u64, found, expected);
        }
        Malformed::new((BATCH_HEADER_LEN + at) as u64, found, expected)
    }
}

/// Reads the record at the front of `bytes`.
#[inline(always)]
fn decode<'a>(bytes: &'a [u8], owner: &'a Bytes, start: &Start) -> Result<(Record<'a>, &'a [u8]), Fault> {
    let mut outer = Cursor::new(bytes);
    let len = outer.len().ok_or(Fault::Length)?;
    let mut body = Cursor::new(outer.take(len).ok_or(Fault::Length)?);
    let attributes = body.byte().ok_or(Fault::Body)? as i8;
    let timestamp_delta = body.varlong().ok_or(Fault::Body)?;
    let offset_delta = body.varint().ok_or(Fault::Body)?;
    if offset_delta < 0 || offset_delta > start.last_offset_delta {
        return Err(Fault::Offset);
    }
    let timestamp_ms = match start.append_time {
        Some(time) => time,
        None => start.base_timestamp.checked_add(timestamp_delta).ok_or(Fault::Timestamp)?,
    };
    let key = nullable(&mut body).ok_or(Fault::Key)?;
    let value = nullable(&mut body).ok_or(Fault::Value)?;
    let left = body.len().ok_or(Fault::Headers)?;
    let headers = Headers { cursor: body, left };
    if left == 0 {
        if !body.rest().is_empty() {
            return Err(Fault::Excess);
        }
    } else {
        check_headers(headers)?;
    }
    // The header check bounds this sum.
    let offset = start.base_offset.wrapping_add(i64::from(offset_delta));
    Ok((Record { offset, timestamp_ms, key, value, attributes, headers, owner }, outer.rest()))
}

#[inline(always)]
fn nullable<'a>(cursor: &mut Cursor<'a>) -> Option<Option<&'a [u8]>> {
    match cursor.nullable_len()? {
        Some(len) => cursor.take(len).map(Some),
        None => Some(None),
    }
}

/// Goes through the headers once, so that reading them later can't fail.
#[inline(never)]
fn check_headers(mut headers: Headers<'_>) -> Result<(), Fault> {
    // Each header takes at least two bytes, so a count that lies ends soon.
    for _ in 0..headers.left {
        headers.read().ok_or(Fault::Headers)?;
    }
    if headers.cursor.rest().is_empty() { Ok(()) } else { Err(Fault::Excess) }
}

#[cfg(test)]
mod tests;
