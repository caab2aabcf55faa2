//! Reading a run of small segments and putting their batches into one.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};

use super::super::entries::ListedSegment;
use super::policy::MergePolicy;
use super::steps::SmallRun;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, Limits, Segment, SegmentBuilder};
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::store::{ReadRange, Version};

/// Bytes of segments that are read at a time.
const READ_AT_ONCE: u64 = 32 << 20;
/// The most segments that are read at a time.
const MOST_AT_ONCE: u64 = 16;

/// A segment as it was read.
pub(super) enum Read {
    Whole(Segment, Version),
    /// It is another version than the listing showed, or gone.
    Changed,
    /// Its bytes are broken, and stay as they are.
    Broken(Error),
}

/// Reads the segments of a run, some at a time, in their order.
pub(super) fn read<'r>(
    state: &'r Arc<PartitionState>,
    run: &'r SmallRun,
) -> impl Stream<Item = Result<Read>> + use<'r> {
    let largest = run.segments.iter().map(|segment| segment.object.size).max().unwrap_or(0).max(1);
    let width = (READ_AT_ONCE / largest).clamp(1, MOST_AT_ONCE);
    let reads = run.segments.iter().map(|segment| read_segment(state, segment));
    stream::iter(reads).buffered(usize::try_from(width).unwrap_or(1))
}

async fn read_segment(state: &PartitionState, listed: &ListedSegment) -> Result<Read> {
    let (key, version) = (&listed.object.key, &listed.object.version);
    match state.get(key, ReadRange::Whole, Some(version)).await {
        Ok(found) => Ok(match Segment::parse_at(listed.base, &found.bytes, CrcCheck::Verify) {
            Ok(segment) => Read::Whole(segment, found.info.version),
            Err(malformed) => Read::Broken(malformed.into_error(key)),
        }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(Read::Changed),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Read::Broken(error)),
        Err(error) => Err(error),
    }
}

/// The batches of neighbours, in the segment that is to take the place of the first of them.
pub(super) struct RunBuilder {
    pub(super) base: i64,
    /// The first segment as it was read.
    pub(super) replaces: Version,
    /// When it was listed.
    pub(super) seen: Seen,
    pub(super) segments: u64,
    pub(super) builder: SegmentBuilder,
    target_size: u64,
}

impl RunBuilder {
    /// Begins with this segment. `None` where its batches overlap, as KafScale's broker may leave them: they can't be kept as
    /// they are.
    pub(super) fn begin(
        policy: &MergePolicy,
        (segment, replaces, seen): (&Segment, Version, Seen),
    ) -> Result<Option<Self>> {
        if !segment.overlaps().is_empty() {
            return Ok(None);
        }
        let header = segment.header();
        let mut builder = SegmentBuilder::new(header.base_offset, header.created_ms, policy.index_interval)?;
        if policy.time_index {
            builder = builder.with_time_index(Limits::default());
        }
        let (base, target_size) = (header.base_offset, policy.target_size);
        let mut gathering = RunBuilder { base, replaces, seen, segments: 0, builder, target_size };
        gathering.push(segment)?;
        Ok(Some(gathering))
    }

    /// Adds a segment that follows without a hole and fits. Otherwise nothing is added.
    pub(super) fn take(&mut self, segment: &Segment) -> Result<bool> {
        let follows = segment.base_offset() == self.builder.next_offset();
        let frame = (crate::format::HEADER_LEN + crate::format::FOOTER_LEN) as u64;
        let batches = (segment.bytes().len() as u64).saturating_sub(frame);
        let fits = self.builder.size().saturating_add(batches) <= self.target_size
            && self.builder.message_count().checked_add(segment.header().message_count).is_some();
        if !follows || !fits || !segment.overlaps().is_empty() {
            return Ok(false);
        }
        self.push(segment)?;
        Ok(true)
    }

    fn push(&mut self, segment: &Segment) -> Result<()> {
        for at in segment.batches() {
            self.builder.push_at_own_offset(&at.batch)?;
        }
        self.segments = self.segments.saturating_add(1);
        Ok(())
    }
}
