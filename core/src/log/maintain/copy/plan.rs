//! What a copy is to do, what it will do, and what it did.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{MAX_SEGMENT_LEN, PartitionId};
use crate::setters::setters;
use crate::text::counted;

/// What of a log is copied, and how. Start from `CopyOptions::default()`, which copies all of it segment by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The first offset that the copy serves. The default, `None`, is the log start of the source. The copy begins with the
    /// segment that holds it, and has a log start mark where that segment begins below it.
    pub from: Option<i64>,
    /// One past the last offset to copy. A batch that reaches beyond it is made anew without its later records
    /// ([`Batch::cut_before`](crate::format::Batch::cut_before)). The default, `None`, is the high watermark of the source: then a
    /// later call copies what was appended since.
    pub to: Option<i64>,
    /// Copy the log as it was before the first record of this time or later, in Unix milliseconds. The order is that of
    /// the offsets: a record with a lesser timestamp that comes after the first of the greater ones is not copied. Records
    /// are read where a batch's greatest timestamp is not before the time. The default, `None`, copies records of any time.
    pub before_time: Option<i64>,
    /// Make segments of about this size in bytes, at most 2^31-1. The default, `None`, keeps the segments of the source, byte
    /// by byte.
    pub segment_size: Option<u64>,
}

impl CopyOptions {
    setters! { from: some i64, to: some i64, before_time: some i64, segment_size: some u64 }

    pub(super) fn check(&self) -> Result<()> {
        let CopyOptions { from, to, segment_size, .. } = self;
        let message = match (from, to, segment_size) {
            (Some(..0), ..) => "a copy can't start below offset 0".to_owned(),
            (from, Some(to), _) if *to < from.unwrap_or(0) => format!("a copy can't end at {to}, before it starts"),
            (_, _, Some(size)) if !(1..=MAX_SEGMENT_LEN).contains(size) => {
                format!("the copy's segment_size is {size} bytes, 1 to {MAX_SEGMENT_LEN} are allowed")
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

impl fmt::Display for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |offset: &Option<i64>| offset.map_or_else(|| "the end".to_owned(), |offset| offset.to_string());
        match self.from {
            Some(from) => write!(f, "offsets from {from} to {}", end(&self.to))?,
            None => write!(f, "offsets from the log start to {}", end(&self.to))?,
        }
        if let Some(time) = self.before_time {
            write!(f, " before the time {time}")?;
        }
        match self.segment_size {
            Some(size) => write!(f, " in segments of {size} bytes"),
            None => f.write_str(" segment by segment"),
        }
    }
}

/// What [`Partition::copy`](crate::Partition::copy) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyPlan {
    /// The partition that is read.
    pub source: PartitionId,
    /// The partition that is written.
    pub target: PartitionId,
    /// What is copied, and how.
    pub options: CopyOptions,
    /// The first offset that the copy serves.
    pub from: i64,
    /// Where copying goes on: everything below is copied already.
    pub next: i64,
    /// One past the last offset to copy. With [`before_time`](CopyOptions::before_time) the copy may end earlier.
    pub to: i64,
    /// Segments of the source to read, as far as keys tell.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
}

impl fmt::Display for CopyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CopyPlan { source, target, from, next, to, segments, bytes, .. } = self;
        write!(f, "{source} into {target}: offsets {from} to {to} are copied")?;
        if let Some(time) = self.options.before_time {
            write!(f, ", up to the first record of the time {time} or later")?;
        }
        if next > from {
            write!(f, ", of which those below {next} are there already")?;
        }
        write!(f, "; {} with {bytes} bytes", counted(*segments, "segment"))
    }
}

/// What [`Partition::copy`](crate::Partition::copy) did. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyReport {
    /// The partition that was read.
    pub source: PartitionId,
    /// The partition that was written.
    pub target: PartitionId,
    /// Segments that were put by this call.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// One past the last offset that was copied, by this call or an earlier one.
    pub next: i64,
    /// Stretches of offsets that the source does not have, and so the copy has not either.
    pub holes: u64,
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CopyReport { source, target, segments, bytes, next, holes } = self;
        let were = if *segments == 1 { "was" } else { "were" };
        write!(f, "{source} into {target}: {} with {bytes} bytes {were} copied", counted(*segments, "segment"))?;
        write!(f, ", and the copy ends at {next}")?;
        match holes {
            0 => Ok(()),
            _ => write!(f, "; it has {}, as the source", counted(*holes, "hole")),
        }
    }
}

/// Who is told what was copied so far.
pub(super) type CopyWatcher<'a> = &'a (dyn Fn(&CopyReport) + Send + Sync);
