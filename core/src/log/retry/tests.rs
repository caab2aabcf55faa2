//! How long a log pauses between two tries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;

use super::RetryPolicy;
use crate::error::ErrorKind;
use crate::log::fixtures::{Fixture, spawn};
use crate::log::{Bucket, BucketOptions};
use crate::recorder::{BucketEvent, Recorder};
use crate::testing::{Action, Failure, FaultStore, Op};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The pauses before tries 2, 3, … of a listing that fails for ever.
async fn pauses(options: BucketOptions, count: usize) -> Vec<Duration> {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    store.always(Op::List, "", Action::Fail(Failure::Unavailable));
    let process = Fixture::with(Arc::new(store), options);
    let bucket = process.bucket.clone();
    process.bucket.runtime().spawn(async move { drop(bucket.topics().await) });
    let mut pauses = Vec::new();
    for _ in 0..count {
        process.clock.slept(1).await;
        let [pause] = process.clock.sleepers()[..] else { panic!("more than one task sleeps") };
        pauses.push(pause);
        process.clock.advance_to_next();
        // The task that woke must run before the next look.
        while process.clock.sleepers().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    pauses
}

fn within(pauses: &[Duration], full: &[Duration]) {
    for (pause, full) in pauses.iter().zip(full) {
        assert!(*pause >= *full / 2 && pause <= full, "{pauses:?} are not between half of and all of {full:?}");
    }
}

#[tokio::test]
async fn pauses_double_from_50_ms_to_5_s_by_default() {
    let found = pauses(BucketOptions::default(), 9).await;
    within(&found, &[50, 100, 200, 400, 800, 1600, 3200, 5000, 5000].map(ms));
}

#[tokio::test]
async fn the_policy_sets_the_first_and_the_longest_pause() {
    let policy = RetryPolicy::default().first_pause(ms(2000)).longest_pause(ms(7000));
    let found = pauses(BucketOptions::default().retry(policy), 4).await;
    within(&found, &[2000, 4000, 7000, 7000].map(ms));
}

#[test]
fn no_number_of_pauses_is_too_large() {
    let policy = RetryPolicy::default().longest_pause(Duration::MAX);
    assert_eq!(policy.pause(3), ms(400));
    assert_eq!(policy.pause(u32::MAX), ms(50) * u32::MAX);
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let refused = [
        (RetryPolicy::default().first_pause(Duration::ZERO), "first_pause is 0ns"),
        (
            RetryPolicy::default().first_pause(Duration::MAX),
            "first_pause is 18446744073709551615.999999999s, at most 1 hour",
        ),
        (
            RetryPolicy::default().first_pause(ms(5001)),
            "first_pause is 5.001s, which is more than its longest_pause of 5s",
        ),
        (RetryPolicy::default().longest_pause(ms(49)), "longest_pause is 49ms"),
        (
            RetryPolicy::default().first_pause(ms(900)).longest_pause(ms(800)),
            "longest_pause is 800ms, which is less than",
        ),
        (RetryPolicy::default().longest_pause(ms(3_600_001)), "longest_pause is 3600.001s, at most 1 hour"),
    ];
    for (policy, why) in refused {
        let error = Bucket::open_with("memory:", BucketOptions::default().retry(policy)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Remembers the pauses of the retries that it is told of, and what the store asked for.
#[derive(Debug, Default)]
struct Pauses(Mutex<Vec<(Duration, Option<Duration>)>>);

impl Recorder for Pauses {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::Retry { pause, error, .. } = event {
            self.0.lock().unwrap().push((*pause, error.retry_after()));
        }
    }
}

#[tokio::test]
async fn a_pause_of_more_than_five_minutes_is_told_as_it_was_asked_for_and_cut() {
    for asked in [Duration::from_secs(301), Duration::from_secs(3600), Duration::MAX] {
        let store = FaultStore::new(Arc::new(InMemory::new()));
        store.on(Op::List, "", Action::Fail(Failure::SlowDown(asked)));
        let told = Arc::new(Pauses::default());
        let process = Fixture::with(Arc::new(store), BucketOptions::default().recorder(told.clone()));
        let bucket = process.bucket.clone();
        let listing = spawn(async move { bucket.topics().await });
        process.clock.slept(1).await;
        let [pause] = process.clock.sleepers()[..] else { panic!("more than one task sleeps") };
        assert!(pause > ms(299_900) && pause <= ms(300_000), "{pause:?}");
        assert_eq!(*told.0.lock().unwrap(), [(pause, Some(asked))]);
        let trouble = process.bucket.trouble().unwrap().error.unwrap().to_string();
        let said = format!("the store asks for a pause of {asked:?}, and is asked again after 300s");
        assert!(trouble.contains(&said), "{trouble}");
        process.clock.advance_to_next();
        assert!(listing.await.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_pause_that_the_store_asks_for_is_waited_and_told() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    store.on(Op::List, "", Action::Fail(Failure::SlowDown(ms(30_000))));
    let told = Arc::new(Pauses::default());
    let process = Fixture::with(Arc::new(store), BucketOptions::default().recorder(told.clone()));
    let bucket = process.bucket.clone();
    let listing = spawn(async move { bucket.topics().await });
    process.clock.slept(1).await;
    let [pause] = process.clock.sleepers()[..] else { panic!("more than one task sleeps") };
    assert!(pause >= ms(30_025) && pause <= ms(30_050), "{pause:?}");
    assert_eq!(*told.0.lock().unwrap(), [(pause, Some(ms(30_000)))]);
    let trouble = process.bucket.trouble().unwrap().error.unwrap();
    assert!(trouble.to_string().contains("the store asks for a pause of 30s"), "{trouble}");
    process.clock.advance(ms(30_000));
    assert!(!listing.is_finished());
    process.clock.advance_to_next();
    assert!(listing.await.unwrap().unwrap().is_empty());
}
