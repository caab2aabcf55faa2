//! Removing all segments of a partition, from the oldest up.

use std::sync::Arc;
use std::time::Duration;

use super::report::DeleteReport;
use crate::error::Result;
use crate::format::ObjectName;
use crate::log::maintain::entries::PAGE_KEYS;
use crate::log::maintain::removal::delete;
use crate::log::maintain::requests::remove;
use crate::log::maintain::store_time::{BOUND, StoreTime};
use crate::log::retry::Retry;
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::store::ObjectInfo;

/// How a pass over the segments ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// None is left.
    All,
    /// The next one is younger than the bound. After so long all that were listed may go.
    Young(Duration),
    /// This one lies beyond the claim: somebody appended after it.
    Beyond(i64),
}

/// The segments of a partition, and what stands beside them.
pub(super) struct Sweep<'a> {
    pub(super) state: &'a Arc<PartitionState>,
    /// `None`: whatever their ages are.
    pub(super) time: Option<StoreTime>,
    /// Segments above this base stay.
    pub(super) up_to: Option<i64>,
    /// Indexes before the first segment that is left, as the listing shows them.
    beside: Vec<(i64, String)>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(state: &'a Arc<PartitionState>, time: Option<StoreTime>, up_to: Option<i64>) -> Self {
        Sweep { state, time, up_to, beside: Vec::new() }
    }

    /// Removes the segments strictly from the oldest up, each known to be gone before the next one's turn, and their indexes
    /// after them. A DELETE is sent while the listing is younger than the bound.
    pub(super) async fn run(&mut self, report: &mut DeleteReport) -> Result<Swept> {
        let mut retry = Retry::begin(&self.state.retries, self.state.runtime(), "removing the segments of a log");
        'listing: loop {
            self.beside.clear();
            let mut after = format!("{}segment-", self.state.id.prefix());
            loop {
                let seen = Seen::now(&**self.state.runtime().clock());
                let prefix = self.state.id.prefix();
                let page = self.state.list_page_through(self.state.store(), &prefix, Some(&after), PAGE_KEYS).await?;
                if let Some(last) = page.objects.last() {
                    after.clone_from(&last.key);
                }
                let segments = self.sort(&page.objects);
                for (at, (base, object)) in segments.iter().enumerate() {
                    if let Some(stays) = self.spares(*base, segments.get(at..).unwrap_or_default()) {
                        self.remove_beside(*base).await?;
                        retry.done();
                        return Ok(stays);
                    }
                    if seen.is_past(BOUND, &**self.state.runtime().clock()) {
                        continue 'listing;
                    }
                    if let Some(failure) = delete(self.state, &object.key).await? {
                        retry.after(failure).await;
                        continue 'listing;
                    }
                    self.state.observer().segment_removed(&self.state.id, &object.key);
                    report.segments = report.segments.saturating_add(1);
                    report.bytes = report.bytes.saturating_add(object.size);
                }
                // The index of a segment sorts before it, so the last one's segment may be on the next page.
                let seen_up_to = match (page.complete, self.beside.last()) {
                    (false, Some((last, _))) if segments.last().is_none_or(|(base, _)| base < last) => *last,
                    _ => i64::MAX,
                };
                self.remove_beside(seen_up_to).await?;
                if page.complete {
                    retry.done();
                    return Ok(Swept::All);
                }
            }
        }
    }

    /// The segments of a page. Its indexes are kept.
    fn sort(&mut self, objects: &[ObjectInfo]) -> Vec<(i64, ObjectInfo)> {
        let mut segments = Vec::new();
        for object in objects {
            let name = object.key.strip_prefix(&self.state.id.prefix()).and_then(ObjectName::parse);
            match name {
                Some(ObjectName::Segment(base)) => segments.push((base, object.clone())),
                Some(ObjectName::Index(base) | ObjectName::TimeIndex(base)) => {
                    self.beside.push((base, object.key.clone()));
                }
                _ => {}
            }
        }
        segments
    }

    /// Why a segment stays, with those that follow it on its page.
    fn spares(&self, base: i64, listed: &[(i64, ObjectInfo)]) -> Option<Swept> {
        // What waits is told of an append after the claim at once, as far as the page shows it.
        let is_young = listed.first().is_some_and(|(_, object)| !self.left(object).is_zero());
        let beyond = listed.iter().map(|(base, _)| *base).find(|base| self.up_to.is_some_and(|up_to| *base > up_to));
        if let Some(beyond) = beyond.filter(|beyond| *beyond == base || is_young) {
            return Some(Swept::Beyond(beyond));
        }
        let left = |(_, object): &(i64, ObjectInfo)| self.left(object);
        match listed.first().map(left) {
            None | Some(Duration::ZERO) => None,
            Some(_) => listed.iter().map(left).max().map(Swept::Young),
        }
    }

    /// How long until an object may go.
    fn left(&self, object: &ObjectInfo) -> Duration {
        let elapsed = self.state.runtime().clock().elapsed();
        self.time.as_ref().map_or(Duration::ZERO, |time| BOUND.saturating_sub(time.age(object, elapsed)))
    }

    /// Deletes the indexes of segments below a base: they are gone.
    async fn remove_beside(&mut self, base: i64) -> Result<()> {
        let gone = self.beside.iter().take_while(|(beside, _)| *beside < base).count();
        for (_, key) in self.beside.drain(..gone) {
            remove(self.state, "removing an index", &key).await?;
        }
        Ok(())
    }
}
