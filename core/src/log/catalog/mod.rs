//! The segments of a partition that this process knows of.
//!
//! A catalog is never the truth, only the last answer: it is filled from listing pages, from our own
//! writer's commits and from next-key GETs. What a later look covers replaces what was known there.
//! It says an answer only where it knows that nothing lies between two neighbours.

mod budget;
mod entry;
mod learn;
mod manifest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::budget::CatalogBudget;
use self::budget::Share;
use self::entry::{CatalogEnd, Greatest, KnownManifest, KnownSegment};
pub(crate) use self::entry::{Covered, KnownLog, NamedSegment, SegmentRef, StartInfo};
use crate::format::{FOOTER_LEN, HEADER_LEN};
use crate::store::Version;

/// The most segments that one catalog holds, about 100 bytes each. Beyond it the parts far from the
/// last lookup are dropped; they are listed again when needed.
pub(crate) const MAX_SEGMENTS: usize = 1 << 18;

/// Bytes of a known segment, about: its base, its version, an ETag on the heap.
const ENTRY_BYTES: usize = 112;

/// A catalog that is asked to give room keeps this many segments.
const KEPT: usize = 64;
/// A look's catalog keeps at least its own pages.
const KEPT_BY_LOOK: usize = 4096;

/// How many of the newest segments are near the end of the log. A reader that polls twice a second a log with four
/// segments a second is never further from its end.
const NEAR_END: usize = 8;

/// The most greatest timestamps that one catalog holds.
const MAX_GREATEST: usize = 4096;

/// Known segments, and where nothing lies between two of them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    bases: Vec<i64>,
    held: Vec<KnownSegment>,
    start: Option<StartInfo>,
    /// When the listing was sent that told it.
    start_asked: Duration,
    tail: CatalogEnd,
    /// The end of the segment with this base, once its last batch or footer was read.
    end: Option<(i64, i64)>,
    /// When a listing last reached the end, by the clock's elapsed time.
    looked: Option<Duration>,
    /// When the store was last asked for what follows, by a listing or for the next key.
    asked: Option<Duration>,
    /// Greatest timestamps of segments by base.
    greatest: BTreeMap<i64, Greatest>,
    /// Which log this is.
    log: Option<KnownLog>,
    /// What its manifest says, which is never mixed with what is known.
    manifest: KnownManifest,
    share: Share,
    /// When it last grew.
    used: Duration,
}

/// The answer to "where is this offset".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    /// This segment has the greatest base at or below the offset. `next` is the base of the one
    /// after it, with nothing between; `None` when it is the newest known.
    In { base: i64, version: &'a Version, next: Option<i64> },
    /// The offset is at or beyond the end of the newest known segment.
    End { end: i64 },
    /// The first segment of the log starts above the offset.
    Below,
    /// There is no segment.
    Empty,
    /// The store must be asked.
    Unknown,
}

impl Catalog {
    /// Where the offset lies. A binary search over bases alone.
    pub(crate) fn lookup(&self, offset: i64) -> Lookup<'_> {
        let above = self.bases.partition_point(|base| *base <= offset);
        let next = self.bases.get(above).copied();
        let Some(index) = above.checked_sub(1) else {
            return match (next, self.start.and_then(|s| s.first)) {
                (None, _) if self.tail == CatalogEnd::Newest => Lookup::Empty,
                (Some(first), Some(known)) if first == known => Lookup::Below,
                _ => Lookup::Unknown,
            };
        };
        let (Some(&base), Some(held)) = (self.bases.get(index), self.held.get(index)) else { return Lookup::Unknown };
        if next.is_some() {
            return if held.linked { Lookup::In { base, version: &held.version, next } } else { Lookup::Unknown };
        }
        match self.end {
            Some((of, end)) if of == base && offset < end => Lookup::In { base, version: &held.version, next },
            Some((of, end)) if of == base && self.tail == CatalogEnd::Newest => Lookup::End { end },
            _ if self.tail == CatalogEnd::Newest => Lookup::In { base, version: &held.version, next },
            _ => Lookup::Unknown,
        }
    }

    /// The known neighbours of an offset: the greatest base at or below it, and the least above.
    pub(crate) fn around(&self, offset: i64) -> (Option<i64>, Option<i64>) {
        let above = self.bases.partition_point(|base| *base <= offset);
        (above.checked_sub(1).and_then(|i| self.bases.get(i)).copied(), self.bases.get(above).copied())
    }

    /// The base of the entry `steps` before the greatest at or below the offset.
    pub(crate) fn before(&self, offset: i64, steps: usize) -> Option<i64> {
        let above = self.bases.partition_point(|base| *base <= offset);
        above.checked_sub(1)?.checked_sub(steps).and_then(|i| self.bases.get(i)).copied()
    }

    /// Offsets per segment, about, of the known segments at and below an offset; at least 1.
    pub(crate) fn density_at(&self, offset: i64) -> i64 {
        let above = self.bases.partition_point(|base| *base <= offset);
        let below = self.bases.get(above.saturating_sub(64)..above).unwrap_or_default();
        let (Some(first), Some(last)) = (below.first(), below.last()) else { return 1 };
        let gaps = i64::try_from(below.len()).unwrap_or(1) - 1;
        last.saturating_sub(*first).checked_div(gaps).map_or(1, |d| d.max(1))
    }

    /// Bytes of the known segments from the one that holds offset `from` on, of those that start below `to`.
    pub(crate) fn bytes_beyond(&self, from: i64, to: i64) -> u64 {
        self.held_between(from, to).iter().fold(0, |bytes, held| bytes.saturating_add(held.version.size()))
    }

    /// Bytes of batches in the same segments, counted no further than `most`. The segment that holds `from` counts
    /// whole.
    pub(crate) fn batch_bytes_beyond(&self, from: i64, to: i64, most: u64) -> u64 {
        let mut bytes = 0_u64;
        for held in self.held_between(from, to) {
            let batches = held.version.size().saturating_sub((HEADER_LEN + FOOTER_LEN) as u64);
            bytes = bytes.saturating_add(batches);
            if bytes >= most {
                return most;
            }
        }
        bytes
    }

    /// The known segments from the one that holds offset `from` on, of those that start below `to`.
    fn held_between(&self, from: i64, to: i64) -> &[KnownSegment] {
        let above = self.bases.partition_point(|base| *base < from);
        let end_of = |index: usize| match self.bases.get(index + 1) {
            Some(next) => *next,
            None => self.newest_end().unwrap_or(i64::MAX),
        };
        let holding = above.checked_sub(1).filter(|index| end_of(*index) > from).unwrap_or(above);
        let until = self.bases.partition_point(|base| *base < to).max(holding);
        self.held.get(holding..until).unwrap_or_default()
    }

    /// The known segments that directly follow one, without a gap. `most` is the most that are returned.
    pub(crate) fn following(&self, base: i64, most: usize) -> Vec<SegmentRef> {
        let Ok(mut index) = self.bases.binary_search(&base) else { return Vec::new() };
        let mut found = Vec::new();
        while found.len() < most && self.held.get(index).is_some_and(|held| held.linked) {
            index += 1;
            let (Some(base), Some(held)) = (self.bases.get(index), self.held.get(index)) else { break };
            found.push(SegmentRef { base: *base, size: held.version.size(), version: held.version.clone() });
        }
        found
    }

    /// A known segment by its base.
    pub(crate) fn get(&self, base: i64) -> Option<SegmentRef> {
        let held = self.held.get(self.bases.binary_search(&base).ok()?)?;
        Some(SegmentRef { base, size: held.version.size(), version: held.version.clone() })
    }

    /// The newest known segment.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.bases.last().copied()
    }

    /// Whether a segment is one of the newest of the log, so that who reads it may follow the log.
    pub(crate) fn is_near_end(&self, base: i64) -> bool {
        let newest = self.bases.len().saturating_sub(NEAR_END);
        self.knows_newest() && self.bases.get(newest).is_some_and(|first| *first <= base)
    }

    /// Whether the newest known segment was the newest when the store was asked.
    pub(crate) fn knows_newest(&self) -> bool {
        self.tail == CatalogEnd::Newest
    }

    /// Known segments.
    pub(crate) fn len(&self) -> usize {
        self.bases.len()
    }

    /// What was learned at the log's start.
    pub(crate) fn start(&self) -> Option<StartInfo> {
        self.start
    }

    /// When a listing last reached the end.
    pub(crate) fn looked(&self) -> Option<Duration> {
        self.looked
    }

    /// When the store was last asked what follows.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.asked
    }

    /// The next key was asked for.
    pub(crate) fn set_asked(&mut self, now: Duration) {
        self.asked = self.asked.max(Some(now));
    }

    /// The log goes on as the keys foretell, so a later 404 is as good as new.
    pub(crate) fn set_looked(&mut self, now: Duration) {
        self.looked = self.looked.max(Some(now));
    }

    /// The end of the newest known segment, if it was learned.
    pub(crate) fn newest_end(&self) -> Option<i64> {
        self.end.filter(|(of, _)| Some(*of) == self.newest()).map(|(_, end)| end)
    }

    /// The next key of the log, if it is known: where the newest known segment ends, or where a log without a segment starts.
    pub(crate) fn next_slot(&self) -> Option<i64> {
        match self.newest() {
            Some(_) => self.newest_end(),
            None if self.tail == CatalogEnd::Newest => self.start?.empty_log_start(),
            None => None,
        }
    }

    /// The end of the newest known segment, or the least that it can be: every segment holds an offset.
    pub(crate) fn least_end(&self) -> Option<i64> {
        self.newest_end().or_else(|| self.newest().map(|base| base.saturating_add(1)))
    }

    /// The end of the segment with this base was read from its bytes.
    pub(crate) fn set_end(&mut self, base: i64, end: i64) {
        if self.newest() == Some(base) {
            self.end = Some((base, end));
        }
    }

    /// A listing from the log's start, sent at this time, told this. One that was sent earlier than what is known
    /// and comes later tells nothing but marks: the log may have been made since.
    pub(crate) fn set_start(&mut self, mut start: StartInfo, asked: Duration) {
        if let Some(old) = self.start.as_mut().filter(|_| asked < self.start_asked) {
            old.mark = old.mark.max(start.mark);
            return;
        }
        self.start_asked = asked;
        if let Some(old) = self.start {
            // Marks are only ever created, and `log.json` does not change while it is there.
            start.mark = start.mark.max(old.mark);
            if start.has_log_json {
                start.log_json_start = start.log_json_start.or(old.log_json_start);
            }
        }
        self.start = Some(start);
    }

    /// When the listing was sent that told it.
    pub(crate) fn start_asked(&self) -> Duration {
        self.start_asked
    }

    /// Which log this is, if that was learned.
    pub(crate) fn log(&self) -> Option<KnownLog> {
        self.log.clone()
    }

    /// Which log this is was learned.
    pub(crate) fn set_log(&mut self, log: KnownLog) {
        self.log = Some(log);
    }

    /// All that is known is of a log that is gone.
    pub(crate) fn forget(&mut self) {
        self.share.count(0);
        let share = std::mem::take(&mut self.share);
        *self = Catalog { share, ..Catalog::default() };
    }

    /// `log.json` was read.
    pub(crate) fn set_log_json_start(&mut self, offset: i64) {
        if let Some(start) = &mut self.start {
            start.log_json_start = Some(offset);
        }
    }

    /// A GET of a known segment told another version than a listing.
    pub(crate) fn set_version(&mut self, base: i64, version: Version) {
        if let Some(held) = self.bases.binary_search(&base).ok().and_then(|index| self.held.get_mut(index)) {
            held.version = version;
        }
    }

    /// Our writer created `segment`, which ends before `end`, directly after `previous`.
    pub(crate) fn committed(&mut self, previous: Option<i64>, segment: SegmentRef, end: i64) {
        let base = segment.base;
        self.follows(previous, segment);
        self.set_end(base, end);
    }

    /// `segment` is there, directly after `previous` (`None`: it is the log's first).
    pub(crate) fn follows(&mut self, previous: Option<i64>, segment: SegmentRef) {
        let newest = self.newest();
        if newest.is_some_and(|newest| newest >= segment.base) {
            // Known already, or of a past that was listed since: only its version is news.
            self.set_version(segment.base, segment.version);
            return;
        }
        match (previous, self.held.last_mut()) {
            (Some(previous), Some(last)) => last.linked = newest == Some(previous),
            (None, None) => {
                if let Some(start) = &mut self.start {
                    start.first = Some(segment.base);
                }
            }
            _ => {}
        }
        self.bases.push(segment.base);
        self.held.push(KnownSegment { version: segment.version, linked: false });
        self.tail = CatalogEnd::Newest;
        let keep = if self.share.is_over() { self.bases.len() / 2 } else { MAX_SEGMENTS };
        self.trim(segment.base, keep.max(KEPT));
    }

    /// The greatest timestamp of a segment, if it was learned.
    pub(crate) fn greatest(&self, base: i64) -> Option<Option<i64>> {
        let known = self.greatest.get(&base)?;
        let (version, next) = self.version_and_next(base)?;
        (version.same_as(&known.version) && next == known.next).then_some(known.timestamp)
    }

    /// The greatest timestamp of a segment was read.
    pub(crate) fn set_greatest(&mut self, base: i64, timestamp: Option<i64>) {
        if let Some((version, next)) = self.version_and_next(base) {
            let greatest = Greatest { version: version.clone(), next, timestamp };
            if self.greatest.len() >= MAX_GREATEST {
                self.greatest.clear();
            }
            self.greatest.insert(base, greatest);
        }
    }

    fn version_and_next(&self, base: i64) -> Option<(&Version, Option<i64>)> {
        let index = self.bases.binary_search(&base).ok()?;
        Some((&self.held.get(index)?.version, self.bases.get(index + 1).copied()))
    }

    /// The base that stands in the middle, by number, of those from `low` to below `high`, if all of
    /// them are known; `low` when it is the only one.
    pub(crate) fn middle(&self, low: i64, high: i64) -> Option<i64> {
        let from = self.bases.binary_search(&low).ok()?;
        let to = self.bases.partition_point(|base| *base < high);
        let last = to.checked_sub(1)?;
        // Between the last of them and `high` nothing is unknown either.
        let linked = |index: usize| self.held.get(index).is_some_and(|held| held.linked);
        let closed = linked(last) || (to == self.bases.len() && self.tail == CatalogEnd::Newest);
        (closed && (from..last).all(linked)).then(|| self.bases.get(from.midpoint(last)).copied())?
    }

    /// Nothing lies between these two.
    pub(crate) fn link(&mut self, base: i64, next: i64) {
        let Ok(index) = self.bases.binary_search(&base) else { return };
        if self.bases.get(index + 1) != Some(&next) {
            return;
        }
        if let Some(held) = self.held.get_mut(index) {
            held.linked = true;
        }
    }

    /// No segment lies above this one.
    pub(crate) fn set_newest(&mut self, base: i64) {
        if self.newest() == Some(base) {
            self.tail = CatalogEnd::Newest;
        }
    }

    /// A catalog whose bytes count with others'.
    pub(crate) fn sharing(budget: Arc<CatalogBudget>) -> Self {
        Catalog { share: Share { budget: Some(budget), counted: 0 }, ..Catalog::default() }
    }

    /// Whether all catalogs together hold more than they should.
    pub(crate) fn is_over(&self) -> bool {
        self.share.is_over()
    }

    /// Counts what it holds among the bytes of all.
    fn count(&mut self) {
        self.share.count(self.bases.len().saturating_mul(ENTRY_BYTES).saturating_add(self.manifest.bytes()));
    }

    /// When it last grew, if it has something to give.
    pub(crate) fn spare(&self) -> Option<Duration> {
        (self.bases.len() > KEPT * 2 || self.manifest.is_held()).then_some(self.used)
    }

    /// Gives room: keeps little more than the tail.
    pub(crate) fn shed(&mut self) {
        self.manifest.let_go();
        self.trim(self.newest().unwrap_or(0), KEPT);
    }
}

#[cfg(test)]
mod tests;
