//! Reading the segments of a log that is copied, one after another.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};

use crate::error::{ErrorKind, Result};
use crate::format::{CrcCheck, DEFAULT_INDEX_INTERVAL, Segment, SparseIndex};
use crate::log::segment_info::SegmentInfo;
use crate::log::state::PartitionState;
use crate::store::ReadRange;

/// Bytes of segments that are read at a time.
const READ_AT_ONCE: u64 = 32 << 20;
/// The most segments that are read at a time.
const MOST_AT_ONCE: u64 = 16;

/// A segment of the source, checked; `None` where it is no longer the version that was listed.
pub(in crate::log::maintain) type SourceSegment = (SegmentInfo, Option<Segment>);

/// Reads segments that were listed, some at a time, in their order.
pub(in crate::log::maintain) fn read_listed(
    source: Arc<PartitionState>,
    listed: Vec<SegmentInfo>,
) -> impl Stream<Item = Result<SourceSegment>> {
    let largest = listed.iter().map(|segment| segment.size).max().unwrap_or(0).max(1);
    let width = usize::try_from((READ_AT_ONCE / largest).clamp(1, MOST_AT_ONCE)).unwrap_or(1);
    stream::iter(listed)
        .map(move |info| {
            let source = source.clone();
            async move {
                let segment = read_segment(&source, &info).await?;
                Ok((info, segment))
            }
        })
        .buffered(width)
}

async fn read_segment(source: &PartitionState, info: &SegmentInfo) -> Result<Option<Segment>> {
    match source.get(&info.key, ReadRange::Whole, Some(&info.version)).await {
        Ok(found) => Segment::parse_at(info.base, &found.bytes, CrcCheck::Verify)
            .map(Some)
            .map_err(|malformed| malformed.into_error(&info.key)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The messages between two entries of a segment's index.
pub(super) async fn index_interval(source: &PartitionState, info: &SegmentInfo) -> Result<i32> {
    let key = source.id.index_key(info.base);
    match source.get(&key, ReadRange::AtMost(SparseIndex::max_len(info.size)), None).await {
        Ok(found) => {
            let interval = SparseIndex::parse(&found.bytes).map(|index| index.interval()).ok();
            Ok(interval.filter(|interval| *interval > 0).unwrap_or(DEFAULT_INDEX_INTERVAL))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(DEFAULT_INDEX_INTERVAL),
        Err(error) => Err(error),
    }
}
