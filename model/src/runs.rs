//! The runs: how many writers, appends and faults, and what each run must come by.
//!
//! A run is small, but whole: every interleaving of its actions is visited. Together they take what the
//! protocol has apart by theme, for one run with everything would have no end.

use crate::config::{Budget, Config, Policy, WriterConfig};
use crate::model::Commit;
use crate::reached::Event;

fn takeover(appends: u8) -> WriterConfig {
    WriterConfig::new(Policy::Takeover, appends)
}

fn fence(appends: u8) -> WriterConfig {
    WriterConfig::new(Policy::Fence, appends)
}

fn rebase(appends: u8) -> WriterConfig {
    WriterConfig::new(Policy::Rebase, appends)
}

/// An empty partition: two writers, one of which is opened again after a crash.
pub fn empty_partition() -> Config {
    let budget = Budget { lost_replies: 2, empty_conflicts: 1, refusals: 1, crashes: 1, ..Budget::default() };
    Config::new("empty partition", &[takeover(2).with_opens(2), rebase(1).with_size(2)]).with_budget(budget)
}

/// An empty partition: three writers that ask for different start offsets, or for none.
pub fn start_offsets() -> Config {
    let writers = [takeover(1).with_start_offset(3), fence(1).with_start_offset(0), rebase(2)];
    let budget = Budget { lost_replies: 2, crashes: 1, empty_conflicts: 1, ..Budget::default() };
    Config::new("start offsets", &writers).with_budget(budget)
}

/// A writer of each policy on a partition with one segment; index requests fail too.
pub fn three_policies() -> Config {
    let budget = Budget { lost_replies: 1, give_ups: 1, bounds: 1, ..Budget::default() };
    let config = Config::new("three policies", &[takeover(1), fence(1), rebase(1).with_size(2)]);
    Config { index_faults: true, ..config.with_old(1).with_budget(budget) }
}

/// An owner displaced by another, both of which sleep, crash and come back.
pub fn takeover_and_back() -> Config {
    let budget = Budget { lost_replies: 2, crashes: 1, bounds: 1, ..Budget::default() };
    let writers = [takeover(2).with_opens(2), takeover(2).with_size(2)];
    Config::new("takeover and back", &writers).with_old(1).with_budget(budget)
}

/// A writer that takes over from a busy one, and gives up after two losses.
pub fn contention() -> Config {
    let budget = Budget { lost_replies: 1, give_ups: 1, bounds: 1, ..Budget::default() };
    let config = Config::new("contention", &[takeover(2), rebase(3)]);
    Config { most_losses: 2, ..config.with_old(1).with_budget(budget) }
}

/// Leader epochs: the writer with the lower one sleeps, and comes back.
pub fn leader_epochs() -> Config {
    let budget = Budget { lost_replies: 1, bounds: 1, ..Budget::default() };
    let writers = [
        takeover(2).with_leader_epoch(1).with_opens(2),
        takeover(1).with_leader_epoch(2),
        rebase(1).with_leader_epoch(1),
    ];
    Config::new("leader epochs", &writers).with_old(1).with_budget(budget)
}

/// Owners that yield to claims, written or not, and a claimant that may be gone before it commits.
pub fn yielding() -> Config {
    let budget = Budget { lost_replies: 1, crashes: 1, claims_seen: 2, claims_written: 1, ..Budget::default() };
    let writers = [takeover(2).with_opens(2), fence(3).with_size(2)];
    Config { most_losses: 2, ..Config::new("yielding", &writers).with_old(1).with_budget(budget) }
}

/// Owners that sleep while they yield, and old segments are removed.
pub fn yielding_under_retention() -> Config {
    let budget = Budget { bounds: 1, retains: 3, claims_seen: 2, claims_written: 1, ..Budget::default() };
    let config = Config::new("yielding under retention", &[takeover(3), takeover(2)]);
    Config { most_losses: 2, ..config.with_old(1).with_budget(budget) }
}

/// A store that answers conflicts and keeps nothing, up to the limit.
pub fn empty_conflicts() -> Config {
    let budget = Budget { lost_replies: 1, empty_conflicts: 3, bounds: 1, ..Budget::default() };
    let config = Config::new("empty conflicts", &[takeover(2), rebase(2)]);
    Config { most_empty_conflicts: 2, ..config.with_old(1).with_budget(budget) }
}

/// A store whose client may send a request twice by itself, and writers that give up.
pub fn repeating_store() -> Config {
    let budget = Budget { lost_replies: 1, own_conflicts: 1, give_ups: 1, graces: 1, merges: 1, ..Budget::default() };
    let config = Config::new("repeating store", &[takeover(1), rebase(2)]);
    Config { single_attempt: false, ..config.with_old(1).with_budget(budget) }
}

/// A store that loses metadata: nobody can tell his own segment.
pub fn no_metadata() -> Config {
    let budget = Budget { lost_replies: 2, empty_conflicts: 1, give_ups: 1, bounds: 1, ..Budget::default() };
    let config = Config::new("no metadata", &[takeover(2), rebase(1)]);
    Config { keeps_metadata: false, ..config.with_old(1).with_budget(budget) }
}

/// A directory whose fsyncs fail.
pub fn directory() -> Config {
    let budget = Budget { lost_replies: 1, failed_syncs: 1, refusals: 1, ..Budget::default() };
    let config = Config::new("directory", &[takeover(2).with_opens(2), rebase(2)]);
    Config { index_faults: true, ..config.with_old(1).with_budget(budget) }
}

/// Writers that sleep while old segments are merged, and what was replaced is deleted.
pub fn merging() -> Config {
    let budget = Budget { lost_replies: 1, bounds: 1, graces: 1, merges: 1, ..Budget::default() };
    Config::new("merging", &[takeover(2), rebase(3)]).with_old(1).with_budget(budget)
}

/// Writers that sleep while old segments are merged, and the oldest are removed.
pub fn retention() -> Config {
    let budget = Budget { lost_replies: 1, bounds: 1, graces: 1, merges: 1, retains: 2, ..Budget::default() };
    Config::new("retention", &[takeover(2), rebase(2)]).with_old(1).with_budget(budget)
}

/// As [`retention`], with a process that pauses for longer than the grace just before it sends.
pub fn pausing_process() -> Config {
    let budget = Budget { lost_replies: 1, graces: 1, merges: 1, retains: 2, ..Budget::default() };
    let config = Config::new("pausing process", &[takeover(2), rebase(2)]);
    Config { pauses: true, ..config.with_old(2).with_budget(budget) }
}

/// A partition is deleted while its writers sleep, and made again by them.
pub fn deletion() -> Config {
    let budget = Budget { lost_replies: 1, bounds: 1, deletes: 1, ..Budget::default() };
    let config = Config::new("deletion", &[takeover(2), rebase(2)]);
    Config { index_faults: true, ..config.with_budget(budget) }
}

/// A partition is deleted while its writers sleep, and made again with another start offset.
pub fn made_again() -> Config {
    let budget = Budget { lost_replies: 1, deletes: 1, ..Budget::default() };
    let config = Config::new("made again", &[takeover(1), rebase(1), fence(1)]);
    Config { remade_at: Some(3), ..config.with_budget(budget) }
}

/// The runs of CI, each with what it must come by.
pub fn all() -> Vec<Commit> {
    use Event::*;
    let run = |config: Config, expected: &[Event]| Commit::new(config, expected);
    vec![
        run(
            empty_partition(),
            &[
                LogJsonObeyed,
                AckedAfterLostReply,
                OursByConflict,
                ConflictKeptNothing,
                TookOver,
                FencedAfterCommit,
                LandedOfFormerOwner,
                Crashed,
                IndexOverwritten,
                IndexRepaired,
                Poisoned,
            ],
        ),
        run(start_offsets(), &[StartConflict, LogJsonObeyed, FencedAtFirstLoss, Followed]),
        run(three_policies(), &[FencedAtFirstLoss, Followed, PerhapsStored, NotStored, LandedLate]),
        run(
            takeover_and_back(),
            &[TookOver, FencedAfterCommit, FencedByLook, ReopenedAfterLook, LandedOfFormerOwner, OutcomeUnknown],
        ),
        run(contention(), &[Contended, Followed, TookOver, NotStored]),
        run(leader_epochs(), &[FencedByEpoch, LandedLate, FencedByLook, Followed]),
        run(
            yielding(),
            &[Yielded, FencedWhileYielding, WentOnAfterYielding, LossesForgiven, TookOver, Contended, Crashed],
        ),
        run(yielding_under_retention(), &[Yielded, FencedWhileYielding, WentOnAfterYielding, Retained, FencedByLook]),
        run(empty_conflicts(), &[ConflictKeptNothing, PerhapsStored, LandedOfFormerOwner, AckedAfterLostReply]),
        run(repeating_store(), &[OursByConflict, PerhapsStored, NotStored, MergedBeforeKnown]),
        run(no_metadata(), &[OutcomeUnknown, PerhapsStored, Followed]),
        run(directory(), &[PerhapsStored, NotStored, IndexOverwritten, IndexRepaired]),
        run(
            merging(),
            &[
                Merged,
                ReplacedDeleted,
                Jumped,
                MergedBeforeKnown,
                ReopenedBehindMerged,
                OursByLook,
                LookBeforeClear,
                LookAfterOk,
                LookAfterBuiltUpon,
                LookAfterFenced,
                FencedByLook,
            ],
        ),
        run(retention(), &[Retained, Merged, ReplacedDeleted, SlotChangedWithinLook, LookAfterFenced]),
        run(pausing_process(), &[GhostLanded, LookAfterFenced, SlotChangedWithinLook, Retained]),
        run(deletion(), &[PartitionDeleted, LookAfterFenced, FencedByLook, ReopenedAfterLook]),
        run(made_again(), &[PartitionDeleted, LogJsonObeyed, ReopenedAfterLook, FencedByLook]),
    ]
}

/// Runs that take minutes and gigabytes.
pub fn larger() -> Vec<Commit> {
    let none = Budget::default();
    let configs =
        [
            Config::new("crashes under maintenance", &[takeover(2).with_opens(2), rebase(2)]).with_old(1).with_budget(
                Budget { lost_replies: 1, crashes: 1, bounds: 1, graces: 1, merges: 1, retains: 1, ..none },
            ),
            Config::new("three writers", &[takeover(2).with_opens(2), takeover(1).with_size(2), rebase(1)])
                .with_old(1)
                .with_budget(Budget { lost_replies: 1, crashes: 1, bounds: 1, ..none }),
            Config::new("merging under three writers", &[takeover(1), rebase(2), rebase(1)])
                .with_old(1)
                .with_budget(Budget { lost_replies: 1, graces: 1, merges: 1, ..none }),
            Config::new("merging twice", &[takeover(1), rebase(3)]).with_old(2).with_budget(Budget {
                lost_replies: 1,
                graces: 2,
                merges: 2,
                retains: 1,
                ..none
            }),
            Config {
                remade_at: Some(3),
                ..Config::new("made again under three writers", &[takeover(1), rebase(2), fence(1)])
                    .with_budget(Budget { lost_replies: 1, bounds: 1, deletes: 1, ..none })
            },
        ];
    configs.into_iter().map(|config| Commit::new(config, &[])).collect()
}
