//! A backup, found by its document.

use std::fmt;

use super::document::{BackedUpPartition, BackupDocument, BackupStage, MAX_LEN};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BACKUPS, BackupName, PartitionId};
use crate::log::bucket::Bucket;
use crate::log::maintain::requests::Objects;
use crate::log::partition::Partition;

/// A backup, as its document says.
#[derive(Clone)]
pub struct Backup {
    pub(super) bucket: Bucket,
    pub(super) document: BackupDocument,
    /// When the store last modified the document.
    pub(super) modified_ms: Option<i64>,
}

impl Backup {
    pub(super) async fn find(bucket: &Bucket, name: &BackupName) -> Result<Option<Self>> {
        let found = Objects::in_bucket(&bucket.0).find(&BackupDocument::key(name), MAX_LEN).await?;
        let Some((bytes, modified_ms)) = found else { return Ok(None) };
        let document = BackupDocument::parse(name, &bytes)?;
        Ok(Some(Backup { bucket: bucket.clone(), document, modified_ms: Some(modified_ms) }))
    }

    /// Its name.
    pub fn name(&self) -> &BackupName {
        &self.document.name
    }

    /// How far it has come.
    pub fn stage(&self) -> BackupStage {
        self.document.stage
    }

    /// When it was begun, by the clock of the machine that made it, in Unix milliseconds.
    pub fn created_ms(&self) -> i64 {
        self.document.created_ms
    }

    /// Its partitions. Until it is complete, counts and checksums are 0.
    pub fn partitions(&self) -> &[BackedUpPartition] {
        &self.document.partitions
    }

    /// Bytes of its segments, without those of their indexes.
    pub fn bytes(&self) -> u64 {
        self.document.partitions.iter().fold(0, |sum, backed| sum.saturating_add(backed.bytes))
    }

    /// The copy of a partition that was backed up: a log as any other, to be read, or restored by
    /// [`Partition::copy`] into a partition that has no log. [`CopyOptions::to`](crate::CopyOptions::to) and
    /// [`before_time`](crate::CopyOptions::before_time) restore it up to a point. Nobody should append to it.
    ///
    /// # Errors
    /// Conflict for a backup that is not complete; not found for a partition that is not in it.
    pub fn partition(&self, id: &PartitionId) -> Result<Partition> {
        self.check_complete()?;
        if self.document.partitions.iter().any(|backed| backed.partition == *id) {
            return target_of(&self.bucket, self.name(), id);
        }
        let (name, namespace) = (self.name(), id.namespace());
        let message = format!("{id} of the namespace {namespace} is not in the backup {name}");
        Err(Error::new(ErrorKind::NotFound, message).with_key(BackupDocument::key(name)))
    }

    pub(super) fn check_complete(&self) -> Result<()> {
        let why = match self.stage() {
            BackupStage::Complete => return Ok(()),
            BackupStage::Begun => "is not complete",
            BackupStage::Expiring => "is being removed",
        };
        let error = Error::new(ErrorKind::Conflict, format!("the backup {} {why}", self.name()));
        Err(error.with_hint("take another one, or complete it first").with_key(BackupDocument::key(self.name())))
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("name", self.name()).field("stage", &self.stage()).finish_non_exhaustive()
    }
}

/// All backups of a bucket, by name.
pub(super) async fn find_all(bucket: &Bucket) -> Result<Vec<Backup>> {
    let mut backups = Vec::new();
    for name in Objects::in_bucket(&bucket.0).dirs(&format!("{BACKUPS}/")).await? {
        // A bucket may hold foreign objects, too.
        let Ok(name) = BackupName::new(&name) else { continue };
        backups.extend(Backup::find(bucket, &name).await?);
    }
    Ok(backups)
}

/// The partition of a backup that holds the copy of this one.
pub(super) fn target_of(bucket: &Bucket, name: &BackupName, source: &PartitionId) -> Result<Partition> {
    let namespace = source.namespace().in_backup(name);
    Ok(bucket.partition_of(PartitionId::new(namespace, source.topic().clone(), source.partition())?))
}
