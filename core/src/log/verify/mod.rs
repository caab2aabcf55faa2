//! Verifying a partition: every CRC, every batch, indexes against segments, and that offsets follow
//! one another.

mod beside;
mod bytes;
mod check;
mod finding;
mod in_pieces;
mod overlap;
mod records;

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use ::bytes::Bytes;

use super::partition::Partition;
use super::pieces::{PieceReader, PieceTries};
use super::segment_info::SegmentInfo;
use super::segments::{Segments, first_and_last};
use super::state::PartitionState;
use crate::error::{ErrorKind, Result};
use crate::format::{Limits, LogIdentity, MAX_LOG_JSON_LEN, MAX_SEGMENT_LEN, SparseIndex, TIME_INDEX_LEN};
use crate::setters::setters;
use crate::store::ReadRange;
use crate::text::offset_range;

pub(in crate::log) use self::beside::Beside;
pub use self::bytes::{SegmentBytes, SegmentReport, verify_segment, verify_segment_from};
pub(in crate::log) use self::check::CheckedSegment;
pub use self::finding::{Finding, FindingKind, Severity};
pub(in crate::log) use self::in_pieces::{LOOKS, always_replaced, check_in_pieces};
use self::overlap::WholeSegment;

/// Told about after each segment.
type OnProgress = Arc<dyn Fn(&VerifyProgress) + Send + Sync>;

/// What verify checks. Start from `VerifyOptions::default()`.
#[derive(Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Records are decoded too, and headers and time indexes compared with them. Default: they are.
    pub records: bool,
    /// Bounds on decompression.
    pub limits: Limits,
    /// Only segments that hold these offsets, first and last. Default: all.
    pub offsets: (i64, i64),
    on_progress: Option<OnProgress>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { records: true, limits: Limits::default(), offsets: (0, i64::MAX), on_progress: None }
    }
}

impl VerifyOptions {
    setters! { records: bool, limits: Limits }

    /// Sets [`offsets`](Self::offsets).
    #[must_use]
    pub fn offsets(mut self, offsets: impl RangeBounds<i64>) -> Self {
        self.offsets = first_and_last(offsets);
        self
    }

    /// Calls this after each segment, on the runtime's threads.
    #[must_use]
    pub fn on_progress(mut self, call: impl Fn(&VerifyProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions").field("records", &self.records).field("offsets", &self.offsets).finish()
    }
}

/// How far verify has come, and what it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments checked.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Batches that are whole.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// The first offset of the log.
    pub first_offset: Option<i64>,
    /// One past the last offset checked.
    pub next_offset: Option<i64>,
    /// Findings of the severity error.
    pub errors: u64,
    /// Findings of the severity warning.
    pub warnings: u64,
}

impl VerifyProgress {
    /// Whether nothing was found but what is merely worth knowing.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }
}

/// Findings as they come; made by [`Partition::verify`].
pub struct Verify {
    work: VerifyWork,
}

#[derive(Clone)]
struct VerifyWork {
    state: Arc<PartitionState>,
    options: VerifyOptions,
    segments: Segments,
    page: VecDeque<SegmentInfo>,
    begun: bool,
    ended: bool,
    reach: Reach,
    progress: VerifyProgress,
    /// Of the segment read last: whether it is the newest decides how bad some are.
    held: Vec<Finding>,
    findings: VecDeque<Finding>,
}

/// How far the log reaches without a break, and by which segment.
#[derive(Clone, Default)]
struct Reach {
    /// One past the greatest offset so far; `None` where it can't be told.
    end: Option<i64>,
    /// The segment that reaches so far, to compare what lies inside it.
    cover: Option<WholeSegment>,
}

impl Partition {
    /// Checks the partition, segment by segment: each is read whole, with its index and, if it has one, its time
    /// index. Asks nothing before the first finding is asked for.
    ///
    /// A segment of at most 16 MiB costs one GET. A larger one is read in pieces of that size, all of one version, and costs
    /// one GET a piece and one of its footer. If it is replaced meanwhile, it is read again. The pieces take at most 64 MiB,
    /// one that is read ahead among them; the indexes of the segment come to that. If records are checked, a batch that does
    /// not lie in one piece is held whole, and so are the records of a batch while they are decompressed. A segment of more
    /// than one piece that lies inside another, or that another lies in, is read again where they meet.
    pub fn verify(&self, options: VerifyOptions) -> Verify {
        let (first, last) = options.offsets;
        Verify {
            work: VerifyWork {
                state: self.state().clone(),
                segments: self.segments(first..=last),
                options,
                page: VecDeque::new(),
                begun: false,
                ended: false,
                reach: Reach::default(),
                progress: VerifyProgress::default(),
                held: Vec::new(),
                findings: VecDeque::new(),
            },
        }
    }
}

impl Verify {
    /// The next finding; `None` when all was checked.
    ///
    /// Dropping the future loses no finding: the next call checks the same segment.
    ///
    /// # Errors
    /// Not found for a partition that was never made; what the store answers. Corrupt bytes are
    /// findings, not errors.
    pub async fn next(&mut self) -> Result<Option<Finding>> {
        loop {
            if let Some(finding) = self.work.findings.pop_front() {
                return Ok(Some(finding));
            }
            if self.work.ended {
                return Ok(None);
            }
            // A copy works on: a caller that drops this future, or gets an error, can call again.
            let mut work = self.work.clone();
            let runtime = work.state.runtime().clone();
            self.work = runtime
                .ask(async move {
                    work.step().await?;
                    Ok(work)
                })
                .await?;
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> VerifyProgress {
        self.work.progress
    }

    /// All findings at once.
    ///
    /// Dropping the future loses the findings so far; progress stays.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(&mut self) -> Result<Vec<Finding>> {
        let mut all = Vec::new();
        while let Some(finding) = self.next().await? {
            all.push(finding);
        }
        Ok(all)
    }
}

impl fmt::Debug for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify")
            .field("partition", &self.work.state.id.to_string())
            .field("progress", &self.work.progress)
            .finish()
    }
}

impl VerifyWork {
    async fn step(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.state.check_has_segments()?;
            return self.log_json().await;
        }
        let Some(info) = self.page.pop_front() else {
            match self.segments.next_page().await? {
                Some(page) => self.page = page.into(),
                None => {
                    self.release(self.options.offsets.1 == i64::MAX);
                    self.ended = true;
                }
            }
            return Ok(());
        };
        // Too large to be a segment, and to be read. Its neighbour tells where it ends.
        if info.size > MAX_SEGMENT_LEN {
            let message = format!("found {} bytes, expected less than 2 GiB", info.size);
            self.found(Finding::new(Severity::Error, FindingKind::Segment, &info.key, message));
            self.reach = Reach { end: info.last.map(|last| last.saturating_add(1)), cover: None };
            return Ok(());
        }
        let (checked, reader) = match self.check(&info).await {
            Ok(checked) => checked,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if is_listed(&self.state, &info.key).await? {
                    self.found(Finding::listed_alone(&info));
                    self.reach = Reach { end: info.last.map(|last| last.saturating_add(1)), cover: None };
                } else {
                    // Retention or merging removed it since it was listed.
                    self.reach = Reach::default();
                }
                return Ok(());
            }
            // What has its name is no file.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.found(Finding::error(FindingKind::Segment, &info.key, &error));
                self.reach = Reach { end: info.last.map(|last| last.saturating_add(1)), cover: None };
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let progress = &mut self.progress;
        progress.segments = progress.segments.saturating_add(1);
        progress.bytes = progress.bytes.saturating_add(reader.size());
        progress.batches = progress.batches.saturating_add(checked.batches);
        progress.records = progress.records.saturating_add(checked.records);
        progress.first_offset.get_or_insert(info.base);
        self.follow(&info, checked, reader).await?;
        self.progress.next_offset = self.reach.end.or(self.progress.next_offset);
        if let Some(call) = &self.options.on_progress {
            call(&self.progress);
        }
        Ok(())
    }

    /// Reads a segment and what stands beside it, again from the beginning if it is replaced meanwhile.
    async fn check(&mut self, info: &SegmentInfo) -> Result<(CheckedSegment, PieceReader)> {
        let mut looks = LOOKS;
        loop {
            match self.look(info).await {
                Err(replaced) if replaced.kind() == ErrorKind::Conflict => {
                    looks = looks.saturating_sub(1);
                    if looks == 0 {
                        return Err(always_replaced(&info.key, replaced));
                    }
                }
                looked => return looked,
            }
        }
    }

    async fn look(&mut self, info: &SegmentInfo) -> Result<(CheckedSegment, PieceReader)> {
        let mut reader = PieceReader::open(&self.state, &info.key, MAX_SEGMENT_LEN, PieceTries::UntilAnswered).await?;
        // Only now is it known that the segment before was not the newest, which decides how bad its findings are.
        self.release(false);
        let mut around = Vec::new();
        let index = match info.index_size {
            Some(_) => {
                let most = SparseIndex::max_len(info.size);
                self.sidecar(FindingKind::IndexWrong, &self.state.id.index_key(info.base), most, &mut around).await?
            }
            None => None,
        };
        let time_index = match info.time_index_size {
            Some(_) if self.options.records => {
                let most = TIME_INDEX_LEN as u64;
                let key = self.state.id.time_index_key(info.base);
                self.sidecar(FindingKind::TimeIndexWrong, &key, most, &mut around).await?
            }
            _ => None,
        };
        let beside = Beside { index, index_expected: true, time_index, rebuild: None };
        let limits = self.options.records.then_some(self.options.limits);
        let checked = check_in_pieces(&self.state, &mut reader, info.base, beside, limits.as_ref()).await?;
        // Only now: had it been replaced, they would be looked at again.
        self.held.append(&mut around);
        Ok((checked, reader))
    }

    fn found(&mut self, finding: Finding) {
        self.held.push(finding);
    }

    /// Hands on what was held back. The newest segment without its index is what a flush looks like
    /// that is under way, or whose process ended: nothing is wrong, the next writer makes it.
    fn release(&mut self, newest: bool) {
        for mut finding in std::mem::take(&mut self.held) {
            if newest && finding.kind == FindingKind::IndexMissing {
                finding.severity = Severity::Info;
                finding.message = "the newest segment has no sparse index yet; the next writer makes it".into();
            }
            match finding.severity {
                Severity::Error => self.progress.errors = self.progress.errors.saturating_add(1),
                Severity::Warning => self.progress.warnings = self.progress.warnings.saturating_add(1),
                Severity::Info => {}
            }
            self.findings.push_back(finding);
        }
    }

    /// An index, unless something that is no file has its name, or it is too large to be one.
    async fn sidecar(
        &self,
        kind: FindingKind,
        key: &str,
        most: u64,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Bytes>> {
        match self.read(key, most).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                findings.push(Finding::new(Severity::Warning, kind, key, error.message()));
                Ok(None)
            }
            read => read,
        }
    }

    async fn read(&self, key: &str, most: u64) -> Result<Option<Bytes>> {
        // A log that is verified is read whole: that must hold up nobody who follows it.
        match self.state.get_through(&self.state.bucket.cold, key, ReadRange::AtMost(most), None).await {
            Ok(fetched) => Ok(Some(fetched.bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn log_json(&mut self) -> Result<()> {
        let key = self.state.id.log_json_key();
        let bytes = match self.read(&key, MAX_LOG_JSON_LEN as u64).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                // Without log.json there must be a segment, or there is no such partition.
                super::reader::refresh_exists(&self.state).await?;
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.found(Finding::error(FindingKind::LogJson, &key, &error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Err(malformed) = LogIdentity::parse(&bytes) {
            self.found(Finding::error(FindingKind::LogJson, &key, &malformed.into_error(&key)));
        }
        Ok(())
    }

    /// Takes the findings, and whether the segment goes on where the log ended.
    async fn follow(&mut self, info: &SegmentInfo, checked: CheckedSegment, reader: PieceReader) -> Result<()> {
        self.held.extend(checked.findings);
        let mut whole = match (checked.whole, checked.next_offset) {
            (Some(header), Some(next)) => Some(WholeSegment::new(header.base_offset, next, reader)),
            _ => None,
        };
        // A broken segment is taken to end where the next one begins.
        let end = match &whole {
            Some(_) => checked.next_offset,
            None => info.last.map(|last| last.saturating_add(1)),
        };
        let Some(expected) = self.reach.end else {
            self.reach = Reach { end, cover: whole };
            return Ok(());
        };
        if info.base < expected {
            let last = end.map_or(info.base, |end| end.saturating_sub(1)).max(info.base);
            let inside = match (&mut self.reach.cover, &mut whole) {
                (Some(cover), Some(whole)) => cover.compare(&self.state, &info.key, whole).await?,
                _ => {
                    let message = format!("it starts inside another segment, which ends before {expected}");
                    Finding::new(Severity::Error, FindingKind::Ghost, &info.key, message)
                }
            };
            self.found(inside.offsets(info.base, last));
            if end.is_some_and(|end| end > expected) {
                self.reach = Reach { end, cover: whole };
            }
            return Ok(());
        }
        if info.base > expected {
            let message = format!("no segment holds {}", offset_range(expected, info.base.saturating_sub(1)));
            let hole = Finding::new(Severity::Warning, FindingKind::Hole, &info.key, message);
            self.found(hole.offsets(expected, info.base.saturating_sub(1)));
        }
        self.reach = Reach { end, cover: whole };
        Ok(())
    }
}

/// Whether a new listing shows this object.
pub(in crate::log) async fn is_listed(state: &PartitionState, key: &str) -> Result<bool> {
    let page = state.list_page_through(state.store(), key, None, 1).await?;
    Ok(page.objects.first().is_some_and(|object| object.key == key))
}

#[cfg(test)]
mod tests;
