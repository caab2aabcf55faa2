//! Finding segments by listing, within the request budget.
//!
//! A page of 1,000 keys shows some 500 segments with their indexes. The first page of a look starts
//! at the log's start; then keys are probed at growing offset distances, and the stretch in which
//! the answer lies is cut in half until one page covers it.
//!
//! Two bounds hold together (docs/design.md, "Request budget"): listings <= 1 + 2 N/500, and listings
//! <= 1 + 2 log2(next offset - log start). The second comes from doubling and halving. For the first,
//! a probe is sent only while the segments seen so far have paid for it: a page that is not the last
//! proves some 500 more segments and pays for two listings, an empty probe proves nothing. A look that can't
//! pay lists on from the lower bound instead, which always pays for itself.

use std::time::Duration;

use super::catalog::{Catalog, Covered, Lookup, SegmentRef, StartInfo};
use super::identity::{confirm_log, saw_log_json};
use super::progress::Progress;
use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectName;
use crate::store::{StoreReader, Version};

/// Keys of one page; a listing counts one request per 1,000 keys begun.
const PAGE_KEYS: usize = 1000;
/// Segments of a full page, each with its index.
const PAGE_SEGMENTS: i64 = 500;
/// A look that starts below a segment starts this many segments below it: a neighbour may have been
/// merged into one of them.
const NEIGHBOURS: usize = 8;

/// What a fresh look at a partition's keys told.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogEnds {
    /// The segment with the greatest base offset.
    pub(crate) newest: Option<SegmentRef>,
    /// The greatest log start mark.
    pub(crate) log_start_mark: Option<i64>,
    /// The first segment.
    pub(crate) first: Option<SegmentRef>,
    /// The version of `log.json`, if it is there.
    pub(crate) log_json: Option<Version>,
}

/// A page, or several where foreign keys fill them: it holds a segment unless it is the last.
#[derive(Debug, Default)]
struct SegmentPage {
    segments: Vec<SegmentRef>,
    to_end: bool,
}

impl SegmentPage {
    /// Offsets per segment, about, where the page lies.
    fn density(&self) -> Option<i64> {
        let (first, last) = (self.segments.first()?.base, self.segments.last()?.base);
        let gaps = i64::try_from(self.segments.len()).ok()?.checked_sub(1)?;
        last.checked_sub(first)?.checked_div(gaps).map(|d| d.max(1))
    }

    /// What the page says of the bases above `after`.
    fn covered(&self, after: i64) -> Covered<'_> {
        Covered { after, segments: &self.segments, to_end: self.to_end }
    }
}

/// What the listings of one page showed.
#[derive(Debug, Default)]
struct ListedKeys {
    page: SegmentPage,
    /// The greatest log start mark.
    mark: Option<i64>,
    log_json: Option<Version>,
    /// The base of the last index.
    last_index: Option<i64>,
}

impl ListedKeys {
    /// Where the log starts, if the page begins at its start.
    fn start(&self) -> StartInfo {
        let first = self.page.segments.first().map(|s| s.base);
        StartInfo { mark: self.mark, first, has_log_json: self.log_json.is_some(), ..StartInfo::default() }
    }
}

struct Locator<'a> {
    state: &'a PartitionState,
    /// The store with the bound on requests of looks.
    store: &'a StoreReader,
    newest_before: Option<i64>,
    /// Listings sent.
    spent: u64,
    /// Different segments seen.
    seen: u64,
    /// The first page ended with the index of a segment that the page did not reach.
    foretold: u64,
    /// Everything seen, to count each segment once.
    found: Catalog,
    start: Option<StartInfo>,
    log_json: Option<Version>,
    first: Option<SegmentRef>,
    newest: Option<SegmentRef>,
}

impl<'a> Locator<'a> {
    fn new(state: &'a PartitionState, store: &'a StoreReader) -> Self {
        Locator {
            state,
            store,
            newest_before: state.with_catalog(|c| c.newest()),
            spent: 0,
            seen: 0,
            foretold: 0,
            found: Catalog::default(),
            start: None,
            log_json: None,
            first: None,
            newest: None,
        }
    }

    fn now(&self) -> Duration {
        self.state.runtime().clock().elapsed()
    }

    /// Whether one more listing that may prove nothing leaves enough for the last page.
    fn can_probe(&self) -> bool {
        let proved = self.seen.saturating_add(self.foretold);
        let allowed = (proved.saturating_mul(2) / PAGE_SEGMENTS.unsigned_abs()).saturating_add(1);
        self.spent.saturating_add(2) <= allowed
    }

    /// Lists the segments above base `after` (-1: from the log's start) up to a page's end.
    async fn page(&mut self, after: i64) -> Result<SegmentPage> {
        // What is listed is as old as the request: the answer may be taken in much later, by a machine that slept.
        let now = self.now();
        let keys = self.list(after).await?;
        // A `log.json` that is not the one that is known may mean that the log was deleted and made again. That is settled
        // first, so that nothing of one log is mixed with the other.
        if let Some(version) = &keys.log_json {
            self.saw_log_json(version).await?;
        }
        self.count(after, &keys, now);
        self.tell_catalog(after, &keys, now);
        let page = keys.page;
        self.state.observer().listed(&self.state.id, after, page.segments.len(), page.to_end);
        Ok(page)
    }

    /// Sends listings until one shows a segment or the log's end. Only foreign keys make that more than one.
    async fn list(&mut self, after: i64) -> Result<ListedKeys> {
        let id = &self.state.id;
        let prefix = id.prefix();
        // No name of a segment sorts after this one.
        let last_key = id.segment_key(i64::MAX);
        let from_start = after < 0;
        // Log start marks sort before all other keys of the log. Keys before them are foreign.
        let mut from = if from_start { format!("{prefix}log-start-") } else { id.segment_key(after) };
        let mut keys = ListedKeys::default();
        while keys.page.segments.is_empty() && !keys.page.to_end {
            let listed = self.state.list_page_through(self.store, &prefix, Some(&from), PAGE_KEYS).await?;
            self.spent = self.spent.saturating_add(1);
            keys.page.to_end = listed.complete;
            if let Some(last) = listed.objects.last() {
                keys.page.to_end |= last.key > last_key;
                // A store that gives the same keys again would be listed without end.
                if last.key <= from {
                    let message = "a listing gave keys that come before those asked for";
                    return Err(Error::new(ErrorKind::Internal, message).with_key(self.store.redact(&last.key)));
                }
                from.clone_from(&last.key);
                // Past `log.json` only segments and their indexes are of interest: the keys between are passed over.
                let segments = format!("{prefix}segment-");
                if from_start && *from >= *id.log_json_key() && *from < *segments {
                    from = segments;
                }
            }
            for object in listed.objects {
                match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                    Some(ObjectName::Segment(base)) => {
                        keys.page.segments.push(SegmentRef { base, size: object.size, version: object.version })
                    }
                    Some(ObjectName::LogStart(offset)) => keys.mark = keys.mark.max(Some(offset)),
                    Some(ObjectName::LogJson) => keys.log_json = Some(object.version),
                    Some(ObjectName::Index(base)) => keys.last_index = Some(base),
                    _ => {}
                }
            }
        }
        Ok(keys)
    }

    /// Compares `log.json` with the one that is known. If this is another log, what was known before is forgotten.
    async fn saw_log_json(&mut self, version: &Version) -> Result<()> {
        self.log_json = Some(version.clone());
        let generation = self.state.generation();
        saw_log_json(self.state, self.store, version.clone()).await?;
        if self.state.generation() != generation {
            (self.newest_before, self.found, self.newest) = Default::default();
        }
        Ok(())
    }

    /// Counts the segments that were not seen before, and keeps both ends of the log if the page shows them.
    fn count(&mut self, after: i64, keys: &ListedKeys, now: Duration) {
        let page = &keys.page;
        let known = self.found.len();
        self.found.learn(&page.covered(after), None, now);
        self.seen = self.seen.saturating_add(self.found.len().saturating_sub(known) as u64);
        if after < 0 {
            // An index sorts before its segment. If the page ends between the two, the segment is there all the same.
            self.foretold = u64::from(page.segments.last().is_some_and(|s| Some(s.base) < keys.last_index));
            self.start = Some(keys.start());
            self.first = page.segments.first().cloned();
        }
        if let (true, Some(newest)) = (page.to_end, page.segments.last()) {
            self.newest = Some(newest.clone());
        }
    }

    /// Lets the partition's catalog know what was listed. If all catalogs together have become too large, they shed some.
    fn tell_catalog(&self, after: i64, keys: &ListedKeys, now: Duration) {
        let is_over = self.state.with_catalog(|catalog| {
            catalog.learn(&keys.page.covered(after), self.newest_before, now);
            if after < 0 {
                catalog.set_start(keys.start(), now);
            }
            catalog.is_over()
        });
        if is_over {
            self.state.bucket.shed_catalogs();
        }
    }

    /// Takes in a page that covers the bases above `after`, and moves the bounds of the aim closer together. Returns `true`
    /// when the goal is found.
    fn take(&mut self, aim: &mut Aim, after: i64, page: &SegmentPage) -> bool {
        // The page's segments up to the goal, and the first one above it.
        let reach = page.segments.partition_point(|s| s.base <= aim.high);
        let above = page.segments.get(reach);
        if let Some(density) = page.density() {
            aim.density = density;
        }
        let Some(at_most) = reach.checked_sub(1).and_then(|i| page.segments.get(i)) else {
            // No segment lies between `after` and the goal: the page begins above the goal, or the log ends before it.
            aim.above = above.map_or(Above::Nothing, |s| Above::Base(s.base));
            // Then the known segment directly below is the goal, if the page began there. Otherwise the probe went too far:
            // the goal lies below `after`.
            if after < 0 || aim.low == Some(after) {
                return true;
            }
            aim.high = after;
            aim.overshot();
            return false;
        };
        // The goal is this segment or lies above it. It is this one if the page shows what follows it.
        aim.low = Some(at_most.base);
        self.newest = Some(at_most.clone());
        if let Some(above) = above {
            aim.above = Above::Base(above.base);
        } else if page.to_end {
            aim.above = Above::Nothing;
        }
        above.is_some() || page.to_end || at_most.base == aim.high
    }

    /// Lists until the goal is found, and lets the catalog know.
    async fn run(&mut self, aim: &mut Aim) -> Result<()> {
        let mut progress = Progress::new(i128::MIN);
        loop {
            let narrowed = i128::from(aim.low.unwrap_or(-1)) - i128::from(aim.high);
            progress.step(narrowed, &self.state.id)?;
            let after = self.next_after(aim);
            let page = self.page(after).await?;
            if self.take(aim, after, &page) {
                break;
            }
        }
        self.finish(aim);
        Ok(())
    }

    fn finish(&self, aim: &Aim) {
        let Some(low) = aim.low else { return };
        self.state.with_catalog(|catalog| match aim.above {
            Above::Base(next) => catalog.link(low, next),
            Above::Nothing => catalog.set_newest(low),
            Above::Unknown => {}
        });
    }

    /// Above which base the next page starts.
    fn next_after(&self, aim: &mut Aim) -> i64 {
        // The first page of a look starts at the log's start.
        let Some(low) = aim.low else { return -1 };
        // Listing on from the lower bound always pays for itself. It is also best when the goal is near.
        let distance = aim.high.saturating_sub(low);
        if !self.can_probe() || distance <= PAGE_SEGMENTS {
            return low;
        }
        let page_span = aim.density.saturating_mul(PAGE_SEGMENTS);
        let middle = low.saturating_add(distance / 2);
        let at = match aim.step {
            ProbeStep::Double => {
                // Twice as far as the last time, or the length of the known part of the log if that is longer.
                let known = low.saturating_sub(self.first.as_ref().map_or(low, |s| s.base));
                aim.stride = aim.stride.saturating_mul(2).max(known).max(page_span);
                let doubled = low.saturating_add(aim.stride);
                if doubled >= aim.high { middle } else { doubled }
            }
            // Half a page below the goal, by the density seen last.
            ProbeStep::Near(_) if distance / 2 <= page_span / 2 => low,
            ProbeStep::Near(_) => aim.high.saturating_sub(page_span / 2),
            ProbeStep::Halve => middle,
        };
        // A probe below the lower bound would show only what is known.
        at.max(low)
    }
}

/// What a look is for, and between which bounds it lies.
#[derive(Debug)]
struct Aim {
    /// The greatest base known that is at or below the goal.
    low: Option<i64>,
    /// No base lies above this and at or below the goal.
    high: i64,
    /// What lies directly above `high`, and so above the goal.
    above: Above,
    step: ProbeStep,
    /// How far the last doubling went.
    stride: i64,
    /// Offsets per segment, about, where the last page lies.
    density: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Above {
    Unknown,
    Nothing,
    Base(i64),
}

/// How the next probe is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeStep {
    /// By doubling the distance: nothing is known of where the log ends.
    Double,
    /// By density, this many times.
    Near(u8),
    /// In the middle.
    Halve,
}

impl Aim {
    fn newest() -> Self {
        Aim { low: None, high: i64::MAX, above: Above::Nothing, step: ProbeStep::Double, stride: 0, density: 1 }
    }

    fn at_most(offset: i64) -> Self {
        Aim { low: None, high: offset, above: Above::Unknown, step: ProbeStep::Near(2), stride: 0, density: 1 }
    }

    /// The last probe found nothing below the goal.
    fn overshot(&mut self) {
        self.step = match (self.step, self.above) {
            // Beyond the log's end, perhaps by far: no bound depends on how far.
            (ProbeStep::Near(_), Above::Nothing) => ProbeStep::Double,
            (ProbeStep::Near(left), _) if left > 1 => ProbeStep::Near(left.saturating_sub(1)),
            _ => ProbeStep::Halve,
        };
    }
}

/// A fresh look, within the bound that this handle of the store keeps: lists as few pages as the budget allows.
pub(crate) async fn find_tail(state: &PartitionState, store: &StoreReader) -> Result<LogEnds> {
    let mut locator = Locator::new(state, store);
    locator.run(&mut Aim::newest()).await?;
    let start = locator.start.unwrap_or_default();
    Ok(LogEnds { newest: locator.newest, log_start_mark: start.mark, first: locator.first, log_json: locator.log_json })
}

/// The newest segment, found by listing from one that is known: one request, unless much follows that one.
/// `None` when it is gone or changed, for then only a look from the log's start tells. For commits, whose bound
/// it keeps.
pub(crate) async fn newest_from(state: &PartitionState, known: i64, version: &Version) -> Result<Option<SegmentRef>> {
    let mut locator = Locator::new(state, state.commits());
    let after = known.saturating_sub(1);
    let page = locator.page(after).await?;
    if !page.segments.first().is_some_and(|s| s.base == known && s.version.same_as(version)) {
        return Ok(None);
    }
    let mut aim = Aim::newest();
    if locator.take(&mut aim, after, &page) {
        locator.finish(&aim);
    } else {
        locator.run(&mut aim).await?;
    }
    Ok(locator.newest)
}

/// Asks the store what follows the newest known segment: one listing, unless much does or that segment
/// is gone.
pub(crate) async fn look_at_tail(state: &PartitionState) -> Result<()> {
    let known = state.with_catalog(|catalog| catalog.newest());
    if let Some(known) = known {
        let mut locator = Locator::new(state, state.store());
        let after = known.saturating_sub(1);
        let version = state.with_catalog(|catalog| catalog.get(known)).map(|segment| segment.version);
        let page = locator.page(after).await?;
        let first = page.segments.first().filter(|s| s.base == known);
        if first.is_some_and(|s| version.is_some_and(|version| !version.same_as(&s.version))) {
            // Merged, or a segment of another log.
            let generation = state.generation();
            confirm_log(state, state.store()).await?;
            if state.generation() != generation {
                return find_tail(state, state.store()).await.map(drop);
            }
        }
        if first.is_some() {
            let mut aim = Aim::newest();
            if locator.take(&mut aim, after, &page) {
                locator.finish(&aim);
                return Ok(());
            }
            return locator.run(&mut aim).await;
        }
    }
    let tail = find_tail(state, state.store()).await?;
    if tail.newest.map(|s| s.base) < known {
        // Deleted and perhaps made again: what was known does not hold.
        state.watermarks.forget();
    }
    Ok(())
}

/// A fresh look at both ends of the log: log start marks, the first segments, and what follows the newest known.
pub(crate) async fn look_at_log(state: &PartitionState) -> Result<()> {
    let known = state.with_catalog(|catalog| catalog.newest());
    let mut locator = Locator::new(state, state.store());
    let mut aim = Aim::newest();
    let page = locator.page(-1).await?;
    let last = page.segments.last().map(|s| s.base);
    if locator.take(&mut aim, -1, &page) {
        locator.finish(&aim);
        if last < known {
            state.watermarks.forget();
        }
        return Ok(());
    }
    if known > last {
        return look_at_tail(state).await;
    }
    locator.run(&mut aim).await
}

/// Asks the store where the offset lies, so that the catalog knows it. With `fresh`, what is known
/// of the neighbourhood is not believed.
pub(crate) async fn locate(state: &PartitionState, offset: i64, fresh: bool) -> Result<()> {
    let mut locator = Locator::new(state, state.store());
    let mut aim = Aim::at_most(offset);
    let known = state.with_catalog(|catalog| catalog.start().is_some());
    if known && fresh {
        // One page from a little below the offset tells, if retention has not removed the segment that it starts at.
        let near = state.with_catalog(|catalog| catalog.before(offset, NEIGHBOURS));
        if let Some(after) = near.and_then(|base| base.checked_sub(1)) {
            let page = locator.page(after).await?;
            if page.segments.first().is_some_and(|s| s.base <= offset) {
                return if locator.take(&mut aim, after, &page) {
                    locator.finish(&aim);
                    Ok(())
                } else {
                    locator.run(&mut aim).await
                };
            }
            aim = Aim::at_most(offset);
        }
    } else if known {
        // The search begins at the known segment below the offset, and what is known pays for probes.
        state.with_catalog(|catalog| {
            aim.low = catalog.around(offset).0;
            aim.density = catalog.density_at(offset);
            locator.seen = catalog.len() as u64;
        });
    }
    locator.run(&mut aim).await
}

/// The segment directly before the one with this base, which a look has just found: known from the page that showed
/// it, unless the page begins with it. `None` for the first.
pub(crate) async fn segment_before(
    state: &PartitionState,
    store: &StoreReader,
    base: i64,
) -> Result<Option<SegmentRef>> {
    let Some(below) = base.checked_sub(1).filter(|below| *below >= 0) else { return Ok(None) };
    let known = |catalog: &Catalog| match catalog.lookup(below) {
        Lookup::In { base: before, next, .. } if next == Some(base) => Some(catalog.get(before)),
        Lookup::Below => Some(None),
        _ => None,
    };
    if let Some(before) = state.with_catalog(|catalog| known(catalog)) {
        return Ok(before);
    }
    let mut locator = Locator::new(state, store);
    locator.run(&mut Aim::at_most(below)).await?;
    Ok(state.with_catalog(|catalog| known(catalog)).flatten())
}

#[cfg(test)]
mod tests;
