//! Time, and what maintenance does by its rules (docs/design.md, "Maintenance").

use crate::model::Run;
use crate::reached::Event;
use crate::state::{Fate, Step, Try};
use crate::store::{Content, LogJson, Replaced, Segment, Slot};

impl Run<'_> {
    /// More than `stale_after` passes, and less than the grace.
    pub(crate) fn bound_passes(&mut self) {
        self.state.left.bounds -= 1;
        self.everybody_sleeps();
    }

    /// More than the grace passes: no request that was sent before acts any more.
    pub(crate) fn grace_passes(&mut self) {
        self.state.left.graces -= 1;
        self.everybody_sleeps();
        self.state.store.late_segments.clear();
        self.state.store.late_indexes.clear();
        self.state.store.late_log_jsons = 0;
        for slot in &mut self.state.store.slots {
            if let Some(Segment { replaced: Some(replaced), .. }) = &mut slot.segment {
                *replaced = Replaced::Due;
            }
        }
    }

    fn everybody_sleeps(&mut self) {
        for writer in &mut self.state.writers {
            let in_flight = writer.flight.append != 0;
            writer.chain.stale |= in_flight;
            writer.flight.sent_is_stale |= in_flight;
            writer.flight.first_try = writer.flight.first_try.map(|_| Try::Stale);
            match &mut writer.step {
                Step::ReadNewest { stale, .. } => *stale = true,
                Step::Inspect { listed: Some(listed) } => listed.stale = true,
                _ => {}
            }
        }
        for slot in &mut self.state.store.slots {
            if let Some(segment) = &mut slot.segment {
                segment.old = true;
            }
        }
    }

    /// Retention: the mark first, then the oldest segment with its index.
    pub(crate) fn retain(&mut self) {
        self.state.left.retains -= 1;
        let Some((base, segment)) = self.state.store.list(0).next() else { return };
        self.reach(Event::Retained);
        let end = base + segment.content.size(self.config);
        self.state.store.mark = self.state.store.mark.max(end);
        *self.state.store.slot_mut(base) = Slot::default();
    }

    /// Replaces the first segment by one that holds all, then its index; the others stay in place.
    pub(crate) fn merge(&mut self, from: u8, to: u8) {
        self.state.left.merges -= 1;
        self.reach(Event::Merged);
        let chain: Vec<(u8, Segment)> = self.state.store.chain(self.config).collect();
        let taken = chain.iter().filter(|(base, _)| (from..=to).contains(base));
        let content = taken.clone().fold(Content::NONE, |all, (_, segment)| all.followed_by(segment.content));
        for (base, _) in taken.skip(1) {
            if let Some(segment) = &mut self.state.store.slot_mut(*base).segment {
                segment.replaced = Some(Replaced::WithinGrace);
            }
        }
        let slot = self.state.store.slot_mut(from);
        if let Some(segment) = &mut slot.segment {
            (segment.content, segment.merged) = (content, true);
        }
        slot.index = content;
    }

    /// Deletes a segment that was merged into another one, when the grace is over.
    pub(crate) fn delete_replaced(&mut self, base: u8) {
        self.reach(Event::ReplacedDeleted);
        *self.state.store.slot_mut(base) = Slot::default();
    }

    /// The partition is deleted. Whoever writes to it has been asleep, and what was on its way is over:
    /// as after the grace. If the run says so it is made again at once, and `create` writes `log.json`.
    pub(crate) fn delete_partition(&mut self) {
        self.state.left.deletes -= 1;
        self.reach(Event::PartitionDeleted);
        self.everybody_sleeps();
        let store = &mut self.state.store;
        let made = store.made + 1;
        let log_json = self.config.remade_at.map(|start_offset| LogJson { start_offset, made });
        *store = crate::store::Store { log_json, made, ..Default::default() };
        for fate in &mut self.state.fates {
            if matches!(fate, Fate::Acked(_)) {
                *fate = Fate::Deleted;
            }
        }
    }
}
