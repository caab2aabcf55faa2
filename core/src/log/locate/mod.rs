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

mod aim;
mod hints;
mod locator;
mod page;

use aim::Aim;
use locator::Locator;

use super::catalog::{Catalog, Lookup, SegmentRef};
use super::identity::confirm_log;
use super::state::PartitionState;
use crate::error::Result;
use crate::store::{StoreReader, Version};

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
    locate_with(Locator::new(state, state.store()), offset, fresh).await
}

/// The same for a fetch that begins at an offset, and reads a segment of at most so many bytes that the manifest names
/// ([`Catalog::hinted`]) by its version: then the catalog need not know of it.
pub(crate) async fn locate_or_name(state: &PartitionState, offset: i64, most: u64) -> Result<()> {
    let mut locator = Locator::new(state, state.store());
    locator.most_named = Some(most);
    locate_with(locator, offset, false).await
}

async fn locate_with(mut locator: Locator<'_>, offset: i64, fresh: bool) -> Result<()> {
    let state = locator.state;
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
