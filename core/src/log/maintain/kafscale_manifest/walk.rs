//! Going through a partition: which segments the manifest names.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::facts::{Fact, FactReader, FactSource, SegmentFacts};
use super::previous::PreviousManifest;
use crate::error::{Error, Result};
use crate::format::KafscaleEntry;
use crate::log::maintain::listing::{PartitionListing, SegmentBeside};
use crate::log::state::PartitionState;

/// Segments of a partition that are looked at at the same time.
const AT_ONCE: usize = 16;

/// What a partition adds to a manifest.
#[derive(Debug, Default)]
pub(super) struct PartitionEntries {
    pub(super) entries: Vec<KafscaleEntry>,
    /// How many of these are as they were in the manifest that is there.
    pub(super) kept: u64,
    /// Segments that lie wholly inside another one: merging left them.
    pub(super) leftovers: u64,
    /// Segments that lie wholly below the log start.
    pub(super) below: u64,
    pub(super) unindexed: u64,
    /// Segments that can't be read.
    pub(super) broken: Vec<Error>,
    /// One past the greatest offset of the entries.
    covered: i64,
}

/// Looks at all segments of a partition. `None` where there is no such partition. Nothing below the greater of its log start
/// mark and `log_start` is named.
pub(super) async fn entries_of(
    state: Arc<PartitionState>,
    log_start: i64,
    facts: Arc<FactReader>,
) -> Result<Option<PartitionEntries>> {
    let state = &state;
    let (mut listing, mut found) = (PartitionListing::of(state), PartitionEntries::default());
    while let Some(mut page) = listing.next(state).await? {
        let log_start = listing.mark.unwrap_or(0).max(log_start);
        let listed = page.len();
        page.retain(|segment| segment.has_index);
        found.unindexed = found.unindexed.saturating_add(listed.saturating_sub(page.len()) as u64);
        // A merged segment is younger than what it replaced, which follows it. Where it ends must be known before those are
        // looked at: then 16 bytes of each will do.
        for group in page.chunk_by(|one, next| one.object.modified_ms <= next.object.modified_ms) {
            let covered = found.covered;
            let looks = group.iter().map(|segment| facts.of(state, segment, covered)).collect::<Vec<_>>();
            let mut looks = std::pin::pin!(stream::iter(looks).buffered(AT_ONCE));
            for segment in group {
                let Some(fact) = looks.next().await else { break };
                found.take(state, segment, fact?, log_start);
            }
        }
    }
    Ok(listing.exists.then_some(found))
}

impl PartitionEntries {
    fn take(&mut self, state: &PartitionState, segment: &SegmentBeside, fact: Fact, log_start: i64) {
        let SegmentFacts { size, modified_ms, end, times, source } = match fact {
            Fact::Known(facts) => facts,
            Fact::Inside => return self.leftovers = self.leftovers.saturating_add(1),
            Fact::Broken(error) => return self.broken.push(error),
            Fact::Gone => return,
        };
        if end <= self.covered {
            self.leftovers = self.leftovers.saturating_add(1);
            return;
        }
        self.covered = end;
        if end <= log_start {
            self.below = self.below.saturating_add(1);
            return;
        }
        let last = end.saturating_sub(1);
        let mut entry = KafscaleEntry::new(state.id.clone(), segment.base, last, size, modified_ms);
        entry.times = times;
        self.kept = self.kept.saturating_add(u64::from(source == FactSource::Previous));
        self.entries.push(entry);
    }
}

/// What keys tell of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartitionCount {
    pub(super) segments: u64,
    /// Those of which the manifest says what there is to say already.
    pub(super) known: u64,
    /// Bytes of the others.
    pub(super) new_bytes: u64,
}

/// Counts the segments of a partition that have an index. `None` where there is no such partition.
pub(super) async fn count(
    state: Arc<PartitionState>,
    previous: Arc<PreviousManifest>,
) -> Result<Option<PartitionCount>> {
    let (mut listing, mut count) = (PartitionListing::of(&state), PartitionCount::default());
    while let Some(page) = listing.next(&state).await? {
        for segment in page.iter().filter(|segment| segment.has_index) {
            count.segments = count.segments.saturating_add(1);
            match previous.of(&state.id, segment) {
                Some(_) => count.known = count.known.saturating_add(1),
                None => count.new_bytes = count.new_bytes.saturating_add(segment.object.size),
            }
        }
    }
    Ok(listing.exists.then_some(count))
}
