//! Maintenance as a model of its own: two maintainers whose requests interleave with each other, with appends, and with what
//! is on its way (docs/design.md, "Maintenance").
//!
//! The model of the commit protocol takes each act of maintenance as one step. This one takes it apart, and leaves the
//! writers' part out: an append is one step, and a writer that was displaced is a create that may still act.
//!
//! - A maintainer marks, looks, deletes, merges, writes an index, reads a version again, clears leftovers, and deletes the whole
//!   partition, request by request. It may end between any two of them.
//! - A request acts and is answered; or its reply is lost, and it acts at any time up to the grace, or never.
//! - Time is coarse: the bound passes, or the grace.
//! - A writer may look at the tail, or open, and send its append later, within the bound.
//! - A partition that was deleted is made again by a writer, or by a copy whose bytes, and so whose ETags, are those of the log
//!   that was there.
//!
//! What is left out: a reply that is lost while the partition is deleted *and* made again by a writer within the grace. A DELETE
//! of the old log that is late would remove a segment of the new one, and no rule can prevent that. Where two maintainers delete
//! at the same time and a writer makes the partition again at once, the slower one may delete the new `log.json`: its records stay.
//!
//! | run | states |
//! |---|---|
//! | retention against merging | 260,866 |
//! | overlapping merges | 146,021 |
//! | a hole | 11,532 |
//! | a displaced owner | 417,744 |
//! | made again under maintenance | 231,298 |
//! | deleted while writers look | 642,164 |
//! | copied back under maintenance | 999,019 |

mod deletion;
mod state;
mod step;

use std::sync::Arc;

use stateright::{Model, Property};

pub use self::state::{Chances, MaintenanceRule, MaintenanceState};
pub use self::step::MaintenanceAction;
use crate::reached::{Event, Reached};

/// Offsets that a run may use.
const SLOTS: usize = 6;
/// Maintainers of a run.
const MAINTAINERS: usize = 2;

/// A fault that is built into maintenance on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Segments are removed before the log start mark is there.
    DeleteBeforeMark,
    /// Segments are removed below a mark that was read before the last look at them.
    RememberMark,
    /// Retention removes a segment that is younger than the bound.
    RemoveYoung,
    /// Retention removes the newest segment.
    RemoveNewest,
    /// A segment is taken to end where the next key begins, though merging may have left that key.
    EndByNextKey,
    /// A DELETE is sent though the look that led to it is older than the bound.
    SleepBeforeDelete,
    /// A merge is sent though the look that led to it is older than the bound.
    SleepBeforeMerge,
    /// A merge replaces whatever is there.
    MergeWithoutIfMatch,
    /// A merge takes segments that do not follow each other.
    MergeAcrossHole,
    /// Leftovers are deleted without waiting for the grace.
    ClearAtOnce,
    /// Leftovers are deleted in any order.
    ClearFromTheNewest,
    /// Leftovers are deleted though the index of their cover is not right.
    ClearWithoutIndex,
    /// A segment of a partition that is deleted goes before the bound has passed since it was put.
    EmptyAtOnce,
    /// `log.json` is deleted before the segments have been gone for the bound.
    ForgetAtOnce,
    /// A writer opens a log of which nothing but marks is left, without a look whether it is being deleted.
    OpenWithinDeletion,
    /// A copy is put into a partition that was deleted less than a grace ago.
    CopyWithinGrace,
}

impl Flaw {
    /// All flaws.
    pub const ALL: &'static [Flaw] = &[
        Flaw::DeleteBeforeMark,
        Flaw::RememberMark,
        Flaw::RemoveYoung,
        Flaw::RemoveNewest,
        Flaw::EndByNextKey,
        Flaw::SleepBeforeDelete,
        Flaw::SleepBeforeMerge,
        Flaw::MergeWithoutIfMatch,
        Flaw::MergeAcrossHole,
        Flaw::ClearAtOnce,
        Flaw::ClearFromTheNewest,
        Flaw::ClearWithoutIndex,
        Flaw::EmptyAtOnce,
        Flaw::ForgetAtOnce,
        Flaw::OpenWithinDeletion,
        Flaw::CopyWithinGrace,
    ];
}

/// A run: everything that is fixed about it.
#[derive(Clone, Debug)]
pub struct MaintenanceRun {
    /// What it is called.
    pub name: &'static str,
    /// Segments of one offset each that are there, acked and older than the bound.
    pub old: u8,
    /// An offset among them whose segment is missing.
    pub hole: Option<u8>,
    /// Replies to DELETEs are lost too.
    pub loses_deletes: bool,
    /// How often each thing may happen.
    pub chances: Chances,
    /// The fault that is built in.
    pub flaw: Option<Flaw>,
}

impl MaintenanceRun {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The same run with a fault built in.
    pub fn with_flaw(self, flaw: Flaw) -> Self {
        MaintenanceRun { flaw: Some(flaw), ..self }
    }
}

/// The runs of CI, each with what it must come by.
pub fn maintenance_runs() -> Vec<(MaintenanceRun, &'static [Event])> {
    let run = |name, old, chances| MaintenanceRun { name, old, hole: None, loses_deletes: true, chances, flaw: None };
    let none = Chances::default();
    vec![
        (
            run(
                "retention against merging",
                3,
                Chances {
                    appends: 1,
                    lost: 1,
                    log_starts: 1,
                    retains: 1,
                    merges: 1,
                    clears: 1,
                    bounds: 1,
                    graces: 1,
                    ..none
                },
            ),
            &[Event::Retained, Event::Merged, Event::MergeRefused],
        ),
        (
            run("overlapping merges", 5, Chances { lost: 1, merges: 2, clears: 2, bounds: 1, graces: 2, ..none }),
            &[Event::Merged, Event::MergeRefused, Event::ReplacedDeleted],
        ),
        (
            MaintenanceRun {
                hole: Some(2),
                ..run("a hole", 5, Chances { merges: 2, clears: 1, bounds: 1, graces: 1, log_starts: 1, ..none })
            },
            &[Event::Merged],
        ),
        (
            run(
                "a displaced owner",
                2,
                Chances {
                    appends: 2,
                    rivals: 1,
                    log_starts: 1,
                    retains: 1,
                    merges: 1,
                    clears: 1,
                    bounds: 2,
                    graces: 1,
                    ..none
                },
            ),
            &[Event::GhostLanded, Event::Retained, Event::Merged],
        ),
        (
            MaintenanceRun {
                loses_deletes: false,
                ..run(
                    "made again under maintenance",
                    2,
                    Chances { appends: 2, lost: 1, retains: 1, merges: 1, deletes: 1, remakes: 1, bounds: 3, ..none },
                )
            },
            &[Event::PartitionDeleted, Event::MadeAgain, Event::Merged],
        ),
        (
            MaintenanceRun {
                loses_deletes: false,
                ..run(
                    "deleted while writers look",
                    2,
                    Chances { appends: 1, looks: 2, retains: 1, deletes: 2, remakes: 1, bounds: 3, ..none },
                )
            },
            &[Event::PartitionDeleted, Event::MadeAgain, Event::GhostLanded],
        ),
        (
            run(
                "copied back under maintenance",
                4,
                Chances { appends: 1, lost: 1, merges: 1, deletes: 1, copies: 1, bounds: 2, graces: 2, ..none },
            ),
            &[Event::PartitionDeleted, Event::Copied, Event::Merged],
        ),
    ]
}

/// Maintenance with one [`MaintenanceRun`].
#[derive(Clone, Debug)]
pub struct Maintenance {
    run: MaintenanceRun,
    expected: &'static [Event],
    reached: Arc<Reached>,
}

impl Maintenance {
    /// The model of a run in which each of these events must be reached.
    pub fn new(run: MaintenanceRun, expected: &'static [Event]) -> Self {
        Maintenance { run, expected, reached: Arc::default() }
    }

    /// How often each event was reached, counted over all transitions.
    pub fn reached(&self) -> Arc<Reached> {
        self.reached.clone()
    }
}

impl AsRef<Reached> for Maintenance {
    fn as_ref(&self) -> &Reached {
        &self.reached
    }
}

impl MaintenanceState {
    /// The rule that was broken on the way to this state.
    pub fn broken(&self) -> Option<MaintenanceRule> {
        self.broken
    }
}

impl Model for Maintenance {
    type State = MaintenanceState;
    type Action = MaintenanceAction;

    fn init_states(&self) -> Vec<MaintenanceState> {
        vec![MaintenanceState::first(&self.run)]
    }

    fn actions(&self, state: &MaintenanceState, actions: &mut Vec<MaintenanceAction>) {
        // What follows from a broken promise is of no interest.
        if state.broken.is_none() {
            step::possible(&self.run, state, actions);
        }
    }

    fn next_state(&self, last: &MaintenanceState, action: MaintenanceAction) -> Option<MaintenanceState> {
        let mut next = *last;
        step::act(&self.run, &self.reached, &mut next, action);
        next.check();
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let rules = Property::always("every rule", |_: &Maintenance, state: &MaintenanceState| state.broken.is_none());
        let events = self.expected.iter().map(|event| Property::sometimes(event.name(), event.condition()));
        std::iter::once(rules).chain(events).collect()
    }
}
