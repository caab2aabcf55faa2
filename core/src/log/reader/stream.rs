//! Streams of batches and of records.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::try_unfold;

use super::follow::Waiting;
use super::{Fetch, FetchOptions, Hole, Reader};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, BatchHeader, CrcCheck, Headers, IntoRecords, OwnedRecord};
use crate::runtime::Running;

/// Notices that a stream keeps for its caller.
const MAX_NOTICES: usize = 1024;

/// What a stream passed over on its way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Offsets that do not exist; the stream went on behind them.
    Hole(Hole),
    /// Bytes that are corrupt, with their place; only with
    /// [`OnCorrupt::Skip`](crate::OnCorrupt::Skip).
    Skipped(Error),
}

/// Batches in order. [`next`](Self::next) may be dropped and called again; nothing is lost.
pub struct BatchStream {
    reader: Reader,
    position: i64,
    /// Chunks that were fetched, and how far the first is read.
    chunks: VecDeque<Bytes>,
    at: usize,
    log_start: i64,
    high_watermark: i64,
    notices: VecDeque<Notice>,
    /// Something was read: what goes missing now is a hole, not an offset out of range.
    underway: bool,
    /// What comes next, fetched while the caller is busy with what came, and from which offset. Who
    /// reads on once will again; who stops after the first fetch costs nothing more.
    ahead: Option<(i64, Running<Fetch>)>,
    waiting: Option<Waiting>,
}

impl BatchStream {
    pub(super) fn new(reader: Reader, from: i64, follow: bool) -> Self {
        let waiting = follow.then(|| Waiting::new(&reader));
        BatchStream {
            reader,
            position: from,
            chunks: VecDeque::new(),
            at: 0,
            log_start: 0,
            high_watermark: 0,
            notices: VecDeque::new(),
            underway: false,
            ahead: None,
            waiting,
        }
    }

    /// The next batch; `None` at the log's end, never when following.
    ///
    /// # Errors
    /// As [`Reader::fetch`]. A follower tries again by itself when the store is away. After an error
    /// the stream stands where it was: [`seek`](Self::seek) goes past what is corrupt.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.buffered()? {
                self.position = batch.next_offset();
                return Ok(Some(batch));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The same as a [`Stream`], for combinators. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Batch>> + Send {
        try_unfold(self, |mut batches| async move { Ok(batches.next().await?.map(|batch| (batch, batches))) })
    }

    /// The next offset that the stream gives.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Goes on from this offset.
    pub fn seek(&mut self, offset: i64) {
        self.position = offset;
        self.chunks.clear();
        self.at = 0;
        self.underway = false;
        self.ahead = None;
    }

    /// One past the last offset known to be durable when the store was asked last.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// What was passed over since the last call: holes, and what was corrupt and skipped. The latest
    /// 1,024 are kept.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    fn notice(&mut self, notice: Notice) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }

    fn buffered(&mut self) -> Result<Option<Batch>> {
        while let Some(chunk) = self.chunks.front() {
            if self.at < chunk.len() {
                // Checked when it was read.
                let batch = Batch::parse(chunk, self.at, CrcCheck::AlreadyChecked)?;
                self.at = self.at.saturating_add(batch.bytes().len());
                return Ok(Some(batch));
            }
            self.chunks.pop_front();
            self.at = 0;
        }
        Ok(None)
    }

    /// Fetches the next chunks; `false` at the end.
    async fn fill(&mut self) -> Result<bool> {
        loop {
            let fetched = match &mut self.ahead {
                Some((from, fetch)) if *from == self.position => fetch.await,
                _ => self.reader.fetch(self.position, self.reader.options().fetch_bytes).await,
            };
            self.ahead = None;
            match fetched {
                Ok(fetch) => {
                    let empty = fetch.is_empty();
                    self.take(fetch);
                    if !empty {
                        return Ok(true);
                    }
                    let Some(waiting) = &mut self.waiting else { return Ok(false) };
                    waiting.wait(&self.reader, self.position).await;
                }
                Err(error) if error.kind() == ErrorKind::OutOfRange && self.underway => {
                    // The log lost what was to come next, or more: retention, or it was made again.
                    let Some(start) = error.log_range().map(|(start, _)| start).filter(|s| *s > self.position) else {
                        return Err(error);
                    };
                    self.notice(Notice::Hole(Hole::new(self.position, start)));
                    self.position = start;
                }
                Err(error) => match &mut self.waiting {
                    Some(waiting) if error.is_retriable() => waiting.back_off(&self.reader).await,
                    _ => return Err(error),
                },
            }
        }
    }

    fn take(&mut self, fetch: Fetch) {
        if let Some(hole) = fetch.hole {
            self.notice(Notice::Hole(hole));
        }
        for error in fetch.skipped {
            self.notice(Notice::Skipped(error));
        }
        self.log_start = fetch.log_start;
        self.high_watermark = fetch.high_watermark;
        if fetch.chunks.is_empty() {
            // Only what was skipped moves an empty answer on.
            self.position = self.position.max(fetch.next_offset);
        } else {
            if self.underway && fetch.next_offset < fetch.high_watermark {
                let options = FetchOptions::new(self.reader.options().fetch_bytes);
                self.ahead = Some((fetch.next_offset, self.reader.begin_fetch(fetch.next_offset, options)));
            }
            self.underway = true;
            if let Some(waiting) = &mut self.waiting {
                waiting.reset();
            }
        }
        self.chunks = fetch.chunks.into();
        self.at = 0;
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream").field("reader", &self.reader).field("position", &self.position).finish()
    }
}

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
    pub fn timestamp(&self) -> i64 {
        self.record.timestamp
    }

    /// The key; `None` is null.
    pub fn key(&self) -> Option<&Bytes> {
        self.record.key.as_ref()
    }

    /// The value; `None` is null.
    pub fn value(&self) -> Option<&Bytes> {
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

/// Records in order. [`next`](Self::next) may be dropped and called again; nothing is lost.
pub struct RecordStream {
    batches: BatchStream,
    current: Option<(IntoRecords, Arc<BatchHeader>)>,
    /// Records below this are passed over.
    from: i64,
}

impl RecordStream {
    pub(super) fn new(batches: BatchStream) -> Self {
        RecordStream { from: batches.position, batches, current: None }
    }

    /// The next record; `None` at the log's end, never when following. Control records are skipped
    /// unless [`ReaderOptions::control_records`](crate::ReaderOptions::control_records) asks for them.
    ///
    /// # Errors
    /// As [`BatchStream::next`]; corrupt, with the batch's offsets, for records that can't be decoded.
    pub async fn next(&mut self) -> Result<Option<StreamRecord>> {
        loop {
            while let Some((records, batch)) = &mut self.current {
                let Some(record) = records.next() else {
                    self.from = self.from.max(batch.next_offset());
                    self.current = None;
                    break;
                };
                let record = match record {
                    Ok(record) => record,
                    Err(malformed) => {
                        let error = undecodable(malformed.into(), batch);
                        self.current = None;
                        return Err(error);
                    }
                };
                if record.offset >= self.from.max(self.batches.log_start) {
                    self.from = record.offset.saturating_add(1);
                    return Ok(Some(StreamRecord { record, batch: batch.clone() }));
                }
            }
            let Some(batch) = self.batches.next().await? else { return Ok(None) };
            let options = self.batches.reader.options();
            if batch.header().attributes.is_control() && !options.control_records {
                self.from = self.from.max(batch.next_offset());
                continue;
            }
            let header = Arc::new(*batch.header());
            let records = batch.records(&options.limits).map_err(|e| undecodable(e.into(), &header))?;
            self.current = Some((records.into_iter(), header));
        }
    }

    /// The same as a [`Stream`], for combinators. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<StreamRecord>> + Send {
        try_unfold(self, |mut records| async move { Ok(records.next().await?.map(|record| (record, records))) })
    }

    /// The next offset that may come.
    pub fn position(&self) -> i64 {
        self.from.max(if self.current.is_some() { i64::MIN } else { self.batches.position })
    }

    /// Goes on from this offset.
    pub fn seek(&mut self, offset: i64) {
        self.batches.seek(offset);
        self.current = None;
        self.from = offset;
    }

    /// One past the last offset known to be durable when the store was asked last.
    pub fn high_watermark(&self) -> i64 {
        self.batches.high_watermark
    }

    /// What was passed over since the last call; see [`BatchStream::take_notices`].
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.batches.take_notices()
    }
}

fn undecodable(error: Error, batch: &BatchHeader) -> Error {
    let next = batch.next_offset();
    error.with_offsets(batch.base_offset, batch.last_offset()).with_next_readable(next)
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecordStream").field(&self.batches).finish()
    }
}
