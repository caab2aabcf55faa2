use super::*;
use crate::ReaderOptions;
use crate::log::fixtures::Fixture;
use crate::testing::{FaultStore, Op};

/// Runs fetches of an idle partition that nobody of this process writes, and counts their requests.
async fn idle_requests(fetches: usize) -> u64 {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let bucket = process(f.store.clone());
    let quiet = partition(&bucket, 0);
    let request = request([(&quiet, 5)]);
    let mut fetches: Vec<_> = (0..fetches).map(|_| Polled::new(&bucket, &request)).collect();
    settle(&mut fetches).await;
    pass_quietly(Duration::from_secs(120), &mut fetches, &bucket).await;
    assert!(fetches.iter().all(|fetch| fetch.answer.is_none()));
    bucket.requests().total()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_fetches_at_one_tail_send_the_requests_of_one() {
    let (one, hundred) = (idle_requests(1).await, idle_requests(100).await);
    assert_eq!(hundred, one);
    // Locating, the pace up to 1 s, and one LIST a minute in place of a GET.
    assert!((120..=130).contains(&one), "{one} requests in 120 s");
}

#[tokio::test(start_paused = true)]
async fn the_task_that_polls_rests_between_two_polls() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let clock = Arc::new(CountingClock { clock: PausedClock::new(NOW), sleeps: AtomicUsize::new(0) });
    let bucket = process_with(f.store.clone(), clock.clone());
    let quiet = partition(&bucket, 0);
    let request = request([(&quiet, 5)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    pass_quietly(Duration::from_secs(60), &mut fetches, &bucket).await;
    let (sleeps, requests) = (clock.sleeps.load(Ordering::Relaxed), bucket.requests().total());
    assert!(requests >= 60 && sleeps <= 400, "{sleeps} sleeps for {requests} requests");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_appends_ends_every_wait_at_its_tail() {
    let store = memory();
    let bucket = process(store.clone());
    let elsewhere = process(store);
    let writers = [writer(&partition(&elsewhere, 0)).await, writer(&partition(&elsewhere, 1)).await];
    for writer in &writers {
        append(writer, 1).await;
    }
    let (one, other) = (partition(&bucket, 0), partition(&bucket, 1));
    let request = request([(&one, 1), (&other, 1)]).min_bytes(batch(2, 100).bytes().len() + 1);
    let mut fetches: Vec<_> = (0..100).map(|_| Polled::new(&bucket, &request)).collect();
    settle(&mut fetches).await;
    pass(Duration::from_secs(10), &mut fetches).await;
    append(&writers[1], 2).await;
    pass(Duration::from_secs(2), &mut fetches).await;
    assert_eq!(other.watermarks().unwrap().high_watermark, 3, "it is known how far the log goes");
    assert!(fetches.iter().all(|fetch| fetch.answer.is_none()), "that is not enough");
    append(&writers[0], 2).await;
    let before = bucket.requests();
    pass(Duration::from_secs(2), &mut fetches).await;
    for fetch in &mut fetches {
        assert_eq!(next_offsets(&fetch.answer.take().unwrap().unwrap()), [3, 3]);
    }
    let since = bucket.requests().since(&before);
    assert!(since.total() <= 10, "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn fetches_that_follow_each_other_ask_no_more_often_than_one_that_waits() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    for max_wait in [Duration::ZERO, Duration::from_millis(100)] {
        let bucket = process(f.store.clone());
        let quiet = partition(&bucket, 0);
        let clock = bucket.runtime().clock().clone();
        let request = request([(&quiet, 5)]).max_wait(max_wait);
        let began = clock.elapsed();
        while clock.elapsed() - began < Duration::from_secs(60) {
            assert!(fetched(&bucket, &request).await.unwrap().partitions[0].as_ref().unwrap().is_empty());
            pass(Duration::from_millis(10), &mut []).await;
        }
        let requests = bucket.requests().total();
        assert!((55..=70).contains(&requests), "{requests} requests in 60 s with {max_wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_partition_does_not_hide_what_another_process_appends_to_a_quiet_one() {
    let store = memory();
    let bucket = process(store.clone());
    let (busy, quiet) = (partition(&bucket, 0), partition(&bucket, 1));
    let (hot, elsewhere) = (writer(&busy).await, process(store));
    append(&hot, 1).await;
    let foreign = writer(&partition(&elsewhere, 1)).await;
    append(&foreign, 1).await;
    let mut request = request([(&busy, 0), (&quiet, 0)]);
    let mut saw = 0;
    for round in 0..100 {
        if round == 50 {
            append(&foreign, 1).await;
        }
        append(&hot, 1).await;
        let response = fetched(&bucket, &request).await.unwrap();
        request.advance(&response);
        saw = if request.partitions[1].offset == 2 { saw + 1 } else { saw };
        pass(Duration::from_millis(100), &mut []).await;
    }
    assert!(saw >= 35, "seen in {saw} of 50 rounds");
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_this_process_spares_the_polls_of_its_tail() {
    let faults = FaultStore::new(memory());
    let bucket = process(faults.clone());
    let own = partition(&bucket, 0);
    let writer = writer(&own).await;
    append(&writer, 1).await;
    let request = request([(&own, 1)]);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    faults.clear_log();
    pass(Duration::from_secs(55), &mut fetches).await;
    assert_eq!(faults.count(Op::Get) + faults.count(Op::List), 0);
    writer.close(None).await.unwrap();
    drop(writer);
    pass(Duration::from_secs(10), &mut fetches).await;
    assert!(faults.count(Op::Get) + faults.count(Op::List) > 2, "nobody here owns it now");
}

#[tokio::test(start_paused = true)]
async fn cold_fetches_of_one_partition_share_their_look() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    f.put_segment(5, &[batch(5, 5)], 1).await;
    let mut requests = Vec::new();
    for count in [1, 50] {
        let bucket = process(f.store.clone());
        let quiet = partition(&bucket, 0);
        let request = request([(&quiet, 10)]).max_wait(Duration::ZERO);
        let mut fetches: Vec<_> = (0..count).map(|_| Polled::new(&bucket, &request)).collect();
        settle(&mut fetches).await;
        assert!(fetches.iter().all(|fetch| fetch.answer.as_ref().unwrap().is_ok()));
        requests.push(bucket.requests());
    }
    assert_eq!(requests[0], requests[1]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_awaited_before_it_exists_is_found_when_another_process_makes_it() {
    let store = memory();
    let bucket = process(store.clone());
    let quiet = partition(&bucket, 0);
    let reader = quiet.reader_with(ReaderOptions::default().wait_for_partition(true));
    let request = FetchRequest::new([(&reader, 0, 1 << 20)]).max_wait(LONG);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    pass(Duration::from_secs(5), &mut fetches).await;
    let elsewhere = process(store);
    append(&writer(&partition(&elsewhere, 0)).await, 2).await;
    pass(Duration::from_secs(2), &mut fetches).await;
    assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_empty_partition_is_asked_for_by_the_key_of_its_first_segment() {
    for start in [0, 7] {
        let store = memory();
        let elsewhere = partition(&process(store.clone()), 0);
        elsewhere.create(start).await.unwrap();
        let bucket = process(store);
        let empty = partition(&bucket, 0);
        let request = request([(&empty, start)]);
        let mut fetches = [Polled::new(&bucket, &request)];
        settle(&mut fetches).await;
        let before = bucket.requests();
        pass_quietly(Duration::from_secs(119), &mut fetches, &bucket).await;
        let since = bucket.requests().since(&before);
        assert_eq!(since.list, 1, "one a minute: {since:?}");
        assert!((115..=125).contains(&since.get), "one a poll: {since:?}");

        let before = bucket.requests();
        append(&writer(&elsewhere).await, 2).await;
        for _ in 0..150 {
            pass(Duration::from_millis(10), &mut fetches).await;
        }
        assert_eq!(next_offsets(&fetches[0].answer.take().unwrap().unwrap()), [start + 2]);
        let since = bucket.requests().since(&before);
        assert_eq!((since.list, since.get), (0, 2), "the segment, and log.json because of its writer");
    }
}
