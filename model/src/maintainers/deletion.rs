//! Deleting the partition, and making it again.

use super::state::{Age, Deletion, MaintenanceState, Step};
use super::{Flaw, MaintenanceRun, SLOTS};

/// Whether a writer that opens, or looks at the tail, may go on. A log without a segment and with a log start mark may be one
/// that is being deleted: then it is refused.
pub(super) fn may_open(run: &MaintenanceRun, state: &MaintenanceState) -> bool {
    let refused = state.newest().is_none() && state.mark > 0 && state.deletion.is_some();
    (state.exists || state.newest().is_some()) && (!refused || run.has(Flaw::OpenWithinDeletion))
}

/// It is another log: what was written about the deletion of the one before says nothing of it.
pub(super) fn make_again(state: &mut MaintenanceState) {
    (state.exists, state.deletion) = (true, None);
    (state.acked, state.life) = ([0; SLOTS], state.life + 1);
}

/// A partition that is being deleted loses its segments from the oldest up, the claim's last, each when the bound has passed
/// since it was put: a writer that the claim displaced may still want its slot.
pub(super) fn empty(run: &MaintenanceRun, state: &mut MaintenanceState) -> Step {
    let Some(Deletion { claim, emptied }) = state.deletion else { return Step::Idle };
    // Somebody appends after the claim, so the log lives on.
    if state.newest().is_some_and(|newest| newest > claim) {
        state.deletion = None;
        return Step::Idle;
    }
    let oldest = state.list().next();
    match oldest {
        Some((base, object)) if object.age != Age::Young || run.has(Flaw::EmptyAtOnce) => {
            Step::EmptyDelete { base, fresh: true }
        }
        Some(_) => Step::Empty,
        None => {
            state.deletion = Some(Deletion { claim, emptied: emptied.or(Some(Age::Young)) });
            Step::Emptied
        }
    }
}

/// Nothing but `log.json` and the marks is left. Until the bound has passed a writer that saw the claim's segment may append
/// after it, and another maintainer may delete what it saw in one of the slots.
pub(super) fn emptied(run: &MaintenanceRun, state: &mut MaintenanceState) -> Step {
    let Some(Deletion { emptied: Some(age), .. }) = state.deletion else { return Step::Idle };
    if state.newest().is_some() {
        state.deletion = None;
        return Step::Idle;
    }
    match age != Age::Young || run.has(Flaw::ForgetAtOnce) {
        true => Step::ForgetLog,
        false => Step::Emptied,
    }
}
