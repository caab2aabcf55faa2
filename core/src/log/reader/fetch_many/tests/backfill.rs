//! Readers of old segments beside those who follow the log.

use super::*;
use crate::log::fixtures::{Fixture, spawn};
use crate::testing::{Action, FaultStore, KeyMatcher, Op};

const SEGMENTS: i64 = 300;
const OLD: i64 = SEGMENTS - 8;

/// The base offset of a segment's key.
fn base_of(key: &str) -> Option<i64> {
    key.rsplit_once("segment-")?.1.strip_suffix(".kfs")?.parse().ok()
}

/// The result of work that must not hang.
#[allow(clippy::disallowed_methods, reason = "tokio's time is the virtual time here")]
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it hangs")
}

/// A log of 300 segments of one record each. Reads of all but the newest eight hang in the store.
async fn hanging() -> (Arc<FaultStore>, Bucket) {
    let faults = FaultStore::new(memory());
    let f = Fixture::over(faults.inner().clone());
    for base in 0..SEGMENTS {
        f.put_segment(base, &[batch(1, 100)], 1).await;
    }
    let old = KeyMatcher::matching(|key| base_of(key).is_some_and(|base| base < OLD));
    faults.always(Op::Get, old, Action::Hang);
    (faults.clone(), process(faults))
}

#[tokio::test(start_paused = true)]
async fn reads_of_old_segments_that_hang_hold_up_no_reader_at_the_tail_and_no_append() {
    let (faults, bucket) = hanging().await;
    let quiet = partition(&bucket, 0);
    quiet.refresh().await.unwrap();
    let readers: Vec<_> = (0..OLD - 1)
        .map(|base| {
            let reader = quiet.reader();
            spawn(async move { reader.fetch(base, 1).await })
        })
        .collect();
    bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    let hang = faults.log().iter().filter(|entry| base_of(&entry.request.key).is_some_and(|base| base < OLD)).count();
    assert!(readers.iter().all(|reader| !reader.is_finished()));

    // Bytes of each of the newest segments, listings, and polls.
    let reader = quiet.reader();
    for base in OLD..SEGMENTS {
        let fetch = soon(reader.fetch(base, 1)).await;
        assert_eq!(fetch.unwrap().next_offset, base + 1);
    }
    soon(quiet.refresh()).await.unwrap();
    let request = request([(&quiet, SEGMENTS)]);
    let waiting = {
        let bucket = bucket.clone();
        spawn(async move { bucket.fetch_many(&request).await })
    };
    bucket.runtime().clock().sleep(Duration::from_secs(5)).await;
    let elsewhere = process(faults.inner().clone());
    append(&writer(&partition(&elsewhere, 0)).await, 1).await;
    let response = soon(waiting).await.unwrap().unwrap();
    assert_eq!(next_offsets(&response), [SEGMENTS + 1]);

    // Appends to another partition of the bucket, and to this one.
    for number in [1, 0] {
        let appends = async { append(&writer(&partition(&bucket, number)).await, 1).await };
        soon(appends).await;
    }
    assert_eq!(hang, 32, "half of the places of all reads");
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_cold_reads_is_kept() {
    let (faults, _) = hanging().await;
    let options = crate::store::StoreOptions::default().cold_reads(3);
    let store = crate::store::Store::from_object_store_with(faults.clone(), &options);
    let runtime = Runtime::new(PausedClock::new(NOW), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
    let bucket = Bucket::from_store(store, BucketOptions::default().runtime(runtime)).unwrap();
    let quiet = partition(&bucket, 0);
    quiet.refresh().await.unwrap();
    for base in 0..20 {
        let reader = quiet.reader();
        drop(spawn(async move { reader.fetch(base, 1).await }));
    }
    bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    assert_eq!(faults.count_of(Op::Get, KeyMatcher::matching(|key| base_of(key).is_some_and(|base| base < OLD))), 3);
}
