//! A state: the partition's objects, what is on its way, and where each maintainer stands.

use super::{MAINTAINERS, MaintenanceRun, SLOTS};

/// The content code of what a writer that was displaced puts into a slot that was freed.
pub(super) const GHOST: u8 = 3;

/// How much time has passed for certain: a bound, a grace, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Age {
    #[default]
    Young,
    PastBound,
    PastGrace,
    PastBoth,
}

impl Age {
    pub(super) fn after_a_bound(self) -> Self {
        match self {
            Age::Young | Age::PastBound => Age::PastBound,
            Age::PastGrace | Age::PastBoth => Age::PastBoth,
        }
    }

    pub(super) fn after_a_grace(self) -> Self {
        match self {
            Age::Young => Age::PastGrace,
            Age::PastBound | Age::PastGrace | Age::PastBoth => Age::PastBoth,
        }
    }
}

/// The bytes of a segment: for each of its offsets whose they are, two bits each. Equal bytes have equal ETags, so they are the
/// version, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bytes {
    pub(super) len: u8,
    codes: u16,
}

impl Bytes {
    pub(super) fn of(code: u8) -> Self {
        Bytes { len: 1, codes: u16::from(code) }
    }

    pub(super) fn code(self, at: u8) -> u8 {
        (self.codes >> (2 * at) & 3) as u8
    }

    pub(super) fn followed_by(self, other: Bytes) -> Self {
        Bytes { len: self.len + other.len, codes: self.codes | other.codes << (2 * self.len) }
    }
}

/// A `.kfs` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) age: Age,
}

/// A writer that was displaced, or that looked at the tail, and that still wants this slot. It believes what it knows of the
/// tail while that is younger than the bound; what one that was displaced sent then may act for a grace more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rival {
    pub(super) slot: u8,
    pub(super) age: Age,
    /// The life of the log that it saw.
    pub(super) life: u8,
    /// It has sent nothing yet.
    pub(super) looked: bool,
}

/// What is written about a deletion of the partition that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Deletion {
    /// The segment that claimed the partition.
    pub(super) claim: u8,
    /// No segment is left; since when.
    pub(super) emptied: Option<Age>,
}

/// A merge that was sent, and that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LateMerge {
    pub(super) base: u8,
    pub(super) read: Bytes,
    pub(super) merged: Bytes,
}

/// Where a maintainer stands: which request comes next. `fresh` says that its last look is younger than the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Step {
    #[default]
    Idle,
    /// `set_log_start`: the mark is put next.
    PutMark { at: u8 },
    /// The mark is read back.
    ReadMark { at: u8 },
    /// The oldest segment is looked at.
    LookAtOldest { mark: u8 },
    /// It is deleted.
    DeleteOldest { mark: u8, base: u8, fresh: bool },
    /// A run of segments was read; it replaces its first.
    PutMerged { base: u8, read: Bytes, merged: Bytes, fresh: bool },
    /// The reply was lost: the object tells whether the merge acted.
    ReadMerged { base: u8, merged: Bytes },
    /// The index of what was merged is written.
    WriteIndex { base: u8, bytes: Bytes },
    /// The segment's version is read again.
    CheckVersion { base: u8, bytes: Bytes },
    /// A leftover was found in a listing; its cover is read again.
    ReadCover { cover: u8, leftover: u8 },
    /// The leftover is deleted.
    DeleteLeftover { leftover: u8, fresh: bool },
    /// The partition is being deleted: it was claimed and marked. The oldest segment is looked at, the claim's last.
    Empty,
    /// One of its segments is deleted.
    EmptyDelete { base: u8, fresh: bool },
    /// No segment is left, which is written down. It stays so until the bound has passed.
    Emptied,
    /// `log.json` goes.
    ForgetLog,
    /// The marks go.
    ForgetMarks,
    /// That the deletion ended is written down.
    End,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chances {
    /// Appends of one offset, each in a segment of its own.
    pub appends: u8,
    /// Appends that displace a writer that wanted the same slot.
    pub rivals: u8,
    /// Replies that are lost. The request acts at any time up to the grace, or never.
    pub lost: u8,
    /// Times that a writer looks at the tail, or opens, and sends its append later.
    pub looks: u8,
    /// Calls of `set_log_start`.
    pub log_starts: u8,
    /// Times that what lies below the mark is removed.
    pub retains: u8,
    /// Merges.
    pub merges: u8,
    /// Times that leftovers of merging are looked for.
    pub clears: u8,
    /// Deletions of the partition.
    pub deletes: u8,
    /// Times that the partition is made again by a writer.
    pub remakes: u8,
    /// Times that the partition is made again by a copy of its first segments.
    pub copies: u8,
    /// Times that the bound passes for everybody.
    pub bounds: u8,
    /// Times that the grace passes for everybody.
    pub graces: u8,
}

/// A state of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaintenanceState {
    pub(super) slots: [Option<Object>; SLOTS],
    /// The bytes that each index belongs to.
    pub(super) indexes: [Bytes; SLOTS],
    /// `log.json` is there.
    pub(super) exists: bool,
    /// The greatest log start mark; 0 without one.
    pub(super) mark: u8,
    /// Whose bytes were acked at each offset; 0 for nobody's.
    pub(super) acked: [u8; SLOTS],
    /// What a writer puts into the log that is there now.
    pub(super) life: u8,
    /// The partition was deleted less than a grace ago.
    pub(super) tombstone: bool,
    /// It is being deleted.
    pub(super) deletion: Option<Deletion>,
    pub(super) rival: Option<Rival>,
    /// Creates of marks that were sent, a bit for each offset.
    pub(super) late_marks: u16,
    /// Deletes that were sent, a bit for each slot.
    pub(super) late_deletes: u16,
    pub(super) late_merge: Option<LateMerge>,
    pub(super) maintainers: [Step; MAINTAINERS],
    pub(super) left: Chances,
    pub(super) broken: Option<MaintenanceRule>,
}

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaintenanceRule {
    /// What was acked at or above the log start mark is read at its offset, by the names of the segments.
    AckedIsKept,
    /// Nothing is read at an offset at which nothing was acked.
    NothingAppears,
    /// No offset is acked twice.
    AckedOnce,
    /// The newest segment ends where the last acked offset does: no offset is given again, and none is skipped.
    EndStays,
    /// A leftover goes only when the segment that covers it has the right index.
    IndexBeforeClearing,
}

impl MaintenanceState {
    pub(super) fn first(run: &MaintenanceRun) -> Self {
        let mut state = MaintenanceState {
            slots: [None; SLOTS],
            indexes: [Bytes::default(); SLOTS],
            exists: true,
            mark: 0,
            acked: [0; SLOTS],
            life: 1,
            tombstone: false,
            deletion: None,
            rival: None,
            late_marks: 0,
            late_deletes: 0,
            late_merge: None,
            maintainers: [Step::Idle; MAINTAINERS],
            left: run.chances,
            broken: None,
        };
        for base in (0..run.old).filter(|base| Some(*base) != run.hole) {
            state.put(base, Object { bytes: Bytes::of(1), age: Age::PastBound });
            state.acked[usize::from(base)] = 1;
        }
        state
    }

    /// The object of a base, if it is there.
    pub(super) fn object(&self, base: u8) -> Option<Object> {
        self.slots.get(usize::from(base)).copied().flatten()
    }

    /// Puts a segment with its right index.
    pub(super) fn put(&mut self, base: u8, object: Object) {
        self.slots[usize::from(base)] = Some(object);
        self.indexes[usize::from(base)] = object.bytes;
    }

    /// A DELETE acts.
    pub(super) fn delete(&mut self, base: u8) {
        self.slots[usize::from(base)] = None;
        self.indexes[usize::from(base)] = Bytes::default();
    }

    /// All segments, by base.
    pub(super) fn list(&self) -> impl DoubleEndedIterator<Item = (u8, Object)> + '_ {
        self.slots.iter().enumerate().filter_map(|(base, object)| object.map(|object| (base as u8, object)))
    }

    /// The greatest base.
    pub(super) fn newest(&self) -> Option<u8> {
        self.list().next_back().map(|(base, _)| base)
    }

    /// The offset that the next append gets.
    pub(super) fn next(&self) -> u8 {
        self.list().next_back().map_or(self.mark, |(base, object)| base + object.bytes.len)
    }

    /// The segment that a leftover lies in wholly: the last one before it that does not lie in another itself.
    pub(super) fn cover(&self, of: u8) -> Option<u8> {
        let end = of + self.object(of)?.bytes.len;
        let (base, cover) = self.heads().filter(|(base, _)| *base < of).last()?;
        (base + cover.bytes.len >= end).then_some(base)
    }

    /// The segments that do not lie wholly in one before them.
    pub(super) fn heads(&self) -> impl Iterator<Item = (u8, Object)> + '_ {
        let mut end = 0;
        self.list().filter(move |(base, object)| {
            let is_head = base + object.bytes.len > end;
            end = end.max(base + object.bytes.len);
            is_head
        })
    }

    /// Whose bytes a reader finds at an offset: those of the segment with the greatest base at or below it.
    fn read(&self, offset: u8) -> u8 {
        let serves = self.list().take_while(|(base, _)| *base <= offset).last();
        serves
            .filter(|(base, object)| base + object.bytes.len > offset)
            .map_or(0, |(base, object)| object.bytes.code(offset - base))
    }

    /// Checks what must hold in every state.
    pub(super) fn check(&mut self) {
        let offsets = 0..SLOTS as u8;
        let acked = |offset: u8| self.acked[usize::from(offset)];
        if offsets.clone().any(|o| o >= self.mark && acked(o) != 0 && self.read(o) != acked(o)) {
            self.breaks(MaintenanceRule::AckedIsKept);
        } else if offsets.clone().any(|o| o >= self.mark && acked(o) == 0 && self.read(o) != 0) {
            self.breaks(MaintenanceRule::NothingAppears);
        } else if self.newest().is_some() {
            let end = offsets.rev().find(|offset| acked(*offset) != 0).map_or(0, |last| last + 1);
            if self.next() != end.max(self.mark) && self.next() != end {
                self.breaks(MaintenanceRule::EndStays);
            }
        }
    }

    pub(super) fn breaks(&mut self, rule: MaintenanceRule) {
        self.broken.get_or_insert(rule);
    }
}
