//! What can happen next, and what it does.

use super::deletion::{emptied, empty, make_again, may_open};
use super::state::{Age, Bytes, Deletion, GHOST, LateMerge, MaintenanceRule, MaintenanceState, Object, Rival, Step};
use super::{Flaw, MAINTAINERS, MaintenanceRun, SLOTS};
use crate::reached::{Event, Reached};

/// What happens next. The first number is the maintainer that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaintenanceAction {
    /// A writer appends. It may displace one that wanted the same slot.
    Append {
        /// Whether it does.
        displaces: bool,
    },
    /// A writer looks at the tail, or opens. What it appends it sends later.
    Look,
    /// The create of the writer that was displaced, or that looked, acts.
    RivalLands,
    /// More time than the bound passes for everybody.
    BoundPasses,
    /// More time than the grace passes for everybody.
    GracePasses,
    /// A call of `set_log_start` begins.
    SetLogStart(usize, u8),
    /// What lies below the mark is to be removed.
    Retain(usize),
    /// Segments from one base to another are read, to be merged.
    Merge(usize, u8, u8),
    /// A leftover of merging is found.
    Clear(usize, u8),
    /// The partition is claimed and marked, to be deleted; or a deletion that was begun goes on.
    DeletePartition(usize),
    /// The next request of a maintainer acts and is answered.
    Proceed(usize),
    /// It acts later or never, and is not answered.
    LoseReply(usize),
    /// A maintainer ends.
    Stop(usize),
    /// A mark is created that nobody waits for.
    LandMark(u8),
    /// A DELETE acts that nobody waits for.
    LandDelete(u8),
    /// A merge acts that nobody waits for.
    LandMerge,
    /// A writer makes the partition again.
    Remake,
    /// A copy of the partition's first segments is put in its place.
    Copy,
}

use MaintenanceAction as Action;

pub(super) fn possible(run: &MaintenanceRun, state: &MaintenanceState, actions: &mut Vec<Action>) {
    let left = &state.left;
    if may_open(run, state) && usize::from(state.next()) < SLOTS {
        if left.appends > 0 {
            actions.push(Action::Append { displaces: false });
            if left.rivals > 0 {
                actions.push(Action::Append { displaces: true });
            }
        }
        if left.looks > 0 {
            actions.push(Action::Look);
        }
    }
    if state.rival.is_some_and(|rival| state.object(rival.slot).is_none()) {
        actions.push(Action::RivalLands);
    }
    if left.bounds > 0 {
        actions.push(Action::BoundPasses);
    }
    if left.graces > 0 {
        actions.push(Action::GracePasses);
    }
    let bits = |set: u16| (0..SLOTS as u8 + 1).filter(move |at| set >> at & 1 == 1);
    actions.extend(bits(state.late_marks).map(Action::LandMark));
    actions.extend(bits(state.late_deletes).map(Action::LandDelete));
    if state.late_merge.is_some() {
        actions.push(Action::LandMerge);
    }
    if !state.exists && state.newest().is_none() && state.mark == 0 {
        if left.remakes > 0 {
            actions.push(Action::Remake);
        }
        let deleted_lately = state.tombstone || state.deletion.is_some();
        if left.copies > 0 && (!deleted_lately || run.has(Flaw::CopyWithinGrace)) {
            actions.push(Action::Copy);
        }
    }
    for m in 0..MAINTAINERS {
        match state.maintainers[m] {
            Step::Idle => jobs(run, state, m, actions),
            step => {
                actions.push(Action::Proceed(m));
                actions.push(Action::Stop(m));
                let deletes =
                    matches!(step, Step::DeleteOldest { .. } | Step::DeleteLeftover { .. } | Step::EmptyDelete { .. });
                let puts = matches!(step, Step::PutMark { .. } | Step::PutMerged { .. });
                let loses = puts || deletes && run.loses_deletes;
                if left.lost > 0 && loses {
                    actions.push(Action::LoseReply(m));
                }
            }
        }
    }
}

/// What an idle maintainer may begin. Both are alike, so the second begins nothing while the first is idle.
fn jobs(run: &MaintenanceRun, state: &MaintenanceState, m: usize, actions: &mut Vec<Action>) {
    if m > 0 && state.maintainers[..m].contains(&Step::Idle) {
        return;
    }
    let left = &state.left;
    if left.deletes > 0 && (state.deletion.is_some() || state.exists && usize::from(state.next()) < SLOTS) {
        actions.push(Action::DeletePartition(m));
    }
    if !state.exists {
        return;
    }
    if left.log_starts > 0 {
        actions.extend((state.mark + 1..=state.next()).map(|at| Action::SetLogStart(m, at)));
    }
    if left.retains > 0 && state.mark > 0 {
        actions.push(Action::Retain(m));
    }
    if left.merges > 0 {
        runs_to_merge(run, state).for_each(|(from, to)| actions.push(Action::Merge(m, from, to)));
    }
    if left.clears > 0 {
        let found = state.list().filter(|(base, _)| is_due(run, state, *base));
        actions.extend(found.map(|(base, _)| Action::Clear(m, base)));
    }
}

/// The first and the last base of each run that may be merged.
fn runs_to_merge(run: &MaintenanceRun, state: &MaintenanceState) -> impl Iterator<Item = (u8, u8)> {
    let heads: Vec<_> = state.heads().collect();
    let newest = state.newest();
    let mut runs = Vec::new();
    for (at, (from, _)) in heads.iter().enumerate() {
        let mut end = None;
        for (base, object) in &heads[at..] {
            let follows = end.is_none_or(|end| end == *base);
            let crosses = run.has(Flaw::MergeAcrossHole) && end.is_some_and(|end| end < *base);
            let spared = Some(*base) == newest;
            if !(follows || crosses) || spared || object.age == Age::Young {
                break;
            }
            if end.is_some() {
                runs.push((*from, *base));
            }
            end = Some(base + object.bytes.len);
        }
    }
    runs.into_iter()
}

/// Whether a segment is a leftover whose cover has been there for grace and bound, and the first one after that: with an older
/// one in place, a reader would find that instead of the cover.
fn is_due(run: &MaintenanceRun, state: &MaintenanceState, leftover: u8) -> bool {
    let Some(cover) = state.cover(leftover) else { return false };
    let first = state.list().find(|(base, _)| *base > cover).is_some_and(|(base, _)| base == leftover);
    let age = state.object(cover).map(|cover| cover.age).unwrap_or_default();
    (first || run.has(Flaw::ClearFromTheNewest)) && (age == Age::PastBoth || run.has(Flaw::ClearAtOnce))
}

pub(super) fn act(run: &MaintenanceRun, reached: &Reached, state: &mut MaintenanceState, action: Action) {
    match action {
        Action::Append { displaces } => {
            state.left.appends -= 1;
            if displaces {
                state.left.rivals -= 1;
                state.rival = Some(Rival { slot: state.next(), age: Age::Young, life: state.life, looked: false });
            }
            append(state);
        }
        Action::Look => {
            state.left.looks -= 1;
            state.rival = Some(Rival { slot: state.next(), age: Age::Young, life: state.life, looked: true });
        }
        Action::RivalLands => rival_lands(reached, state),
        Action::BoundPasses => {
            state.left.bounds -= 1;
            pass(state, Age::after_a_bound);
        }
        Action::GracePasses => {
            state.left.graces -= 1;
            pass(state, Age::after_a_grace);
            (state.late_marks, state.late_deletes, state.late_merge, state.tombstone) = (0, 0, None, false);
        }
        Action::SetLogStart(m, at) => {
            state.left.log_starts -= 1;
            state.maintainers[m] = match run.has(Flaw::DeleteBeforeMark) {
                true => Step::LookAtOldest { mark: at },
                false => Step::PutMark { at },
            };
        }
        Action::Retain(m) => {
            state.left.retains -= 1;
            state.maintainers[m] = Step::LookAtOldest { mark: state.mark };
        }
        Action::Merge(m, from, to) => {
            state.left.merges -= 1;
            let taken = state.heads().filter(|(base, _)| (from..=to).contains(base));
            let merged = taken.fold(Bytes::default(), |all, (_, object)| all.followed_by(object.bytes));
            let read = state.object(from).map(|object| object.bytes).unwrap_or_default();
            state.maintainers[m] = Step::PutMerged { base: from, read, merged, fresh: true };
        }
        Action::Clear(m, leftover) => {
            state.left.clears -= 1;
            let Some(cover) = state.cover(leftover) else { return };
            state.maintainers[m] = Step::ReadCover { cover, leftover };
        }
        Action::DeletePartition(m) => {
            state.left.deletes -= 1;
            if state.deletion.is_none() {
                let claim = state.next();
                append(state);
                state.mark = state.mark.max(claim + 1);
                state.deletion = Some(Deletion { claim, emptied: None });
            }
            state.maintainers[m] = Step::Empty;
        }
        Action::Proceed(m) => state.maintainers[m] = proceed(run, reached, state, m),
        Action::LoseReply(m) => {
            state.left.lost -= 1;
            state.maintainers[m] = lose(run, state, m);
        }
        Action::Stop(m) => state.maintainers[m] = Step::Idle,
        Action::LandMark(at) => {
            state.late_marks &= !(1 << at);
            // It belongs to the log that was there.
            state.mark = state.mark.max(at);
        }
        Action::LandDelete(base) => {
            state.late_deletes &= !(1 << base);
            state.delete(base);
        }
        Action::LandMerge => {
            if let Some(LateMerge { base, read, merged }) = state.late_merge.take() {
                let _ = replace(run, state, base, read, merged);
            }
        }
        Action::Remake => {
            state.left.remakes -= 1;
            make_again(state);
            reached.count(Event::MadeAgain);
        }
        Action::Copy => {
            state.left.copies -= 1;
            make_again(state);
            reached.count(Event::Copied);
            // The bytes are those of the log that was deleted, up to its second offset.
            for base in 0..2 {
                state.put(base, Object { bytes: Bytes::of(1), age: Age::Young });
                state.acked[usize::from(base)] = 1;
            }
        }
    }
}

fn append(state: &mut MaintenanceState) {
    let (at, life) = (state.next(), state.life);
    state.put(at, Object { bytes: Bytes::of(life), age: Age::Young });
    ack(state, at, life);
}

fn ack(state: &mut MaintenanceState, at: u8, code: u8) {
    if state.acked[usize::from(at)] != 0 {
        state.breaks(MaintenanceRule::AckedOnce);
    }
    state.acked[usize::from(at)] = code;
}

fn rival_lands(reached: &Reached, state: &mut MaintenanceState) {
    let Some(Rival { slot, age, life, .. }) = state.rival.take() else { return };
    if state.object(slot).is_some() {
        return;
    }
    reached.count(Event::GhostLanded);
    state.put(slot, Object { bytes: Bytes::of(GHOST), age: Age::Young });
    if age == Age::Young {
        ack(state, slot, GHOST);
        if life != state.life || slot < state.mark {
            state.breaks(MaintenanceRule::AckedIsKept);
        }
    }
}

/// Time passes for all objects, for the writer that was displaced, and for whoever looked at something.
fn pass(state: &mut MaintenanceState, older: fn(Age) -> Age) {
    state.slots.iter_mut().flatten().for_each(|object| object.age = older(object.age));
    if let Some(rival) = &mut state.rival {
        rival.age = older(rival.age);
    }
    state.rival =
        state.rival.filter(|rival| if rival.looked { rival.age == Age::Young } else { rival.age != Age::PastBoth });
    for step in &mut state.maintainers {
        match step {
            Step::DeleteOldest { fresh, .. }
            | Step::PutMerged { fresh, .. }
            | Step::DeleteLeftover { fresh, .. }
            | Step::EmptyDelete { fresh, .. } => *fresh = false,
            _ => {}
        }
    }
    if let Some(Deletion { emptied: Some(age), .. }) = &mut state.deletion {
        *age = older(*age);
    }
}

/// The next request of a maintainer acts and is answered.
fn proceed(run: &MaintenanceRun, reached: &Reached, state: &mut MaintenanceState, m: usize) -> Step {
    match state.maintainers[m] {
        Step::Idle => Step::Idle,
        Step::PutMark { at } => {
            state.mark = state.mark.max(at);
            Step::ReadMark { at }
        }
        Step::ReadMark { at } if state.mark >= at => Step::LookAtOldest { mark: at },
        Step::ReadMark { .. } => Step::Idle,
        // One listing shows the marks and the oldest segment.
        Step::LookAtOldest { mark } => match oldest_below(run, state, mark) {
            Some(base) => Step::DeleteOldest { mark, base, fresh: true },
            None => Step::Idle,
        },
        Step::DeleteOldest { mark, base, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                state.delete(base);
                reached.count(Event::Retained);
            }
            Step::LookAtOldest { mark }
        }
        Step::PutMerged { fresh: false, .. } if !run.has(Flaw::SleepBeforeMerge) => Step::Idle,
        Step::PutMerged { base, read, merged, .. } => match replace(run, state, base, read, merged) {
            true => {
                reached.count(Event::Merged);
                Step::WriteIndex { base, bytes: merged }
            }
            false => {
                reached.count(Event::MergeRefused);
                Step::Idle
            }
        },
        Step::ReadMerged { base, merged } => match state.object(base) {
            Some(object) if object.bytes == merged => Step::WriteIndex { base, bytes: merged },
            _ => Step::Idle,
        },
        Step::WriteIndex { base, bytes } => {
            // An index without its segment is no harm: who wins the slot writes over it.
            if state.object(base).is_some() {
                state.indexes[usize::from(base)] = bytes;
            }
            Step::CheckVersion { base, bytes }
        }
        Step::CheckVersion { base, bytes } => match state.object(base) {
            Some(object) if object.bytes != bytes => Step::WriteIndex { base, bytes: object.bytes },
            _ => Step::Idle,
        },
        Step::ReadCover { cover, leftover } => {
            match state.cover(leftover) == Some(cover) && is_due(run, state, leftover) {
                true if index_is_right(state, cover) || run.has(Flaw::ClearWithoutIndex) => {
                    Step::DeleteLeftover { leftover, fresh: true }
                }
                true => {
                    let bytes = state.object(cover).map(|object| object.bytes).unwrap_or_default();
                    Step::WriteIndex { base: cover, bytes }
                }
                false => Step::Idle,
            }
        }
        Step::DeleteLeftover { leftover, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                let cover = state.cover(leftover);
                if cover.is_some_and(|cover| !index_is_right(state, cover)) && run.has(Flaw::ClearWithoutIndex) {
                    state.breaks(MaintenanceRule::IndexBeforeClearing);
                }
                state.delete(leftover);
                reached.count(Event::ReplacedDeleted);
            }
            Step::Idle
        }
        Step::Empty => empty(run, state),
        Step::EmptyDelete { base, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                state.delete(base);
            }
            Step::Empty
        }
        Step::Emptied => emptied(run, state),
        Step::ForgetLog => {
            state.exists = false;
            Step::ForgetMarks
        }
        Step::ForgetMarks => {
            // What was below the marks was deleted.
            state.acked[..usize::from(state.mark)].fill(0);
            (state.mark, state.late_marks) = (0, 0);
            Step::End
        }
        Step::End => {
            (state.deletion, state.tombstone) = (None, true);
            reached.count(Event::PartitionDeleted);
            Step::Idle
        }
    }
}

/// The reply to a maintainer's request is lost. The request may act later, or never.
fn lose(run: &MaintenanceRun, state: &mut MaintenanceState, m: usize) -> Step {
    match state.maintainers[m] {
        Step::PutMark { at } => {
            state.late_marks |= 1 << at;
            Step::ReadMark { at }
        }
        Step::DeleteOldest { mark, base, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                state.late_deletes |= 1 << base;
            }
            Step::LookAtOldest { mark }
        }
        Step::PutMerged { base, read, merged, fresh } => {
            if (fresh || run.has(Flaw::SleepBeforeMerge)) && state.late_merge.is_none() {
                state.late_merge = Some(LateMerge { base, read, merged });
            }
            Step::ReadMerged { base, merged }
        }
        Step::DeleteLeftover { leftover, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                state.late_deletes |= 1 << leftover;
            }
            Step::Idle
        }
        Step::EmptyDelete { base, fresh } => {
            if fresh || run.has(Flaw::SleepBeforeDelete) {
                state.late_deletes |= 1 << base;
            }
            Step::Empty
        }
        step => step,
    }
}

/// The oldest segment, if it lies wholly below the mark and is not spared.
fn oldest_below(run: &MaintenanceRun, state: &MaintenanceState, remembered: u8) -> Option<u8> {
    let mark = if run.has(Flaw::RememberMark) || run.has(Flaw::DeleteBeforeMark) { remembered } else { state.mark };
    let mut list = state.list();
    let (base, object) = list.next()?;
    let end = match (run.has(Flaw::EndByNextKey), list.next()) {
        (true, Some((next, _))) => next,
        _ => base + object.bytes.len,
    };
    let newest = state.newest() == Some(base) && !run.has(Flaw::RemoveNewest);
    let young = object.age == Age::Young && !run.has(Flaw::RemoveYoung);
    (end <= mark && !newest && !young).then_some(base)
}

/// A conditional PUT acts, if the object is the one that was read.
fn replace(run: &MaintenanceRun, state: &mut MaintenanceState, base: u8, read: Bytes, merged: Bytes) -> bool {
    let matches = state.object(base).is_some_and(|object| object.bytes == read);
    if !matches && !run.has(Flaw::MergeWithoutIfMatch) {
        return false;
    }
    state.slots[usize::from(base)] = Some(Object { bytes: merged, age: Age::Young });
    true
}

fn index_is_right(state: &MaintenanceState, base: u8) -> bool {
    state.object(base).is_some_and(|object| object.bytes == state.indexes[usize::from(base)])
}
