//! Log sources that hang, panic or tell lies.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use object_store::memory::InMemory;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::log::fixtures::{NOW, spawn};
use crate::log::log_source::LogSource;
use crate::log::segment_info::SegmentInfo;
use crate::log::{Bucket, BucketOptions, Partition, Watermarks};
use crate::runtime::{BoxFuture, Clock, Runtime, SystemEntropy};
use crate::testing::{LocalSpawn, PausedClock};

/// What a source does when it is asked for its range.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refresh {
    Hangs,
    Panics,
    Tells,
}

type Answer = Box<dyn Fn(i64, i64) -> Result<Fetch> + Send + Sync>;

/// A source at fault.
struct Faulty {
    refresh: Mutex<Refresh>,
    end: AtomicI64,
    /// The answer to a fetch at an offset, with the log's end.
    answer: Answer,
    fetches: AtomicUsize,
    /// Refreshes that have begun and were not dropped.
    alive: Arc<AtomicUsize>,
}

impl Faulty {
    fn new(refresh: Refresh, answer: impl Fn(i64, i64) -> Result<Fetch> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Faulty {
            refresh: Mutex::new(refresh),
            end: AtomicI64::new(3),
            answer: Box::new(answer),
            fetches: AtomicUsize::new(0),
            alive: Arc::default(),
        })
    }

    /// It gives nothing at its end.
    fn at_its_end(bucket: &Bucket, refresh: Refresh, topic: &str, number: i32) -> (Arc<Self>, Partition) {
        let id = bucket.partition(topic, number).unwrap().id().clone();
        let source =
            Faulty::new(refresh, move |offset, end| Fetch::of_batches(&id, offset, &[], &Watermarks::new(0, end, NOW)));
        let partition = bucket.partition_from(topic, number, source.clone()).unwrap();
        (source, partition)
    }
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl LogSource for Faulty {
    fn fetch(&self, offset: i64, _: FetchOptions) -> BoxFuture<Result<Fetch>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = (self.answer)(offset, self.end.load(Ordering::SeqCst));
        Box::pin(async move { answer })
    }

    fn refresh(&self) -> BoxFuture<Result<Watermarks>> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let (refresh, alive) = (*self.refresh.lock().unwrap(), Alive(self.alive.clone()));
        let end = self.end.load(Ordering::SeqCst);
        Box::pin(async move {
            let _alive = alive;
            match refresh {
                Refresh::Hangs => std::future::pending().await,
                Refresh::Panics => panic!("the source panics, as the test wants"),
                Refresh::Tells => Ok(Watermarks::new(0, end, NOW)),
            }
        })
    }

    fn segments(&self, _: RangeInclusive<i64>) -> BoxFuture<Result<Vec<SegmentInfo>>> {
        Box::pin(async { panic!("the source panics, as the test wants") })
    }
}

/// A bucket whose clock is tokio's paused time.
fn bucket() -> Bucket {
    let runtime = Runtime::new(PausedClock::new(NOW), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
    Bucket::from_object_store(Arc::new(InMemory::new()), BucketOptions::default().runtime(runtime)).unwrap()
}

fn request<'a>(partitions: impl IntoIterator<Item = &'a Partition>, wait: u64) -> FetchRequest {
    FetchRequest::new(partitions.into_iter().map(|partition| (partition, 3, 1 << 20)))
        .max_wait(Duration::from_secs(wait))
}

async fn pass(seconds: u64) {
    PausedClock::new(NOW).sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn polls_that_hang_do_not_keep_other_tails_from_being_polled() {
    let bucket = bucket();
    let hung: Vec<_> = (0..64).map(|number| Faulty::at_its_end(&bucket, Refresh::Hangs, "hung", number)).collect();
    let (innocent, partition) = Faulty::at_its_end(&bucket, Refresh::Tells, "innocent", 0);
    let (on_hung, many) = (request(hung.iter().map(|(_, partition)| partition), 40), bucket.clone());
    let waiting = spawn(async move { many.fetch_many(&on_hung).await.unwrap() });
    pass(1).await;
    let (on_innocent, one) = (request([&partition], 3_600), bucket.clone());
    let served = spawn(async move { one.fetch_many(&on_innocent).await.unwrap() });
    pass(1).await;
    innocent.end.store(4, Ordering::SeqCst);
    pass(10).await;
    assert_eq!(partition.watermarks().map(|watermarks| watermarks.high_watermark), Some(4), "it was polled");
    assert!(!waiting.is_finished());
    served.abort();
    pass(30).await;
    let response = waiting.await.unwrap();
    let error = response.partitions.iter().find_map(|fetched| fetched.as_ref().err()).unwrap();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{text}");
    assert!(text.contains("partition hung") && text.contains("30s") && text.contains("log source"), "{text}");
    pass(1).await;
    let alive = hung.iter().map(|(source, _)| source.alive.load(Ordering::SeqCst)).sum::<usize>();
    assert_eq!(alive, 0, "no fetch waits for them");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_is_dropped_when_no_fetch_has_waited_for_it_for_30_seconds() {
    let bucket = bucket();
    let (source, partition) = Faulty::at_its_end(&bucket, Refresh::Hangs, "hung", 0);
    let (_, other) = Faulty::at_its_end(&bucket, Refresh::Tells, "other", 0);
    let (long, many) = (request([&other], 3_600), bucket.clone());
    let keeps_polling = spawn(async move { many.fetch_many(&long).await.unwrap() });
    bucket.fetch_many(&request([&partition], 2)).await.unwrap();
    pass(31).await;
    assert_eq!(source.alive.load(Ordering::SeqCst), 0);
    assert!(!keeps_polling.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_fails_its_own_partition_and_no_other() {
    let bucket = bucket();
    let (_, bad) = Faulty::at_its_end(&bucket, Refresh::Panics, "bad", 0);
    let (_, good) = Faulty::at_its_end(&bucket, Refresh::Tells, "good", 0);
    let (alone, many) = (request([&good], 3), bucket.clone());
    let innocent = spawn(async move { many.fetch_many(&alone).await });
    pass(1).await;
    let response = bucket.fetch_many(&request([&bad, &good], 60)).await.unwrap();
    let says_so = |error: &Error| {
        let text = format!("{error} {:?}", error.hint());
        assert!(text.contains("partition bad") && text.contains("panicked"), "{text}");
        assert!(!text.contains("report"), "{text}");
    };
    says_so(response.partitions[0].as_ref().unwrap_err());
    assert!(response.partitions[1].is_ok());
    assert!(innocent.await.unwrap().unwrap().partitions[0].is_ok());
    says_so(&bad.refresh().await.unwrap_err());
    says_so(&bad.segments(..).all().await.unwrap_err());
    let panics = Faulty::new(Refresh::Tells, |_, _| panic!("the source panics, as the test wants"));
    let bad = bucket.partition_from("bad", 1, panics).unwrap();
    says_so(&bad.reader().fetch(0, 1).await.unwrap_err());
    says_so(bucket.fetch_many(&request([&bad], 1)).await.unwrap().partitions[0].as_ref().unwrap_err());
}

/// A source whose end grows with each fetch while it gives nothing.
fn grows(bucket: &Bucket) -> (Arc<Faulty>, Partition) {
    let id = bucket.partition("grows", 0).unwrap().id().clone();
    let ends = AtomicI64::new(10);
    let source = Faulty::new(Refresh::Tells, move |offset, _| {
        let end = ends.fetch_add(1, Ordering::SeqCst);
        // A store would take a while, too. Without a limit the test would hang where it should fail.
        assert!(end < 10_000, "it is asked without a pause");
        Fetch::of_batches(&id, offset, &[], &Watermarks::new(0, end, NOW))
    });
    (source.clone(), bucket.partition_from("grows", 0, source).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_follower_pauses_before_it_asks_a_source_again_that_grows_and_gives_nothing() {
    let bucket = bucket();
    let (source, partition) = grows(&bucket);
    let mut records = partition.reader().follow_records(0);
    let waits = matches!(select(pin!(records.next()), pin!(pass(30))).await, Either::Right(_));
    let fetches = source.fetches.load(Ordering::SeqCst);
    assert!(waits, "{fetches} fetches");
    assert!((20..60).contains(&fetches), "{fetches} fetches in 30 s");
}

#[tokio::test(start_paused = true)]
async fn fetches_of_many_pause_before_they_ask_a_source_again_that_grows_and_gives_nothing() {
    let bucket = bucket();
    let (source, partition) = grows(&bucket);
    let fetches: Vec<_> = (0..2)
        .map(|_| {
            let (request, many) = (request([&partition], 30), bucket.clone());
            spawn(async move { many.fetch_many(&request).await.unwrap() })
        })
        .collect();
    for fetch in fetches {
        assert!(fetch.await.unwrap().partitions[0].as_ref().unwrap().is_empty());
    }
    let fetches = source.fetches.load(Ordering::SeqCst);
    assert!((40..130).contains(&fetches), "{fetches} fetches in 30 s");
}

#[tokio::test]
async fn bytes_of_a_source_that_are_no_batches_are_refused_and_the_error_names_the_partition() {
    let bucket = bucket();
    let whole = batch(1, 10).with_base_offset(3, None).unwrap().bytes().clone();
    let far = batch(1, 10).with_base_offset(90, None).unwrap().bytes().clone();
    let past = batch(1, 10).with_base_offset(0, None).unwrap().bytes().clone();
    let torn = whole.slice(..whole.len() - 1);
    let garbage = Bytes::from_static(b"garbage");
    for (number, chunk) in (0..).zip([garbage, Bytes::new(), torn, far, past]) {
        let id = bucket.partition("lies", number).unwrap().id().clone();
        let source = Faulty::new(Refresh::Tells, move |offset, end| {
            let mut fetch = Fetch::of_batches(&id, offset, &[], &Watermarks::new(0, end, NOW))?;
            (fetch.chunks, fetch.next_offset) = (vec![chunk.clone()], offset + 1);
            Ok(fetch)
        });
        let partition = bucket.partition_from("lies", number, source).unwrap();
        let named = |error: &Error| {
            let text = error.to_string();
            assert!(text.contains(&format!("partition {}", partition.id())), "{number}: {text}");
        };
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let reader = partition.reader_with(ReaderOptions::default().isolation(isolation));
            named(&reader.fetch(3, 1_000).await.unwrap_err());
            let many = bucket.fetch_many(&FetchRequest::new([(&reader, 3, 1_000)])).await.unwrap();
            named(many.partitions[0].as_ref().unwrap_err());
        }
    }
}
