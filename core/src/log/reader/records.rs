//! Records, decoded one at a time: of the batches that are held only one is decompressed.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::try_unfold;

use super::answer::{BatchPlace, Fetch};
use super::handle::Reader;
use super::options::OnCorrupt;
use super::stream::{BatchStream, Notice};
use crate::error::{Error, Result};
use crate::format::{Batch, BatchHeader, CrcCheck, Headers, IntoRecords, Limits, OwnedRecord};

/// A record with its batch's header. Its key, value and headers share the batch's bytes.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    record: OwnedRecord,
    batch: Arc<BatchHeader>,
}

impl StreamRecord {
    /// The absolute offset.
    pub fn offset(&self) -> i64 {
        self.record.offset
    }

    /// Unix milliseconds: the record's own, or the batch's with LogAppendTime.
    pub fn timestamp_ms(&self) -> i64 {
        self.record.timestamp_ms
    }

    /// The key; `None` is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    /// The value; `None` is null.
    pub fn value(&self) -> Option<&[u8]> {
        self.record.value.as_deref()
    }

    /// The key as bytes that can be shared without a copy; `None` is null.
    pub fn key_bytes(&self) -> Option<&Bytes> {
        self.record.key.as_ref()
    }

    /// The value as bytes that can be shared without a copy; `None` is null.
    pub fn value_bytes(&self) -> Option<&Bytes> {
        self.record.value.as_ref()
    }

    /// The headers in their order; names may repeat.
    pub fn headers(&self) -> Headers<'_> {
        self.record.headers()
    }

    /// The header of the batch that it stands in: leader epoch, producer, flags.
    pub fn batch(&self) -> &BatchHeader {
        &self.batch
    }

    /// The record alone.
    pub fn into_record(self) -> OwnedRecord {
        self.record
    }
}

/// The records of one batch, as they are decoded.
struct Decoding {
    records: IntoRecords,
    batch: Arc<BatchHeader>,
    place: BatchPlace,
}

impl Decoding {
    fn new(batch: &Batch, place: &BatchPlace, limits: &Limits) -> Result<Self> {
        match batch.records(limits) {
            Ok(records) => {
                let batch = Arc::new(*batch.header());
                Ok(Decoding { records: records.into_iter(), batch, place: place.clone() })
            }
            Err(malformed) => Err(place.undecodable(batch.header(), malformed)),
        }
    }

    /// The next record at or above an offset; an error is the last that comes.
    fn next(&mut self, from: i64) -> Option<Result<StreamRecord>> {
        loop {
            return match self.records.next()? {
                Ok(record) if record.offset < from => continue,
                Ok(record) => Some(Ok(StreamRecord { record, batch: self.batch.clone() })),
                Err(malformed) => Some(Err(self.place.undecodable(&self.batch, malformed))),
            };
        }
    }
}

/// Records in order. [`next`](Self::next) may be dropped and called again; nothing is lost.
pub struct RecordStream {
    batches: BatchStream,
    current: Option<Decoding>,
    /// Records below this are passed over.
    from: i64,
}

impl Reader {
    /// The records from offset `from` on, to the log's end as it is when it is reached.
    pub fn records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.batches(from))
    }

    /// Like [`follow`](Self::follow), record by record.
    pub fn follow_records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.follow(from))
    }
}

impl RecordStream {
    fn new(batches: BatchStream) -> Self {
        RecordStream { from: batches.position(), batches, current: None }
    }

    /// The next record; `None` at the log's end, never when following. Control records are skipped
    /// unless [`ReaderOptions::control_records`](crate::ReaderOptions::control_records) asks for them.
    ///
    /// Dropping the future loses no record.
    ///
    /// # Errors
    /// As [`BatchStream::next`]; corrupt, with key, position and the batch's offsets, for records that can't
    /// be decoded, and unsupported for a batch beyond
    /// [`ReaderOptions::limits`](crate::ReaderOptions::limits). The next call goes on with the next batch.
    /// With [`OnCorrupt::Skip`] both are notices.
    pub async fn next(&mut self) -> Result<Option<StreamRecord>> {
        loop {
            match self.decoded() {
                Some(Ok(record)) => return Ok(Some(record)),
                Some(Err(error)) => self.failed(error)?,
                None => {
                    let Some(batch) = self.batches.next().await? else { return Ok(None) };
                    self.begin(&batch)?;
                }
            }
        }
    }

    /// The next record of the batch that is decoded now.
    fn decoded(&mut self) -> Option<Result<StreamRecord>> {
        let current = self.current.as_mut()?;
        let next = current.next(self.from.max(self.batches.log_start));
        match &next {
            Some(Ok(record)) => self.from = record.offset() + 1,
            Some(Err(_)) | None => {
                self.from = self.from.max(current.batch.next_offset());
                self.current = None;
            }
        }
        next
    }

    fn begin(&mut self, batch: &Batch) -> Result<()> {
        let options = self.batches.reader.options();
        if batch.header().attributes.is_control() && !options.control_records {
            self.from = self.from.max(batch.next_offset());
            return Ok(());
        }
        match Decoding::new(batch, self.batches.place(), &options.limits) {
            Ok(decoding) => self.current = Some(decoding),
            Err(error) => {
                self.from = self.from.max(batch.next_offset());
                self.failed(error)?;
            }
        }
        Ok(())
    }

    /// Records can't be decoded: a caller that skips corrupt bytes gets a notice.
    fn failed(&mut self, error: Error) -> Result<()> {
        if self.batches.reader.options().on_corrupt != OnCorrupt::Skip {
            return Err(error);
        }
        self.batches.notice(Notice::Skipped(error));
        Ok(())
    }

    /// The same as a [`Stream`], for combinators. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<StreamRecord>> + Send {
        try_unfold(self, |mut records| async move { Ok(records.next().await?.map(|record| (record, records))) })
    }

    /// The next offset that may come.
    pub fn position(&self) -> i64 {
        self.from.max(if self.current.is_some() { i64::MIN } else { self.batches.position() })
    }

    /// Goes on from this offset.
    pub fn seek(&mut self, offset: i64) {
        self.batches.seek(offset);
        self.current = None;
        self.from = offset;
    }

    /// Says where the caller means to stop; see [`BatchStream::read_ahead_to`].
    pub fn read_ahead_to(&mut self, offset: i64) {
        self.batches.read_ahead_to(offset);
    }

    /// One past the last offset known to be durable when the store was asked last.
    pub fn high_watermark(&self) -> i64 {
        self.batches.high_watermark()
    }

    /// What was passed over since the last call; see [`BatchStream::take_notices`].
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.batches.take_notices()
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecordStream").field(&self.batches).finish()
    }
}

/// The records of a fetch, in order; made by [`Fetch::records`].
///
/// Batches are decompressed one at a time, when their records are wanted, so a fetch takes no more memory
/// than its compressed bytes and one batch. After an error it goes on with the next batch.
pub struct FetchRecords {
    fetch: Fetch,
    /// The chunk that it stands in, and how far that is read.
    chunk: usize,
    at: usize,
    from: i64,
    current: Option<Decoding>,
}

impl Fetch {
    /// The records from the offset that was asked for on, and from the log's start on, decoded as they are asked for.
    /// Control records and the bound on decompression are as the reader's options say.
    pub fn records(&self) -> FetchRecords {
        let from = self.origin().map_or(self.next_offset, |origin| origin.from).max(self.log_start);
        FetchRecords { fetch: self.clone(), chunk: 0, at: 0, from, current: None }
    }
}

impl FetchRecords {
    fn batch(&mut self) -> Option<Result<(Batch, BatchPlace)>> {
        loop {
            let chunk = self.fetch.chunks.get(self.chunk)?;
            if self.at < chunk.len() {
                let place = self.fetch.place(self.chunk, self.at);
                return Some(match Batch::parse(chunk, self.at, CrcCheck::AlreadyChecked) {
                    Ok(batch) => {
                        self.at += batch.bytes().len();
                        Ok((batch, place))
                    }
                    Err(malformed) => {
                        self.at = chunk.len();
                        Err(malformed.into())
                    }
                });
            }
            (self.chunk, self.at) = (self.chunk + 1, 0);
        }
    }
}

impl Iterator for FetchRecords {
    type Item = Result<StreamRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut().and_then(|current| current.next(self.from)) {
                Some(Ok(record)) => return Some(Ok(record)),
                Some(Err(error)) => {
                    self.current = None;
                    return Some(Err(error));
                }
                None => self.current = None,
            }
            let (batch, place) = match self.batch()? {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            let origin = self.fetch.origin()?;
            if batch.next_offset() <= self.from || (batch.header().attributes.is_control() && !origin.control_records) {
                continue;
            }
            match Decoding::new(&batch, &place, &origin.limits) {
                Ok(decoding) => self.current = Some(decoding),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl fmt::Debug for FetchRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchRecords").field("from", &self.from).field("chunk", &self.chunk).finish()
    }
}
