//! Backups: copies of partitions with a name, and a document that says what is in them.
//!
//! A backup stands at `.kfs-backups/{name}/` in a bucket. `backup.json` is its document; a partition that was backed up stands
//! at `{namespace}/{topic}/{partition}/` below it, and is a log as any other.

mod check;
mod create;
mod document;
mod expire;
mod handle;
mod sums;

use std::sync::Arc;

pub use self::check::BackupFault;
pub use self::create::{BackupOptions, BackupPlan, BackupProgress};
pub use self::document::{BackedUpPartition, BackupStage};
pub use self::expire::{BackupRetention, ExpirePlan};
pub use self::handle::Backup;

use self::document::BackupDocument;
use self::handle::find_all;
use crate::error::{Error, ErrorKind, Result};
use crate::format::BackupName;
use crate::log::bucket::Bucket;
use crate::log::partition::Partition;

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
