//! What a merge will do, and what it did.

use std::fmt;
use std::time::Duration;

use super::policy::MergePolicy;
use crate::error::Error;
use crate::format::PartitionId;
use crate::log::state::PartitionState;
use crate::text::counted;

/// The most errors that a report keeps.
const MOST_ERRORS: usize = 100;

/// What [`Partition::merge`](crate::Partition::merge) will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MergePlan {
    /// The partition.
    pub partition: PartitionId,
    /// How it merges.
    pub policy: MergePolicy,
    /// Small segments that are merged, as far as their keys tell.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// How many segments they become.
    pub merged: u64,
    /// Small neighbours that wait, because they are too little together.
    pub waiting: u64,
    /// Merged segments whose indexes are made right, because the merge was interrupted.
    pub unfinished: u64,
    /// Segments that earlier merges left and whose grace is over. They are removed.
    pub leftovers: u64,
    /// Their bytes, without those of their indexes.
    pub leftover_bytes: u64,
    /// Segments that earlier merges left and whose grace is not over.
    pub in_grace: u64,
    /// When the first of these may be removed. `None` where there are none.
    pub next_due: Option<Duration>,
}

impl MergePlan {
    pub(super) fn of(state: &PartitionState, policy: MergePolicy) -> Self {
        MergePlan {
            partition: state.id.clone(),
            policy,
            segments: 0,
            bytes: 0,
            merged: 0,
            waiting: 0,
            unfinished: 0,
            leftovers: 0,
            leftover_bytes: 0,
            in_grace: 0,
            next_due: None,
        }
    }

    /// Whether there is nothing to merge and nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.segments == 0 && self.leftovers == 0 && self.unfinished == 0
    }
}

impl fmt::Display for MergePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MergePlan { partition, segments, bytes, merged, waiting, leftovers, leftover_bytes, .. } = self;
        match segments {
            0 => write!(f, "{partition}: no segments are merged")?,
            _ => write!(f, "{partition}: {segments} segments with {bytes} bytes are merged into {merged}")?,
        }
        if *waiting > 0 {
            let wait = if *waiting == 1 { "waits" } else { "wait" };
            write!(f, "; {} {wait} for more to be merged with", counted(*waiting, "small segment"))?;
        }
        if self.unfinished > 0 {
            let merges = counted(self.unfinished, "merge");
            write!(f, "; the indexes of {merges} that ended early are written")?;
        }
        if *leftovers > 0 {
            let are = if *leftovers == 1 { "is" } else { "are" };
            let segments = counted(*leftovers, "segment");
            write!(f, "; {segments} with {leftover_bytes} bytes that earlier merges left {are} removed")?;
        }
        write_grace(f, self.in_grace, self.next_due)
    }
}

/// What [`Partition::merge`](crate::Partition::merge) did. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MergeReport {
    /// The partition.
    pub partition: PartitionId,
    /// Segments that were read to be merged.
    pub read: u64,
    /// Segments that were merged. They stay for the grace.
    pub segments: u64,
    /// Bytes of the segments that they became.
    pub bytes: u64,
    /// How many segments they became.
    pub merged: u64,
    /// Small neighbours that wait, because they are too little together.
    pub waiting: u64,
    /// How often the call left segments to a later one, because another program changed them, or because it took too long to
    /// read them.
    pub put_off: u64,
    /// Segments that earlier merges had left and that were removed.
    pub leftovers: u64,
    /// Their bytes, without those of their indexes.
    pub leftover_bytes: u64,
    /// Segments that merges left and whose grace is not over, those of this call too.
    pub in_grace: u64,
    /// When the first of these may be removed. `None` where there are none.
    pub next_due: Option<Duration>,
    /// Segments that can't be read and stay as they are, at most 100. `kfs verify` says more.
    pub broken: Vec<Error>,
}

impl fmt::Display for MergeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MergeReport { partition, segments, bytes, merged, waiting, leftovers, leftover_bytes, .. } = self;
        match segments {
            0 => write!(f, "{partition}: no segments were merged")?,
            _ => write!(f, "{partition}: {segments} segments were merged into {merged} with {bytes} bytes")?,
        }
        if *waiting > 0 {
            let wait = if *waiting == 1 { "waits" } else { "wait" };
            write!(f, "; {} {wait} for more to be merged with", counted(*waiting, "small segment"))?;
        }
        if self.put_off > 0 {
            f.write_str("; segments that changed, or took long to read, are left to a later call")?;
        }
        if *leftovers > 0 {
            let were = if *leftovers == 1 { "was" } else { "were" };
            let segments = counted(*leftovers, "segment");
            write!(f, "; {segments} with {leftover_bytes} bytes that earlier merges left {were} removed")?;
        }
        write_grace(f, self.in_grace, self.next_due)?;
        if let Some(first) = self.broken.first() {
            let n = self.broken.len() as u64;
            write!(f, "; {} can't be read, the first: {first:#}", counted(n, "segment"))?;
        }
        Ok(())
    }
}

fn write_grace(f: &mut fmt::Formatter<'_>, in_grace: u64, next_due: Option<Duration>) -> fmt::Result {
    let Some(due) = next_due.filter(|_| in_grace > 0) else { return Ok(()) };
    let stay = if in_grace == 1 { "stays" } else { "stay" };
    let segments = counted(in_grace, "merged segment");
    let minutes = due.as_secs().div_ceil(60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    write!(f, "; {segments} {stay} in place for readers, and may be removed in {hours} h {minutes} min")
}

impl MergeReport {
    pub(super) fn of(state: &PartitionState) -> Self {
        MergeReport {
            partition: state.id.clone(),
            read: 0,
            segments: 0,
            bytes: 0,
            merged: 0,
            waiting: 0,
            put_off: 0,
            leftovers: 0,
            leftover_bytes: 0,
            in_grace: 0,
            next_due: None,
            broken: Vec::new(),
        }
    }

    pub(super) fn add_broken(&mut self, error: Option<Error>) {
        let Some(error) = error else { return };
        if self.broken.len() < MOST_ERRORS && self.broken.iter().all(|known| known.key() != error.key()) {
            self.broken.push(error);
        }
    }
}

/// Who is told what was done so far.
pub(super) type MergeWatcher<'a> = &'a (dyn Fn(&MergeReport) + Send + Sync);
