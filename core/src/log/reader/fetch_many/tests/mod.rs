mod answer;
mod backfill;
mod poll;
mod trouble;
mod wait;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::Writer;
use crate::error::Result;
use crate::log::fixtures::{NOW, batch};
use crate::log::{Bucket, BucketOptions, Partition};
use crate::runtime::{BoxFuture, Clock, Runtime, SystemEntropy};
use crate::testing::{LocalSpawn, PausedClock};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(3600);

/// A process over this store, whose clock is tokio's paused time.
fn process(store: Arc<dyn ObjectStore>) -> Bucket {
    process_with(store, PausedClock::new(NOW))
}

fn process_with(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Bucket {
    let runtime = Runtime::new(clock, Arc::new(SystemEntropy), Arc::new(LocalSpawn));
    Bucket::from_object_store(store, BucketOptions::default().runtime(runtime)).unwrap()
}

fn partition(bucket: &Bucket, number: i32) -> Partition {
    bucket.partition("t", number).unwrap()
}

async fn writer(partition: &Partition) -> Writer {
    partition.writer().await.unwrap()
}

/// Appends one batch of so many records, as a segment of its own.
async fn append(writer: &Writer, records: usize) {
    writer.append_batches(batch(records, 100).bytes().clone()).await.unwrap().durable().await.unwrap();
}

fn request<'a>(wanted: impl IntoIterator<Item = (&'a Partition, i64)>) -> FetchRequest {
    FetchRequest::new(wanted.into_iter().map(|(partition, offset)| (partition, offset, 1 << 20))).max_wait(LONG)
}

/// The next offsets of a response without errors.
fn next_offsets(response: &FetchResponse) -> Vec<i64> {
    response.partitions.iter().map(|fetched| fetched.as_ref().unwrap().next_offset).collect()
}

#[derive(Default)]
struct Wakes {
    woken: AtomicBool,
    count: AtomicUsize,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// A fetch that the test itself polls, only when it was woken.
struct Polled<'a> {
    fetch: Option<Pin<Box<dyn Future<Output = Result<FetchResponse>> + 'a>>>,
    wakes: Arc<Wakes>,
    polls: usize,
    answer: Option<Result<FetchResponse>>,
}

impl<'a> Polled<'a> {
    fn new(bucket: &'a Bucket, request: &'a FetchRequest) -> Self {
        let wakes = Arc::new(Wakes::default());
        wakes.woken.store(true, Ordering::SeqCst);
        Polled { fetch: Some(Box::pin(bucket.fetch_many(request))), wakes, polls: 0, answer: None }
    }

    /// Polls it if it was woken. Whether it was.
    fn poll(&mut self) -> bool {
        let Some(fetch) = &mut self.fetch else { return false };
        if !self.wakes.woken.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.polls += 1;
        let waker = Waker::from(self.wakes.clone());
        if let Poll::Ready(answer) = fetch.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.answer = Some(answer);
            self.fetch = None;
        }
        true
    }

    fn wakes(&self) -> usize {
        self.wakes.count.load(Ordering::SeqCst)
    }
}

/// More rounds than all tasks together need to come to rest.
const MOST_ROUNDS: usize = 100_000;

/// Lets everything run that can run without time passing. A fetch that is woken without end fails the test.
async fn settle(fetches: &mut [Polled<'_>]) {
    let mut idle = 0;
    for _ in 0..MOST_ROUNDS {
        tokio::task::yield_now().await;
        let polled = fetches.iter_mut().filter_map(|fetch| fetch.poll().then_some(())).count();
        idle = if polled > 0 { 0 } else { idle + 1 };
        if idle == 20 {
            return;
        }
    }
    panic!("fetches are still woken after {MOST_ROUNDS} rounds in which no time passed");
}

/// Lets this much time pass, in steps that are no longer than the shortest pace of polls. Time moves even while a task
/// never rests, so that a test can count what such a task does.
async fn pass(time: Duration, fetches: &mut [Polled<'_>]) {
    let step = Duration::from_millis(50);
    let mut left = time;
    while !left.is_zero() {
        tokio::time::advance(step.min(left)).await;
        left = left.saturating_sub(step);
        settle(fetches).await;
    }
}

/// The same, while the store is asked only now and then. The test fails early if it is asked without a pause, for that takes
/// long to count.
async fn pass_quietly(time: Duration, fetches: &mut [Polled<'_>], bucket: &Bucket) {
    let before = bucket.requests();
    let mut left = time;
    while !left.is_zero() {
        pass(left.min(Duration::from_secs(1)), fetches).await;
        left = left.saturating_sub(Duration::from_secs(1));
        let since = bucket.requests().since(&before).total();
        assert!(since < 1000, "{since} requests when {:?} had passed", time - left);
    }
}

/// The answer to a fetch. The test fails if it does not come in time.
async fn fetched(bucket: &Bucket, request: &FetchRequest) -> Result<FetchResponse> {
    let mut fetches = [Polled::new(bucket, request)];
    settle(&mut fetches).await;
    let most = request.max_wait + Duration::from_secs(6);
    let clock = bucket.runtime().clock();
    let began = clock.elapsed();
    loop {
        if let Some(answer) = fetches[0].answer.take() {
            return answer;
        }
        assert!(clock.elapsed() - began < most, "a fetch was not answered within {most:?}");
        pass(Duration::from_millis(10), &mut fetches).await;
    }
}

/// tokio's paused time, which counts how often something goes to sleep.
#[derive(Debug)]
struct CountingClock {
    clock: Arc<PausedClock>,
    sleeps: AtomicUsize,
}

impl Clock for CountingClock {
    fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        self.clock.sleep(duration)
    }
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn memory() -> Arc<InMemory> {
    Arc::new(InMemory::new())
}
