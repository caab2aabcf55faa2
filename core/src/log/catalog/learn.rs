//! Taking in what a look covered, and letting go of what is too much.

use std::time::Duration;

use super::entry::{CatalogEnd, Covered, KnownSegment, SegmentRef};
use super::{Catalog, KEPT_BY_LOOK, MAX_SEGMENTS};

impl Catalog {
    /// Takes in what a look told. Entries above `newest_before`, the newest known when the look
    /// began, stay where it reached the end: they may have been created since.
    pub(crate) fn learn(&mut self, covered: &Covered<'_>, newest_before: Option<i64>, now: Duration) {
        // The look speaks for all keys above `after`, up to the last segment that it found, or for all above it if it
        // reached the end. The entries `low..high` are those that it replaces.
        let found_last = covered.segments.last().map(|s| s.base);
        let through = if covered.to_end { found_last.max(newest_before) } else { found_last };
        let low = self.bases.partition_point(|base| *base <= covered.after);
        let high = through.map_or(low, |t| self.bases.partition_point(|base| *base <= t)).max(low);
        // A link says that nothing lies between two neighbours. Within the look that is proven. At both of its edges it must
        // be decided before entries are replaced.
        let linked_out = |index: usize| self.held.get(index).is_some_and(|held| held.linked);
        // The last one found keeps its link to what follows it, if it had one.
        let last_link = found_last.is_some()
            && high.checked_sub(1).is_some_and(|i| self.bases.get(i).copied() == found_last && linked_out(i));
        // The entry below the look: whether it is linked to the first segment that was found.
        let first_found = covered.segments.first().map(|s| s.base);
        let into = low.checked_sub(1);
        let into_link = match into.and_then(|i| self.bases.get(i)) {
            // The look began right after this entry, so what it found first is the neighbour. If it found nothing, an old link
            // holds only where no entry is removed.
            Some(base) if *base == covered.after => {
                first_found.is_some() || into.is_some_and(linked_out) && high == low
            }
            // The look began somewhere above this entry, and says nothing of what lies between. An old link still holds if
            // it led to the segment that was found first.
            Some(_) => {
                into.is_some_and(linked_out) && first_found.is_some() && self.bases.get(low).copied() == first_found
            }
            None => false,
        };
        // The end of the newest segment was read from the bytes of one version. If the look replaces that entry by
        // another version or by nothing, the end is not known.
        if let Some((of, _)) = self.end {
            let same = |s: &SegmentRef| s.base == of && self.get(of).is_some_and(|old| old.version.same_as(&s.version));
            let replaced = self.bases.get(low..high).is_some_and(|range| range.contains(&of));
            if replaced && !covered.segments.iter().any(same) {
                self.end = None;
            }
        }
        if let Some(held) = into.and_then(|i| self.held.get_mut(i)) {
            held.linked = into_link;
        }
        // The entries change places with what was found.
        let removed = high > low;
        self.bases.splice(low..high, covered.segments.iter().map(|s| s.base));
        let count = covered.segments.len();
        let fresh = covered
            .segments
            .iter()
            .enumerate()
            .map(|(i, segment)| KnownSegment { version: segment.version.clone(), linked: i + 1 < count || last_link });
        self.held.splice(low..high, fresh);
        // Whether the last entry is the newest segment. If the look found nothing above an entry that is not known here, that
        // entry may have been removed, and what remains was not looked at.
        if covered.to_end {
            self.looked = self.looked.max(Some(now));
            self.asked = self.asked.max(Some(now));
            let reached = found_last.is_some() || covered.after < 0 || self.newest() >= Some(covered.after);
            if reached {
                self.tail = CatalogEnd::Newest;
            } else if removed {
                self.tail = CatalogEnd::Unknown;
            }
        }
        // Last, room: when all catalogs together hold too much, this one halves itself around what was just looked at.
        self.used = now;
        let keep = if self.share.is_over() { self.bases.len() / 2 } else { MAX_SEGMENTS };
        self.trim(found_last.unwrap_or(covered.after), keep.max(KEPT_BY_LOOK));
    }

    /// Keeps the tail and what is near `focus` once there are more than `most`, and counts itself.
    pub(super) fn trim(&mut self, focus: i64, most: usize) {
        if self.bases.len() > most {
            self.trim_to(focus, most.min(MAX_SEGMENTS / 2));
        }
        self.count();
    }

    /// Keeps a quarter at the tail, and half around `focus`. The link over the gap goes.
    pub(super) fn trim_to(&mut self, focus: i64, keep: usize) {
        let tail_from = self.bases.len().saturating_sub(keep / 4);
        let at = self.bases.partition_point(|base| *base <= focus);
        let to = (at + keep / 4).min(tail_from);
        let from = to.saturating_sub(keep / 2);
        if let Some(held) = to.checked_sub(1).and_then(|i| self.held.get_mut(i)) {
            held.linked = held.linked && to == tail_from;
        }
        for range in [to..tail_from, 0..from] {
            self.bases.drain(range.clone());
            self.held.drain(range);
        }
        self.bases.shrink_to_fit();
        self.held.shrink_to_fit();
        self.greatest.clear();
    }
}
