//! A look under way: the pages it lists, what they prove, and what they tell the catalog.

use std::time::Duration;

use super::aim::{Above, Aim, PAGE_SEGMENTS};
use super::page::{ListedKeys, SegmentPage, list};
use crate::error::Result;
use crate::log::catalog::{Catalog, SegmentRef, StartInfo};
use crate::log::identity::saw_log_json;
use crate::log::progress::Progress;
use crate::log::state::PartitionState;
use crate::store::{StoreReader, Version};

/// What became of asking the manifest.
pub(super) enum Hinted {
    /// The goal is found.
    Found,
    /// The segment that serves the offset is named, and the caller reads it by its version.
    Named,
    /// The look goes on.
    Nothing,
}

pub(super) struct Locator<'a> {
    pub(super) state: &'a PartitionState,
    /// The store with the bound on requests of looks.
    pub(super) store: &'a StoreReader,
    newest_before: Option<i64>,
    /// Listings sent.
    pub(super) spent: u64,
    /// Different segments seen.
    pub(super) seen: u64,
    /// The first page ended with the index of a segment that the page did not reach.
    foretold: u64,
    /// Everything seen, to count each segment once.
    found: Catalog,
    /// A segment of at most so many bytes that the manifest names needs no listing: the caller reads it by its version.
    pub(super) most_named: Option<u64>,
    /// The manifest was asked where to look.
    pub(super) has_asked: bool,
    pub(super) start: Option<StartInfo>,
    pub(super) log_json: Option<Version>,
    pub(super) first: Option<SegmentRef>,
    pub(super) newest: Option<SegmentRef>,
}

impl<'a> Locator<'a> {
    pub(super) fn new(state: &'a PartitionState, store: &'a StoreReader) -> Self {
        Locator {
            state,
            store,
            newest_before: state.with_catalog(|c| c.newest()),
            spent: 0,
            seen: 0,
            foretold: 0,
            found: Catalog::default(),
            most_named: None,
            has_asked: false,
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
    pub(super) async fn page(&mut self, after: i64) -> Result<SegmentPage> {
        // What is listed is as old as the request: the answer may be taken in much later, by a machine that slept.
        let now = self.now();
        let keys = list(self.state, self.store, after).await?;
        self.spent += keys.listings;
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
            // An index sorts before its segment. If the page ends between the two, the segment is there all the same. The
            // manifest took the place of such an index.
            let is_cut = page.segments.last().is_some_and(|s| Some(s.base) < keys.last_index);
            self.foretold = u64::from(is_cut || (keys.manifest.is_some() && !page.to_end));
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
                catalog.set_manifest_listed(keys.manifest.clone());
            }
            catalog.is_over()
        });
        if is_over {
            self.state.bucket.shed_catalogs();
        }
    }

    /// Takes in a page that covers the bases above `after`, and moves the bounds of the aim closer together. Returns `true`
    /// when the goal is found.
    pub(super) fn take(&mut self, aim: &mut Aim, after: i64, page: &SegmentPage) -> bool {
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

    /// Lists until the goal is found, and lets the catalog know. The manifest may show a short way.
    pub(super) async fn run(&mut self, aim: &mut Aim) -> Result<()> {
        let mut progress = Progress::new(i128::MIN);
        loop {
            let narrowed = i128::from(aim.low.unwrap_or(-1)) - i128::from(aim.high);
            progress.step(narrowed, &self.state.id)?;
            match self.ask_manifest(aim).await? {
                Hinted::Found => break,
                Hinted::Named => return Ok(()),
                Hinted::Nothing => {}
            }
            let after = aim.next_after(self.first.as_ref().map(|s| s.base), self.can_probe());
            let page = self.page(after).await?;
            if self.take(aim, after, &page) {
                break;
            }
        }
        self.finish(aim);
        Ok(())
    }

    pub(super) fn finish(&self, aim: &Aim) {
        let Some(low) = aim.low else { return };
        self.state.with_catalog(|catalog| match aim.above {
            Above::Base(next) => catalog.link(low, next),
            Above::Nothing => catalog.set_newest(low),
            Above::Unknown => {}
        });
    }
}
