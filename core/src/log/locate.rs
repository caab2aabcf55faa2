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
#[derive(Debug)]
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
        let id = &self.state.id;
        let prefix = id.prefix();
        // No name of a segment sorts after this one.
        let last_key = id.segment_key(i64::MAX);
        let from_start = after < 0;
        // Log start marks sort before all others of the log; what stands before them is foreign.
        let mut from = if from_start { format!("{prefix}log-start-") } else { id.segment_key(after) };
        let mut page = SegmentPage { segments: Vec::new(), to_end: false };
        let mut start = StartInfo::default();
        let mut foretold = -1;
        let mut log_json = None;
        while page.segments.is_empty() && !page.to_end {
            let listed = self.state.list_page_through(self.store, &prefix, Some(&from), PAGE_KEYS).await?;
            self.spent = self.spent.saturating_add(1);
            page.to_end = listed.complete;
            if let Some(last) = listed.objects.last() {
                page.to_end |= last.key > last_key;
                if last.key <= from {
                    let message = "a listing gave keys that come before those asked for";
                    return Err(Error::new(ErrorKind::Internal, message).with_key(self.store.redact(&last.key)));
                }
                from.clone_from(&last.key);
                let segments = format!("{prefix}segment-");
                if from_start && *from >= *id.log_json_key() && *from < *segments {
                    from = segments;
                }
            }
            for object in listed.objects {
                match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                    Some(ObjectName::Segment(base)) => {
                        page.segments.push(SegmentRef { base, size: object.size, version: object.version })
                    }
                    Some(ObjectName::LogStart(offset)) => start.mark = start.mark.max(Some(offset)),
                    Some(ObjectName::LogJson) => {
                        start.has_log_json = true;
                        log_json = Some(object.version);
                    }
                    Some(ObjectName::Index(base)) if from_start => foretold = base,
                    _ => {}
                }
            }
        }
        if let Some(version) = log_json {
            self.log_json = Some(version.clone());
            let generation = self.state.generation();
            saw_log_json(self.state, self.store, version).await?;
            if self.state.generation() != generation {
                // What was known before the look was of another log.
                (self.newest_before, self.found, self.newest) = Default::default();
            }
        }
        let covered = Covered { after, segments: &page.segments, to_end: page.to_end };
        let known = self.found.len();
        self.found.learn(&covered, None, now);
        self.seen = self.seen.saturating_add(self.found.len().saturating_sub(known) as u64);
        if from_start {
            self.foretold = u64::from(page.segments.last().is_some_and(|s| s.base < foretold));
            start.first = page.segments.first().map(|s| s.base);
            self.start = Some(start);
            self.first = page.segments.first().cloned();
        }
        if let (true, Some(newest)) = (page.to_end, page.segments.last()) {
            self.newest = Some(newest.clone());
        }
        self.state.with_catalog(|catalog| {
            catalog.learn(&covered, self.newest_before, now);
            if from_start {
                catalog.set_start(start, now);
            }
        });
        if self.state.with_catalog(|catalog| catalog.is_over()) {
            self.state.bucket.shed_catalogs();
        }
        self.state.observer().listed(id, after, page.segments.len(), page.to_end);
        Ok(page)
    }

    /// Takes in a page that covers the bases above `after`. `true` when the goal is found.
    fn take(&mut self, aim: &mut Aim, after: i64, page: &SegmentPage) -> bool {
        let reach = page.segments.partition_point(|s| s.base <= aim.high);
        let above = page.segments.get(reach);
        if let Some(density) = page.density() {
            aim.density = density;
        }
        let Some(at_most) = reach.checked_sub(1).and_then(|i| page.segments.get(i)) else {
            // Nothing between `after` and the goal: the page begins above it, or at the log's end.
            aim.above = above.map_or(Above::Nothing, |s| Above::Base(s.base));
            if after < 0 || aim.low == Some(after) {
                return true;
            }
            aim.high = after;
            aim.overshot();
            return false;
        };
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
        let Some(low) = aim.low else { return -1 };
        let distance = aim.high.saturating_sub(low);
        if !self.can_probe() || distance <= PAGE_SEGMENTS {
            return low;
        }
        let page_span = aim.density.saturating_mul(PAGE_SEGMENTS);
        let middle = low.saturating_add(distance / 2);
        let at = match aim.step {
            ProbeStep::Double => {
                // Twice as far as the last time, or as what is known of the log is long.
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
        // From a little below what is known there.
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
