//! Making record batches of records.

use bytes::Bytes;

use super::batch::check_range;
use super::batch_header::{Attributes, BATCH_HEADER_LEN, BatchHeader, CRC_FROM, LENGTH_FROM};
use super::{Batch, Codec, Compression, MAX_DECOMPRESSED_BATCH, compression, crc, varint};
use crate::error::{Error, ErrorKind, Result};
use crate::setters::setters;

/// A batch ends before its timestamps spread this far, in milliseconds: KafScale's SQL processor
/// reads deltas of 32 bits.
const MAX_TIMESTAMP_SPREAD: u64 = 1 << 30;
/// The most bytes of a batch: its segment stays below 2 GiB, header and footer included.
const MAX_BATCH_LEN: usize = i32::MAX as usize - 48;

/// A header of a record to write: name and value.
pub type NewHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record to write.
///
/// ```
/// use kfs_core::format::NewRecord;
/// let headers = [(&b"trace"[..], Some(&b"1"[..])), (b"trace", None)];
/// let record = NewRecord::new(1_767_225_600_000).key(b"user-1").value(b"paid").headers(&headers);
/// # let _ = record;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord<'a> {
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in their order; names may repeat, values may be null.
    pub headers: &'a [NewHeader<'a>],
}

impl<'a> NewRecord<'a> {
    /// A record without key, value and headers.
    pub fn new(timestamp_ms: i64) -> Self {
        NewRecord { timestamp_ms, ..Default::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(self, key: &'a [u8]) -> Self {
        NewRecord { key: Some(key), ..self }
    }

    /// Sets the value.
    #[must_use]
    pub fn value(self, value: &'a [u8]) -> Self {
        NewRecord { value: Some(value), ..self }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(self, headers: &'a [NewHeader<'a>]) -> Self {
        NewRecord { headers, ..self }
    }

    /// At most as many bytes as the record takes in a batch, uncompressed; a few more than it does.
    pub fn encoded_bound(&self) -> usize {
        // Length, attributes, timestamp delta, offset delta, key and value lengths, header count.
        let fixed = 5 + 1 + 10 + 5 + 5 + 5 + 5;
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let own = len(self.key).saturating_add(len(self.value)).saturating_add(fixed);
        self.headers.iter().fold(own, |sum, (name, value)| {
            sum.saturating_add(10).saturating_add(name.len()).saturating_add(len(*value))
        })
    }

    /// The same for all of them.
    pub(crate) fn encoded_bounds(records: &[Self]) -> usize {
        records.iter().map(NewRecord::encoded_bound).fold(0, usize::saturating_add)
    }
}

/// How batches are made. The default is what KafScale's readers take: uncompressed, no producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// The codec of the records part.
    pub compression: Compression,
    /// The leader epoch, -1 by default.
    pub leader_epoch: i32,
    /// The idempotent producer, -1 by default.
    pub producer_id: i64,
    /// The producer's epoch, -1 by default.
    pub producer_epoch: i16,
    /// The sequence number of the first record of the first batch, -1 by default. Later batches of
    /// the same builder count on from it.
    pub base_sequence: i32,
    /// Whether batches are part of a transaction.
    pub transactional: bool,
    /// Whether batches hold control records.
    pub control: bool,
    /// Marks batches LogAppendTime, with this time (Unix milliseconds) for all records.
    pub log_append_time: Option<i64>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            compression: Compression::NONE,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
            log_append_time: None,
        }
    }
}

impl BatchOptions {
    setters! {
        compression: into Compression,
        leader_epoch: i32,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
        transactional: bool,
        control: bool,
        log_append_time: some i64,
    }

    fn attributes(&self, codec: Codec) -> Attributes {
        let flag = |set: bool, bit: i16| if set { bit } else { 0 };
        Attributes(
            i16::from(codec as u8)
                | flag(self.log_append_time.is_some(), Attributes::LOG_APPEND_TIME)
                | flag(self.transactional, Attributes::TRANSACTIONAL)
                | flag(self.control, Attributes::CONTROL),
        )
    }
}

/// Gathers records and makes batches of them; can be used again after each.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    min_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// A builder without records.
    pub fn new(options: BatchOptions) -> Self {
        BatchBuilder {
            options,
            records: Vec::new(),
            count: 0,
            base_timestamp: -1,
            min_timestamp: i64::MAX,
            max_timestamp: i64::MIN,
        }
    }

    /// Adds a record; false when it doesn't fit, and the batch must be finished first: its
    /// timestamps would spread by 2^30 ms, its size or count would pass what the format holds, or, with a
    /// codec, its records would take more than [`MAX_DECOMPRESSED_BATCH`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the record is too large for any batch.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<bool> {
        let (min, max) = (self.min_timestamp.min(record.timestamp_ms), self.max_timestamp.max(record.timestamp_ms));
        if min.abs_diff(max) >= MAX_TIMESTAMP_SPREAD || self.count == i32::MAX {
            return Ok(false);
        }
        let base = if self.count == 0 { record.timestamp_ms } else { self.base_timestamp };
        // Within the spread this can't overflow.
        let timestamp_delta = record.timestamp_ms.wrapping_sub(base);
        let len = body_len(record, timestamp_delta, self.count);
        let total = len.map(|len| BATCH_HEADER_LEN + self.records.len() + varint::len(len as i64) + len);
        let (Some(len), Some(_)) = (len, total.filter(|total| *total <= self.max_len())) else {
            return if self.count > 0 { Ok(false) } else { Err(self.too_large(record)) };
        };
        self.encode(record, len, timestamp_delta);
        (self.base_timestamp, self.min_timestamp, self.max_timestamp) = (base, min, max);
        self.count += 1;
        Ok(true)
    }

    /// The most bytes that the batch may have before compression: what is compressed must not grow beyond
    /// what readers take.
    fn max_len(&self) -> usize {
        match self.options.compression.codec() {
            Codec::None => MAX_BATCH_LEN,
            _ => BATCH_HEADER_LEN + MAX_DECOMPRESSED_BATCH,
        }
    }

    #[cold]
    fn too_large(&self, record: &NewRecord<'_>) -> Error {
        let bytes = record.encoded_bound();
        let most = self.max_len() - BATCH_HEADER_LEN;
        let (most_of, hint) = match self.options.compression.codec() {
            Codec::None => ("a batch", "a batch has less than 2 GiB"),
            _ => ("a compressed batch", "readers decompress no more by default; without a codec it fits"),
        };
        let message = format!("a record of about {bytes} bytes, while {most_of} holds records of {most} at most");
        Error::new(ErrorKind::InvalidInput, message).with_hint(hint)
    }

    /// Adds all records or none; false when they don't all fit.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_all(&mut self, records: &[NewRecord<'_>]) -> Result<bool> {
        let before = (self.records.len(), self.count, self.base_timestamp, self.min_timestamp, self.max_timestamp);
        for record in records {
            match self.push(record) {
                Ok(true) => {}
                refused => {
                    self.records.truncate(before.0);
                    (_, self.count, self.base_timestamp, self.min_timestamp, self.max_timestamp) = before;
                    return refused;
                }
            }
        }
        Ok(true)
    }

    fn encode(&mut self, record: &NewRecord<'_>, len: usize, timestamp_delta: i64) {
        let out = &mut self.records;
        varint::put(out, len as i64);
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(self.count));
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        varint::put(out, record.headers.len() as i64);
        for (name, value) in record.headers {
            put_nullable(out, Some(name));
            put_nullable(out, *value);
        }
    }

    /// Records in the batch so far.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Bytes that the batch would have now, were it not compressed.
    pub fn encoded_len(&self) -> usize {
        BATCH_HEADER_LEN + self.records.len()
    }

    /// At most as many bytes as the batch would have now. Bytes that don't compress take more with a codec:
    /// every codec adds less than this to each of its blocks.
    pub fn finished_bound(&self) -> usize {
        let len = self.encoded_len();
        match self.options.compression.codec() {
            Codec::None => len,
            _ => len.saturating_add(len / 128).saturating_add(128),
        }
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch of the records so far, at an offset. The builder is then empty.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no record, or the batch can't stand at that offset.
    pub fn finish(&mut self, base_offset: i64) -> Result<Batch> {
        if self.count == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "a batch of no records"));
        }
        check_range(base_offset, self.count - 1)?;
        let mut bytes = Vec::with_capacity(match self.options.compression.codec() {
            Codec::None => BATCH_HEADER_LEN + self.records.len(),
            _ => BATCH_HEADER_LEN + self.records.len() / 2,
        });
        bytes.resize(BATCH_HEADER_LEN, 0);
        compression::compress(self.options.compression, &self.records, &mut bytes)?;
        let max_timestamp = self.options.log_append_time.unwrap_or(self.max_timestamp);
        let codec = self.options.compression.codec();
        let mut header = self.header(base_offset, self.options.attributes(codec), self.count - 1);
        header.base_timestamp = self.base_timestamp;
        header.max_timestamp = max_timestamp;
        header.record_count = self.count;
        let batch = seal(header, bytes)?;
        if self.options.base_sequence >= 0 {
            // Sequence numbers go from 0 to i32::MAX and start again, as Kafka's producers count.
            self.options.base_sequence = self.options.base_sequence.wrapping_add(self.count) & i32::MAX;
        }
        self.records.clear();
        self.count = 0;
        (self.min_timestamp, self.max_timestamp) = (i64::MAX, i64::MIN);
        Ok(batch)
    }

    /// An empty batch of 61 bytes that takes `last_offset_delta + 1` offsets and shows no record, as
    /// compaction leaves it; with a delta of 0 it is what a claim writes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the delta is negative or the batch can't stand there.
    pub fn empty_batch(base_offset: i64, last_offset_delta: i32, options: &BatchOptions) -> Result<Batch> {
        if last_offset_delta < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "a batch of no offsets"));
        }
        check_range(base_offset, last_offset_delta)?;
        let builder = Self::new(options.clone());
        let mut header = builder.header(base_offset, options.attributes(Codec::None), last_offset_delta);
        header.max_timestamp = options.log_append_time.unwrap_or(-1);
        seal(header, vec![0; BATCH_HEADER_LEN])
    }

    /// Batches without a record that take `count` offsets together, as few of them as can be.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `count` is negative, or takes more than 65,536 batches: some 2^47 offsets.
    pub fn empty_batches(count: i64) -> Result<Vec<Batch>> {
        const MOST: i64 = 1 << 16;
        const LARGEST: i64 = 1 << 31;
        if !(0..=MOST * LARGEST).contains(&count) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{count} offsets can't be covered by empty batches"),
            ));
        }
        let mut batches = Vec::new();
        let mut left = count;
        while left > 0 {
            let taken = left.min(LARGEST);
            let delta = i32::try_from(taken.saturating_sub(1)).unwrap_or(i32::MAX);
            batches.push(Self::empty_batch(0, delta, &BatchOptions::default())?);
            left = left.saturating_sub(taken);
        }
        Ok(batches)
    }

    fn header(&self, base_offset: i64, attributes: Attributes, last_offset_delta: i32) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 0,
            leader_epoch: self.options.leader_epoch,
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: self.options.producer_id,
            producer_epoch: self.options.producer_epoch,
            base_sequence: self.options.base_sequence,
            record_count: 0,
        }
    }
}

/// Fills in the header's 61 bytes, length and CRC.
pub(super) fn seal(mut header: BatchHeader, mut bytes: Vec<u8>) -> Result<Batch> {
    if bytes.len() > MAX_BATCH_LEN {
        return Err(Error::new(ErrorKind::InvalidInput, format!("a batch of {} bytes", bytes.len()))
            .with_hint("a batch has less than 2 GiB"));
    }
    header.batch_length = (bytes.len() - LENGTH_FROM) as i32;
    header.write(&mut bytes);
    header.crc = crc::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    header.write(&mut bytes);
    Ok(Batch::from_parts(Bytes::from(bytes), header))
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::put(out, -1),
    }
}

/// Bytes of a record after its length; `None` when that is no `i32`.
fn body_len(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) -> Option<usize> {
    let nullable = |bytes: Option<&[u8]>| bytes.map_or(1, |b| varint::len(b.len() as i64).saturating_add(b.len()));
    let fixed = 1
        + varint::len(timestamp_delta)
        + varint::len(i64::from(offset_delta))
        + varint::len(record.headers.len() as i64);
    let mut len = fixed.saturating_add(nullable(record.key)).saturating_add(nullable(record.value));
    for (name, value) in record.headers {
        len = len.saturating_add(nullable(Some(name))).saturating_add(nullable(*value));
    }
    (len <= i32::MAX as usize).then_some(len)
}

#[cfg(test)]
mod tests;
