//! Whether a backup holds what its document says.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::document::BackedUpPartition;
use super::handle::{Backup, target_of};
use super::sums::Sums;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::log::partition::Partition;

/// Partitions that are read at the same time.
const VERIFIED_AT_ONCE: usize = 4;

/// What is wrong with a partition of a backup. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupFault {
    /// The partition that was backed up.
    pub partition: PartitionId,
    /// What is wrong.
    pub what: String,
    /// The error with which a look at it ended, if it did.
    pub error: Option<Error>,
}

impl fmt::Display for BackupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.partition, self.what)
    }
}

impl Backup {
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

    /// The faults of one of its partitions. `deep`: all segments are read.
    async fn check_partition(
        &self,
        backed: &BackedUpPartition,
        deep: bool,
        told: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<BackupFault>> {
        let target = target_of(&self.bucket, self.name(), &backed.partition)?;
        let mut faults = Faults { backed, found: Vec::new() };
        match look(&target, backed, deep, told, &mut faults).await {
            Ok(()) => {}
            Err(error) if is_of_the_backup(&error) => faults.add_error(error),
            Err(error) => return Err(error),
        }
        Ok(faults.found)
    }
}

/// Whether an error tells of the backup, and not of the store that holds it.
fn is_of_the_backup(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Conflict)
}

struct Faults<'a> {
    backed: &'a BackedUpPartition,
    found: Vec<BackupFault>,
}

impl Faults<'_> {
    fn add(&mut self, what: String) {
        self.found.push(BackupFault { partition: self.backed.partition.clone(), what, error: None });
    }

    fn add_error(&mut self, error: Error) {
        let partition = self.backed.partition.clone();
        self.found.push(BackupFault { partition, what: format!("{error:#}"), error: Some(error) });
    }

    fn compare<T: PartialEq + fmt::Display>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.add(format!("it has {found} {what}, and the document says {expected}"));
        }
    }
}

async fn look(
    target: &Partition,
    backed: &BackedUpPartition,
    deep: bool,
    told: &(dyn Fn(u64) + Send + Sync),
    faults: &mut Faults<'_>,
) -> Result<()> {
    let range = target.refresh().await?;
    if (range.log_start, range.high_watermark) != (backed.log_start, backed.end) {
        faults.add(format!(
            "it has the offsets {} to {}, and the document says {} to {}",
            range.log_start, range.high_watermark, backed.log_start, backed.end
        ));
    }
    let (mut pages, mut segments, mut bytes) = (target.segments(..), 0_u64, 0_u64);
    while let Some(page) = pages.next_page().await? {
        segments = segments.saturating_add(page.len() as u64);
        for info in page {
            bytes = bytes.saturating_add(info.size);
            if info.index_size.is_none() {
                faults.add(format!("{} has no index", info.key));
            }
        }
    }
    faults.compare("segments", segments, backed.segments);
    faults.compare("bytes", bytes, backed.bytes);
    if !deep {
        return Ok(());
    }
    let (found, expected) = (Sums::of(target.state(), told).await?, backed.sums());
    faults.compare("batches", found.batches, expected.batches);
    faults.compare("records", found.records, expected.records);
    if found.crc32c != expected.crc32c {
        let (found, expected) = (found.crc32c, expected.crc32c);
        faults.add(format!("the CRC-32C of its segments is {found:08x}, and the document says {expected:08x}"));
    }
    Ok(())
}
