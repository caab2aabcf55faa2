//! Many small segments, behind a store whose every answer takes a while.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;

use super::*;
use crate::BucketOptions;
use crate::log::fixtures::spawn;
use crate::testing::{Action, FaultStore, Gate, Op};

/// A store that holds every GET of a segment until the next round trip.
struct Slow {
    faults: Arc<FaultStore>,
    gate: Arc<Mutex<Gate>>,
}

impl Slow {
    fn new(inner: Arc<dyn object_store::ObjectStore>) -> Self {
        let (faults, gate) = (FaultStore::new(inner), Arc::new(Mutex::new(Gate::new())));
        let current = gate.clone();
        faults.decide_with(move |request| match request.op {
            Op::Get if request.key.ends_with(".kfs") => Action::Hold(current.lock().unwrap().clone()),
            _ => Action::Pass,
        });
        Slow { faults, gate }
    }

    /// Lets the requests that are under way be answered.
    async fn round_trip(&self) {
        settle().await;
        let gate = std::mem::take(&mut *self.gate.lock().unwrap());
        gate.open();
        settle().await;
    }
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn small_segments(n: usize) -> (Arc<InMemory>, Model) {
    let store = Arc::new(InMemory::new());
    let (f, mut model) = (Fixture::over(store.clone()), Model::default());
    for _ in 0..n {
        model.append(&f, &[batch(1, 10)], 100).await;
    }
    (store, model)
}

/// Reads a stream to its end, and gives the round trips to the first batch and to the last of `wanted`.
async fn rounds(slow: &Slow, mut stream: BatchStream, wanted: usize) -> (usize, usize) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let scan = spawn(async move {
        while counted.load(Ordering::Relaxed) < wanted {
            assert!(stream.next().await.unwrap().is_some());
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (mut first, mut all) = (None, 0);
    settle().await;
    while !scan.is_finished() {
        slow.round_trip().await;
        all += 1;
        if seen.load(Ordering::Relaxed) > 0 {
            first.get_or_insert(all);
        }
        assert!(all < 10_000, "{seen:?} of {wanted}");
    }
    scan.await.unwrap();
    (first.unwrap(), all)
}

#[tokio::test]
async fn the_first_batch_comes_after_one_get_and_a_scan_reads_many_segments_a_round_trip() {
    for n in [32, 48, 400, 1_100] {
        let (store, _) = small_segments(n).await;
        let slow = Slow::new(store);
        let f = Fixture::over(slow.faults.clone());
        let stream = f.partition.reader().batches(0);
        let (first, all) = rounds(&slow, stream, n).await;
        assert_eq!(first, 1);
        assert!(all <= n / 16, "{n} segments took {all} round trips");
        assert_eq!(f.reads(), (n as u64 / 500 + 1, n as u64), "a scan reads each segment once");
    }
}

#[tokio::test]
async fn a_followers_backlog_is_read_many_segments_a_round_trip() {
    let (store, _) = small_segments(10).await;
    let slow = Slow::new(store.clone());
    let f = Fixture::over(slow.faults.clone());
    let mut stream = f.partition.reader().follow(0);
    slow.gate.lock().unwrap().open();
    for _ in 0..10 {
        stream.next().await.unwrap();
    }
    *slow.gate.lock().unwrap() = Gate::new();
    let mut model = Model::default();
    let writer = Fixture::over(store);
    for n in 0..410 {
        if n >= 10 {
            writer.put_segment(n, &[batch(1, 10)], 100).await;
        }
        model.batches.push(batch(1, 10));
    }
    let before = f.reads();
    let (_, all) = rounds(&slow, stream, 400).await;
    assert!(all <= 400 / 16, "{all} round trips");
    let (lists, gets) = f.reads();
    assert!(lists - before.0 <= 2 && gets - before.1 <= 402, "{lists} and {gets} from {before:?}");
}

#[tokio::test]
async fn a_fetch_reads_small_segments_together_too() {
    let (store, model) = small_segments(200).await;
    let slow = Slow::new(store);
    let f = Fixture::over(slow.faults.clone());
    let reader = f.partition.reader();
    f.partition.earliest().await.unwrap();
    let fetching = spawn(async move { reader.fetch(0, 1 << 20).await.unwrap() });
    settle().await;
    let mut rounds = 0;
    while !fetching.is_finished() {
        slow.round_trip().await;
        rounds += 1;
    }
    model.check(&fetching.await.unwrap(), 0, 1 << 20);
    assert!(rounds <= 200 / 16, "{rounds} round trips");
}

#[tokio::test]
async fn who_stops_early_pays_for_what_was_wanted_and_for_little_more() {
    let (store, _) = small_segments(400).await;
    for (wanted, most) in [(1, 1), (2, 2), (10, 10)] {
        let f = Fixture::over(store.clone());
        let mut stream = f.partition.reader().batches(100);
        stream.read_ahead_to(100 + wanted);
        for _ in 0..wanted {
            stream.next().await.unwrap();
        }
        settle().await;
        let (lists, gets) = f.reads();
        assert!(lists <= 2 && gets <= most, "{wanted}: {lists} and {gets}");
    }
    // Who does not say where he stops pays for one round of read-ahead.
    let f = Fixture::over(store);
    let mut stream = f.partition.reader().batches(0);
    for _ in 0..2 {
        stream.next().await.unwrap();
    }
    settle().await;
    assert!(f.reads().1 <= 1 + 2 * (ReaderOptions::MOST_SEGMENTS_AHEAD as u64 + 1), "{:?}", f.reads());
}

#[tokio::test]
async fn no_more_segments_are_read_ahead_than_the_options_say() {
    let (store, _) = small_segments(40).await;
    let mut read = Vec::new();
    for ahead in [0, 2, usize::MAX] {
        let f = Fixture::over(store.clone());
        let mut stream = f.partition.reader_with(ReaderOptions::default().segments_ahead(ahead)).batches(0);
        for _ in 0..2 {
            stream.next().await.unwrap();
        }
        settle().await;
        let most = ahead.min(ReaderOptions::MOST_SEGMENTS_AHEAD) as u64 + 1;
        let gets = f.reads().1;
        assert!(gets <= 1 + 2 * most, "{ahead}: {gets}");
        read.push(gets);
    }
    assert!(read.is_sorted_by(|one, other| one < other), "{read:?}");
}

#[tokio::test]
async fn what_cannot_be_read_ahead_does_not_hold_up_what_is_before_it() {
    let (store, model) = small_segments(40).await;
    let faults = FaultStore::new(store);
    let f = Fixture::over(faults.clone());
    faults.always(Op::Get, f.key(20).as_str(), Action::Fail(crate::testing::Failure::Unavailable));
    let mut stream = f.partition.reader().batches(0);
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let scan = spawn(async move {
        while stream.next().await.unwrap().is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..10 {
        settle().await;
    }
    assert_eq!(seen.load(Ordering::Relaxed), 20);
    // It is asked for again, and read when the store has it again.
    faults.clear_rules();
    while !scan.is_finished() {
        f.clock.advance_to_next();
        settle().await;
    }
    scan.await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), model.batches.len());
}

#[tokio::test]
async fn read_ahead_keeps_to_the_bytes_of_the_cache() {
    let (store, model) = small_segments(100).await;
    // Too little for a block: nothing is read that would be thrown away.
    let f = Fixture::with(store, BucketOptions::default().cache_bytes(0));
    let mut stream = f.partition.reader_with(ReaderOptions::default().fetch_bytes(1)).batches(0);
    let mut got = Vec::new();
    while let Some(batch) = stream.next().await.unwrap() {
        got.push(batch);
    }
    assert!(got == model.batches);
    assert_eq!(f.reads().1, 101, "each segment is read once, and the next key is asked for");
}
