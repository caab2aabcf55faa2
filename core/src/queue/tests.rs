//! One completion for each operation, in order, with no task for those that wait.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use object_store::memory::InMemory;

use super::*;
use crate::error::Stored;
use crate::format::{BatchBuilder, BatchOptions, NewRecord};
use crate::runtime::{BoxFuture, Runtime, Spawn};
use crate::testing::{Action, Failure, FaultStore, Gate, KeyMatcher, LocalSpawn, Op, PausedClock, SeededEntropy};
use crate::{Admission, Bucket, BucketOptions, FetchOptions, FetchRequest, Partition, Writer};

/// Counts the tasks that it starts.
#[derive(Debug, Default)]
struct CountedSpawn(AtomicUsize);

impl Spawn for CountedSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        LocalSpawn.spawn(task);
    }
}

/// One process over a store that fails on purpose, in virtual time.
struct Process {
    faults: Arc<FaultStore>,
    spawned: Arc<CountedSpawn>,
    bucket: Bucket,
}

impl Process {
    fn new(options: BucketOptions) -> Self {
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        let spawned = Arc::<CountedSpawn>::default();
        let (clock, entropy) = (PausedClock::new(1_700_000_000_000), Arc::new(SeededEntropy::new(1)));
        let runtime = Runtime::new(clock, entropy, spawned.clone());
        let bucket = Bucket::from_object_store(faults.clone(), options.runtime(runtime)).unwrap();
        Process { faults, spawned, bucket }
    }

    fn partition(&self) -> Partition {
        self.bucket.partition("orders", 0).unwrap()
    }

    async fn writer(&self) -> Writer {
        self.partition().writer().await.unwrap()
    }

    /// Fetches that wait for a log to grow.
    fn waiting(&self) -> usize {
        self.bucket.0.purgatory.waiting()
    }

    fn spawned(&self) -> usize {
        self.spawned.0.load(Ordering::Relaxed)
    }
}

fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    assert!(builder.push(&NewRecord::new(1_700_000_000_000).value(value.as_bytes())).unwrap());
    builder.finish(0).unwrap().bytes().clone()
}

fn append(writer: &Writer, value: &str) -> Admission {
    writer.append_batches(batch(value))
}

/// The next completion, while the runtime's tasks go on.
async fn next(queue: &CompletionQueue) -> Completion {
    loop {
        if let Some(completion) = queue.try_poll().unwrap() {
            return completion;
        }
        tokio::task::yield_now().await;
    }
}

#[track_caller]
fn base(completion: Completion) -> i64 {
    match completion.ended {
        Ended::Append(Ok(offsets)) => offsets.base,
        other => panic!("append {} ended so: {other:?}", completion.tag),
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_appends_complete_on_one_queue_in_order_without_a_task_for_each() {
    const APPENDS: u64 = 10_000;
    let process = Process::new(BucketOptions::default().buffer_bytes(256 << 10));
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    let before = process.spawned();
    for tag in 0..APPENDS {
        append(&writer, "x").complete_on(&queue, tag);
    }
    assert!(process.bucket.buffered_bytes() <= 256 << 10, "most of them wait for room");
    for tag in 0..APPENDS {
        let completion = next(&queue).await;
        assert_eq!(completion.tag, tag);
        assert_eq!(base(completion), tag as i64);
    }
    assert!(queue.is_empty());
    let spawned = process.spawned() - before;
    assert!(spawned < 100, "{spawned} tasks were started for {APPENDS} appends");
}

#[tokio::test(start_paused = true)]
async fn completions_come_in_the_order_of_the_appends_whoever_asked_for_them_first() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    let mut appends = Vec::new();
    for _ in 0..4 {
        appends.push(append(&writer, "x").await.unwrap());
    }
    for (tag, append) in appends.iter().enumerate().rev() {
        append.complete_on(&queue, tag as u64);
    }
    for tag in 0..4 {
        assert_eq!(next(&queue).await.tag, tag);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_completes_at_once_and_was_not_stored() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    let handle = writer.append_batches(Bytes::from_static(b"no batch")).complete_on(&queue, 1);
    let refused = queue.try_poll().unwrap().expect("at once");
    assert!(matches!(refused.ended, Ended::Append(Err(error)) if error.stored() == Some(Stored::Not)));
    assert!(!handle.cancel(), "it is over");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_cancelled_while_it_waits_for_room_completes_once_and_is_not_stored() {
    let process = Process::new(BucketOptions::default().buffer_bytes(300));
    let gate = Gate::new();
    process.faults.always(Op::Put, KeyMatcher::containing(".kfs"), Action::Hold(gate.clone()));
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    let long = "x".repeat(200);
    let handles: Vec<_> = (0..4).map(|tag| append(&writer, &long).complete_on(&queue, tag)).collect();
    assert!(!handles[0].cancel(), "it has its place");
    assert!(handles[2].cancel());
    assert!(!handles[2].cancel(), "once");
    let cancelled = queue.try_poll().unwrap().expect("at once");
    assert_eq!(cancelled.tag, 2);
    assert!(matches!(cancelled.ended, Ended::Cancelled));
    gate.open();
    for (tag, offset) in [(0, 0), (1, 1), (3, 2)] {
        let completion = next(&queue).await;
        assert_eq!(completion.tag, tag);
        assert_eq!(base(completion), offset);
    }
    assert!(handles.iter().all(|handle| !handle.cancel()));
    assert!(queue.is_empty());
}

#[test]
fn a_cancel_that_races_with_room_completes_an_append_exactly_once() {
    let bucket = crate::blocking::open("memory:", BucketOptions::default().buffer_bytes(300)).unwrap();
    let wait = crate::blocking::Wait::forever();
    let writer = wait.on(bucket.partition("orders", 0).unwrap().writer()).unwrap();
    let queue = CompletionQueue::new();
    let long = "x".repeat(200);
    let (mut stored, mut next_offset) = (0, 0);
    for round in 0..300_u64 {
        let handles: Vec<_> =
            (0..4).map(|number| append(&writer, &long).complete_on(&queue, round * 4 + number)).collect();
        let go = Barrier::new(2);
        let in_time: Vec<bool> = std::thread::scope(|threads| {
            let cancelling = threads.spawn(|| {
                go.wait();
                handles.iter().rev().map(CancelHandle::cancel).collect()
            });
            go.wait();
            cancelling.join().unwrap()
        });
        let mut told = Vec::new();
        while told.len() < handles.len() {
            told.extend(queue.poll_many(3, None).unwrap());
        }
        told.sort_by_key(|completion| completion.tag);
        for (number, (completion, cancelled)) in told.into_iter().zip(in_time.into_iter().rev()).enumerate() {
            assert_eq!(completion.tag, round * 4 + number as u64);
            if cancelled {
                assert!(matches!(completion.ended, Ended::Cancelled), "{completion:?}");
            } else {
                assert_eq!(base(completion), next_offset, "what was cancelled took no offset");
                next_offset += 1;
                stored += 1;
            }
        }
        assert!(queue.is_empty());
    }
    wait.close_writer(&writer).unwrap();
    let end = wait.on(bucket.partition("orders", 0).unwrap().refresh()).unwrap();
    assert_eq!(end.high_watermark, stored);
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_called_when_the_queue_gets_its_first_completion_and_may_poll_it() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    let polled = Arc::new(Mutex::new(Vec::new()));
    let (hooked, told) = (queue.clone(), polled.clone());
    queue.set_hook(move || {
        let taken = hooked.poll_many(usize::MAX, None).unwrap();
        told.lock().unwrap().push(taken.len());
        let would_wait = hooked.poll(None).map(drop).unwrap_err();
        assert_eq!(would_wait.kind(), ErrorKind::InvalidInput);
        assert!(hooked.try_poll().unwrap().is_none());
    });
    for tag in 0..3 {
        append(&writer, "x").complete_on(&queue, tag);
    }
    writer.close(None).await.unwrap();
    assert_eq!(*polled.lock().unwrap(), [1, 1, 1], "the queue was empty before each of them");

    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    queue.set_hook(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    for tag in 0..3 {
        append(&writer, "the writer is closed").complete_on(&queue, tag);
    }
    assert_eq!((queue.len(), calls.load(Ordering::Relaxed)), (3, 1));
    let count = calls.clone();
    queue.set_hook(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(calls.load(Ordering::Relaxed), 2, "a new hook learns that something is there");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_loses_no_completion() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    queue.set_hook(|| panic!("a caller's fault, on purpose"));
    for tag in 0..3 {
        append(&writer, "x").complete_on(&queue, tag);
    }
    for tag in 0..3 {
        assert_eq!(next(&queue).await.tag, tag);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_begins_the_next_fetch_is_not_called_within_itself() {
    let process = Process::new(BucketOptions::default());
    append(&process.writer().await, "x").await.unwrap().durable().await.unwrap();
    let (queue, reader) = (CompletionQueue::new(), process.partition().reader());
    reader.fetch(0, 100).await.unwrap();
    // Each fetch is of bytes in memory, so it completes within the call that begins it.
    let (left, depth) = (AtomicUsize::new(1000), AtomicUsize::new(0));
    let (hooked, again) = (queue.clone(), reader.clone());
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    queue.set_hook(move || {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(depth.fetch_add(1, Ordering::Relaxed), 0);
        while let Some(completion) = hooked.try_poll().unwrap() {
            assert!(matches!(completion.ended, Ended::Fetch(Ok(_))));
            if left.load(Ordering::Relaxed) > 0 {
                left.fetch_sub(1, Ordering::Relaxed);
                again.fetch_on(0, FetchOptions::new(100), &hooked, 1);
            }
        }
        depth.fetch_sub(1, Ordering::Relaxed);
    });
    reader.fetch_on(0, FetchOptions::new(100), &queue, 0);
    assert!(queue.is_empty());
    assert_eq!(calls.load(Ordering::Relaxed), 1001, "one call each time the queue was empty before");
    // No wait is refused once the hooks have returned.
    assert!(queue.poll(Some(Duration::from_millis(1))).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_when_it_is_dropped_harms_no_call() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a caller's fault, on purpose");
        }
    }
    let hook = || {
        let panics = Panics;
        move || {
            let _kept = &panics;
        }
    };
    let queue = CompletionQueue::new();
    queue.set_hook(hook());
    queue.set_hook(hook());
    let process = Process::new(BucketOptions::default());
    append(&process.writer().await, "x").complete_on(&queue, 1);
    let waiting = process.bucket.fetch_many_on(
        FetchRequest::new([(&process.partition().reader(), 1, 100)]).min_bytes(1).max_wait(Duration::from_secs(60)),
        &queue,
        2,
    );
    queue.close();
    assert!(!waiting.cancel(), "the fetch ended with the queue");
    assert_eq!(process.waiting(), 0);
}

#[test]
fn closing_ends_a_poll_on_another_thread() {
    let queue = CompletionQueue::new();
    let other = queue.clone();
    let (polls, began) = std::sync::mpsc::channel();
    let ended = std::thread::scope(|threads| {
        let poll = threads.spawn(move || {
            polls.send(()).unwrap();
            other.poll(None).map(drop)
        });
        began.recv().unwrap();
        queue.close();
        poll.join().unwrap()
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(queue.try_poll().unwrap_err().kind(), ErrorKind::Closed);
    queue.close();
}

#[tokio::test(start_paused = true)]
async fn appends_go_on_when_their_queue_is_closed_or_dropped_whatever_is_dropped_first() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for closes in [false, true] {
            let process = Process::new(BucketOptions::default().buffer_bytes(300));
            let gate = Gate::new();
            process.faults.always(Op::Put, KeyMatcher::containing(".kfs"), Action::Hold(gate.clone()));
            let (writer, queue) = (process.writer().await, CompletionQueue::new());
            let long = "x".repeat(200);
            let mut handles = Some([1, 2, 3].map(|tag| append(&writer, &long).complete_on(&queue, tag)));
            let (mut kept, mut queue) = (Some(writer.clone()), Some(queue));
            for which in order {
                match which {
                    0 if closes => queue.take().unwrap().close(),
                    0 => drop(queue.take()),
                    1 => drop(handles.take()),
                    _ => drop(kept.take()),
                }
            }
            gate.open();
            // The appends that waited for room get in before it.
            let last = append(&writer, "last").await.unwrap().durable().await.unwrap();
            assert_eq!(last.base, 3, "order {order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_takes_no_completion_and_the_writer_still_closes() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    queue.close();
    append(&writer, "x").complete_on(&queue, 1);
    writer.close_on(None, &queue, 2);
    let refused = append(&writer, "y").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
}

#[test]
fn a_forked_child_can_not_poll_and_is_told_why() {
    let queue = CompletionQueue::new();
    crate::fork::tests::pretend_forked(true);
    let error = queue.poll(None).unwrap_err();
    let many = queue.poll_many(0, None).unwrap_err();
    let seen = (queue.len(), queue.bytes());
    queue.close();
    crate::fork::tests::pretend_forked(false);
    assert_eq!((error.kind(), many.kind(), seen), (ErrorKind::Closed, ErrorKind::Closed, (0, 0)));
    assert!(error.message().contains("forked"), "{error}");
    assert!(queue.try_poll().unwrap().is_none(), "the parent's queue is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_completes_on_the_queue_and_its_bytes_count_until_it_is_polled() {
    let process = Process::new(BucketOptions::default());
    let writer = process.writer().await;
    append(&writer, "x").await.unwrap().durable().await.unwrap();
    let (queue, reader) = (CompletionQueue::new(), process.partition().reader());
    reader.fetch_on(0, FetchOptions::new(1 << 20), &queue, 1);
    while queue.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(queue.bytes(), batch("x").len());
    let Ended::Fetch(Ok(fetch)) = next(&queue).await.ended else { panic!() };
    assert_eq!((fetch.bytes(), queue.bytes()), (batch("x").len(), 0));
    reader.fetch_on(0, FetchOptions::new(1 << 20), &queue, 2);
    assert_eq!(queue.len(), 1, "it needs nothing of the store");
    reader.fetch_on(-1, FetchOptions::new(1 << 20), &queue, 3);
    assert!(matches!(queue.poll_many(9, None).unwrap().pop().unwrap().ended, Ended::Fetch(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_for_the_store_is_cancelled_once() {
    let process = Process::new(BucketOptions::default());
    process.faults.always(Op::Get, KeyMatcher::containing(""), Action::Fail(Failure::Unavailable));
    process.faults.always(Op::List, KeyMatcher::containing(""), Action::Fail(Failure::Unavailable));
    let (queue, reader) = (CompletionQueue::new(), process.partition().reader());
    let handle = reader.fetch_on(0, FetchOptions::new(1), &queue, 1);
    assert!(queue.is_empty());
    assert!(handle.cancel());
    assert!(!handle.cancel());
    assert!(matches!(next(&queue).await.ended, Ended::Cancelled));
    process.bucket.runtime().clock().sleep(Duration::from_secs(60)).await;
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_fetches_wait_without_a_task_and_an_append_completes_each_once() {
    const FETCHES: u64 = 1_000;
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    append(&writer, "x").await.unwrap().durable().await.unwrap();
    let reader = process.partition().reader();
    let request = Arc::new(FetchRequest::new([(&reader, 1, 1 << 20)]).max_wait(Duration::from_secs(3_600)));
    let before = process.spawned();
    let handles: Vec<_> = (0..FETCHES).map(|tag| process.bucket.fetch_many_on(request.clone(), &queue, tag)).collect();
    tokio::task::yield_now().await;
    let spawned = process.spawned() - before;
    assert!(spawned < 10, "{spawned} tasks were started for fetches that wait");
    assert_eq!((queue.len(), process.waiting()), (0, FETCHES as usize));
    assert!(handles[7].cancel());
    assert!(matches!(next(&queue).await, Completion { tag: 7, ended: Ended::Cancelled }));
    assert_eq!(process.waiting(), FETCHES as usize - 1);

    append(&writer, "y").await.unwrap().durable().await.unwrap();
    let mut tags = Vec::new();
    while tags.len() < FETCHES as usize - 1 {
        let completion = next(&queue).await;
        let Ended::FetchMany(Ok(response)) = completion.ended else { panic!() };
        assert_eq!(response.bytes(), batch("y").len());
        tags.push(completion.tag);
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!((tags.len(), queue.len()), (FETCHES as usize - 1, 0));
    assert!(!handles[8].cancel(), "it is over");
    assert_eq!(process.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn fetches_that_wait_end_with_their_queue() {
    let process = Process::new(BucketOptions::default());
    let writer = process.writer().await;
    append(&writer, "x").await.unwrap().durable().await.unwrap();
    let reader = process.partition().reader();
    for closes in [false, true] {
        let queue = CompletionQueue::new();
        let request = FetchRequest::new([(&reader, 1, 1 << 20)]).max_wait(Duration::from_secs(3_600));
        let handle = process.bucket.fetch_many_on(request, &queue, 1);
        assert_eq!(process.waiting(), 1);
        if closes {
            queue.close();
        }
        drop(queue);
        assert_eq!(process.waiting(), 0);
        assert!(!handle.cancel());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_close_complete_after_the_appends_that_they_cover() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    append(&writer, "a").complete_on(&queue, 1);
    writer.flush_on(&queue, 2);
    assert_eq!(base(next(&queue).await), 0);
    assert!(matches!(next(&queue).await, Completion { tag: 2, ended: Ended::Flush(Ok(())) }));
    append(&writer, "b").complete_on(&queue, 3);
    let handle = writer.close_on(Some(Duration::from_secs(9)), &queue, 4);
    assert_eq!(base(next(&queue).await), 1);
    assert!(matches!(next(&queue).await, Completion { tag: 4, ended: Ended::Close(Ok(())) }));
    assert!(!handle.cancel());
}

#[tokio::test(start_paused = true)]
async fn a_close_at_its_deadline_completes_the_appends_that_it_gives_up() {
    let process = Process::new(BucketOptions::default());
    let (writer, queue) = (process.writer().await, CompletionQueue::new());
    process.faults.always(Op::Put, KeyMatcher::containing(".kfs"), Action::Fail(Failure::Unavailable));
    append(&writer, "a").complete_on(&queue, 1);
    writer.close_on(Some(Duration::from_secs(9)), &queue, 2);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
        ended.extend(queue.poll_many(9, Some(Duration::ZERO)).unwrap());
    }
    assert!(matches!(&ended[0].ended, Ended::Append(Err(error)) if error.stored().is_some()), "{ended:?}");
    assert!(matches!(&ended[1].ended, Ended::Close(Err(_))), "{ended:?}");
}

#[test]
fn operations_whose_runtime_was_shut_down_complete_with_an_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let on = BucketOptions::default().runtime(Runtime::tokio(runtime.handle().clone()));
    let bucket = Bucket::open_with("memory:", on).unwrap();
    let partition = bucket.partition("orders", 0).unwrap();
    let writer = runtime.block_on(async {
        let writer = partition.writer().await.unwrap();
        append(&writer, "x").await.unwrap().durable().await.unwrap();
        writer
    });
    let (queue, reader) = (CompletionQueue::new(), partition.reader());
    let request = FetchRequest::new([(&reader, 1, 1 << 20)]).max_wait(Duration::from_secs(3_600));
    bucket.fetch_many_on(request, &queue, 1);
    runtime.shutdown_timeout(Duration::from_secs(1));
    let lost = queue.poll(None).unwrap().unwrap();
    assert!(matches!(lost.ended, Ended::FetchMany(Err(error)) if error.kind() == ErrorKind::Closed));
    append(&writer, "y").complete_on(&queue, 2);
    assert!(matches!(queue.poll(None).unwrap().unwrap().ended, Ended::Append(Err(_))));
    let cold = bucket.partition("orders", 1).unwrap().reader();
    cold.fetch_on(0, FetchOptions::new(100), &queue, 3);
    assert!(
        matches!(queue.poll(None).unwrap().unwrap().ended, Ended::Fetch(Err(error)) if error.kind() == ErrorKind::Closed)
    );
}
