//! What a manifest says of one segment, and where that comes from.

use super::previous::PreviousManifest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{FOOTER_LEN, Limits, SegmentFooter, TIME_INDEX_LEN, TimeIndex};
use crate::log::maintain::listing::SegmentBeside;
use crate::log::reader::{SegmentTimes, times_of_records};
use crate::log::scan_budget::ScanBudget;
use crate::log::state::PartitionState;
use crate::store::{ObjectInfo, ReadRange};

/// Bytes of segments that are held at the same time.
const MEMORY: usize = 64 << 20;
/// How often a segment is read again that is replaced meanwhile.
const TRIES: usize = 8;

/// Where facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FactSource {
    /// The manifest that is there.
    Previous,
    /// The time index.
    TimeIndex,
    /// The segment.
    Records,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentFacts {
    pub(super) size: u64,
    pub(super) modified_ms: i64,
    /// One past its last offset.
    pub(super) end: i64,
    pub(super) times: Option<(i64, i64)>,
    pub(super) source: FactSource,
}

/// What became of a segment that was listed.
pub(super) enum Fact {
    Known(SegmentFacts),
    /// It ends within the segment before it.
    Inside,
    /// Somebody removed it.
    Gone,
    /// It can't be read.
    Broken(Error),
}

/// Finds out about segments, with as few requests as they need.
pub(super) struct FactReader {
    previous: PreviousManifest,
    memory: ScanBudget,
}

impl FactReader {
    pub(super) fn new(previous: PreviousManifest) -> Self {
        FactReader { previous, memory: ScanBudget::new(MEMORY) }
    }

    /// What there is to know of a segment. `covered` is the end of what comes before it.
    pub(super) async fn of(&self, state: &PartitionState, segment: &SegmentBeside, covered: i64) -> Result<Fact> {
        match self.find(state, segment, covered).await {
            Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(Fact::Gone),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                Ok(Fact::Broken(error))
            }
            found => found,
        }
    }

    async fn find(&self, state: &PartitionState, segment: &SegmentBeside, covered: i64) -> Result<Fact> {
        let (size, modified_ms) = (segment.object.size, segment.object.modified_ms);
        let told = match self.previous.of(&state.id, segment) {
            Some(known) => Some((known.end, known.times, FactSource::Previous)),
            None if segment.base < covered => None,
            None => self.time_index(state, segment).await?,
        };
        // What does not end where the next one begins is not believed before the footer says so.
        let is_plain = |end: i64| segment.next == Some(end) || (segment.next.is_none() && is_of_previous(told));
        if let Some((end, times, source)) = told.filter(|(end, ..)| is_plain(*end)) {
            return Ok(Fact::Known(SegmentFacts { size, modified_ms, end, times, source }));
        }
        if told.is_some() || segment.base < covered {
            let end = end_of(state, segment).await?;
            if let Some((_, times, source)) = told.filter(|(told, ..)| Some(*told) == end) {
                let end = end.unwrap_or(segment.base);
                return Ok(Fact::Known(SegmentFacts { size, modified_ms, end, times, source }));
            }
            if end.is_some_and(|end| end <= covered) {
                return Ok(Fact::Inside);
            }
        }
        let SegmentTimes { info, end, times } = self.records(state, segment).await?;
        let (size, modified_ms) = (info.size, info.modified_ms);
        Ok(Fact::Known(SegmentFacts { size, modified_ms, end, times, source: FactSource::Records }))
    }

    /// What the time index says. One that is older than the segment was made for what was there before it.
    async fn time_index(&self, state: &PartitionState, segment: &SegmentBeside) -> Result<ToldFacts> {
        if segment.times_ms.is_none_or(|ms| ms < segment.object.modified_ms) {
            return Ok(None);
        }
        let (key, most) = (state.id.time_index_key(segment.base), ReadRange::AtMost(TIME_INDEX_LEN as u64));
        let bytes = match state.get_through(state.store_of(segment.base), &key, most, None).await {
            Ok(found) => found.bytes,
            Err(none) if matches!(none.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(None),
            Err(error) => return Err(error),
        };
        let index = TimeIndex::parse(&bytes).ok().filter(|index| index.min_offset >= segment.base);
        let told = index.and_then(|index| Some((index.max_offset.checked_add(1)?, (index.min_ts, index.max_ts))));
        Ok(told.map(|(end, times)| (end, Some(times), FactSource::TimeIndex)))
    }

    /// Reads all of the segment, as it is now.
    async fn records(&self, state: &PartitionState, segment: &SegmentBeside) -> Result<SegmentTimes> {
        let (key, mut object) = (&segment.object.key, segment.object.clone());
        for _ in 0..TRIES {
            let permit = self.memory.acquire(usize::try_from(object.size).unwrap_or(usize::MAX)).await;
            let read = times_of_records(state, segment.base, &object.version, &Limits::default()).await;
            drop(permit);
            match read {
                Err(changed) if changed.kind() == ErrorKind::Conflict => {
                    object = state.get(key, ReadRange::Suffix(FOOTER_LEN as u64), None).await?.info;
                }
                read => return read,
            }
        }
        let message = format!("the segment changed during each of {TRIES} reads");
        Err(Error::new(ErrorKind::Unavailable, message)
            .with_key(key)
            .with_hint("do several programs merge this partition?"))
    }
}

/// Where a segment ends and its times, with where that comes from; `None` where nothing says so.
type ToldFacts = Option<(i64, Option<(i64, i64)>, FactSource)>;

fn is_of_previous(told: ToldFacts) -> bool {
    told.is_some_and(|(.., source)| source == FactSource::Previous)
}

/// Where a segment ends, by its footer. `None` where it changed since it was listed, or the footer can't be read.
async fn end_of(state: &PartitionState, segment: &SegmentBeside) -> Result<Option<i64>> {
    let (key, ObjectInfo { version, .. }) = (&segment.object.key, &segment.object);
    match state.get_through(state.store_of(segment.base), key, ReadRange::Suffix(FOOTER_LEN as u64), None).await {
        Ok(found) if found.info.version.same_as(version) => {
            Ok(SegmentFooter::parse(&found.bytes).ok().map(|footer| footer.last_offset.saturating_add(1)))
        }
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    }
}
