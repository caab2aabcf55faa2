//! Making a backup.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, stream};

use super::super::copy::{CopyOptions, CopyPlan, CopyReport};
use super::super::requests::Objects;
use super::document::{BackedUpPartition, BackupDocument, BackupStage, MAX_LEN};
use super::handle::{Backup, target_of};
use super::sums::Sums;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BackupName, PartitionId};
use crate::log::bucket::Bucket;
use crate::log::deletion::log_id;
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::setters::setters;
use crate::text::counted;

/// The most partitions that are copied at the same time.
const MOST_AT_ONCE: usize = 64;

/// How partitions are backed up. Start from `BackupOptions::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// Make segments of about this size in bytes, as [`CopyOptions::segment_size`]. The default, `None`, keeps the segments.
    pub segment_size: Option<u64>,
    /// Partitions that are copied at the same time, 1 to 64, by default 4. Each takes up to 64 MiB of memory, or twice its largest
    /// segment.
    pub at_once: usize,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions { segment_size: None, at_once: 4 }
    }
}

impl BackupOptions {
    setters! { segment_size: some u64, at_once: usize }
}

/// What [`Bucket::back_up`](crate::Bucket::back_up) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupPlan {
    /// The backup's name.
    pub name: BackupName,
    /// What of each partition is copied.
    pub copies: Vec<CopyPlan>,
    /// An earlier call began it.
    pub was_begun: bool,
    pub(super) options: BackupOptions,
    pub(super) sources: Vec<Partition>,
}

impl BackupPlan {
    /// Segments to copy, of all partitions.
    pub fn segments(&self) -> u64 {
        self.copies.iter().fold(0, |sum, copy| sum.saturating_add(copy.segments))
    }

    /// Their bytes, without those of their indexes.
    pub fn bytes(&self) -> u64 {
        self.copies.iter().fold(0, |sum, copy| sum.saturating_add(copy.bytes))
    }
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goes_on = if self.was_begun { ", which was begun, goes on" } else { "" };
        let (partitions, segments) = (counted(self.copies.len(), "partition"), counted(self.segments(), "segment"));
        write!(
            f,
            "{}: the backup of {partitions}{goes_on}; {segments} with {} bytes are copied",
            self.name,
            self.bytes()
        )
    }
}

/// How far a backup has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Bytes that this call copied.
    pub copied: u64,
    /// Bytes that it read back.
    pub read_back: u64,
}

/// Who is told how far it has come.
pub(super) type BackupWatcher = Arc<dyn Fn(BackupProgress) + Send + Sync>;

/// How far it has come, for several partitions at the same time.
struct BackupMeter {
    copied: AtomicU64,
    read_back: AtomicU64,
    told: BackupWatcher,
}

impl BackupMeter {
    fn new(told: BackupWatcher) -> Arc<Self> {
        Arc::new(BackupMeter { copied: AtomicU64::new(0), read_back: AtomicU64::new(0), told })
    }

    fn add(&self, copied: u64, read_back: u64) {
        let copied = self.copied.fetch_add(copied, Ordering::Relaxed).saturating_add(copied);
        let read_back = self.read_back.fetch_add(read_back, Ordering::Relaxed).saturating_add(read_back);
        (self.told)(BackupProgress { copied, read_back });
    }
}

fn copy_options(backed: &BackedUpPartition, segment_size: Option<u64>) -> CopyOptions {
    CopyOptions { from: Some(backed.log_start), to: Some(backed.end), segment_size, ..CopyOptions::default() }
}

/// The document of a backup that begins now, with the ranges of the logs.
async fn document_of(
    bucket: &Bucket,
    name: &BackupName,
    sources: &[Partition],
    options: &BackupOptions,
) -> Result<BackupDocument> {
    if sources.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "a backup of no partitions"));
    }
    if !(1..=MOST_AT_ONCE).contains(&options.at_once) {
        let message = format!("at_once is {}, 1 to {MOST_AT_ONCE} are allowed", options.at_once);
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut partitions = Vec::new();
    for source in sources {
        let state = source.state();
        state.check_has_segments()?;
        let range = refresh_range(state).await?;
        let log_id = log_id(state).await?.unwrap_or_default();
        let mut backed = BackedUpPartition {
            partition: state.id.clone(),
            log_id,
            log_start: range.log_start,
            end: range.high_watermark,
            segments: 0,
            bytes: 0,
            batches: 0,
            records: 0,
            max_timestamp_ms: None,
            crc32c: 0,
        };
        backed.set(Sums::default());
        partitions.push(backed);
    }
    partitions.sort_by(|one, two| one.partition.cmp(&two.partition));
    if let Some(pair) = partitions.windows(2).find(|pair| matches!(pair, [one, two] if one.partition == two.partition))
    {
        let twice = pair.first().map(|twice| twice.partition.to_string()).unwrap_or_default();
        return Err(Error::new(ErrorKind::InvalidInput, format!("{twice} is to be backed up twice")));
    }
    let created_ms = bucket.runtime().clock().wall_ms();
    let segment_size = options.segment_size;
    Ok(BackupDocument { name: name.clone(), stage: BackupStage::Begun, created_ms, segment_size, partitions })
}

pub(super) async fn plan(
    bucket: &Bucket,
    name: &BackupName,
    sources: &[Partition],
    options: &BackupOptions,
) -> Result<BackupPlan> {
    let fresh = document_of(bucket, name, sources, options).await?;
    let begun = Objects::in_bucket(&bucket.0).find(&BackupDocument::key(name), MAX_LEN).await?;
    let begun = begun.map(|(bytes, _)| BackupDocument::parse(name, &bytes)).transpose()?;
    if let Some(begun) = &begun {
        begun.check_same(&fresh)?;
    }
    let was_begun = begun.is_some();
    let document = begun.unwrap_or(fresh);
    let mut plan = BackupPlan {
        name: name.clone(),
        copies: Vec::new(),
        was_begun,
        options: options.clone(),
        sources: sources.to_vec(),
    };
    for backed in &document.partitions {
        let source = source_of(sources, &backed.partition)?;
        let target = target_of(bucket, name, &backed.partition)?;
        plan.copies.push(source.plan_copy(&target, &copy_options(backed, document.segment_size)).await?);
    }
    Ok(plan)
}

fn source_of<'a>(sources: &'a [Partition], id: &PartitionId) -> Result<&'a Partition> {
    let missing = || Error::new(ErrorKind::Internal, format!("{id} is no source of this backup"));
    sources.iter().find(|source| source.id() == id).ok_or_else(missing)
}

/// Step by step:
///
/// 1. The document fixes which partitions are backed up, and where each begins and ends. A call that goes on keeps to it.
/// 2. Each partition is copied.
/// 3. All of the copies is read back. What was read is what the document then says.
pub(super) async fn carry_out(bucket: &Bucket, plan: &BackupPlan, told: BackupWatcher) -> Result<Backup> {
    bucket.0.fork.check()?;
    let objects = Objects::in_bucket(&bucket.0);
    let fresh = document_of(bucket, &plan.name, &plan.sources, &plan.options).await?;
    if let Some(first) = plan.copies.first() {
        bucket.partition_of(first.target.clone()).state().allow_writing().await?;
    }
    let key = BackupDocument::key(&plan.name);
    let there = objects.create("beginning a backup", &key, fresh.encode(), MAX_LEN).await?;
    let mut document = BackupDocument::parse(&plan.name, &there)?;
    document.check_same(&fresh)?;
    let making = Making { bucket, plan, segment_size: document.segment_size, progress: BackupMeter::new(told) };
    let works = stream::iter(document.partitions).map(|backed| {
        let making = &making;
        async move { making.partition(backed).await }
    });
    // All are tried: what is copied need not be copied again.
    let ended: Vec<Result<BackedUpPartition>> = works.buffered(plan.options.at_once).collect().await;
    document.partitions = ended.into_iter().collect::<Result<_>>()?;
    document.stage = BackupStage::Complete;
    objects.put("completing a backup", &key, document.encode()).await?;
    Ok(Backup { bucket: bucket.clone(), document, modified_ms: None })
}

/// A backup that is being made.
struct Making<'a> {
    bucket: &'a Bucket,
    plan: &'a BackupPlan,
    segment_size: Option<u64>,
    progress: Arc<BackupMeter>,
}

impl Making<'_> {
    /// Copies a partition, reads the copy back, and answers what there is of it.
    async fn partition(&self, mut backed: BackedUpPartition) -> Result<BackedUpPartition> {
        let source = source_of(&self.plan.sources, &backed.partition)?;
        let target = target_of(self.bucket, &self.plan.name, &backed.partition)?;
        let copy = source.plan_copy(&target, &copy_options(&backed, self.segment_size)).await?;
        let (progress, before) = (self.progress.clone(), AtomicU64::new(0));
        let watch = move |so_far: &CopyReport| {
            progress.add(so_far.bytes.saturating_sub(before.swap(so_far.bytes, Ordering::Relaxed)), 0);
        };
        source.copy_with(&target, &copy, watch).await?;
        let range = refresh_range(target.state()).await?;
        if (range.log_start, range.high_watermark) != (backed.log_start, backed.end) {
            let message = format!(
                "the copy of {} has the offsets {} to {}, and {} to {} were to be backed up",
                backed.partition, range.log_start, range.high_watermark, backed.log_start, backed.end
            );
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_hint("does somebody write into the backup? make another one")
                .with_key(target.id().prefix()));
        }
        let told = |bytes| self.progress.add(0, bytes);
        backed.set(Sums::of(target.state(), &told).await?);
        Ok(backed)
    }
}
