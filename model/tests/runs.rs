//! The protocol holds in every run.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use kfs_model::{Commit, runs};
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, Model};

/// Keeps the last figures of a check.
struct Figures(String);

impl Reporter<Commit> for Figures {
    fn report_checking(&mut self, data: ReportData) {
        let ReportData { total_states, unique_states, max_depth, duration, .. } = data;
        self.0 = format!("{unique_states} states, {total_states} transitions, depth {max_depth}, {duration:.1?}");
    }

    fn report_discoveries(&mut self, _: &Commit, _: BTreeMap<&'static str, ReportDiscovery<Commit>>) {}

    fn delay(&self) -> Duration {
        Duration::from_millis(10)
    }
}

/// Checks all of a run: every rule holds, and every event that is expected is reached.
fn check_all(run: Commit, threads: usize) -> usize {
    let (name, reached) = (run.name(), run.reached());
    let mut figures = Figures(String::new());
    let checker = run.checker().threads(threads).spawn_bfs().join_and_report(&mut figures);
    // Not by the macros, whose output is kept back: a run always says how large it was.
    let mut shown = std::io::stderr().lock();
    writeln!(shown, "{name}: {}", figures.0).unwrap();
    println!("{reached:#?}");
    checker.assert_properties();
    checker.unique_state_count()
}

fn check(name: &str, states: usize) {
    let run = runs::all().into_iter().find(|run| run.name() == name);
    let visited = check_all(run.expect("a run of that name"), 1);
    assert_eq!(visited, states, "the run has another size than the crate's documentation says");
}

macro_rules! checked {
    ($($test:ident => $name:literal, $states:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name, $states);
        })*

        #[test]
        fn every_run_is_checked() {
            let names: Vec<_> = runs::all().iter().map(Commit::name).collect();
            assert_eq!(names, [$($name,)*]);
        }
    };
}

checked! {
    writers_of_an_empty_partition_agree => "empty partition", 1_336_870;
    writers_that_ask_for_different_starts_share_one_chain => "start offsets", 1_328_167;
    writers_of_three_policies_share_one_chain => "three policies", 2_067_744;
    an_owner_is_displaced_and_acks_nothing_more => "takeover and back", 2_193_141;
    a_writer_that_loses_too_often_stores_nothing => "contention", 206_728;
    a_lower_leader_epoch_writes_nothing_behind_a_higher => "leader epochs", 3_461_142;
    whatever_a_claim_marker_says_changes_no_promise => "yielding", 474_701;
    owners_that_sleep_while_they_yield_survive_retention => "yielding under retention", 168_000;
    conflicts_that_keep_nothing_lose_nothing => "empty conflicts", 767_028;
    a_store_that_repeats_requests_keeps_appends_once => "repeating store", 154_453;
    a_store_without_metadata_keeps_appends_once => "no metadata", 410_192;
    a_failed_fsync_is_never_reported_as_not_stored => "directory", 169_505;
    sleeping_writers_survive_merging => "merging", 1_999_103;
    sleeping_writers_survive_retention => "retention", 1_404_780;
    a_process_that_pauses_before_it_sends_acks_no_ghost => "pausing process", 1_293_342;
    sleeping_writers_survive_deletion => "deletion", 383_520;
    sleeping_writers_obey_the_partition_made_again => "made again", 702_752;
}

#[test]
#[ignore = "takes minutes and gigabytes: cargo test -p kfs-model -- --ignored --nocapture"]
fn the_larger_runs_hold_too() {
    for run in runs::larger() {
        check_all(run, 2);
    }
}
