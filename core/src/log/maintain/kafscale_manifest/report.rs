//! What is written, what will be, and what was.

use std::fmt;

use super::walk::{PartitionCount, PartitionEntries};
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::setters::setters;
use crate::text::counted;

/// The most errors that a report keeps.
const MOST_ERRORS: usize = 100;

/// What a manifest for KafScale names. Start from `KafscaleManifestOptions::default()`, which names all of the bucket's
/// namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafscaleManifestOptions {
    /// The partitions that it names, of the bucket's namespace. `None` for all. KafScale's SQL processor sees no others.
    pub partitions: Option<Vec<PartitionId>>,
    /// Where logs are to start soon. What lies wholly below is left out now, so that nobody asks for it when it is removed
    /// ([`Partition::set_log_start`](crate::Partition::set_log_start)).
    pub log_starts: Vec<(PartitionId, i64)>,
}

impl KafscaleManifestOptions {
    setters! { partitions: some into Vec<PartitionId>, log_starts: into Vec<(PartitionId, i64)> }

    /// Where the log of a partition is to start; 0 where nothing is said.
    pub(super) fn log_start_of(&self, id: &PartitionId) -> i64 {
        let of_this = self.log_starts.iter().filter(|(of, _)| of == id);
        of_this.map(|(_, offset)| *offset).max().unwrap_or(0)
    }

    /// Refuses a partition that was named and is not there. A folder that holds no log is passed over.
    ///
    /// # Errors
    /// Not found.
    pub(super) fn check_missing(&self, id: &PartitionId) -> Result<()> {
        if self.partitions.is_none() {
            return Ok(());
        }
        let message = format!("partition {id} has neither log.json nor a segment");
        Err(Error::new(ErrorKind::NotFound, message).with_hint("check topic, partition and namespace"))
    }
}

/// What [`Bucket::write_kafscale_manifest`](crate::Bucket::write_kafscale_manifest) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KafscaleManifestPlan {
    /// The manifest's key.
    pub key: String,
    /// What it names.
    pub options: KafscaleManifestOptions,
    /// Partitions.
    pub partitions: u64,
    /// Their segments that have an index. Those that merging left and those below the log start are left out when it is written.
    pub segments: u64,
    /// Segments that are in the manifest as they are. The others are read, or their time indexes.
    pub known: u64,
    /// Bytes of these others.
    pub new_bytes: u64,
}

impl KafscaleManifestPlan {
    pub(super) fn of(key: String, options: KafscaleManifestOptions) -> Self {
        KafscaleManifestPlan { key, options, partitions: 0, segments: 0, known: 0, new_bytes: 0 }
    }

    pub(super) fn add(&mut self, count: PartitionCount) {
        self.partitions = self.partitions.saturating_add(1);
        self.segments = self.segments.saturating_add(count.segments);
        self.known = self.known.saturating_add(count.known);
        self.new_bytes = self.new_bytes.saturating_add(count.new_bytes);
    }
}

impl fmt::Display for KafscaleManifestPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafscaleManifestPlan { key, partitions, segments, known, new_bytes, .. } = self;
        let (partitions, new) = (counted(*partitions, "partition"), segments.saturating_sub(*known));
        write!(f, "{key}: {} of {partitions}", counted(*segments, "segment"))?;
        match new {
            0 => f.write_str(", all of which it has already"),
            _ => write!(f, ", of which {new} with {new_bytes} bytes are new to it"),
        }
    }
}

/// What [`Bucket::write_kafscale_manifest`](crate::Bucket::write_kafscale_manifest) did. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KafscaleManifestReport {
    /// The manifest's key.
    pub key: String,
    /// Partitions that it names, also those without a segment.
    pub partitions: u64,
    /// Segments that it names.
    pub segments: u64,
    /// How many of these it named before, and are the same.
    pub kept: u64,
    /// Bytes of the manifest.
    pub bytes: u64,
    /// Segments that were left out because all they hold is in a merged one.
    pub leftovers: u64,
    /// Segments that were left out because they lie below the log start.
    pub below: u64,
    /// Segments that were left out because they have no index. [`Partition::repair`](crate::Partition::repair) makes it.
    pub unindexed: u64,
    /// Segments that were left out because they can't be read, at most 100.
    pub broken: Vec<Error>,
}

impl KafscaleManifestReport {
    pub(super) fn of(key: String) -> Self {
        KafscaleManifestReport {
            key,
            partitions: 0,
            segments: 0,
            kept: 0,
            bytes: 0,
            leftovers: 0,
            below: 0,
            unindexed: 0,
            broken: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, found: PartitionEntries) {
        self.partitions = self.partitions.saturating_add(1);
        self.segments = self.segments.saturating_add(found.entries.len() as u64);
        self.kept = self.kept.saturating_add(found.kept);
        self.leftovers = self.leftovers.saturating_add(found.leftovers);
        self.below = self.below.saturating_add(found.below);
        self.unindexed = self.unindexed.saturating_add(found.unindexed);
        let room = MOST_ERRORS.saturating_sub(self.broken.len());
        self.broken.extend(found.broken.into_iter().take(room));
    }
}

impl fmt::Display for KafscaleManifestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafscaleManifestReport { key, partitions, segments, bytes, .. } = self;
        let partitions = counted(*partitions, "partition");
        write!(f, "{key}: {} of {partitions}, in {bytes} bytes", counted(*segments, "segment"))?;
        for (number, why) in [
            (self.leftovers, "is in a merged one|are in merged ones"),
            (self.below, "lies below the log start|lie below the log start"),
        ] {
            let (one, many) = why.split_once('|').unwrap_or((why, why));
            if number > 0 {
                let are = if number == 1 { one } else { many };
                write!(f, "; {} {are} and not named", counted(number, "segment"))?;
            }
        }
        if self.unindexed > 0 {
            let have = if self.unindexed == 1 { "has no index and is" } else { "have no index and are" };
            let segments = counted(self.unindexed, "segment");
            write!(f, "; {segments} {have} not named: `kfs repair` makes indexes")?;
        }
        if let Some(first) = self.broken.first() {
            let are = if self.broken.len() == 1 { "is" } else { "are" };
            let segments = counted(self.broken.len(), "segment");
            write!(f, "; {segments} can't be read and {are} not named, the first: {first:#}")?;
        }
        Ok(())
    }
}

/// Who is told what was found so far.
pub(super) type ManifestWatcher<'a> = &'a (dyn Fn(&KafscaleManifestReport) + Send + Sync);
