//! Waiting on every kind of thread; limits and cancels.
#![allow(clippy::disallowed_methods, reason = "these tests are about real threads and real time")]

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::{Cancel, Wait, on_shared_runtime, open};
use crate::error::{ErrorKind, Result, Stored};
use crate::format::{BatchBuilder, BatchOptions, NewRecord, PartitionId};
use crate::testing::{Action, Failure, FaultStore, Op};
use crate::{
    Append, Bucket, BucketOptions, FetchOptions, Interest, Offsets, Partition, Reader, Watch, Watermarks, Writer,
};

fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

fn record() -> NewRecord<'static> {
    NewRecord::new(1_767_225_600_000).key(b"k").value(b"v")
}

fn batch(records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..records {
        builder.push(&record()).unwrap();
    }
    builder.finish(0).unwrap().bytes().to_vec()
}

fn in_store(store: Arc<dyn ObjectStore>, options: BucketOptions) -> Result<Bucket> {
    Bucket::from_object_store(store, on_shared_runtime(options)?)
}

fn writer_of(bucket: &Bucket) -> Writer {
    let partition = bucket.partition("orders", 0).unwrap();
    soon().on_log(&partition, partition.writer()).unwrap()
}

async fn changed(watch: &mut Watch) -> Result<(PartitionId, Watermarks)> {
    watch.changed().await
}

fn appended(writer: &Writer, wait: &Wait) -> Result<Append> {
    wait.on_admission(writer, writer.append_batches(batch(1)))
}

fn durable(append: &Append, wait: &Wait) -> Result<Offsets> {
    wait.on_commit(append, append.durable())
}

/// Every call of the writer's side once, and all handles dropped.
fn everything() {
    let bucket = open("memory:", BucketOptions::default()).unwrap();
    let partition: Partition = bucket.partition("orders", 0).unwrap();
    soon().on_log(&partition, partition.create(7)).unwrap();
    let writer: Writer = writer_of(&bucket);
    let first: Append = soon().on_admission(&writer, writer.append_batches(batch(2))).unwrap();
    let offsets = durable(&first, &soon()).unwrap();
    assert_eq!((offsets.base, offsets.last), (7, 8));
    let second = soon().on_admission(&writer, writer.append(&[record()])).unwrap();
    soon().on_commit(&writer, writer.flush()).unwrap();
    assert_eq!(second.final_offsets().unwrap().base, 9);
    assert_eq!(soon().on_commit(&writer, writer.claim()).unwrap().base, 10);
    assert_eq!(soon().on_log(&bucket, bucket.topics()).unwrap().len(), 1);
    let partitions = soon().on_log(&bucket, bucket.partitions("orders")).unwrap();
    assert_eq!(partitions.iter().map(Partition::id).collect::<Vec<_>>(), [partition.id()]);
    let refused = soon().on_log(&bucket, bucket.partitions("or/ders")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    soon().close_writer(&writer).unwrap();
    assert_eq!(writer.try_append_batches(batch(1)).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(partition.watermarks().unwrap().high_watermark, 11);
    read_everything(&bucket, &partition);
    soon().close_bucket(&bucket).unwrap();
    let opened = soon().on_log(&partition, partition.writer());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Closed);
}

/// Every call of the reader's side once, over offsets 7 to 10, of which the last has no record.
fn read_everything(bucket: &Bucket, partition: &Partition) {
    let reader: Reader = partition.reader();
    let fetch = soon().on_log(&reader, reader.fetch(8, 1)).unwrap();
    assert_eq!((fetch.next_offset, fetch.high_watermark), (9, 11));
    assert!(soon().on_log(&reader, reader.fetch_with(11, FetchOptions::new(1))).unwrap().is_empty());
    let mut records = reader.records(8);
    let mut offsets = Vec::new();
    while let Some(record) = soon().on_log(partition, records.next()).unwrap() {
        offsets.push(record.offset());
    }
    assert_eq!(offsets, [8, 9]);
    let mut batches = reader.batches(7);
    assert_eq!(soon().on_log(partition, batches.next()).unwrap().unwrap().next_offset(), 9);

    assert_eq!(soon().on_log(partition, partition.refresh()).unwrap().high_watermark, 11);
    assert_eq!(soon().on_log(partition, partition.offset_for_timestamp(0)).unwrap().unwrap().offset, 7);
    assert_eq!(
        soon().on_log(partition, partition.max_timestamp()).unwrap().unwrap().timestamp_ms,
        record().timestamp_ms
    );
    let segments = soon().on(partition.segments(..).all()).unwrap();
    assert_eq!(soon().on(partition.segments(..).next_page()).unwrap().unwrap().len(), segments.len());
    let first = partition.segment(segments[0].base);
    assert_eq!((first.base(), first.key()), (7, segments[0].key.clone()));
    assert_eq!(soon().on(first.read()).unwrap().header().base_offset, 7);
    assert_eq!(soon().on(first.bytes()).unwrap().len() as u64, segments[0].size);
    assert!(soon().on(first.index()).unwrap().is_some() && soon().on(first.time_index()).unwrap().is_none());
    assert!(soon().on(first.identity()).unwrap().kfsid.is_some());

    // A follower at the end waits, and loses nothing by a wait that ends.
    let mut following = reader.follow_records(11);
    let mut watch = Watch::new();
    watch.add(&reader.partition());
    assert_eq!(soon().on(changed(&mut watch)).unwrap().1.high_watermark, 11);
    let short = Wait::at_most(Duration::from_millis(10));
    assert_eq!(short.on_log(partition, following.next()).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(short.on(changed(&mut watch)).unwrap_err().kind(), ErrorKind::TimedOut);
    let writer = writer_of(bucket);
    durable(&appended(&writer, &soon()).unwrap(), &soon()).unwrap();
    assert_eq!(soon().on_log(partition, following.next()).unwrap().unwrap().offset(), 11);
    assert_eq!(soon().on(changed(&mut watch)).unwrap().1.high_watermark, 12);
}

#[test]
fn it_works_on_a_plain_thread() {
    everything();
}

#[test]
fn it_works_inside_a_current_thread_runtime() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async { everything() });
}

#[test]
fn it_works_inside_a_multi_thread_runtime_in_tasks_of_all_its_workers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(async { everything() })).collect();
        for task in tasks {
            task.await.unwrap();
        }
        tokio::task::spawn_blocking(everything).await.unwrap();
    });
}

#[test]
fn it_works_inside_another_executor() {
    futures_util::FutureExt::now_or_never(async { everything() }).unwrap();
}

#[test]
fn a_task_that_waits_many_times_is_not_starved_by_its_executor() {
    // tokio gives a task 128 polls of its primitives before it makes them feign to be pending.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let task = runtime.spawn(async {
        let bucket = open("memory:", BucketOptions::default()).unwrap();
        for number in 0..300 {
            let partition = bucket.partition("orders", number).unwrap();
            soon().on_log(&partition, partition.create(0)).unwrap();
        }
    });
    runtime.block_on(task).unwrap();
}

#[test]
fn handles_dropped_inside_a_runtime_do_not_panic_and_what_was_buffered_is_flushed() {
    let store = Arc::new(InMemory::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let appended = runtime.block_on(async {
        let bucket = in_store(store.clone(), BucketOptions::default()).unwrap();
        let writer = writer_of(&bucket);
        let append = appended(&writer, &soon()).unwrap();
        let (send, settled) = mpsc::channel();
        append.on_settled(Interest::Observes, move |outcome| drop(send.send(outcome)));
        settled
    });
    let outcome = appended.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(outcome.unwrap().last, 0);
}

/// A bucket whose writes of segments never come back.
fn stuck(options: BucketOptions) -> Bucket {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    faults.always(Op::Put, ".kfs", Action::Hang);
    in_store(faults, options).unwrap()
}

#[test]
fn a_wait_ends_at_its_limit_and_the_append_goes_on() {
    let bucket = stuck(BucketOptions::default());
    let writer = writer_of(&bucket);
    let append = appended(&writer, &soon()).unwrap();
    let begun = Instant::now();
    let limit = Duration::from_millis(50);
    for wait in [Wait::at_most(limit), Wait::at_most(Duration::ZERO)] {
        let error = durable(&append, &wait).unwrap_err();
        assert_eq!((error.kind(), error.stored()), (ErrorKind::TimedOut, Some(Stored::Perhaps)));
    }
    assert!(begun.elapsed() >= limit);
    assert!(append.outcome().is_none(), "it is still on its way");
    let error = Wait::at_most(limit).close_writer(&writer).unwrap_err();
    assert_eq!(error.stored(), Some(Stored::Perhaps));
    assert!(append.outcome().unwrap().is_err(), "closing settles what it gives up");
}

#[test]
fn a_wait_for_room_that_ends_takes_the_append_back() {
    let bucket = stuck(BucketOptions::default().buffer_bytes(batch(1).len()));
    let writer = writer_of(&bucket);
    let _first = appended(&writer, &soon()).unwrap();
    let error = appended(&writer, &Wait::at_most(Duration::from_millis(20))).unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::TimedOut, Some(Stored::Not)));
    let error = writer.try_append_batches(batch(1)).unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Full, Some(Stored::Not)));
}

#[test]
fn cancel_ends_every_wait_that_it_was_given_to_now_and_later() {
    let bucket = stuck(BucketOptions::default());
    let writer = writer_of(&bucket);
    let cancel = Cancel::new();
    let wait = Wait::forever().or_until(&cancel);
    let append = appended(&writer, &wait).unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| durable(&append, &wait))).collect();
        thread::sleep(Duration::from_millis(20));
        assert!(!cancel.is_cancelled());
        cancel.cancel();
        for thread in waiting {
            assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        }
    });
    assert!(cancel.is_cancelled());
    assert_eq!(wait.on_commit(&writer, writer.flush()).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(wait.close_bucket(&bucket).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_check_without_a_pause_is_asked_once_a_millisecond_at_most() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let times = asked.clone();
    let wait = Wait::forever().or_when(Duration::ZERO, move || {
        let mut times = times.lock().unwrap();
        times.push(Instant::now());
        times.len() == 20
    });
    let error = wait.on(std::future::pending::<Result<()>>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let asked = asked.lock().unwrap();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(1)), "{asked:?}");
}

#[test]
fn a_check_ends_the_wait_when_it_says_so() {
    let bucket = stuck(BucketOptions::default());
    let writer = writer_of(&bucket);
    let append = appended(&writer, &soon()).unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let wait = Wait::forever()
        .or_when(Duration::from_millis(5), move || counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2);
    assert_eq!(durable(&append, &wait).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[test]
fn what_is_done_already_is_given_even_if_the_wait_is_over() {
    let bucket = open("memory:", BucketOptions::default()).unwrap();
    let writer = writer_of(&bucket);
    let append = appended(&writer, &soon()).unwrap();
    durable(&append, &soon()).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(durable(&append, &Wait::at_most(Duration::ZERO).or_until(&cancel)).unwrap().last, 0);
}

#[test]
fn a_wait_that_has_begun_counts_over_all_calls() {
    let bucket = stuck(BucketOptions::default());
    let writer = writer_of(&bucket);
    let append = appended(&writer, &soon()).unwrap();
    let wait = Wait::at_most(Duration::from_millis(200)).begun();
    let begun = Instant::now();
    for _ in 0..10 {
        durable(&append, &wait).unwrap_err();
    }
    assert!(begun.elapsed() < Duration::from_millis(1000));
    assert_eq!(wait.limit(), Some(Duration::ZERO));
}

#[test]
fn a_callback_never_runs_within_the_call_that_asks_for_it() {
    let bucket = open("memory:", BucketOptions::default()).unwrap();
    let writer = writer_of(&bucket);
    let append = appended(&writer, &soon()).unwrap();
    durable(&append, &soon()).unwrap();
    let (send, called) = mpsc::channel();
    let held = Arc::new(std::sync::Mutex::new(()));
    let guard = held.lock().unwrap();
    let wanted = held.clone();
    append.on_settled(Interest::Waits, move |outcome| {
        let _held = wanted.lock().unwrap();
        send.send((thread::current().id(), outcome.is_ok(), super::in_callback())).unwrap();
    });
    drop(guard);
    let (thread, well, inside) = called.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(thread != thread::current().id() && well && inside);
}

#[test]
fn a_callback_that_would_wait_is_refused_and_one_that_appends_is_not() {
    let bucket = open("memory:", BucketOptions::default()).unwrap();
    let writer = writer_of(&bucket);
    let (send, received) = mpsc::channel();
    let again = writer.clone();
    appended(&writer, &soon()).unwrap().on_settled(Interest::Waits, move |_| {
        let next = appended(&again, &Wait::forever()).unwrap();
        let refused = durable(&next, &Wait::forever()).map_err(|e| e.kind());
        send.send((next, refused)).unwrap();
    });
    let (next, refused) = received.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(refused, Err(ErrorKind::InvalidInput));
    assert_eq!(durable(&next, &soon()).unwrap().base, 1);
}

#[test]
fn a_wait_that_ends_in_vain_says_why() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let bucket = in_store(faults.clone(), BucketOptions::default()).unwrap();
    let partition = bucket.partition("t", 0).unwrap();
    let writer = soon().on_log(&partition, partition.writer()).unwrap();
    faults.set_down(Some(Failure::PermissionDenied));
    let append = appended(&writer, &soon()).unwrap();
    let short = Wait::at_most(Duration::from_millis(300));
    let stored = Some(Stored::Perhaps);
    for error in [durable(&append, &short).unwrap_err(), short.on_commit(&writer, writer.flush()).unwrap_err()] {
        assert_eq!((error.kind(), error.stored()), (ErrorKind::TimedOut, stored));
        assert!(error.to_string().contains("injected: PermissionDenied"), "{error}");
    }
    faults.set_down(Some(Failure::Unavailable));
    let reader = bucket.partition("v", 0).unwrap().reader();
    let unopened = bucket.partition("u", 0).unwrap();
    let opened = short.on_log(&unopened, unopened.writer()).unwrap_err();
    for error in [
        short.on_log(&reader, reader.fetch(0, 1)).unwrap_err(),
        short.on_log(&bucket, bucket.topics()).unwrap_err(),
        opened,
    ] {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("injected: Unavailable"), "{error}");
    }
    faults.set_down(None);
    durable(&append, &soon()).unwrap();
}
