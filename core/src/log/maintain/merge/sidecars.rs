//! The index and the time index of a segment that was merged.

use std::sync::Arc;

use bytes::Bytes;

use super::super::requests::{put, remove};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, Limits, MAX_SEGMENT_LEN, Segment, SparseIndex, TIME_INDEX_LEN, TimeIndex};
use crate::log::retry::patiently;
use crate::log::state::PartitionState;
use crate::store::{ReadRange, Version};

const WRITING: &str = "writing the index of a merged segment";
/// How often they are made again because the segment changed meanwhile.
const TRIES: usize = 8;

/// What stands beside a segment.
pub(super) struct Sidecars {
    pub(super) index: Bytes,
    /// `None` where it is not wanted or can't be made: then none may stay, for it would be another segment's.
    pub(super) times: Option<TimeIndex>,
}

impl Sidecars {
    /// Those of a segment, with an index of this interval.
    fn of(segment: &Segment, interval: i32, with_times: bool) -> Self {
        let times = segment.time_range(&Limits::default()).ok().flatten().filter(|_| with_times);
        Sidecars { index: segment.index(interval).encode(), times }
    }
}

/// Writes what belongs beside a segment of this version. If the segment turns out to be another version then, they are made
/// again from what is there.
pub(super) async fn write_beside(
    state: &Arc<PartitionState>,
    base: i64,
    sidecars: &Sidecars,
    version: &Version,
) -> Result<()> {
    let (runtime, key) = (state.runtime(), state.id.segment_key(base));
    put_both(state, base, sidecars).await?;
    let interval = SparseIndex::parse(&sidecars.index).map_or(crate::format::DEFAULT_INDEX_INTERVAL, |i| i.interval());
    let mut version = version.clone();
    for _ in 0..TRIES {
        let head = patiently(&state.retries, runtime, "looking at a merged segment", || state.store().head(&key)).await;
        match head {
            Ok(head) if head.info.version.same_as(&version) => return Ok(()),
            // Retention removed it, and removes what is beside it.
            Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let found = match state.get(&key, ReadRange::AtMost(MAX_SEGMENT_LEN), None).await {
            Ok(found) => found,
            Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let segment = Segment::parse_at(base, &found.bytes, CrcCheck::Verify).map_err(|e| e.into_error(&key))?;
        put_both(state, base, &Sidecars::of(&segment, interval, sidecars.times.is_some())).await?;
        version = found.info.version;
    }
    let message = format!("the segment changed {TRIES} times while its index was written");
    Err(Error::new(ErrorKind::Unavailable, message)
        .with_key(key)
        .with_hint("do several programs merge this partition?"))
}

/// Makes the indexes of a merged segment right whose merge was interrupted. An error says why the segment can't be read.
pub(super) async fn finish(state: &Arc<PartitionState>, base: i64) -> Result<Option<Error>> {
    let key = state.id.segment_key(base);
    let found = match state.get(&key, ReadRange::AtMost(MAX_SEGMENT_LEN), None).await {
        Ok(found) => found,
        // Retention removed it.
        Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Some(error)),
        Err(error) => return Err(error),
    };
    match Segment::parse_at(base, &found.bytes, CrcCheck::Verify) {
        Ok(segment) => mend_beside(state, &segment, &found.info.version).await.map(|()| None),
        Err(malformed) => Ok(Some(malformed.into_error(&key))),
    }
}

/// Makes the index of a segment that was read right, and the time index if there is one.
pub(super) async fn mend_beside(state: &Arc<PartitionState>, segment: &Segment, version: &Version) -> Result<()> {
    let base = segment.base_offset();
    let size = segment.bytes().len() as u64;
    let index = read(state, &state.id.index_key(base), SparseIndex::max_len(size)).await?;
    let times = read(state, &state.id.time_index_key(base), TIME_INDEX_LEN as u64).await?;
    let found = index.as_ref().and_then(|bytes| SparseIndex::parse(bytes).ok()).map(|index| index.interval());
    let interval = found.filter(|interval| *interval > 0).unwrap_or(crate::format::DEFAULT_INDEX_INTERVAL);
    let right = Sidecars::of(segment, interval, times.is_some());
    let is_right =
        index.as_ref() == Some(&right.index) && times.as_ref() == right.times.as_ref().map(TimeIndex::encode).as_ref();
    match is_right {
        true => Ok(()),
        false => write_beside(state, base, &right, version).await,
    }
}

/// A sidecar, if it is there. One that is too large is wrong, whatever is in it.
async fn read(state: &PartitionState, key: &str, most: u64) -> Result<Option<Bytes>> {
    match state.get(key, ReadRange::AtMost(most), None).await {
        Ok(found) => Ok(Some(found.bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Some(Bytes::new())),
        Err(error) => Err(error),
    }
}

/// The index comes last. If it is younger than the segment, all is right.
async fn put_both(state: &Arc<PartitionState>, base: i64, sidecars: &Sidecars) -> Result<()> {
    let key = state.id.time_index_key(base);
    match &sidecars.times {
        Some(times) => put(state, WRITING, &key, times.encode()).await?,
        None => remove(state, "removing a time index", &key).await?,
    }
    put(state, WRITING, &state.id.index_key(base), sidecars.index.clone()).await
}
