//! Going through the source and putting what belongs to the copy.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::log_start::put_mark;
use super::job::CopyJob;
use super::plan::{CopyReport, CopyWatcher};
use super::source::{index_interval, read_listed};
use super::target::{CopiedSegment, put_copied};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    Batch, BuiltSegment, CrcCheck, DEFAULT_INDEX_INTERVAL, Limits, MAX_SEGMENT_LEN, Malformed, Segment, SegmentBuilder,
};
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::log::segment_info::SegmentInfo;
use crate::log::state::PartitionState;
use crate::store::ReadRange;

/// How often in a row the source is listed again because its segments change meanwhile.
const LOOKS: usize = 8;

/// Bytes of the source that are compared at a time with what was copied of them.
const COMPARED_AT_ONCE: usize = 4 << 20;

/// A copy on its way through the source.
pub(super) struct Copying<'a> {
    pub(super) source: Arc<PartitionState>,
    pub(super) target: Arc<PartitionState>,
    pub(super) job: CopyJob,
    pub(super) segment_size: Option<u64>,
    pub(super) before_time: Option<i64>,
    /// One past the last offset to copy. It moves down when the first record is found that is not before the time.
    pub(super) to: i64,
    pub(super) report: CopyReport,
    /// The segment that is made, where segments get another size.
    pub(super) growing: Option<SegmentBuilder>,
    /// The messages between two entries of the source's indexes.
    pub(super) interval: Option<i32>,
    pub(super) told: CopyWatcher<'a>,
}

impl Copying<'_> {
    /// Makes the target's log, which begins with the segment that holds the first offset.
    pub(super) async fn begin_log(&mut self, from: i64) -> Result<()> {
        let target = Partition::new(self.target.clone());
        let there = match refresh_range(&self.target).await {
            Ok(range) => Some(range),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let log_start = match there {
            Some(range) => {
                self.check_newest(range.high_watermark).await?;
                self.report.next = range.high_watermark;
                range.log_start
            }
            None => {
                let first = self.first_base(from).await?;
                target.create(first).await?;
                self.report.next = first;
                first
            }
        };
        if log_start < from {
            put_mark(&self.target, from).await?;
        }
        Ok(())
    }

    /// Refuses to go on where the newest segment of the target has other batches than the source: somebody appended to it.
    async fn check_newest(&self, high_watermark: i64) -> Result<()> {
        let target = Partition::new(self.target.clone());
        let listed = target.segments(high_watermark.saturating_sub(1)..high_watermark).all().await?;
        let Some(newest) = listed.last() else { return Ok(()) };
        let found = self.target.get(&newest.key, ReadRange::Whole, None).await?;
        let copied = Segment::parse_at(newest.base, &found.bytes, CrcCheck::Verify)
            .map_err(|malformed| malformed.into_error(&newest.key))?;
        let source = Partition::new(self.source.clone());
        let log_start = source.watermarks().map_or(0, |watermarks| watermarks.log_start);
        if log_start > high_watermark {
            let (source, target) = (&self.source.id, &self.target.id);
            let message =
                format!("the log of {source} starts at {log_start} now, and its copy in {target} ends before");
            return Err(Error::new(ErrorKind::OutOfRange, message)
                .with_log_range(log_start, self.to)
                .with_hint("what is between was removed; copy into another partition"));
        }
        let (reader, mut offset) = (source.reader(), newest.base.max(log_start));
        let mut batches = copied.batches().skip_while(|at| at.batch.next_offset() <= log_start);
        while offset < copied.next_offset() {
            let fetched = reader.fetch(offset, COMPARED_AT_ONCE).await?;
            for theirs in fetched.batches() {
                let Some(ours) = batches.next() else { break };
                if !is_copy_of(&ours.batch, &theirs?).map_err(|malformed| malformed.into_error(&newest.key))? {
                    let message =
                        format!("{} has other records at offset {offset} than {}", self.target.id, self.source.id);
                    return Err(Error::new(ErrorKind::Conflict, message)
                        .with_hint("did somebody append to the copy? copy into another partition")
                        .with_key(&*newest.key));
                }
            }
            if fetched.next_offset <= offset {
                break;
            }
            offset = fetched.next_offset;
        }
        Ok(())
    }

    /// Where the segment begins that holds an offset; the offset itself where none does.
    async fn first_base(&self, offset: i64) -> Result<i64> {
        let mut pages = Partition::new(self.source.clone()).segments(offset..=offset);
        let first = pages.next_page().await?.and_then(|page| page.first().map(|info| info.base));
        Ok(first.map_or(offset, |base| base.min(offset)))
    }

    /// Copies what is left.
    pub(super) async fn run(&mut self) -> Result<()> {
        let mut looks = 0;
        while self.position() < self.to {
            let before = self.position();
            if self.pass().await? {
                break;
            }
            looks = if self.position() > before { 0 } else { looks + 1 };
            if looks >= LOOKS {
                let message = format!("segments of {} changed during each of {LOOKS} looks at its log", self.source.id);
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .with_hint("does maintenance remove them? try again, or start the copy at a later offset"));
            }
        }
        self.put_growing().await
    }

    /// One past the last offset that was read.
    fn position(&self) -> i64 {
        self.growing.as_ref().map_or(self.report.next, SegmentBuilder::next_offset)
    }

    /// Copies what the listing shows from here on. `false` where it has to be listed again.
    async fn pass(&mut self) -> Result<bool> {
        let mut pages = Partition::new(self.source.clone()).segments(self.position()..self.to);
        while let Some(page) = pages.next_page().await? {
            let mut reads = std::pin::pin!(read_listed(self.source.clone(), page));
            while let Some(read) = reads.next().await {
                match read? {
                    (info, Some(segment)) => {
                        self.take(&info, segment).await?;
                        if self.position() >= self.to {
                            return Ok(true);
                        }
                    }
                    // What lies below was copied with a merged segment.
                    (info, None) if info.last.is_some_and(|last| last < self.position()) => {}
                    (_, None) => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Copies a segment of the source, or as much of it as belongs to the copy.
    async fn take(&mut self, info: &SegmentInfo, segment: Segment) -> Result<()> {
        let position = self.position();
        if segment.next_offset() <= position {
            return Ok(());
        }
        if segment.base_offset() > position {
            self.report.holes = self.report.holes.saturating_add(1);
        }
        if self.stops(info, &segment)? {
            return Ok(());
        }
        let is_whole = segment.base_offset() >= position && segment.next_offset() <= self.to;
        // A segment that begins inside another one, in the midst of a batch, and reaches beyond it, is copied as it is.
        let straddles = |(base, next): (i64, i64)| base < position && next > position;
        let straddles = segment.batches().map(|at| (at.batch.base_offset(), at.batch.next_offset())).any(straddles);
        if (is_whole && self.segment_size.is_none()) || straddles || !segment.overlaps().is_empty() {
            if segment.next_offset() > self.to {
                return Err(self.uncuttable(info));
            }
            self.put_growing().await?;
            return self.put_whole(info, &segment).await;
        }
        let with_times = info.time_index_size.is_some();
        let batches = segment.batches().map(|at| at.batch);
        let mine = batches.filter(|batch| batch.base_offset() >= position && batch.base_offset() < self.to);
        for batch in mine.collect::<Vec<_>>() {
            let cut = batch.cut_before(self.to, &Limits::default()).map_err(|error| error.into_error(&info.key))?;
            let Some(batch) = cut else { break };
            let limit = self.segment_size.unwrap_or(MAX_SEGMENT_LEN);
            let len = batch.bytes().len() as u64;
            let fits = |growing: &SegmentBuilder| {
                growing.next_offset() == batch.base_offset()
                    && growing.fits(&batch)
                    && growing.size().saturating_add(len) <= limit
            };
            if self.growing.as_ref().is_some_and(|growing| !fits(growing)) {
                self.put_growing().await?;
            }
            if self.growing.is_none() {
                let interval = self.interval(info).await?;
                let builder = SegmentBuilder::new(batch.base_offset(), segment.header().created_ms, interval)?;
                self.growing = Some(if with_times { builder.with_time_index(Limits::default()) } else { builder });
            }
            if let Some(growing) = &mut self.growing {
                growing.push_at_own_offset(&batch)?;
            }
        }
        match self.segment_size {
            Some(_) => Ok(()),
            None => self.put_growing().await,
        }
    }

    /// Finds the first record of the segment that is not before the time, and ends the copy there. Whether nothing of the
    /// segment belongs to the copy any more.
    fn stops(&mut self, info: &SegmentInfo, segment: &Segment) -> Result<bool> {
        let (Some(time), position) = (self.before_time, self.position()) else { return Ok(false) };
        for batch in segment.batches().map(|at| at.batch).filter(|batch| batch.next_offset() > position) {
            let first = batch.first_not_before(time, &Limits::default());
            if let Some(first) = first.map_err(|malformed| malformed.into_error(&info.key))? {
                self.to = self.to.min(first.max(position));
                break;
            }
        }
        Ok(self.to <= position)
    }

    /// The error for a segment that reaches beyond the end of the copy and can't be cut there.
    fn uncuttable(&self, info: &SegmentInfo) -> Error {
        let message = format!("the copy is to end at {}, where batches overlap", self.to);
        Error::new(ErrorKind::Unsupported, message)
            .with_hint("batches that overlap are copied as they are: let the copy end before or after them")
            .with_key(&*info.key)
    }

    async fn interval(&mut self, info: &SegmentInfo) -> Result<i32> {
        if self.interval.is_none() {
            self.interval = Some(index_interval(&self.source, info).await?);
        }
        Ok(self.interval.unwrap_or(DEFAULT_INDEX_INTERVAL))
    }

    async fn put_whole(&mut self, info: &SegmentInfo, segment: &Segment) -> Result<()> {
        let interval = self.interval(info).await?;
        // That decodes all records.
        let has_times = info.time_index_size.is_some();
        let times = if has_times { segment.time_range(&Limits::default()).ok().flatten() } else { None };
        self.put(CopiedSegment {
            base: segment.base_offset(),
            next_offset: segment.next_offset(),
            chunks: vec![segment.bytes().clone()],
            index: segment.index(interval).encode(),
            times,
        })
        .await
    }

    async fn put_growing(&mut self) -> Result<()> {
        let Some(growing) = self.growing.take().filter(|growing| growing.batch_count() > 0) else { return Ok(()) };
        let BuiltSegment { base_offset: base, last_offset, chunks, index, time_index: times, .. } = growing.finish()?;
        self.put(CopiedSegment { base, next_offset: last_offset.saturating_add(1), chunks, index, times }).await
    }

    async fn put(&mut self, segment: CopiedSegment) -> Result<()> {
        put_copied(&self.target, &self.job.id, &segment).await?;
        self.report.segments = self.report.segments.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(segment.size());
        self.report.next = self.report.next.max(segment.next_offset);
        (self.told)(&self.report);
        Ok(())
    }
}

/// Whether one batch is a copy of another, or of its beginning.
fn is_copy_of(ours: &Batch, theirs: &Batch) -> Result<bool, Malformed> {
    if ours.bytes() == theirs.bytes() {
        return Ok(true);
    }
    let limits = Limits::default();
    match theirs.cut_before(ours.next_offset(), &limits)? {
        Some(cut) => cut.is_same_but_for_compression(ours, &limits),
        None => Ok(false),
    }
}
