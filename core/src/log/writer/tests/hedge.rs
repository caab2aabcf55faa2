//! Creates that are sent a second time because the first one is slow.

use super::*;
use crate::recorder::BreakerState;
use crate::store::{BreakerOptions, HedgeOptions, StoreOptions};

const WAIT: Duration = Duration::from_millis(100);

/// A process that hedges each create that has no answer for 100 ms.
fn hedging(world: &World, hedge: HedgeOptions) -> Process {
    let faults = FaultStore::new(world.store.clone());
    let store = Store::from_object_store_sent_once_with(faults.clone(), &StoreOptions::default().hedge(hedge));
    world.process_over(store, faults, 1, BucketOptions::default())
}

fn each() -> HedgeOptions {
    HedgeOptions::default().least_wait(WAIT).least_samples(0).most_of_hundred(100)
}

/// A writer that has appended one record.
async fn begun(process: &Process, options: WriterOptions) -> Writer {
    let writer = process.writer(options).await;
    append(&writer, "a").await.unwrap();
    process.faults.clear_log();
    writer
}

/// Appends, and gives how long that took.
async fn timed(process: &Process, writer: &Writer) -> (Result<(i64, i64), Error>, Duration) {
    let clock = process.bucket.runtime().clock().clone();
    let began = clock.elapsed();
    let appended = append(writer, "b").await;
    (appended, clock.elapsed().saturating_sub(began))
}

fn records() -> Vec<(i64, String)> {
    vec![(0, "a".into()), (1, "b".into())]
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_lost_costs_the_wait_and_one_put_more() {
    for (end, puts) in [(".kfs", (2, 1)), (".index", (1, 2))] {
        let world = World::new();
        let process = hedging(&world, each());
        let writer = begun(&process, options()).await;
        process.faults.on(Op::Put, end, Action::Hang);
        let (appended, took) = timed(&process, &writer).await;
        assert_eq!((appended.unwrap(), took), ((1, 1), WAIT), "{end}");
        assert_eq!((process.segment_puts(), process.faults.count_of(Op::Put, ".index")), puts);
        assert_eq!(process.faults.count(Op::Get), 0, "nothing is read back");
        assert_eq!(world.records().await, records());
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_applied_after_its_hedge_changes_nothing() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    process.faults.on(Op::Put, ".kfs", Action::LateAndSilent);
    assert_eq!(timed(&process, &writer).await.0.unwrap(), (1, 1));
    let late = process.faults.land_late().await;
    assert!(matches!(&late[..], [(_, Err(object_store::Error::AlreadyExists { .. }))]), "{late:?}");
    assert_eq!(append(&writer, "c").await.unwrap(), (2, 2));
    assert_eq!(world.records().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_finds_the_name_taken_waits_for_the_first_create() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT * 10).await;
    assert!(!appending.is_finished());
    assert_eq!(process.segment_puts(), 2);
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
    assert_eq!((process.segment_puts(), process.faults.count(Op::Get)), (2, 0), "the first one's answer is enough");
    assert_eq!(world.records().await, records());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_read_where_the_first_create_is_never_answered_and_its_hedge_finds_the_name_taken() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(Gate::new()));
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1));
    assert!(process.faults.count(Op::Get) >= 1, "only the identity tells whose it is");
    assert_eq!(world.records().await, records());
}

#[tokio::test(start_paused = true)]
async fn a_rivals_segment_wins_over_both_creates_and_nothing_of_them_is_stored() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, policy(OnConflict::Fence)).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT / 2).await;
    world.put_segment(1, "rival").await;
    tokio::time::sleep(WAIT).await;
    assert_eq!(process.segment_puts(), 2);
    assert!(!appending.is_finished(), "the first one may still be applied");
    gate.open();
    let error = appending.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)));
    assert_eq!(world.records().await[1], (1, "rival".into()));
}

#[tokio::test(start_paused = true)]
async fn a_first_create_that_lands_after_a_rival_has_the_slot_is_not_taken_for_stored() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, policy(OnConflict::Rebase)).await;
    process.faults.on(Op::Put, ".kfs", Action::LateAndSilent);
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT / 2).await;
    world.put_segment(1, "rival").await;
    assert_eq!(appending.await.unwrap().unwrap(), (2, 2));
    assert!(process.faults.land_late().await[0].1.is_err());
    assert_eq!(world.records().await, [(0, "a".into()), (1, "rival".into()), (2, "b".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_waits_for_the_first_create() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT * 3).await;
    assert_eq!((process.segment_puts(), appending.is_finished()), (2, false));
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
    assert_eq!(process.segment_puts(), 2, "its answer counts, and nothing is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_first_create_that_finds_the_name_taken_does_not_hide_that_its_hedge_was_applied() {
    for policy in [policy(OnConflict::Fence), policy(OnConflict::Rebase)] {
        let world = World::new();
        let process = hedging(&world, each());
        let writer = begun(&process, policy).await;
        let gate = Gate::new();
        process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
        process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
        let appending = tokio::spawn(async move { append(&writer, "b").await });
        tokio::time::sleep(WAIT * 3).await;
        assert_eq!((process.segment_puts(), appending.is_finished()), (2, false));
        gate.open();
        assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
        assert!(process.faults.count(Op::Get) >= 1, "only the identity tells whose it is");
        assert_eq!(world.records().await, records());
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_slept_sends_no_hedge() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT / 2).await;
    process.clock.suspend(Duration::from_secs(61));
    tokio::time::sleep(WAIT * 3).await;
    assert_eq!(process.segment_puts(), 1, "the slot may be in the middle of the past by now");
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn no_hedge_is_sent_while_the_breaker_is_not_closed() {
    let world = World::new();
    let faults = FaultStore::new(world.store.clone());
    let of_store = StoreOptions::default().hedge(each()).breaker(BreakerOptions::default().failures(1));
    let store = Store::from_object_store_sent_once_with(faults.clone(), &of_store);
    let process = world.process_over(store, faults, 1, BucketOptions::default());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    process.faults.on(Op::Put, ".index", Action::Fail(Failure::Unavailable));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT * 3).await;
    assert_eq!(process.bucket.store().breaker().unwrap().state, BreakerState::Open);
    assert_eq!(process.segment_puts(), 1);
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
    assert_eq!(process.segment_puts(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_hedge_is_sent_where_all_places_of_commits_are_taken() {
    let world = World::new();
    let faults = FaultStore::new(world.store.clone());
    let of_store = StoreOptions::default().hedge(each()).max_in_flight(2);
    let store = Store::from_object_store_sent_once_with(faults.clone(), &of_store);
    let process = world.process_over(store, faults, 1, BucketOptions::default());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT * 3).await;
    assert_eq!(process.segment_puts(), 1);
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn failures_say_nothing_of_how_long_a_create_takes() {
    let world = World::new();
    let process = hedging(&world, HedgeOptions::default().least_samples(1).most_of_hundred(100));
    let writer = begun(&process, options()).await;
    for _ in 0..200 {
        process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    }
    let hedges = process.bucket.store().hedges().unwrap();
    for _ in 0..128 {
        hedges.took(0, WAIT * 2);
    }
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1));
    assert_eq!(process.segment_puts(), 201);
    assert_eq!(hedges.begins(0), Some(WAIT * 2));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_tries_again_by_itself_is_not_hedged() {
    let world = World::new();
    let faults = FaultStore::new(world.store.clone());
    let store = Store::from_object_store_with(faults.clone(), &StoreOptions::default().hedge(each()));
    let process = world.process_over(store, faults, 1, BucketOptions::default());
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(WAIT * 10).await;
    assert_eq!(process.segment_puts(), 1);
    gate.open();
    assert_eq!(appending.await.unwrap().unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_not_hedged() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let store = Store::open(&url, &StoreOptions::default().hedge(each())).unwrap();
    assert!(store.hedges().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_deadline_passes_gives_both_creates_up_and_says_perhaps_stored() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, options()).await;
    process.faults.on(Op::Put, ".kfs", Action::LateAndSilent);
    process.faults.on(Op::Put, ".kfs", Action::LateAndSilent);
    let appending = tokio::spawn({
        let writer = writer.clone();
        async move { append(&writer, "b").await }
    });
    tokio::time::sleep(WAIT * 3).await;
    assert_eq!(process.segment_puts(), 2);
    let _ = writer.close(Some(WAIT)).await;
    assert_eq!(appending.await.unwrap().unwrap_err().stored(), Some(Stored::Perhaps));
    let late: Vec<bool> = process.faults.land_late().await.iter().map(|(_, landed)| landed.is_ok()).collect();
    assert_eq!(late, [true, false], "the second finds the first");
    assert_eq!(world.records().await, records());
}

#[tokio::test(start_paused = true)]
async fn two_creates_without_an_answer_are_perhaps_stored_and_the_next_try_finds_them() {
    let world = World::new();
    let process = hedging(&world, each());
    let writer = begun(&process, policy(OnConflict::Fence)).await;
    process.faults.on(Op::Put, ".kfs", Action::Hang);
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1), "the identity tells that it is ours");
    assert_eq!(process.segment_puts(), 3);
    assert_eq!(world.records().await, records());
}

#[tokio::test(start_paused = true)]
async fn of_creates_that_are_all_slow_no_more_than_a_tenth_is_sent_twice() {
    let world = World::new();
    let process = hedging(&world, HedgeOptions::default().least_wait(WAIT).least_samples(0));
    let writer = begun(&process, options()).await;
    // Each takes longer than all before it, so that each is slow.
    for n in 1..=50 {
        let gate = Gate::new();
        process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
        let appending = tokio::spawn({
            let writer = writer.clone();
            async move { append(&writer, "b").await }
        });
        tokio::time::sleep(WAIT * 2 * n).await;
        gate.open();
        appending.await.unwrap().unwrap();
    }
    let puts = process.faults.count(Op::Put);
    assert!((105..=112).contains(&puts), "{puts} PUTs for 50 segments and their indexes");
    assert_eq!(world.records().await.len(), 51);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_by_default() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    let writer = begun(&process, options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let appending = tokio::spawn(async move { append(&writer, "b").await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(process.segment_puts(), 1);
    gate.open();
    appending.await.unwrap().unwrap();
}
