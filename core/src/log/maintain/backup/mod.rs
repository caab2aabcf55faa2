//! Backups: copies of partitions with a name, and a document that says what is in them.
//!
//! A backup stands at `.kfs-backups/{name}/` in a bucket. `backup.json` is its document; a partition that was backed up stands
//! at `{namespace}/{topic}/{partition}/` below it, and is a log as any other.

mod check;
mod create;
mod document;
mod expire;
mod sums;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

pub use self::check::BackupFault;
pub use self::create::{BackupOptions, BackupPlan, BackupProgress};
pub use self::document::{BackedUpPartition, BackupStage};
pub use self::expire::{BackupRetention, ExpirePlan};

use self::create::target_of;
use self::document::{BackupDocument, MAX_LEN};
use super::requests::Objects;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BACKUPS, BackupName, PartitionId};
use crate::log::bucket::Bucket;
use crate::log::partition::Partition;

/// The most partitions that are copied or read at the same time.
const MOST_AT_ONCE: usize = 64;
/// Partitions that are read at the same time to verify a backup.
const VERIFIED_AT_ONCE: usize = 4;

impl Bucket {
    /// Says what a backup of these partitions into this bucket will do. They may be of this bucket or of any other. Writes
    /// nothing.
    ///
    /// The requests are a GET of the backup's document and, for each partition, those of
    /// [`refresh`](Partition::refresh), a GET of `log.json`, and those of [`plan_copy`](Partition::plan_copy).
    ///
    /// # Errors
    /// Conflict where a backup of this name is complete, or was begun of other partitions or with other options; invalid input
    /// for no partitions, or one twice; as [`plan_copy`](Partition::plan_copy).
    pub async fn plan_backup(
        &self,
        name: &BackupName,
        partitions: &[Partition],
        options: &BackupOptions,
    ) -> Result<BackupPlan> {
        let (bucket, name, partitions, options) = (self.clone(), name.clone(), partitions.to_vec(), options.clone());
        self.runtime().ask(async move { create::plan(&bucket, &name, &partitions, &options).await }).await
    }

    /// Makes a backup by its plan, as of the high watermarks when it was begun. One that was interrupted goes on; no segment
    /// is copied twice.
    ///
    /// Each partition is copied as by [`Partition::copy`]; then all of the copy is read back, and the document says what was
    /// read. So each byte is read once from its bucket, and once from the backup's.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// As [`plan_backup`](Self::plan_backup) and [`Partition::copy`]. What was copied stays.
    pub async fn back_up(&self, plan: &BackupPlan) -> Result<Backup> {
        self.back_up_with(plan, |_| ()).await
    }

    /// As [`back_up`](Self::back_up), and tells how far it has come. `told` must not block.
    ///
    /// # Errors
    /// As [`back_up`](Self::back_up).
    pub async fn back_up_with(
        &self,
        plan: &BackupPlan,
        told: impl Fn(BackupProgress) + Send + Sync + 'static,
    ) -> Result<Backup> {
        let (bucket, plan) = (self.clone(), plan.clone());
        self.runtime().run(async move { create::carry_out(&bucket, &plan, Arc::new(told)).await }).await
    }

    /// The backups in this bucket, by name, those that are not complete too: a LIST for each 1,000, and a GET of each document.
    ///
    /// # Errors
    /// Corrupt for a document that can't be read; what the store answers.
    pub async fn backups(&self) -> Result<Vec<Backup>> {
        let bucket = self.clone();
        self.runtime().ask(async move { find_all(&bucket).await }).await
    }

    /// The backup of this name: one GET.
    ///
    /// # Errors
    /// Not found; corrupt for a document that can't be read; what the store answers.
    pub async fn backup(&self, name: &BackupName) -> Result<Backup> {
        let (bucket, name) = (self.clone(), name.clone());
        let found = self.runtime().ask(async move {
            Backup::find(&bucket, &name).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("there is no backup called {name}"))
                    .with_hint("`kfs backup list` lists the backups")
                    .with_key(BackupDocument::key(&name))
            })
        });
        found.await
    }

    /// Says which backups go by these limits. Where a limit is an age, an object is put and deleted to ask the store for its
    /// time.
    ///
    /// # Errors
    /// Invalid input for no limit; as [`backups`](Self::backups).
    pub async fn plan_expire_backups(&self, retention: &BackupRetention) -> Result<ExpirePlan> {
        let (bucket, retention) = (self.clone(), retention.clone());
        self.runtime().run(async move { expire::plan(&bucket, &retention).await }).await
    }

    /// Removes the backups of the plan, the oldest first: a DELETE for each object. One whose removal was interrupted can't be
    /// restored any more, and goes with the next plan.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn expire_backups(&self, plan: &ExpirePlan) -> Result<()> {
        let (bucket, expired) = (self.clone(), plan.expired.clone());
        let work = async move {
            bucket.0.fork.check()?;
            for name in &expired {
                expire::remove(&bucket, name).await?;
            }
            Ok(())
        };
        self.runtime().run(work).await
    }
}

/// A backup, as its document says.
#[derive(Clone)]
pub struct Backup {
    bucket: Bucket,
    document: BackupDocument,
    /// When the store last modified the document.
    modified_ms: Option<i64>,
}

impl Backup {
    async fn find(bucket: &Bucket, name: &BackupName) -> Result<Option<Self>> {
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

    fn check_complete(&self) -> Result<()> {
        let why = match self.stage() {
            BackupStage::Complete => return Ok(()),
            BackupStage::Begun => "is not complete",
            BackupStage::Expiring => "is being removed",
        };
        let error = Error::new(ErrorKind::Conflict, format!("the backup {} {why}", self.name()));
        Err(error.with_hint("take another one, or complete it first").with_key(BackupDocument::key(self.name())))
    }

    /// Compares the backup with its document, and answers what is wrong; nothing if it is sound. By listing alone: whether all
    /// segments and their indexes are there, and their sizes. With `deep` all segments are read, and every CRC and count is
    /// compared, too.
    ///
    /// # Errors
    /// Conflict for a backup that is not complete; what the store answers. What is missing or broken is an answer.
    pub async fn verify(&self, deep: bool) -> Result<Vec<BackupFault>> {
        self.verify_with(deep, |_| ()).await
    }

    /// As [`verify`](Self::verify), and tells how many bytes were read so far. `told` must not block.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_with(
        &self,
        deep: bool,
        told: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Vec<BackupFault>> {
        self.check_complete()?;
        let backup = self.clone();
        let work = async move {
            let read = AtomicU64::new(0);
            let tell = |bytes: u64| told(read.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
            let checks = stream::iter(backup.document.partitions.clone()).map(|backed| {
                let (backup, tell) = (&backup, &tell);
                async move { backup.check_partition(&backed, deep, tell).await }
            });
            let found: Vec<_> = checks.buffered(VERIFIED_AT_ONCE).try_collect().await?;
            Ok(found.into_iter().flatten().collect())
        };
        self.bucket.runtime().ask(work).await
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("name", self.name()).field("stage", &self.stage()).finish_non_exhaustive()
    }
}

async fn find_all(bucket: &Bucket) -> Result<Vec<Backup>> {
    let mut backups = Vec::new();
    for name in Objects::in_bucket(&bucket.0).dirs(&format!("{BACKUPS}/")).await? {
        // A bucket may hold foreign objects, too.
        let Ok(name) = BackupName::new(&name) else { continue };
        backups.extend(Backup::find(bucket, &name).await?);
    }
    Ok(backups)
}
