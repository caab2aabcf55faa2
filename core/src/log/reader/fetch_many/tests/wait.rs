use super::*;
use futures_util::FutureExt;

use crate::error::ErrorKind;
use crate::store::RequestCounts;
use crate::testing::{Action, FaultStore, Gate, Op};

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_waiting_until_there_is_enough_and_reads_each_byte_once() {
    let bucket = process(memory());
    let (one, other) = (partition(&bucket, 0), partition(&bucket, 1));
    let writers = (writer(&one).await, writer(&other).await);
    append(&writers.0, 3).await;
    append(&writers.1, 1).await;
    let len = |records| batch(records, 100).bytes().len();
    let request = request([(&one, 0), (&other, 1)]).min_bytes(len(3) + len(5) + len(2));
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    let first = bucket.requests().get;
    append(&writers.1, 5).await;
    append(&writers.0, 1).await;
    settle(&mut fetches).await;
    assert!(fetches[0].answer.is_none());
    assert_eq!(bucket.requests().get, first, "what does not suffice is counted and not read");
    append(&writers.1, 1).await;
    settle(&mut fetches).await;
    let response = fetches[0].answer.take().unwrap().unwrap();
    assert_eq!(next_offsets(&response), [4, 7]);
    assert_eq!(response.bytes(), len(3) + len(5) + 2 * len(1));
    assert_eq!(response.partitions[0].as_ref().unwrap().batches().count(), 2, "both reads of it are in the answer");
    assert_eq!(bucket.requests().get, first + 3, "one GET a segment");
}

#[tokio::test(start_paused = true)]
async fn at_max_wait_the_answer_has_what_there_is() {
    let bucket = process(memory());
    let (one, other) = (partition(&bucket, 0), partition(&bucket, 1));
    let (writer, idle) = (writer(&one).await, writer(&other).await);
    append(&writer, 3).await;
    append(&idle, 1).await;
    let request = request([(&one, 3), (&other, 1)]).min_bytes(1 << 20).max_wait(Duration::from_millis(1500));
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    append(&writer, 2).await;
    settle(&mut fetches).await;
    let began = bucket.runtime().clock().elapsed();
    let clock = bucket.runtime().clock().clone();
    pass(Duration::from_millis(1400), &mut fetches).await;
    assert!(fetches[0].answer.is_none());
    pass(Duration::from_millis(200), &mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [5, 1]);
    assert!(clock.elapsed() - began < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_fetches_of_a_thousand_partitions_are_woken_once_each_by_a_durable_append() {
    let faults = FaultStore::new(memory());
    let bucket = process(faults.clone());
    let partitions: Vec<_> = (0..1000).map(|n| partition(&bucket, n)).collect();
    let mut writers = Vec::new();
    for (n, partition) in partitions.iter().enumerate() {
        if n.is_multiple_of(100) {
            let writer = writer(partition).await;
            append(&writer, 1).await;
            writers.push(writer);
        } else {
            partition.create(0).await.unwrap();
        }
    }
    settle(&mut []).await;
    let idle = tasks();
    let offset = |n: usize| i64::from(n.is_multiple_of(100));
    let wanted = || partitions.iter().enumerate().map(|(n, partition)| (partition, offset(n)));
    let requests: Vec<_> = (0..100).map(|_| request(wanted())).collect();
    let mut fetches: Vec<_> = requests.iter().map(|request| Polled::new(&bucket, request)).collect();
    settle(&mut fetches).await;
    assert_eq!(bucket.0.purgatory.waiting(), 100);
    assert_eq!(tasks(), idle + 1, "one task for all of them");

    let gate = Gate::new();
    faults.always(Op::Get, ".kfs", Action::Hold(gate.clone()));
    for (n, writer) in writers.iter().enumerate() {
        let before: Vec<_> = fetches.iter().map(|fetch| (fetch.wakes(), fetch.polls)).collect();
        append(writer, 1).await;
        settle(&mut fetches).await;
        let woken = fetches.iter().zip(&before).map(|(f, before)| (f.wakes() - before.0, f.polls - before.1));
        let woken: std::collections::BTreeSet<_> = woken.collect();
        assert_eq!(woken.into_iter().collect::<Vec<_>>(), [(1, 1)], "append {n}");
    }
    assert_eq!(gate.arrivals(), 1, "all wait for one GET of the first, and it is enough");
    gate.open();
    settle(&mut fetches).await;
    for fetch in &mut fetches {
        let response = fetch.answer.take().unwrap().unwrap();
        let grown: Vec<_> =
            next_offsets(&response).iter().enumerate().filter(|(_, next)| **next == 2).map(|(n, _)| n).collect();
        assert!(grown.contains(&0), "{grown:?}");
    }
    assert_eq!((bucket.0.purgatory.waiting(), tasks()), (0, idle));
}

#[tokio::test(start_paused = true)]
async fn what_is_only_buffered_wakes_no_fetch() {
    let bucket = process(memory());
    let busy = partition(&bucket, 0);
    let writer = writer(&busy).await;
    append(&writer, 1).await;
    let request = request([(&busy, 1)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    let wakes = fetches[0].wakes();
    let appended = writer.append_batches(batch(1, 10).bytes().clone()).await.unwrap();
    settle(&mut fetches).await;
    assert_eq!(fetches[0].wakes(), wakes);
    appended.durable().await.unwrap();
    settle(&mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_between_the_read_and_the_wait_is_not_missed() {
    let faults = FaultStore::new(memory());
    let bucket = process(faults.clone());
    let (slow, busy) = (partition(&bucket, 0), partition(&bucket, 1));
    slow.create(0).await.unwrap();
    let writer = writer(&busy).await;
    append(&writer, 1).await;
    let gate = Gate::new();
    faults.on(Op::List, "", Action::Hold(gate.clone()));
    // The first read finds the end of the busy one, and waits for the store because of the other.
    let request = request([(&busy, 1), (&slow, 0)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    assert_eq!(gate.arrivals(), 1);
    append(&writer, 1).await;
    gate.open();
    settle(&mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2, 0]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_waits_leave_nothing_behind() {
    let bucket = process(memory());
    let partitions: Vec<_> = (0..50).map(|n| partition(&bucket, n)).collect();
    for partition in &partitions {
        partition.create(0).await.unwrap();
    }
    let request = request(partitions.iter().map(|partition| (partition, 0)));
    settle(&mut []).await;
    let idle = tasks();
    let tags = |_: ()| partitions.iter().map(|p| p.state().watermarks.fetch_tags()).sum::<usize>();
    let mut stays = vec![Polled::new(&bucket, &request)];
    settle(&mut stays).await;
    for _ in 0..100 {
        let mut fetches: Vec<_> = (0..10).map(|_| Polled::new(&bucket, &request)).collect();
        settle(&mut fetches).await;
        assert_eq!(bucket.0.purgatory.waiting(), 11);
    }
    assert_eq!(bucket.0.purgatory.waiting(), 1);
    assert!(tags(()) <= 50 * 32, "{} for one fetch of 50", tags(()));
    drop(stays);
    settle(&mut []).await;
    assert_eq!((bucket.0.purgatory.waiting(), tags(()), tasks()), (0, 0, idle));
    let before = bucket.requests();
    pass(Duration::from_secs(120), &mut []).await;
    assert_eq!(bucket.requests(), before, "nothing is polled for nobody");
}

#[tokio::test(start_paused = true)]
async fn closing_the_bucket_ends_all_waits_as_closed() {
    let bucket = process(memory());
    let quiet = partition(&bucket, 0);
    append(&writer(&quiet).await, 1).await;
    let request = request([(&quiet, 1)]);
    let mut fetches: Vec<_> = (0..3).map(|_| Polled::new(&bucket, &request)).collect();
    settle(&mut fetches).await;
    bucket.close(Duration::from_secs(1)).await.unwrap();
    settle(&mut fetches).await;
    fetches.push(Polled::new(&bucket, &request));
    settle(&mut fetches).await;
    for fetch in &mut fetches {
        assert_eq!(fetch.answer.take().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
    let there = super::request([(&quiet, 0)]);
    assert_eq!(next_offsets(&fetched(&bucket, &there).await.unwrap()), [1], "what is there is given");
}

#[test]
fn a_thread_waits_for_many_partitions_as_for_any_future() {
    let wait = crate::blocking::Wait::at_most(Duration::from_secs(30));
    let bucket = crate::blocking::open("memory:", BucketOptions::default()).unwrap();
    let quiet = partition(&bucket, 0);
    wait.on(quiet.create(0)).unwrap();
    let request = request([(&quiet, 0)]).max_wait(Duration::from_millis(1));
    let response = wait.on(bucket.fetch_many(&request)).unwrap();
    assert_eq!(next_offsets(&response), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_many_partitions_lets_other_tasks_run_before_it_begins() {
    let bucket = process(memory());
    let partitions: Vec<_> = (0..17).map(|number| partition(&bucket, number)).collect();
    let request = request(partitions.iter().map(|partition| (partition, 0))).min_bytes(0);
    let mut fetch = Box::pin(bucket.fetch_many(&request));
    assert!((&mut fetch).now_or_never().is_none());
    assert_eq!(bucket.requests(), RequestCounts::default(), "nothing was asked for yet");
    assert_eq!(fetch.await.unwrap().partitions.len(), 17);
    assert_ne!(bucket.requests(), RequestCounts::default());
}

/// Polls a fetch once, with a waker that panics.
fn poll_with_a_hostile_waker(fetch: &mut (impl Future + Unpin)) {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("an executor's fault, on purpose");
        }
    }
    assert!(fetch.poll_unpin(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_neither_the_writer_that_wakes_it_nor_other_fetches() {
    let bucket = process(memory());
    let one = partition(&bucket, 0);
    let writer = writer(&one).await;
    append(&writer, 1).await;
    let request = request([(&one, 1)]);
    let mut hostile = Box::pin(bucket.fetch_many(&request));
    poll_with_a_hostile_waker(&mut hostile);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    append(&writer, 1).await;
    settle(&mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2]);
    append(&writer, 1).await;
    assert!(writer.failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_at_its_deadline_ends_no_other_fetch() {
    let bucket = process(memory());
    let (one, other) = (partition(&bucket, 0), partition(&bucket, 1));
    let writers = (writer(&one).await, writer(&other).await);
    append(&writers.0, 1).await;
    append(&writers.1, 1).await;
    let short = request([(&one, 1)]).max_wait(Duration::from_millis(200));
    let mut hostile = Box::pin(bucket.fetch_many(&short));
    poll_with_a_hostile_waker(&mut hostile);
    let long = request([(&other, 1)]);
    let mut fetches = [Polled::new(&bucket, &long)];
    settle(&mut fetches).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    settle(&mut fetches).await;
    assert!(fetches[0].answer.is_none());
    append(&writers.1, 1).await;
    settle(&mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2]);
}
