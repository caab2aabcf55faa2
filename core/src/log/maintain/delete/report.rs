//! What deleting a partition will do, and what it did.

use std::fmt;
use std::time::Duration;

use crate::format::PartitionId;
use crate::text::counted;

/// What [`Partition::delete`](crate::Partition::delete) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeletePlan {
    /// The partition.
    pub partition: PartitionId,
    /// Where the log starts now. `None` where that can't be read.
    pub log_start: Option<i64>,
    /// One past the last durable offset. `None` where that can't be read.
    pub high_watermark: Option<i64>,
    /// Segments to remove.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// An earlier call began it.
    pub was_begun: bool,
    /// Claim nothing and wait for nobody. For a partition to which no writer appends and which no other maintenance touches:
    /// else a writer may lose what it appends meanwhile, and a maintainer that slept may delete a segment of a log that is made
    /// again under this name.
    pub now: bool,
}

impl fmt::Display for DeletePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeletePlan { partition, log_start, high_watermark, segments, bytes, was_begun, now } = self;
        let are = if *segments == 1 { "is" } else { "are" };
        write!(f, "{partition}: the log is deleted")?;
        if let (Some(start), Some(end)) = (log_start, high_watermark) {
            write!(f, ", offsets {start} to {end}")?;
        }
        write!(f, "; {} with {bytes} bytes {are} removed", counted(*segments, "segment"))?;
        if *was_begun {
            f.write_str("; an earlier call began it")?;
        }
        match now {
            true => f.write_str("; nothing else may use the partition, because nothing is waited for"),
            false => Ok(()),
        }
    }
}

/// What [`Partition::delete`](crate::Partition::delete) did. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeleteReport {
    /// The partition.
    pub partition: PartitionId,
    /// Segments that were removed.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// Objects under the partition's prefix that are no part of a log. They stay. Counted when the deletion ends.
    pub foreign: u64,
    /// After so long a later call can go on. `None` when nothing is left of the log.
    pub wait: Option<Duration>,
}

impl fmt::Display for DeleteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeleteReport { partition, segments, bytes, foreign, wait } = self;
        let were = if *segments == 1 { "was" } else { "were" };
        write!(f, "{partition}: {} with {bytes} bytes {were} removed", counted(*segments, "segment"))?;
        match wait {
            None => f.write_str(", and the log is deleted")?,
            Some(wait) => {
                let (minutes, seconds) = (wait.as_secs() / 60, wait.as_secs() % 60);
                write!(f, "; nothing is read any more, and the rest may go in {minutes} min {seconds} s")?;
            }
        }
        match foreign {
            0 => Ok(()),
            1 => f.write_str("; 1 object that is no part of a log stays"),
            _ => write!(f, "; {foreign} objects that are no part of a log stay"),
        }
    }
}
