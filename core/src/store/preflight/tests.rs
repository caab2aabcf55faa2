//! The check on stores that a caller brings, and on those that need no server.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::watch;

use super::*;
use crate::runtime::{Clock, SystemClock, SystemEntropy};
use crate::store::StoreOptions;
use crate::testing::{Action, Failure, FaultStore, KeyMatcher, LocalSpawn, Op, PausedClock};

async fn check(store: &Store) -> Preflight {
    let runtime = Runtime::current_or_own().unwrap();
    store.preflight(&runtime, &PreflightOptions::default()).await.unwrap()
}

fn faulty() -> (Store, Arc<FaultStore>) {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    (Store::from_object_store_sent_once(faults.clone() as Arc<dyn ObjectStore>), faults)
}

/// A runtime whose time the test's own runtime moves.
fn paused(wall_ms: i64) -> (Runtime, Arc<PausedClock>) {
    let clock = PausedClock::new(wall_ms);
    (Runtime::new(clock.clone(), Arc::new(SystemEntropy), Arc::new(LocalSpawn)), clock)
}

#[tokio::test]
async fn a_directory_memory_and_a_store_of_the_callers_pass() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap();
    let options = StoreOptions::default();
    for store in [
        Store::open(url.as_str(), &options).unwrap(),
        Store::open("memory:///a/b", &options).unwrap(),
        Store::from_object_store(Arc::new(InMemory::new())),
    ] {
        let report = check(&store).await;
        let fine = report.steps.iter().all(|step| step.verdict == PreflightVerdict::Fine);
        assert!(fine && report.failure().is_none() && report.left.is_empty(), "{report:?}");
        assert_eq!(report.requests.total(), if report.url.starts_with("file:") { 42 } else { 43 });
        assert!(store.list_page("", None, 10).await.unwrap().objects.is_empty());
    }
}

#[tokio::test]
async fn a_store_of_the_callers_is_not_checked_before_a_writer_opens() {
    let store = Store::from_object_store(Arc::new(InMemory::new()));
    store.allow_writing(&Runtime::current_or_own().unwrap(), &|_| ()).await.unwrap();
    assert_eq!(store.requests().total(), 0);
}

#[tokio::test]
async fn a_winner_whose_answer_is_lost_has_won() {
    let (store, faults) = faulty();
    for round in ["-object", "-race-1", "-race-2", "-race-3"] {
        faults.on(Op::Put, round, Action::ActThenFail(Failure::Unavailable));
    }
    let report = check(&store).await;
    assert!(report.failure().is_none(), "{report:?}");
    assert!(report.step(PreflightCheck::Put).unwrap().found.contains("answer was lost"), "{report:?}");
}

#[tokio::test]
async fn a_race_of_which_nothing_is_known_ends_the_check_and_is_no_finding() {
    let (store, faults) = faulty();
    faults.always(Op::Put, "-race-1", Action::Fail(Failure::Unavailable));
    let report = check(&store).await;
    assert_eq!(report.failure().unwrap().kind(), ErrorKind::Unavailable, "{report:?}");
    assert!(!report.is_conclusive() && report.left.is_empty());
}

#[tokio::test]
async fn dropped_metadata_and_a_refused_condition_fail_the_check() {
    let (store, faults) = faulty();
    faults.always(Op::Put, KeyMatcher::any(), Action::DropMetadata);
    let failure = check(&store).await.failure().unwrap();
    assert_eq!(failure.kind(), ErrorKind::Unsupported, "{failure}");
    assert!(failure.message().contains("\"metadata\" failed"), "{failure}");

    let (store, faults) = faulty();
    faults.always(Op::Put, "-race-1", Action::Fail(Failure::NotSupported));
    let report = check(&store).await;
    let failure = report.failure().unwrap();
    assert_eq!(failure.kind(), ErrorKind::Unsupported, "{failure}");
    assert!(failure.message().contains("\"create if absent\" failed"), "{failure}");
    assert!(report.is_conclusive() && report.failure_but_of(Some(PreflightCheck::CreateIfAbsent)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_within_its_time_and_names_what_it_left() {
    let (runtime, clock) = paused(0);
    let second = Duration::from_secs(1);
    let options = PreflightOptions::default().request_timeout(second * 5).timeout(second * 7);
    let (store, faults) = faulty();
    faults.always(Op::Get, "-race-2", Action::Hang);
    let began = clock.elapsed();
    let report = store.preflight(&runtime, &options).await.unwrap();
    assert_eq!(report.failure().unwrap().kind(), ErrorKind::TimedOut, "{report:?}");
    assert!(report.left.is_empty() && clock.elapsed() - began <= second * 6);

    faults.always(Op::Delete, KeyMatcher::any(), Action::Hang);
    let began = clock.elapsed();
    let report = store.preflight(&runtime, &options).await.unwrap();
    assert_eq!(report.left.len(), 3, "{report:?}");
    assert!(clock.elapsed() - began <= second * 9);

    // The first request has no answer, so nothing was made.
    faults.always(Op::List, KeyMatcher::any(), Action::Hang);
    let began = clock.elapsed();
    let report = store.preflight(&runtime, &options).await.unwrap();
    let failure = report.failure().unwrap();
    assert!(failure.message().contains("did not answer within 5.0s") && failure.hint().is_some(), "{failure:?}");
    assert!(report.left.is_empty() && clock.elapsed() - began <= second * 6);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_differs_by_a_minute_is_a_warning() {
    let now = SystemClock.wall_ms();
    for (wall_ms, found) in [
        (now, None),
        (now + 50_000, None),
        (now - 50_000, None),
        (now + 300_000, Some("behind this machine's")),
        (now - 300_000, Some("ahead of this machine's")),
    ] {
        let (runtime, _) = paused(wall_ms);
        let store = Store::from_object_store(Arc::new(InMemory::new()));
        let report = store.preflight(&runtime, &PreflightOptions::default()).await.unwrap();
        let step = report.step(PreflightCheck::Clock).unwrap();
        assert_eq!(step.verdict == PreflightVerdict::Warning, found.is_some(), "{step:?}");
        assert!(step.found.ends_with(found.unwrap_or_default()), "{step:?}");
    }
}

#[tokio::test]
async fn limits_of_nothing_are_refused() {
    let store = Store::from_object_store(Arc::new(InMemory::new()));
    let runtime = Runtime::current_or_own().unwrap();
    for options in [
        PreflightOptions::default().request_timeout(Duration::ZERO),
        PreflightOptions::default().timeout(Duration::ZERO),
    ] {
        let error = store.preflight(&runtime, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_before_writing_goes_on_at_the_step_where_the_store_sent_it_away() {
    let pause = Duration::from_secs(7);
    for (op, key, more) in [
        (Op::List, KeyMatcher::any(), 1),
        (Op::Put, "-object".into(), 2),
        (Op::Get, "-object".into(), 1),
        (Op::Head, "-object".into(), 1),
        (Op::Get, "-race-2".into(), 9),
        (Op::Delete, "-race-1".into(), 1),
    ] {
        let (runtime, clock) = paused(SystemClock.wall_ms());
        let (store, faults) = faulty();
        faults.on(op, key.clone(), Action::Fail(Failure::SlowDown(pause)));
        let began = clock.elapsed();
        let report = store.preflight_for_writing(&runtime, watch::Sender::new(None)).await.unwrap();
        assert!(report.failure().is_none() && report.left.is_empty(), "{op:?} {key:?} {report:?}");
        assert!(report.steps.iter().all(|step| step.verdict != PreflightVerdict::NotTried), "{report:?}");
        // One object more may have been made in a round that was given up, and is deleted.
        let sent = report.requests.total();
        assert!((43 + more..=44 + more).contains(&sent), "{op:?} {key:?}: {sent}");
        let waited = clock.elapsed() - began;
        assert!(waited >= pause && waited < pause * 2, "{op:?} {key:?} {waited:?}");
        assert!(store.list_page("", None, 10).await.unwrap().objects.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_of_a_store_that_keeps_sending_it_away_ends_within_its_requests_and_its_time() {
    let (runtime, clock) = paused(0);
    let (store, faults) = faulty();
    faults.always(Op::Get, KeyMatcher::containing("-race-"), Action::Fail(Failure::SlowDown(Duration::ZERO)));
    let report = store.preflight_for_writing(&runtime, watch::Sender::new(None)).await.unwrap();
    assert!(report.requests.total() <= MOST_PREFLIGHT_REQUESTS && report.left.is_empty(), "{report:?}");
    assert_eq!(report.failure().unwrap().kind(), ErrorKind::Unavailable, "{report:?}");

    // A pause that would not end in time is not waited.
    faults.always(Op::List, KeyMatcher::any(), Action::Fail(Failure::SlowDown(Duration::from_secs(3600))));
    let began = clock.elapsed();
    let report = store.preflight_for_writing(&runtime, watch::Sender::new(None)).await.unwrap();
    assert!(!report.is_conclusive() && clock.elapsed() - began <= Duration::from_secs(300), "{report:?}");

    // A user who asks for a check is told at once.
    let report = store.preflight(&runtime, &PreflightOptions::default()).await.unwrap();
    assert_eq!((report.requests.total(), report.is_conclusive()), (1, false), "{report:?}");
}

#[tokio::test]
async fn a_replica_has_rows_of_its_own_and_one_that_is_away_is_a_warning() {
    let of_replica = [PreflightCheck::ReplicaList, PreflightCheck::ReplicaGet];
    let replica = FaultStore::new(Arc::new(InMemory::new()));
    let store = Store::from_object_store_sent_once(Arc::new(InMemory::new())).with_replica(replica.clone());
    let report = check(&store).await;
    assert_eq!(of_replica.map(|check| report.verdict(check)), [PreflightVerdict::Fine; 2], "{report:?}");
    assert_eq!((report.steps.len(), report.requests.total(), replica.log().len()), (15, 45, 2));
    replica.set_down(Some(Failure::Unavailable));
    let report = check(&store).await;
    assert_eq!(of_replica.map(|check| report.verdict(check)), [PreflightVerdict::Warning; 2], "{report:?}");
    assert!(report.failure().is_none() && report.step(PreflightCheck::ReplicaGet).unwrap().cost.is_some());
    let report = check(&Store::from_object_store(Arc::new(InMemory::new()))).await;
    assert_eq!(of_replica.map(|check| report.step(check).is_none()), [true; 2]);
}
