//! Offsets by timestamp.

use std::sync::Arc;

use super::greatest::GreatestTimestamps;
use super::handle::Reader;
use super::job::{MAX_LOOKS, changes_too_fast};
use super::options::ReaderOptions;
use super::refresh::refresh;
use super::stamps::{self, TimedOffset};
use super::stream::BatchStream;
use crate::error::{Error, ErrorKind, Result};
use crate::format::MAX_DECOMPRESSED_BATCH;
use crate::log::catalog::{Lookup, SegmentRef};
use crate::log::locate::locate;
use crate::log::partition::Partition;
use crate::log::progress::Progress;
use crate::log::state::PartitionState;
use crate::mutant::mutant;

impl Partition {
    /// The first record with a timestamp at or after `timestamp_ms`; `None` if there is no such record. Control
    /// records count, as they do for Kafka.
    ///
    /// The segments are bisected by their greatest timestamps, from time indexes or else from the records:
    /// exact while these do not fall. A header's `max_timestamp`, which may be unset or wrong, is believed only
    /// of records that can't be decoded and of batches of more than 64 MiB. It takes at most 2 log2 of the number of segments in
    /// GETs, beyond [`refresh`](Self::refresh) and listing where it looks.
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh) and [`Reader::fetch`].
    pub async fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        self.reader().offset_for_timestamp(timestamp_ms).await
    }

    /// The record with the greatest timestamp: the first such in the newest segment that holds a record. It is the
    /// log's greatest as far as the segments' greatest timestamps do not fall; an older segment may hold a
    /// record as late. `None` if the log has no record.
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh) and [`Reader::fetch`].
    pub async fn max_timestamp(&self) -> Result<Option<TimedOffset>> {
        self.reader().max_timestamp().await
    }
}

impl Reader {
    /// Like [`Partition::offset_for_timestamp`], within this reader's [`limits`](ReaderOptions::limits).
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// As [`Partition::offset_for_timestamp`]; unsupported where a batch that may hold the record is beyond the
    /// limits.
    pub async fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        let reader = self.clone();
        let search = async move { searched(&reader, Sought::FirstAtOrAfter(timestamp_ms)).await };
        self.state().runtime().ask(search).await
    }

    /// Like [`Partition::max_timestamp`], within this reader's [`limits`](ReaderOptions::limits).
    ///
    /// Dropping the future ends the wait. What it asked of the store may still arrive within 30 s, and is then cached.
    ///
    /// # Errors
    /// As [`Partition::max_timestamp`]; unsupported where a batch that may hold the record is beyond the limits.
    pub async fn max_timestamp(&self) -> Result<Option<TimedOffset>> {
        let reader = self.clone();
        let search = async move { searched(&reader, Sought::Greatest).await };
        self.state().runtime().ask(search).await
    }
}

/// What a search is for.
#[derive(Clone, Copy)]
enum Sought {
    FirstAtOrAfter(i64),
    Greatest,
}

/// Searches, and begins again when retention or merging changed what the search had found of the log. Nobody asked for
/// the offsets that it comes to, so no caller could do anything with the error that one of them is out of range.
async fn searched(reader: &Reader, sought: Sought) -> Result<Option<TimedOffset>> {
    reader.state().check_has_segments()?;
    let mut looks = 0;
    loop {
        let mut search = Search::new(reader).await?;
        let found = match sought {
            Sought::FirstAtOrAfter(timestamp) => search.first_at_or_after(timestamp).await,
            Sought::Greatest => search.greatest().await,
        };
        match found {
            Err(error) if search.outdated || error.kind() == ErrorKind::OutOfRange => {
                looks += 1;
                if looks > MAX_LOOKS {
                    return Err(changes_too_fast(&search.state.id).with_source(error));
                }
            }
            answer => return answer,
        }
    }
}

/// The range of what stands before the newest segment: log start and end.
fn before_newest(state: &PartitionState) -> Option<(i64, i64)> {
    state.with_catalog(|catalog| {
        let log_start = catalog.start()?.log_start()?;
        catalog.newest().filter(|newest| *newest > log_start).map(|newest| (log_start, newest))
    })
}

struct Search {
    state: Arc<PartitionState>,
    reader: Reader,
    log_start: i64,
    end: i64,
    greatest: GreatestTimestamps,
    /// Why the newest segment is left out: its end can't be read.
    broken_end: Option<Error>,
    /// A segment that it had found is gone. What it has concluded so far may be wrong.
    outdated: bool,
}

impl Search {
    async fn new(asked: &Reader) -> Result<Self> {
        let state = asked.state().clone();
        let (watermarks, broken_end) = match refresh(&state).await {
            Ok(watermarks) => ((watermarks.log_start, watermarks.high_watermark), None),
            // What is sound before the newest segment is searched all the same.
            Err(error) if error.kind() == ErrorKind::Corrupt => match before_newest(&state) {
                Some(range) => (range, Some(error)),
                None => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let (log_start, end) = watermarks;
        Ok(Search {
            state,
            // A fetch of more goes on into segments that may not be needed.
            reader: asked
                .partition()
                .reader_with(ReaderOptions::default().fetch_bytes(1).limits(asked.options().limits)),
            log_start,
            end,
            greatest: GreatestTimestamps::new(asked.options().limits),
            broken_end,
            outdated: false,
        })
    }

    async fn first_at_or_after(&mut self, timestamp: i64) -> Result<Option<TimedOffset>> {
        let Some(from) = self.bisect(timestamp).await? else { return self.nothing() };
        let mut batches = self.batches(from);
        while let Some(batch) = batches.next().await? {
            let found = stamps::first_at_or_after(&batch, timestamp, self.log_start, &self.reader.options().limits);
            let found = found.map_err(|malformed| batches.place().undecodable(batch.header(), malformed))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.nothing()
    }

    /// Nothing was found, in all that could be searched.
    fn nothing(&mut self) -> Result<Option<TimedOffset>> {
        self.broken_end.take().map_or(Ok(None), Err)
    }

    /// The batches from an offset on. It is not known how far they are needed, so none is read ahead.
    fn batches(&self, from: i64) -> BatchStream {
        let mut batches = self.reader.batches(from.max(self.log_start));
        batches.read_ahead_to(0);
        batches
    }

    async fn greatest(&mut self) -> Result<Option<TimedOffset>> {
        if let Some(error) = self.broken_end.take() {
            return Err(error);
        }
        let mut below = self.end;
        // From the newest segment down to one that holds a record.
        while let Some((base, _)) = self.segment_at(below - 1).await? {
            if self.greatest_of(base).await?.is_some() {
                let mut batches = self.batches(base);
                let mut best: Option<TimedOffset> = None;
                while let Some(batch) = batches.next().await? {
                    if batch.base_offset() >= below {
                        break;
                    }
                    let found = stamps::latest(&batch, self.log_start, &self.reader.options().limits);
                    let found = found.map_err(|malformed| batches.place().undecodable(batch.header(), malformed))?;
                    best =
                        found.filter(|found| best.is_none_or(|best| found.timestamp_ms > best.timestamp_ms)).or(best);
                }
                if best.is_some() {
                    return Ok(best);
                }
            }
            if base <= self.log_start || base >= below {
                break;
            }
            below = base;
        }
        Ok(None)
    }

    /// The base of the first segment whose greatest timestamp is not below this.
    async fn bisect(&mut self, timestamp: i64) -> Result<Option<i64>> {
        if self.end <= self.log_start {
            return Ok(None);
        }
        let Some((mut low, _)) = self.segment_at(self.log_start).await? else { return Ok(None) };
        // All below `low` end before the time; `high` and what follows do not.
        let mut high = self.end;
        let mut guesses = self.state.with_catalog(|catalog| catalog.len()).max(2).ilog2();
        let mut progress = Progress::new(i128::MIN);
        while low < high {
            progress.step(i128::from(low) - i128::from(high), &self.state.id)?;
            let middle = match self.state.with_catalog(|catalog| catalog.middle(low, high)) {
                Some(known) => known,
                None if guesses > 0 => {
                    guesses -= 1;
                    low + (high - low) / 2
                }
                // Offsets are spread too unevenly: list what lies between, then halve by number.
                None => {
                    self.list_between(low, high).await?;
                    continue;
                }
            };
            let Some((base, next)) = self.segment_at(middle).await? else { break };
            let (base, after) = (base.max(low), next.unwrap_or(self.end));
            if base == low && after >= high && self.is_small(base) {
                // The only one left: reading it tells as much as asking for its time.
                high = low;
                break;
            }
            match self.greatest_from(base, high).await? {
                // Nothing from here to `high` has a record.
                None => high = base,
                Some((_, greatest)) if greatest > timestamp => high = base,
                Some((_, greatest)) if greatest == timestamp && !mutant!(SearchTooLate) => high = base,
                Some((of, _)) if of > base => {
                    low = self.segment_at(of).await?.and_then(|(_, next)| next).unwrap_or(high)
                }
                Some(_) => low = after,
            }
        }
        Ok((high < self.end || low < self.end).then_some(low.min(high)))
    }

    fn is_small(&self, base: i64) -> bool {
        let block = u64::try_from(self.reader.options().block_bytes).unwrap_or(u64::MAX);
        self.state.with_catalog(|catalog| catalog.get(base)).is_some_and(|segment| segment.size <= block)
    }

    async fn list_between(&self, low: i64, high: i64) -> Result<()> {
        let mut at = low;
        while at < high {
            match self.segment_at(at).await? {
                Some((_, Some(next))) => at = next,
                _ => break,
            }
        }
        Ok(())
    }

    /// The segment that has the greatest base at or below an offset, and the next one's base.
    async fn segment_at(&self, offset: i64) -> Result<Option<(i64, Option<i64>)>> {
        for _ in 0..3 {
            let found = self.state.with_catalog(|catalog| match catalog.lookup(offset) {
                Lookup::In { base, next, .. } => Some(Some((base, next))),
                Lookup::End { .. } => Some(catalog.newest().map(|newest| (newest, None))),
                Lookup::Below => Some(catalog.start().and_then(|s| s.first).map(|first| (first, None))),
                Lookup::Empty => Some(None),
                Lookup::Unknown => None,
            });
            match found {
                Some(found) => return Ok(found),
                None => locate(&self.state, offset, false).await?,
            }
        }
        Ok(None)
    }

    /// The greatest timestamp of the first segment from `base` on, and below `high`, that has a
    /// record, and that segment's base.
    async fn greatest_from(&mut self, base: i64, high: i64) -> Result<Option<(i64, i64)>> {
        let mut at = base;
        while at < high {
            if let Some(greatest) = self.greatest_of(at).await? {
                return Ok(Some((at, greatest)));
            }
            match self.segment_at(at).await? {
                Some((_, Some(next))) => at = next,
                _ => break,
            }
        }
        Ok(None)
    }

    /// The greatest timestamp of a segment's records; `None` when it has none.
    ///
    /// # Errors
    /// Not found when the segment is gone: the search is outdated, and has looked where the segment was.
    async fn greatest_of(&mut self, base: i64) -> Result<Option<i64>> {
        let (known, held) = self.state.with_catalog(|catalog| (catalog.greatest(base), catalog.get(base)));
        if let Some(known) = known {
            return Ok(known);
        }
        let end = match self.greatest.asks_time_indexes() {
            true => self.segment_at(base).await?.and_then(|(_, next)| next).unwrap_or(self.end),
            false => self.end,
        };
        let greatest = match self.greatest.of(&self.state, base, end).await {
            Ok(greatest) => greatest,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.outdated = true;
                locate(&self.state, base, true).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        if self.reader.options().limits.max_decompressed_batch < MAX_DECOMPRESSED_BATCH {
            // A search that may decompress more finds out more.
            return Ok(greatest);
        }
        self.state.with_catalog(|catalog| {
            // Merged meanwhile: this is of the version before.
            let same = |held: &SegmentRef, now: &SegmentRef| held.version.same_as(&now.version);
            if held.zip(catalog.get(base)).is_some_and(|(held, now)| same(&held, &now)) {
                catalog.set_greatest(base, greatest);
            }
        });
        Ok(greatest)
    }
}
