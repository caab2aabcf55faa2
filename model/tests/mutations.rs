//! The model has teeth: each fault that is built into the protocol breaks a rule.

use kfs_model::{Budget, Commit, Config, Mutation, Rule, runs};
use stateright::{Checker, Model};

/// Checks that a mutation breaks one of the rules within a run that holds without it.
fn caught(config: Config, mutation: Mutation, by: &[Rule]) {
    let name = config.name;
    let checker = Commit::until_broken(config.with_mutation(mutation)).checker().spawn_bfs().join();
    let path = checker.discovery("every rule");
    let Some(path) = path else { panic!("{mutation:?} passes unnoticed in the run {name:?}") };
    let rules = path.last_state().broken();
    println!("{mutation:?} in the run {name:?} breaks {rules:?}:");
    for action in path.into_actions() {
        println!("  {action:?}");
    }
    assert!(rules.iter().any(|rule| by.contains(rule)), "{mutation:?} breaks {rules:?}, not {by:?}");
}

macro_rules! mutations {
    ($($test:ident: $mutation:ident in $run:expr => $($rule:ident)|+,)*) => {
        $(#[test]
        fn $test() {
            caught($run, Mutation::$mutation, &[$(Rule::$rule),+]);
        })*

        #[test]
        fn every_mutation_is_tried() {
            let tried = [$(Mutation::$mutation,)*];
            for mutation in Mutation::ALL {
                assert!(tried.contains(mutation), "{mutation:?}");
            }
        }
    };
}

mutations! {
    a_stale_writer_that_does_not_look: SkipLookBefore in runs::merging() => AckedIsKept,
    a_late_ack_without_a_second_look: SkipLookAfter in runs::pausing_process() => NoPast,
    a_second_look_that_believes_too_much: LookAfterCountsBeyondOwn in runs::merging() => AckedIsKept,
    a_lost_slot_that_counts_as_a_look: FollowCountsAsLook in runs::merging() => AckedIsKept,
    a_look_that_mistakes_what_it_reads: AnySegmentIsTheListed in runs::retention() => NoPast,
    a_look_at_an_empty_partition_without_log_json: LookWithoutLogJson in runs::made_again() => OneDenseChain,
    no_log_json: SkipLogJson in runs::start_offsets() => OneDenseChain,
    overwriting_instead_of_creating: OverwriteInsteadOfCreate in runs::empty_partition()
        => AckedIsKept | LogOnlyGrows,
    a_conflict_taken_for_ours: ConflictIsOurs in runs::empty_partition() => AckedIsKept,
    equal_bytes_taken_for_ours: EqualBytesAreOurs in runs::contention() => AckedIsKept,
    a_try_without_an_answer_that_is_moved: MoveUnsureTry in runs::empty_partition() => KeptOnce,
    a_merged_segment_taken_for_a_loss: MergedIsLost in runs::merging() => KeptOnce | NotStoredStaysOut,
    unsure_reported_as_not_stored: UnsureIsNotStored in runs::three_policies() => NotStoredStaysOut,
    going_on_after_a_failed_flush: GoOnAfterFailedFlush in runs::contention() => NoAckAfterFailure,
    going_on_after_a_conflict_that_kept_nothing: GoOnAfterFailedFlush in runs::empty_conflicts() => NoAckAfterFailure,
    earlier_tries_forgotten: ForgetEarlierTries in runs::three_policies() => NotStoredStaysOut,
    a_conflict_taken_for_certain: ConflictIsCertain in runs::repeating_store() => NotStoredStaysOut,
    earlier_tries_forgotten_by_a_failed_fsync: FailedIndexSyncForgets in runs::directory() => NotStoredStaysOut,
    an_ack_before_the_index: AckBeforeIndex in runs::empty_partition() => IndexBeforeNext,
    a_rivals_index_taken_for_ours: IndexConflictIsOurs in runs::empty_partition() => IndexBeforeNext,
    an_index_written_by_the_loser: LoserWritesIndex in runs::empty_partition() => IndexBeforeNext,
    an_index_written_after_sleeping: FinishIndexUnseen in runs::deletion() => IndexBeforeNext,
    following_a_segment_without_its_index: FollowWithoutIndex in runs::empty_partition() => IndexBeforeNext,
    opening_without_the_newest_index: OpenWithoutIndex in runs::empty_partition() => IndexBeforeNext,
    an_owner_that_moves_on: OwnerMovesOn in runs::takeover_and_back() => FinalOffsets,
    a_leader_epoch_ignored: IgnoreLeaderEpoch in runs::leader_epochs() => EpochsNeverFall,
    a_probe_that_counts_as_a_look: ProbeCountsAsLook in runs::yielding_under_retention() => NoPast,
    yielding_between_two_tries_of_a_flight: YieldInFlight in runs::yielding() => NotStoredStaysOut,
    a_marker_taken_for_ownership: MarkerIsOwnership in runs::yielding() => FinalOffsets,
    retention_of_young_segments: RetainYoung in runs::retention() => NoPast,
    retention_of_the_newest_segment: RetainNewest in runs::retention() => OneDenseChain | NoPast | AckedIsKept,
    replaced_segments_deleted_at_once: DeleteReplacedAtOnce in runs::merging() => AckedIsKept,
    replaced_segments_deleted_from_the_newest_down: DeleteReplacedFromTheNewest in runs::merging() => AckedIsKept,
    replaced_segments_deleted_from_the_newest_down_under_a_pause: DeleteReplacedFromTheNewest in pausing_and_merging()
        => NoPast,
    merging_of_the_newest_segment: MergeNewest in runs::merging() => AckedIsKept | OneDenseChain | KeptOnce,
}

fn pausing_and_merging() -> Config {
    let budget = Budget { lost_replies: 1, bounds: 1, graces: 1, merges: 1, ..Budget::default() };
    Config { pauses: true, ..runs::merging().with_budget(budget) }
}
