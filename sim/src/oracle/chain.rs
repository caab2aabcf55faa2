//! The one chain of segments: every slot ever won, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kfs_core::format::{Batch, CrcCheck, LogIdentity, PartitionId, Segment, SparseIndex};

use super::{Image, Judged};
use crate::shared::{SharedStore, writer_named};

/// A slot of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// One past its last offset.
    pub(crate) end: i64,
    /// Who won it: the number in the name that every simulated writer gives itself.
    pub(crate) writer: Option<usize>,
    /// Its object has no metadata.
    pub(crate) unnamed: bool,
    /// The greatest leader epoch in it.
    pub(crate) epoch: i32,
    /// When it was won.
    pub(crate) won_at: Duration,
    /// When the next slot was won.
    pub(crate) passed_at: Option<Duration>,
    /// The state of its object when it was won.
    pub(crate) e_tag: u64,
    /// Whether the object was deleted.
    pub(crate) deleted: bool,
}

/// A segment that came in.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) base: i64,
    pub(super) writer: Option<usize>,
    pub(super) batches: Vec<Batch>,
    /// It is the chain's new end, and this is the slot before it.
    pub(super) in_chain: bool,
    /// It landed where retention had removed a segment, wholly below the log start mark.
    pub(super) below_start: bool,
    pub(super) before: Option<Slot>,
    pub(super) epoch: i32,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    /// `log.json`'s.
    start: Option<i64>,
    first: Option<i64>,
    end: Option<i64>,
    mark: Option<i64>,
    slots: BTreeMap<i64, Slot>,
    /// All batches of the chain by base offset, with what is in them.
    batches: BTreeMap<i64, (Batch, Vec<Image>)>,
    /// Slots that were won again when the log had long passed them.
    ghosts: BTreeSet<i64>,
    /// Slots whose index was written last by somebody else.
    vandalised: BTreeSet<i64>,
    /// Segments may come in without `log.json`: they were there before.
    planting: bool,
    /// One past the last offset of each segment that was merged, by its base.
    merged: BTreeMap<i64, i64>,
    /// How long what a merge replaced has to stay.
    grace: Duration,
}

impl Chain {
    pub(super) fn new(grace: Duration) -> Self {
        Chain { grace, ..Chain::default() }
    }

    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }

    pub(super) fn log_start(&self) -> Option<i64> {
        self.mark.max(self.first.or(self.start))
    }

    pub(super) fn slot(&self, base: i64) -> Option<&Slot> {
        self.slots.get(&base)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (i64, &Slot)> {
        self.slots.iter().map(|(base, slot)| (*base, slot))
    }

    pub(super) fn ghosts(&self) -> usize {
        self.ghosts.len()
    }

    pub(super) fn plant(&mut self, planting: bool) {
        self.planting = planting;
    }

    pub(super) fn index_changed(&mut self, base: i64, by_a_vandal: bool) {
        if by_a_vandal {
            self.vandalised.insert(base);
        } else {
            self.vandalised.remove(&base);
        }
    }

    pub(super) fn identity_created(&mut self, store: &SharedStore, key: &str) -> Judged {
        let object = store.peek(key).ok_or("log.json is gone at once")?;
        let identity = LogIdentity::parse(&object.bytes).map_err(|e| format!("log.json: {e}"))?;
        if let Some(before) = self.start {
            return Err(format!("log.json came again, with {} after {before}", identity.start_offset));
        }
        self.start = Some(identity.start_offset);
        Ok(())
    }

    pub(super) fn marked(&mut self, mark: i64) -> Judged {
        if self.end.is_none_or(|end| mark > end) {
            return Err(format!("a log start mark at {mark} is beyond the end"));
        }
        self.mark = self.mark.max(Some(mark));
        Ok(())
    }

    /// The slot that may be won next.
    fn expected(&self) -> Option<i64> {
        self.end.or(self.start.map(|start| start.max(self.mark.unwrap_or(0))))
    }

    pub(super) fn created(&mut self, id: &PartitionId, store: &SharedStore, base: i64, now: Duration) -> Judged<Added> {
        let key = id.segment_key(base);
        let object = store.peek(&key).ok_or("a segment is gone at once")?;
        let segment =
            Segment::parse(&object.bytes, CrcCheck::Verify).map_err(|e| format!("segment {base} is broken: {e}"))?;
        let batches: Vec<Batch> = segment.batches().map(|at| at.batch).collect();
        if segment.base_offset() != base || !segment.overlaps().is_empty() {
            return Err(format!("segment {base} is not what its key says"));
        }
        let dense = batches.windows(2).all(|pair| pair[0].next_offset() == pair[1].base_offset());
        if !dense || batches.first().map(Batch::base_offset) != Some(base) {
            return Err(format!("the offsets in segment {base} are not dense"));
        }
        let writer = writer_named(&object.attributes);
        let unnamed = object.attributes.is_empty();
        let epoch = batches.iter().map(|b| b.header().leader_epoch).max().unwrap_or(-1);
        let expected = match self.expected() {
            Some(expected) => expected,
            None if self.planting => base,
            None => return Err(format!("segment {base} was written before log.json")),
        };
        if base > expected {
            return Err(format!("segment {base} leaves a hole: the log ends at {expected}"));
        }
        let mut added = Added { base, writer, batches, in_chain: false, below_start: false, before: None, epoch };
        if base < expected {
            let Some(slot) = self.slots.get(&base) else {
                return Err(format!("segment {base} lies in the midst of another, or before the log's start"));
            };
            if !slot.deleted {
                return Err(format!("slot {base} was won twice"));
            }
            self.ghosts.insert(base);
            added.below_start = self.mark.is_some_and(|mark| segment.next_offset() <= mark);
            return Ok(added);
        }
        if let Some((before, slot)) = self.slots.last_key_value() {
            // No segment is put before its predecessor's index is there (docs/design.md, "Commit").
            self.index_is_right(id, store, *before, slot)?;
        }
        if let Some(mut last) = self.slots.last_entry() {
            last.get_mut().passed_at = Some(now);
            added.before = Some(last.get().clone());
        }
        let end = segment.next_offset();
        let slot =
            Slot { end, writer, unnamed, epoch, won_at: now, passed_at: None, e_tag: object.e_tag, deleted: false };
        self.slots.insert(base, slot);
        for batch in &added.batches {
            self.batches.insert(batch.base_offset(), (batch.clone(), Image::of(batch)?));
        }
        self.first.get_or_insert(base);
        self.end = Some(end);
        added.in_chain = true;
        Ok(added)
    }

    /// Only maintenance replaces, and only by what holds the same.
    pub(super) fn replaced(&mut self, store: &SharedStore, key: &str, base: i64) -> Judged {
        let object = store.peek(key).ok_or("a segment is gone at once")?;
        if object.metadata("kfsmerged").is_none() {
            return Err(format!("segment {base} was overwritten"));
        }
        let segment =
            Segment::parse(&object.bytes, CrcCheck::Verify).map_err(|e| format!("merged {base} is broken: {e}"))?;
        for at in segment.batches() {
            let batch = at.batch;
            if self.batches.get(&batch.base_offset()).is_none_or(|(was, _)| was.bytes() != batch.bytes()) {
                return Err(format!("merged segment {base} has other bytes at {}", batch.base_offset()));
            }
        }
        let end = segment.next_offset();
        match self.merged.insert(base, end) {
            Some(before) if before > end => {
                Err(format!("merged segment {base} ended at {before} and ends at {end} now"))
            }
            _ => Ok(()),
        }
    }

    /// Maintenance deletes what lies below the log's start, or inside a merged segment.
    pub(super) fn deleted(&mut self, id: &PartitionId, store: &SharedStore, base: i64) -> Judged {
        if self.slots.last_key_value().is_some_and(|(newest, _)| *newest == base) {
            return Err(format!("the newest segment, {base}, was deleted"));
        }
        let Some(slot) = self.slots.get(&base) else { return Ok(()) };
        let cover = |(below, _): (&i64, &Slot)| {
            let object = store.peek(&id.segment_key(*below))?;
            let segment = Segment::parse(&object.bytes, CrcCheck::AlreadyChecked).ok()?;
            (segment.next_offset() >= slot.end).then_some((*below, object, segment))
        };
        if self.mark.is_none_or(|mark| slot.end > mark) {
            let mut covers: Vec<_> = self.slots.range(..base).rev().filter_map(cover).collect();
            if covers.is_empty() {
                return Err(format!("segment {base} was deleted, and what it held is served nowhere else"));
            }
            covers.retain(|(_, object, _)| store.age(object) > self.grace);
            if covers.is_empty() {
                return Err(format!("segment {base} was deleted, and was merged less than a grace ago"));
            }
            let mut rights = covers.iter().map(|(cover, _, segment)| match self.vandalised.contains(cover) {
                true => Ok(()),
                false => index_is_its_own(id, store, *cover, segment),
            });
            if !rights.any(|right| right.is_ok()) {
                return Err(format!("segment {base} was deleted, and the merged one has a wrong index"));
            }
        }
        if let Some(slot) = self.slots.get_mut(&base) {
            slot.deleted = true;
        }
        Ok(())
    }

    /// From the log's start on every slot is there or inside a merged segment, with the bytes that
    /// were won, and every index but perhaps the newest's is right.
    pub(super) fn whole_at_the_end(&self, id: &PartitionId, store: &SharedStore) -> Judged {
        let start = self.log_start().unwrap_or(0);
        let mut next = start;
        for (base, slot) in &self.slots {
            let Some(object) = store.peek(&id.segment_key(*base)) else { continue };
            if self.ghosts.contains(base) {
                continue;
            }
            let segment =
                Segment::parse(&object.bytes, CrcCheck::Verify).map_err(|e| format!("segment {base}: {e}"))?;
            for at in segment.batches() {
                let batch = at.batch;
                if self.batches.get(&batch.base_offset()).is_none_or(|(was, _)| was.bytes() != batch.bytes()) {
                    return Err(format!("segment {base} has other bytes at {}", batch.base_offset()));
                }
            }
            if *base > next {
                return Err(format!("offsets {next} to {} are lost", base - 1));
            }
            next = next.max(segment.next_offset());
            if self.end != Some(slot.end) {
                index_is_its_own(id, store, *base, &segment)?;
            }
        }
        match self.end {
            Some(end) if next != end => Err(format!("offsets {next} to {} are lost", end - 1)),
            _ => Ok(()),
        }
    }

    /// The batches that cover a range of offsets.
    pub(super) fn batches(&self, from: i64, to: i64) -> Vec<&Batch> {
        self.covering(from, to).map(|(batch, _)| batch).collect()
    }

    fn covering(&self, from: i64, to: i64) -> impl Iterator<Item = &(Batch, Vec<Image>)> {
        let first = self.batches.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let found = self.batches.range(first.min(to)..to).map(|(_, found)| found);
        found.filter(move |(batch, _)| batch.next_offset() > from)
    }

    pub(super) fn images(&self, from: i64, to: i64) -> Vec<Image> {
        let images = self.covering(from, to).flat_map(|(_, images)| images);
        images.filter(|image| (from..to).contains(&image.offset)).cloned().collect()
    }

    /// Whether a segment that still is what its writer put has its right index beside it.
    pub(super) fn index_is_right(&self, id: &PartitionId, store: &SharedStore, base: i64, slot: &Slot) -> Judged {
        let Some(object) = store.peek(&id.segment_key(base)).filter(|object| object.e_tag == slot.e_tag) else {
            return Ok(());
        };
        if self.vandalised.contains(&base) {
            return Ok(());
        }
        let segment = Segment::parse(&object.bytes, CrcCheck::Verify).map_err(|e| e.to_string())?;
        index_is_its_own(id, store, base, &segment)
    }

    /// The slot that holds an offset.
    pub(super) fn slot_of(&self, offset: i64) -> Option<(i64, &Slot)> {
        self.slots.range(..=offset).next_back().filter(|(_, slot)| offset < slot.end).map(|(base, slot)| (*base, slot))
    }
}

fn index_is_its_own(id: &PartitionId, store: &SharedStore, base: i64, segment: &Segment) -> Judged {
    let Some(index) = store.peek(&id.index_key(base)) else { return Err(format!("segment {base} has no index")) };
    let parsed = SparseIndex::parse(&index.bytes).map_err(|e| format!("the index of {base}: {e}"))?;
    if segment.index(parsed.interval()).encode() != index.bytes {
        return Err(format!("the index of segment {base} is not its own"));
    }
    Ok(())
}
