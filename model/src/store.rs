//! The store as the protocol sees it: slots that are created once, their indexes, `log.json`, and
//! requests on their way.

use crate::config::{Config, OFFSETS};

/// The appends in a segment, in order: numbers from 1 to 15, four bits each, eight at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Content(u32);

impl Content {
    /// Nothing.
    pub(crate) const NONE: Content = Content(0);

    pub(crate) fn is_none(self) -> bool {
        self == Content::NONE
    }

    pub(crate) fn of(append: u8) -> Self {
        Content(u32::from(append))
    }

    pub(crate) fn appends(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let append = (rest & 15) as u8;
            rest >>= 4;
            (append != 0).then_some(append)
        })
    }

    pub(crate) fn followed_by(self, other: Content) -> Self {
        let taken = self.appends().count() as u32;
        Content(self.0 | other.0 << (4 * taken))
    }

    /// Offsets that it takes.
    pub(crate) fn size(self, config: &Config) -> u8 {
        self.appends().map(|append| config.size(append)).sum()
    }

    /// The highest leader epoch in it.
    pub(crate) fn epoch(self, config: &Config) -> Option<u8> {
        self.appends().filter_map(|append| config.epoch(append)).max()
    }
}

/// A `.kfs` object. Its content is its version: no two segments of a slot have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Segment {
    pub(crate) content: Content,
    /// Has `kfsmerged` in place of `kfsid`.
    pub(crate) merged: bool,
    /// Merged into another segment, and left in place: since less than the grace, or longer.
    pub(crate) replaced: Option<Replaced>,
    /// Was there before the bound passed last.
    pub(crate) old: bool,
    /// Landed in the middle of the past. Nobody can see this; it is kept for the properties.
    pub(crate) ghost: bool,
}

/// How long a segment that was merged into another has been left in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Replaced {
    WithinGrace,
    Due,
}

/// A slot: its segment and its index, the latter named by the content it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) segment: Option<Segment>,
    pub(crate) index: Content,
}

/// `log.json`: the start offset, and which making of the partition it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogJson {
    pub(crate) start_offset: u8,
    pub(crate) made: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) slots: [Slot; OFFSETS],
    pub(crate) log_json: Option<LogJson>,
    /// The log start mark: nothing below it is served.
    pub(crate) mark: u8,
    /// How often the partition was made again.
    pub(crate) made: u8,
    /// Creates of segments that nobody waits for any more: they may still act.
    pub(crate) late_segments: Late,
    /// Likewise of indexes.
    pub(crate) late_indexes: Late,
    /// Likewise of `log.json`, a bit for each start offset.
    pub(crate) late_log_jsons: u16,
}

/// A set of creates, each an append in a slot. One that is sent twice acts once: it creates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Late(u128);

impl Late {
    const APPENDS: usize = 12;

    fn bit(slot: u8, append: u8) -> u128 {
        1 << (usize::from(slot) * Self::APPENDS + usize::from(append))
    }

    pub(crate) fn add(&mut self, slot: u8, append: u8) {
        self.0 |= Self::bit(slot, append);
    }

    pub(crate) fn remove(&mut self, slot: u8, append: u8) {
        self.0 &= !Self::bit(slot, append);
    }

    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u8, u8)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(((bit / Self::APPENDS) as u8, (bit % Self::APPENDS) as u8))
        })
    }
}

impl Store {
    pub(crate) fn slot(&self, base: u8) -> &Slot {
        &self.slots[usize::from(base)]
    }

    pub(crate) fn slot_mut(&mut self, base: u8) -> &mut Slot {
        &mut self.slots[usize::from(base)]
    }

    /// What a listing gives: bases in order, from one on.
    pub(crate) fn list(&self, from: u8) -> impl Iterator<Item = (u8, Segment)> {
        let slots = self.slots.iter().enumerate().skip(usize::from(from));
        slots.filter_map(|(base, slot)| slot.segment.map(|segment| (base as u8, segment)))
    }

    pub(crate) fn newest(&self) -> Option<u8> {
        self.list(0).last().map(|(base, _)| base)
    }

    /// The chain of segments, walked from the first that counts by where each ends.
    pub(crate) fn chain<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (u8, Segment)> + 'a {
        let first = self.list(self.mark).next();
        std::iter::successors(first, move |(base, segment)| {
            let next = base + segment.content.size(config);
            let slot = self.slots.get(usize::from(next))?;
            slot.segment.map(|segment| (next, segment))
        })
    }
}
