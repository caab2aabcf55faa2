use super::*;
use crate::error::ErrorKind;
use crate::log::fixtures::Fixture;
use crate::testing::{Action, FaultStore, Gate, Op};

/// What one batch of `append` takes.
fn batch_len(records: usize) -> usize {
    batch(records, 100).bytes().len()
}

#[tokio::test(start_paused = true)]
async fn each_partition_has_a_result_of_its_own_and_one_that_fails_never_fails_the_others() {
    let f = Fixture::new();
    let bucket = process(f.store.clone());
    let (good, beyond, missing, broken) =
        (partition(&bucket, 0), partition(&bucket, 1), partition(&bucket, 2), partition(&bucket, 3));
    for partition in [&good, &beyond, &broken] {
        append(&writer(partition).await, 3).await;
    }
    let key = broken.id().segment_key(0);
    let mut bytes = f.get(&key).await.to_vec();
    bytes[60] ^= 1;
    f.put(&key, bytes).await;
    let began = bucket.runtime().clock().elapsed();
    let foreign = process(f.store.clone()).partition("t", 0).unwrap();
    let request = request([(&beyond, 7), (&missing, 0), (&broken, 0), (&good, -1), (&foreign, 0), (&good, 0)]);
    let response = fetched(&bucket, &request).await.unwrap();
    let kinds: Vec<_> = response.partitions.iter().map(|fetched| fetched.as_ref().err().map(|e| e.kind())).collect();
    let (refused, corrupt) = (Some(ErrorKind::InvalidInput), Some(ErrorKind::Corrupt));
    assert_eq!(
        kinds,
        [Some(ErrorKind::OutOfRange), Some(ErrorKind::NotFound), corrupt, refused, refused, None],
        "{response:?}"
    );
    let fetch = response.partitions[5].as_ref().unwrap();
    assert_eq!((fetch.next_offset, fetch.high_watermark, fetch.log_start), (3, 3, 0));
    assert_eq!(fetch.batches().next().unwrap().unwrap().next_offset(), 3);
    assert_eq!(response.partitions[0].as_ref().unwrap_err().log_range(), Some((0, 3)));
    assert_eq!(bucket.runtime().clock().elapsed(), began, "an error is told at once");
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_comes_whole_and_others_only_if_they_fit() {
    let bucket = process(memory());
    let partitions: Vec<_> = (0..4).map(|n| partition(&bucket, n)).collect();
    // The first has nothing; the second has a batch larger than all limits.
    for (partition, records) in partitions.iter().zip([0, 50, 2, 50]) {
        let writer = writer(partition).await;
        append(&writer, records.max(1)).await;
    }
    let (small, large) = (batch_len(2), batch_len(50));
    let wanted = [(0, 1), (1, 0), (2, 0), (3, 0)].map(|(n, offset)| (&partitions[n as usize], offset, 100));
    let response = fetched(&bucket, &FetchRequest::new(wanted).max_bytes(small)).await.unwrap();
    assert_eq!(next_offsets(&response), [1, 50, 0, 0]);
    assert_eq!(response.bytes(), large, "KIP-74");

    let wanted = [(2, 0), (1, 0), (3, 0)].map(|(n, offset)| (&partitions[n as usize], offset, 1 << 20));
    let response = fetched(&bucket, &FetchRequest::new(wanted).max_bytes(small + large)).await.unwrap();
    assert_eq!(next_offsets(&response), [2, 50, 0], "what fits comes, and no batch is cut");
    let response = fetched(&bucket, &FetchRequest::new(wanted).max_bytes(small + large - 1)).await.unwrap();
    assert_eq!(next_offsets(&response), [2, 0, 0]);

    // The limit of one partition is no limit for the next.
    let wanted = [(&partitions[2], 0, 1 << 20), (&partitions[1], 0, large - 1), (&partitions[3], 0, large)];
    let response = fetched(&bucket, &FetchRequest::new(wanted)).await.unwrap();
    assert_eq!(next_offsets(&response), [2, 0, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_used_again_comes_round_to_every_partition() {
    let bucket = process(memory());
    let partitions: Vec<_> = (0..6).map(|n| partition(&bucket, n)).collect();
    // Four of six are busy, beside each other; the batches of one are larger than its limit.
    for (n, partition) in partitions.iter().enumerate() {
        let writer = writer(partition).await;
        for _ in 0..if n < 4 { 12 } else { 1 } {
            append(&writer, if n == 2 { 20 } else { 1 }).await;
        }
    }
    let mut request = FetchRequest::new(partitions.iter().map(|p| (p, 0, batch_len(1)))).max_bytes(batch_len(1));
    let mut turns = Vec::new();
    for _ in 0..24 {
        let response = fetched(&bucket, &request).await.unwrap();
        let gave = |fetched: &Result<crate::Fetch>| !fetched.as_ref().unwrap().is_empty();
        turns.extend((0..6).filter(|n| gave(&response.partitions[*n])));
        request.advance(&response);
    }
    let count = |n: usize| turns.iter().filter(|turn| **turn == n).count();
    assert_eq!(turns[..6], [0, 1, 2, 3, 4, 5]);
    assert_eq!((count(4), count(5)), (1, 1), "they have one batch each: {turns:?}");
    assert!((0..4).all(|n| (5..=6).contains(&count(n))), "{turns:?}");

    // One that is made for each fetch has the order that its caller chose.
    for _ in 0..3 {
        let fresh = FetchRequest::new(partitions.iter().map(|p| (p, 0, 1 << 20))).max_bytes(batch_len(1));
        assert_eq!(next_offsets(&fetched(&bucket, &fresh).await.unwrap()), [1, 0, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_are_read_at_the_same_time_within_one_limit() {
    let store = memory();
    let writers = process(store.clone());
    let len = batch_len(10);
    for n in 0..40 {
        append(&writer(&partition(&writers, n)).await, 10).await;
    }
    let faults = FaultStore::new(store);
    let gate = Gate::new();
    faults.always(Op::Get, ".kfs", Action::Hold(gate.clone()));
    let bucket = process(faults.clone());
    let partitions: Vec<_> = (0..40).map(|n| partition(&bucket, n)).collect();
    let request = FetchRequest::new(partitions.iter().map(|p| (p, 0, len))).max_bytes(7 * len + len / 2);
    let mut fetches = [Polled::new(&bucket, &request)];
    settle(&mut fetches).await;
    assert_eq!(gate.arrivals(), 8, "as many as there is room for, and no more");
    gate.open();
    settle(&mut fetches).await;
    let response = fetches[0].answer.take().unwrap().unwrap();
    assert_eq!(response.bytes(), 7 * len);
    assert!(faults.count_of(Op::Get, ".kfs") <= 9, "{:?}", faults.log());

    let roomy = FetchRequest::new(partitions[20..].iter().map(|p| (p, 0, len)));
    let gate = Gate::new();
    faults.clear_rules();
    faults.always(Op::Get, ".kfs", Action::Hold(gate.clone()));
    let mut fetches = [Polled::new(&bucket, &roomy)];
    settle(&mut fetches).await;
    assert_eq!(gate.arrivals(), 16, "16 at a time");
    gate.open();
    settle(&mut fetches).await;
    assert_eq!(fetches[0].answer.take().unwrap().unwrap().bytes(), 20 * len);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_nothing_or_without_a_wait_is_answered_at_once() {
    let bucket = process(memory());
    let quiet = partition(&bucket, 0);
    let writer = writer(&quiet).await;
    append(&writer, 1).await;
    let began = bucket.runtime().clock().elapsed();
    assert!(fetched(&bucket, &request([])).await.unwrap().partitions.is_empty());
    for request in [request([(&quiet, 1)]).max_wait(Duration::ZERO), request([(&quiet, 1)]).min_bytes(0)] {
        let response = fetched(&bucket, &request).await.unwrap();
        let fetch = response.partitions[0].as_ref().unwrap();
        assert_eq!((fetch.is_empty(), fetch.high_watermark, fetch.log_start), (true, 1, 0));
    }
    assert_eq!(bucket.runtime().clock().elapsed(), began);
}
