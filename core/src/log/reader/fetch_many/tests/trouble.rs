use super::*;
use crate::error::ErrorKind;
use crate::log::fixtures::Fixture;
use crate::testing::{Action, Failure, FaultStore, Gate, KeyMatcher, Op};

#[tokio::test(start_paused = true)]
async fn a_segment_that_can_not_be_read_ends_the_wait_with_its_error() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let bucket = process(f.store.clone());
    let (broken, good) = (partition(&bucket, 0), partition(&bucket, 1));
    good.create(0).await.unwrap();
    let request = request([(&good, 0), (&broken, 5)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    f.put(&f.key(5), b"no segment at all, but longer than a header and a footer are together".to_vec()).await;
    pass(Duration::from_secs(3), &mut fetches).await;
    let response = fetches[0].answer.take().unwrap().unwrap();
    assert!(response.partitions[0].as_ref().unwrap().is_empty());
    let error = response.partitions[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*f.key(5))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_made_again_ends_the_wait_as_not_found() {
    let store = memory();
    let bucket = process(store.clone());
    let (quiet, elsewhere) = (partition(&bucket, 0), process(store.clone()));
    append(&writer(&partition(&elsewhere, 0)).await, 2).await;
    let request = request([(&quiet, 2)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    let f = Fixture::over(store);
    let id = quiet.id();
    for key in [id.segment_key(0), id.index_key(0), id.log_json_key()] {
        f.delete(&key).await;
    }
    let again = process(f.store.clone());
    let writer = writer(&partition(&again, 0)).await;
    append(&writer, 2).await;
    append(&writer, 1).await;
    pass(Duration::from_secs(70), &mut fetches).await;
    let response = fetches[0].answer.take().unwrap().unwrap();
    let error = response.partitions[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("deleted and made again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_the_store_does_not_answer_for_holds_up_the_others_for_five_seconds() {
    let faults = FaultStore::new(memory());
    let bucket = process(faults.clone());
    let (stuck, good) = (partition(&bucket, 0), partition(&bucket, 1));
    for partition in [&stuck, &good] {
        append(&writer(partition).await, 2).await;
    }
    let stuck_key = stuck.id().segment_key(0);
    faults.always(Op::Get, &stuck_key, Action::Fail(Failure::Unavailable));
    let request = request([(&stuck, 0), (&good, 0)]);
    let began = bucket.runtime().clock().elapsed();
    let response = fetched(&bucket, &request).await.unwrap();
    assert_eq!(bucket.runtime().clock().elapsed() - began, Duration::from_secs(5));
    assert_eq!(response.partitions[1].as_ref().unwrap().next_offset, 2);
    let error = response.partitions[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(format!("{error:#}").contains("injected: Unavailable"), "the cause is told: {error:#}");

    faults.clear_rules();
    let gate = Gate::new();
    faults.always(Op::Get, &stuck_key, Action::Hold(gate.clone()));
    let alone = super::request([(&stuck, 0)]).max_wait(Duration::from_secs(60));
    let began = bucket.runtime().clock().elapsed();
    let mut fetches = [Polled::new(&bucket, &alone)];
    settle(&mut fetches).await;
    pass(Duration::from_secs(64), &mut fetches).await;
    assert!(fetches[0].answer.is_none(), "{:?} after it began", bucket.runtime().clock().elapsed() - began);
    gate.open();
    settle(&mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2]);
}

#[tokio::test(start_paused = true)]
async fn sixteen_partitions_whose_reads_hang_hold_up_no_other_of_the_same_fetch() {
    let store = memory();
    let elsewhere = process(store.clone());
    for number in 0..40 {
        append(&writer(&partition(&elsewhere, number)).await, 2).await;
    }
    // The first read may take all room, or a fortieth of it.
    for max_bytes in [1 << 20, 40 << 20] {
        let faults = FaultStore::new(store.clone());
        let bucket = process(faults.clone());
        let partitions: Vec<_> = (0..40).map(|number| partition(&bucket, number)).collect();
        let hanging: Vec<_> = partitions[..32].iter().map(|partition| partition.id().segment_key(0)).collect();
        faults.always(Op::Get, KeyMatcher::matching(move |key| hanging.iter().any(|hangs| hangs == key)), Action::Hang);
        let request = request(partitions.iter().map(|partition| (partition, 0)));
        let request = request.max_wait(Duration::from_millis(500)).max_bytes(max_bytes);
        let began = bucket.runtime().clock().elapsed();
        let response = fetched(&bucket, &request).await.unwrap();
        assert!(bucket.runtime().clock().elapsed() - began <= Duration::from_millis(5500));
        for (number, fetched) in response.partitions.iter().enumerate() {
            match fetched {
                Ok(fetch) if number >= 32 => assert_eq!(fetch.next_offset, 2, "{number}"),
                Ok(fetch) => assert!(fetch.is_empty(), "{number}"),
                Err(error) => assert!(number < 32 && error.kind() == ErrorKind::TimedOut, "{number} {error}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_vain_says_that_the_store_was_away() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let faults = FaultStore::new(f.store.clone());
    let bucket = process(faults.clone());
    let (foreign, own) = (partition(&bucket, 0), partition(&bucket, 1));
    let writer = writer(&own).await;
    append(&writer, 1).await;
    let request = request([(&foreign, 5), (&own, 1)]).max_wait(Duration::from_secs(5));
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    faults.set_down(Some(Failure::Unavailable));
    pass(Duration::from_secs(6), &mut fetches).await;
    let response = fetches[0].answer.take().unwrap().unwrap();
    let error = response.partitions[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(format!("{error:#}").contains("injected: Unavailable"), "{error:#}");
    assert!(response.partitions[1].as_ref().unwrap().is_empty(), "its writer owns the tail");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_refused_is_told_by_the_read_and_not_sent_without_end() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let faults = FaultStore::new(f.store.clone());
    let bucket = process(faults.clone());
    let quiet = partition(&bucket, 0);
    let request = request([(&quiet, 5)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    faults.clear_log();
    faults.always(Op::Get, KeyMatcher::any(), Action::Fail(Failure::PermissionDenied));
    faults.always(Op::List, KeyMatcher::any(), Action::Fail(Failure::PermissionDenied));
    pass(Duration::from_secs(10), &mut fetches).await;
    assert!(faults.log().len() <= 20, "{} requests", faults.log().len());
    let response = fetches[0].answer.take().unwrap().unwrap();
    assert_eq!(response.partitions[0].as_ref().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_runtime_that_was_shut_down_ends_the_wait() {
    #[derive(Debug)]
    struct NoSpawn;
    impl crate::runtime::Spawn for NoSpawn {
        fn spawn(&self, task: crate::runtime::BoxFuture<()>) {
            drop(task);
        }
    }
    let bucket = process(memory());
    let quiet = partition(&bucket, 0);
    append(&writer(&quiet).await, 1).await;
    let runtime = Runtime::new(bucket.runtime().clock().clone(), Arc::new(SystemEntropy), Arc::new(NoSpawn));
    let purgatory = bucket.0.purgatory.clone();
    let delayed = crate::log::purgatory::delay(&purgatory, &runtime, 1, LONG);
    let waker = Waker::noop();
    let woken = delayed.poll_woken(&Context::from_waker(waker));
    assert!(matches!(woken, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Closed));
    drop(delayed);
    // The next one starts a poller of its own.
    let delayed = crate::log::purgatory::delay(&purgatory, bucket.runtime(), 1, LONG);
    assert!(delayed.poll_woken(&Context::from_waker(waker)).is_pending());
}
