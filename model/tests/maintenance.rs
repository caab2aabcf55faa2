//! Maintenance holds in every run, and each fault that is built into it breaks a rule.

use kfs_model::{Flaw, Maintenance, MaintenanceRule, MaintenanceRun, maintenance_runs};
use stateright::{Checker, Model};

fn run(name: &str) -> (MaintenanceRun, &'static [kfs_model::Event]) {
    maintenance_runs().into_iter().find(|(run, _)| run.name == name).expect("a run of that name")
}

fn check(name: &str, states: usize) {
    let (run, expected) = run(name);
    let model = Maintenance::new(run, expected);
    let reached = model.reached();
    let checker = model.checker().spawn_bfs().join();
    println!("{name}: {} states; {reached:#?}", checker.unique_state_count());
    if let Some(path) = checker.discovery("every rule") {
        let rule = path.last_state().broken();
        let actions: Vec<_> = path.into_actions().iter().map(|action| format!("  {action:?}")).collect();
        panic!("{name} breaks {rule:?}:\n{}", actions.join("\n"));
    }
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), states, "the run has another size than the crate's documentation says");
}

macro_rules! checked {
    ($($test:ident => $name:literal, $states:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name, $states);
        })*

        #[test]
        fn every_run_is_checked() {
            let names: Vec<_> = maintenance_runs().iter().map(|(run, _)| run.name).collect();
            assert_eq!(names, [$($name,)*]);
        }
    };
}

checked! {
    retention_and_merging_keep_what_was_acked => "retention against merging", 260_866;
    merges_that_overlap_keep_what_was_acked => "overlapping merges", 146_021;
    no_merge_crosses_a_hole => "a hole", 11_532;
    a_displaced_owner_acks_nothing_twice => "a displaced owner", 417_744;
    a_partition_made_again_survives_the_maintenance_of_the_old_one => "made again under maintenance", 231_298;
    a_deletion_waits_for_writers_that_looked => "deleted while writers look", 642_164;
    a_copy_survives_the_maintenance_of_the_partition_that_was_deleted => "copied back under maintenance", 999_019;
}

/// Checks that a flaw breaks the rule within a run that holds without it.
fn caught(name: &str, flaw: Flaw, by: MaintenanceRule) {
    let model = Maintenance::new(run(name).0.with_flaw(flaw), &[]);
    let checker = model.checker().spawn_bfs().join();
    let path = checker.discovery("every rule");
    let Some(path) = path else { panic!("{flaw:?} passes unnoticed in the run {name:?}") };
    let broken = path.last_state().broken();
    println!("{flaw:?} in the run {name:?} breaks {broken:?}:");
    for action in path.into_actions() {
        println!("  {action:?}");
    }
    assert_eq!(broken, Some(by), "{flaw:?}");
}

macro_rules! flaws {
    ($($test:ident: $flaw:ident in $run:literal => $rule:ident,)*) => {
        $(#[test]
        fn $test() {
            caught($run, Flaw::$flaw, MaintenanceRule::$rule);
        })*

        #[test]
        fn every_flaw_is_tried() {
            let tried = [$(Flaw::$flaw,)*];
            for flaw in Flaw::ALL {
                assert!(tried.contains(flaw), "{flaw:?}");
            }
        }
    };
}

flaws! {
    deleting_before_the_mark: DeleteBeforeMark in "retention against merging" => AckedIsKept,
    a_mark_that_is_remembered: RememberMark in "made again under maintenance" => AckedIsKept,
    removing_a_young_segment: RemoveYoung in "a displaced owner" => AckedOnce,
    removing_the_newest_segment: RemoveNewest in "a displaced owner" => EndStays,
    an_end_by_the_next_key: EndByNextKey in "retention against merging" => AckedIsKept,
    a_delete_after_a_sleep: SleepBeforeDelete in "made again under maintenance" => AckedIsKept,
    a_merge_after_a_sleep: SleepBeforeMerge in "copied back under maintenance" => NothingAppears,
    a_merge_without_if_match: MergeWithoutIfMatch in "made again under maintenance" => EndStays,
    a_merge_across_a_hole: MergeAcrossHole in "a hole" => NothingAppears,
    leftovers_cleared_at_once: ClearAtOnce in "a displaced owner" => AckedIsKept,
    leftovers_cleared_from_the_newest_down: ClearFromTheNewest in "overlapping merges" => AckedIsKept,
    leftovers_cleared_before_the_index: ClearWithoutIndex in "overlapping merges" => IndexBeforeClearing,
    segments_of_a_deleted_partition_removed_at_once: EmptyAtOnce in "deleted while writers look" => AckedOnce,
    a_partition_forgotten_at_once: ForgetAtOnce in "deleted while writers look" => AckedIsKept,
    a_writer_that_opens_within_a_deletion: OpenWithinDeletion in "deleted while writers look" => AckedIsKept,
    a_copy_within_the_grace: CopyWithinGrace in "copied back under maintenance" => AckedIsKept,
}
