//! Removing backups that are no longer wanted.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::super::entries::PAGE_KEYS;
use super::super::requests::Objects;
use super::super::store_time::StoreTime;
use super::document::{BackupDocument, BackupStage};
use super::handle::{Backup, find_all};
use crate::error::{Error, ErrorKind, Result};
use crate::format::BackupName;
use crate::log::bucket::Bucket;
use crate::setters::setters;
use crate::text::counted;

/// Which backups to keep. One that any limit keeps stays. Start from `BackupRetention::default()`, which keeps all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupRetention {
    /// Keep so many complete backups, the youngest. One that was only begun does not count.
    pub keep: Option<usize>,
    /// Keep backups that are younger than this, by the store's clock: since they were completed, or begun.
    pub younger_than: Option<Duration>,
}

impl BackupRetention {
    setters! { keep: some usize, younger_than: some Duration }
}

/// What [`Bucket::expire_backups`](crate::Bucket::expire_backups) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExpirePlan {
    /// The backups to remove, the oldest first.
    pub expired: Vec<BackupName>,
    /// Those that stay, the oldest first.
    pub kept: Vec<BackupName>,
    /// Bytes of the segments that go.
    pub bytes: u64,
}

impl fmt::Display for ExpirePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExpirePlan { expired, kept, bytes } = self;
        let are = if expired.len() == 1 { "is" } else { "are" };
        write!(f, "{} with {bytes} bytes {are} removed", counted(expired.len(), "backup"))?;
        for (at, name) in expired.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { ": " } else { ", " })?;
        }
        let stay = if kept.len() == 1 { "stays" } else { "stay" };
        write!(f, "; {} {stay}", counted(kept.len(), "backup"))
    }
}

pub(super) async fn plan(bucket: &Bucket, retention: &BackupRetention) -> Result<ExpirePlan> {
    let BackupRetention { keep, younger_than } = retention;
    if keep.is_none() && younger_than.is_none() {
        let error = Error::new(ErrorKind::InvalidInput, "nothing says which backups to keep");
        return Err(error.with_hint("set keep, younger_than or both"));
    }
    let mut backups = find_all(bucket).await?;
    backups.sort_by_key(|backup| Reverse(backup.modified_ms));
    let now_ms = match younger_than {
        Some(_) if !backups.is_empty() => {
            bucket.0.allow_writing(&bucket.0.retries).await?;
            let time = StoreTime::ask_of(&bucket.0, &bucket.0.retries).await?;
            time.now_ms(bucket.runtime().clock().elapsed())
        }
        _ => 0,
    };
    let mut plan = ExpirePlan { expired: Vec::new(), kept: Vec::new(), bytes: 0 };
    let mut complete = 0_usize;
    for backup in backups {
        let age = now_ms.saturating_sub(backup.modified_ms.unwrap_or(i64::MAX));
        let is_young = younger_than.is_some_and(|limit| age < i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        complete = complete.saturating_add(usize::from(backup.stage() == BackupStage::Complete));
        let among_the_last = match backup.stage() {
            BackupStage::Complete => keep.is_some_and(|keep| complete <= keep),
            // One that is being made is not removed by a limit that counts complete ones alone.
            BackupStage::Begun => younger_than.is_none(),
            BackupStage::Expiring => false,
        };
        let stays = backup.stage() != BackupStage::Expiring && (is_young || among_the_last);
        if stays {
            plan.kept.push(backup.document.name.clone());
        } else {
            plan.bytes = plan.bytes.saturating_add(backup.bytes());
            plan.expired.push(backup.document.name.clone());
        }
    }
    plan.expired.reverse();
    plan.kept.reverse();
    Ok(plan)
}

/// Removes a backup: first it says that it is no longer whole, and last it is forgotten.
pub(super) async fn remove(bucket: &Bucket, name: &BackupName) -> Result<()> {
    let Some(backup) = Backup::find(bucket, name).await? else { return Ok(()) };
    let (objects, key) = (Objects::in_bucket(&bucket.0), BackupDocument::key(name));
    bucket.0.allow_writing(&bucket.0.retries).await?;
    if backup.stage() != BackupStage::Expiring {
        let document = BackupDocument { stage: BackupStage::Expiring, ..backup.document };
        objects.put("removing a backup", &key, document.encode()).await?;
    }
    for prefix in [format!(".kfs-jobs/copy/{}", name.prefix()), name.prefix()] {
        let mut after = None::<String>;
        loop {
            let page = objects.page(&prefix, after.as_deref(), PAGE_KEYS).await?;
            for object in page.objects {
                if object.key != key {
                    objects.remove("removing a backup", &object.key).await?;
                }
                after = Some(object.key);
            }
            if page.complete {
                break;
            }
        }
    }
    objects.remove("removing a backup", &key).await
}
