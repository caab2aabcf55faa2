//! Writers and readers of a store whose breaker is open.

use std::sync::Mutex;

use super::*;
use crate::recorder::{BreakerState, BucketEvent, Recorder};
use crate::store::{BreakerOptions, ReadRange, StoreOptions};
use crate::testing::KeyMatcher;

fn process(world: &World, options: BucketOptions) -> Process {
    let faults = FaultStore::new(world.store.clone());
    let clock = PausedClock::new(1_700_000_000_000);
    let of_store = StoreOptions::default().clock(clock.clone()).breaker(BreakerOptions::default());
    let store = Store::from_object_store_with(faults.clone(), &of_store);
    let runtime = Runtime::new(clock.clone(), Arc::new(SeededEntropy::new(1)), Arc::new(LocalSpawn));
    let bucket = Bucket::from_store(store, options.runtime(runtime)).unwrap();
    Process { faults, clock, bucket }
}

#[tokio::test(start_paused = true)]
async fn appends_and_reads_wait_out_an_open_breaker_and_go_on_within_a_pause() {
    let world = World::new();
    let process = process(&world, BucketOptions::default());
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let mut follower = process.partition().reader().follow_records(0);
    assert_eq!(follower.next().await.unwrap().unwrap().offset(), 0);
    process.faults.set_down(Some(Failure::Unavailable));
    let waiting = tokio::spawn({
        let writer = writer.clone();
        async move { append(&writer, "b").await }
    });
    let reading = tokio::spawn(async move { follower.next().await.unwrap().unwrap().offset() });
    tokio::time::sleep(Duration::from_secs(60)).await;
    process.faults.clear_log();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!waiting.is_finished() && !reading.is_finished());
    let asked = process.faults.log().len();
    assert!((60..=120).contains(&asked), "one request each 5 s at most, and {asked} in 10 minutes");

    let trouble = writer.status().trouble.unwrap();
    let error = trouble.error.unwrap();
    assert!(error.message().contains("injected"), "{error}");
    assert_eq!(process.bucket.store().breaker().unwrap().state, BreakerState::Open);
    assert!(process.bucket.runtime().timeout(Duration::from_secs(1), writer.flush()).await.is_none(), "it waits, too");

    process.faults.set_down(None);
    let back = tokio::time::Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), (1, 1));
    assert_eq!(reading.await.unwrap(), 1);
    assert!(back.elapsed() <= Duration::from_secs(11), "{:?}: the breaker's pause, then the log's own", back.elapsed());
    assert_eq!(process.bucket.store().breaker().unwrap().state, BreakerState::Closed);
    assert_eq!(world.records().await, [(0, "a".to_string()), (1, "b".to_string())]);
}

#[tokio::test(start_paused = true)]
async fn appends_that_do_not_wait_are_refused_when_the_buffer_is_full_behind_an_open_breaker() {
    let process = process(&World::new(), BucketOptions::default().buffer_bytes(1 << 20));
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.faults.set_down(Some(Failure::Unavailable));
    let large = batch(&[&"x".repeat(100_000)]);
    let refused = loop {
        match writer.try_append_batches(large.clone()) {
            Ok(accepted) => drop(accepted),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.kind(), refused.stored()), (ErrorKind::Full, Some(Stored::Not)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(process.bucket.store().breaker().unwrap().state, BreakerState::Open);
    let error = writer.close(Some(Duration::from_secs(1))).await.unwrap_err();
    assert!(format!("{error:#}").contains("injected"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_the_breaker_refuses_is_known_not_to_be_stored() {
    let process = process(&World::new(), BucketOptions::default());
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    // Reads fail and open the breaker, while no PUT is sent.
    process.faults.always(Op::Get, KeyMatcher::any(), Action::Fail(Failure::Unavailable));
    while process.bucket.store().breaker().unwrap().state == BreakerState::Closed {
        process.bucket.store().get("k", ReadRange::Whole, None).await.unwrap_err();
    }
    process.faults.clear_log();
    let accepted = writer.append_batches(batch(&["b"])).await.unwrap();
    let closing = writer.close(Some(Duration::from_millis(100)));
    closing.await.unwrap_err();
    assert_eq!(accepted.durable().await.unwrap_err().stored(), Some(Stored::Not));
    assert_eq!(process.segment_puts(), 0);
}

#[derive(Debug, Default)]
struct Changes(Mutex<Vec<(BreakerState, bool)>>);

impl Recorder for Changes {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::Breaker { state, error, .. } = event {
            self.0.lock().unwrap().push((*state, error.is_some()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_is_told_of_each_change_of_the_breaker() {
    let changes = Arc::new(Changes::default());
    let process = process(&World::new(), BucketOptions::default().recorder(changes.clone()));
    process.faults.set_down(Some(Failure::Unavailable));
    let faults = process.faults.clone();
    let opening = tokio::spawn(async move { process.writer(options()).await });
    // Ten tries with pauses of up to 5 s, then a request after a pause of 1 s, and another after 2 s.
    while changes.0.lock().unwrap().len() < 4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    faults.set_down(None);
    drop(opening.await.unwrap());
    use BreakerState::{Closed, HalfOpen, Open};
    let told = changes.0.lock().unwrap().clone();
    assert_eq!(told[..3], [(Open, true), (HalfOpen, true), (Open, true)]);
    assert_eq!(told[told.len() - 2..], [(HalfOpen, true), (Closed, false)]);
}
