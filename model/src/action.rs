//! Everything that can happen next, by the names that the code gives it.

use crate::config::{Config, Policy};
use crate::mutation::Mutation;
use crate::state::{Answer, State, Step};
use crate::store::Replaced;

/// What happens next. The number is the writer that does it or that it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A writer is opened, or opens again within a commit (`reopen`): `find` lists the keys.
    Find(usize),
    /// `adopt` reads the newest segment, or the one that won a lost slot, and makes its index right.
    ReadNewest(usize),
    /// `fix_start` sends its create of `log.json`.
    FixStart(usize),
    /// `fix_start` reads `log.json`.
    ReadLogJson(usize),
    /// `look_before` lists the tail.
    LookBefore(usize),
    /// An owner's read of `claim.json` shows a claim that it does not know: it yields.
    SeeClaim(usize),
    /// An owner that yields reads its next slot.
    Probe(usize),
    /// A writer that lost slots writes `claim.json`.
    WriteClaim(usize),
    /// `put` sends segment and index.
    Put(usize),
    /// `inspect` reads the slot.
    Inspect(usize),
    /// `finish_index` writes the index over what is there.
    FinishIndex(usize),
    /// `finish_index` is refused for good.
    IndexRefused(usize),
    /// `look_after` lists the tail.
    LookAfter(usize),
    /// The waiters are told.
    Ack(usize),
    /// The close deadline passes.
    GiveUp(usize),
    /// The process ends.
    Crash(usize),
    /// An awaited create acts, if it can, and is answered.
    Answer(usize, Request),
    /// An awaited create is no longer waited for.
    LoseReply(usize, Request),
    /// An awaited create is refused before it acts.
    Refuse(usize, Request),
    /// An awaited create is answered with a conflict, and nothing is there.
    EmptyConflict(usize, Request),
    /// An awaited create acts and is answered with a conflict.
    OwnConflict(usize, Request),
    /// An awaited create's fsync fails, after its name is visible or before.
    SyncFails(usize, Request, bool),
    /// A create of a segment acts that nobody waits for.
    LandSegment {
        /// Its slot.
        slot: u8,
        /// What is in it.
        append: u8,
    },
    /// A create of an index acts that nobody waits for.
    LandIndex {
        /// Its slot.
        slot: u8,
        /// Whose it is.
        append: u8,
    },
    /// A create of `log.json` acts that nobody waits for.
    LandLogJson {
        /// The start offset in it.
        start_offset: u8,
    },
    /// More time than `stale_after` passes for everybody.
    BoundPasses,
    /// More time than the grace passes for everybody.
    GracePasses,
    /// Retention moves the log start past the oldest segment and removes it.
    Retain,
    /// Maintenance merges the segments from one base to another into the first.
    Merge(u8, u8),
    /// Maintenance deletes a segment that was merged into another one.
    DeleteReplaced(u8),
    /// The partition is deleted while everybody sleeps, and made again if the run says so.
    DeletePartition,
}

/// The creates that a writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `log.json`.
    LogJson,
    /// `.kfs`.
    Segment,
    /// `.index`.
    Index,
}

/// All actions that are possible in a state.
pub(crate) fn possible(config: &Config, state: &State, actions: &mut Vec<Action>) {
    for writer in 0..config.writers.len() {
        of_writer(config, state, writer, actions);
    }
    for (slot, append) in state.store.late_segments.iter() {
        if state.store.slot(slot).segment.is_none() || config.mutation == Some(Mutation::OverwriteInsteadOfCreate) {
            actions.push(Action::LandSegment { slot, append });
        }
    }
    for (slot, append) in state.store.late_indexes.iter() {
        if state.store.slot(slot).index.is_none() {
            actions.push(Action::LandIndex { slot, append });
        }
    }
    if state.store.log_json.is_none() {
        let starts = (0..16).filter(|start| state.store.late_log_jsons >> start & 1 == 1);
        actions.extend(starts.map(|start_offset| Action::LandLogJson { start_offset }));
    }
    of_time(config, state, actions);
    of_maintenance(config, state, actions);
}

fn of_writer(config: &Config, state: &State, w: usize, actions: &mut Vec<Action>) {
    let (writer, ours) = (&state.writers[w], &config.writers[w]);
    match writer.step {
        Step::Closed => {
            if writer.opened < ours.opens && writer.begun < ours.appends {
                actions.push(Action::Find(w));
            }
        }
        Step::Idle => {}
        Step::Reopen => actions.push(Action::Find(w)),
        Step::ReadNewest { .. } => actions.push(Action::ReadNewest(w)),
        Step::FixStart => actions.push(Action::FixStart(w)),
        Step::AwaitLogJson => of_request(config, state, w, Request::LogJson, actions),
        Step::ReadLogJson => actions.push(Action::ReadLogJson(w)),
        Step::Fly => {
            actions.push(of_flight(config, state, w));
            of_claims(config, state, w, actions);
        }
        Step::Yield => actions.push(Action::Probe(w)),
        Step::AwaitPut { segment, index } => {
            if segment == Answer::Awaited {
                of_request(config, state, w, Request::Segment, actions);
            }
            if index == Answer::Awaited {
                of_request(config, state, w, Request::Index, actions);
            }
        }
        Step::Inspect { .. } => actions.push(Action::Inspect(w)),
        Step::FinishIndex if writer.chain.stale && looks_after(config, Mutation::FinishIndexUnseen) => {
            actions.push(Action::LookAfter(w));
        }
        Step::FinishIndex => {
            actions.push(Action::FinishIndex(w));
            if state.left.refusals > 0 {
                actions.push(Action::IndexRefused(w));
            }
        }
        Step::Settle => {
            let looks = writer.chain.stale && looks_after(config, Mutation::SkipLookAfter);
            actions.push(if looks { Action::LookAfter(w) } else { Action::Ack(w) });
        }
    }
    // Before its first request a flight has nothing to tell that was not told without it.
    let commits = writer.flight.append != 0 && writer.step != Step::Closed;
    if commits && state.left.crashes > 0 {
        actions.push(Action::Crash(w));
    }
    let waits = !matches!((writer.step, writer.chain.stale), (Step::Settle, false));
    if commits && waits && state.left.give_ups > 0 {
        actions.push(Action::GiveUp(w));
    }
}

fn looks_after(config: &Config, unless: Mutation) -> bool {
    config.mutation != Some(unless) && config.mutation != Some(Mutation::SkipLookAfter)
}

/// What the head of the loop in `fly` does next.
fn of_flight(config: &Config, state: &State, w: usize) -> Action {
    let stale = state.writers[w].chain.stale;
    if stale && config.mutation != Some(Mutation::SkipLookBefore) { Action::LookBefore(w) } else { Action::Put(w) }
}

/// What `claim.json` can lead to at the head of the loop in `fly`.
fn of_claims(config: &Config, state: &State, w: usize, actions: &mut Vec<Action>) {
    let (writer, policy) = (&state.writers[w], config.writers[w].policy);
    let owns = match policy {
        Policy::Takeover => writer.chain.committed,
        Policy::Fence => true,
        Policy::Rebase => false,
    };
    let unsent = writer.flight.first_try.is_none() || config.mutation == Some(Mutation::YieldInFlight);
    if owns && unsent && state.left.claims_seen > 0 {
        actions.push(Action::SeeClaim(w));
    }
    if policy == Policy::Takeover && writer.losses > 0 && state.left.claims_written > 0 {
        actions.push(Action::WriteClaim(w));
    }
}

fn of_request(config: &Config, state: &State, w: usize, request: Request, actions: &mut Vec<Action>) {
    actions.push(Action::Answer(w, request));
    if request == Request::Index && !config.index_faults {
        return;
    }
    let left = &state.left;
    let free = match request {
        Request::LogJson => state.store.log_json.is_none(),
        Request::Segment => state.store.slot(state.writers[w].chain.next).segment.is_none(),
        Request::Index => state.store.slot(state.writers[w].chain.next).index.is_none(),
    };
    if left.lost_replies > 0 {
        actions.push(Action::LoseReply(w, request));
    }
    if left.refusals > 0 {
        actions.push(Action::Refuse(w, request));
    }
    // An index that exists is written over, whyever it exists.
    if free && left.empty_conflicts > 0 && request != Request::Index {
        actions.push(Action::EmptyConflict(w, request));
    }
    if free && left.own_conflicts > 0 && request != Request::Index {
        actions.push(Action::OwnConflict(w, request));
    }
    if free && left.failed_syncs > 0 && request != Request::LogJson {
        actions.push(Action::SyncFails(w, request, false));
        actions.push(Action::SyncFails(w, request, true));
    }
}

fn of_time(config: &Config, state: &State, actions: &mut Vec<Action>) {
    if state.left.bounds > 0 {
        actions.push(Action::BoundPasses);
    }
    // No store applies a request later than the grace: what is awaited still must be answered first.
    if state.left.graces > 0 && (config.pauses || !state.awaits()) {
        actions.push(Action::GracePasses);
    }
}

fn of_maintenance(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let (store, left) = (&state.store, &state.left);
    let newest = store.newest();
    if left.retains > 0 {
        // Strictly from the oldest up: what merging replaced is not passed over.
        if let Some((base, segment)) = store.list(0).next().filter(|(_, segment)| segment.replaced.is_none()) {
            let may = Some(base) != newest || config.mutation == Some(Mutation::RetainNewest);
            let aged = segment.old || config.mutation == Some(Mutation::RetainYoung);
            if may && aged {
                actions.push(Action::Retain);
            }
        }
    }
    if left.merges > 0 {
        let chain: Vec<u8> = store.chain(config).map(|(base, _)| base).collect();
        for (at, from) in chain.iter().enumerate() {
            for to in chain.iter().skip(at + 1) {
                if Some(*to) != newest || config.mutation == Some(Mutation::MergeNewest) {
                    actions.push(Action::Merge(*from, *to));
                }
            }
        }
    }
    let mut replaced = store.list(0).filter(|(_, segment)| segment.replaced.is_some());
    // Strictly from the oldest up.
    let next = match config.mutation {
        Some(Mutation::DeleteReplacedFromTheNewest) => replaced.last(),
        _ => replaced.next(),
    };
    if let Some((base, segment)) = next {
        let due = segment.replaced == Some(Replaced::Due);
        if due || config.mutation == Some(Mutation::DeleteReplacedAtOnce) {
            actions.push(Action::DeleteReplaced(base));
        }
    }
    if left.deletes > 0 && newest.is_some() | store.log_json.is_some() && !state.awaits() {
        actions.push(Action::DeletePartition);
    }
}

/// Whether a writer with this policy moves on when it loses a slot.
pub(crate) fn may_move(config: &Config, policy: Policy, committed: bool) -> bool {
    match policy {
        Policy::Takeover => !committed || config.mutation == Some(Mutation::OwnerMovesOn),
        Policy::Fence => false,
        Policy::Rebase => true,
    }
}
