//! Fetches of many partitions that read committed records.

use std::time::Duration;

use super::*;
use crate::FetchRequest;
use crate::log::fixtures::spawn;

#[tokio::test]
async fn a_fetch_of_many_leaves_out_what_was_aborted_and_gives_the_others_their_bytes() {
    let (f, _) = log_of(&[&[part_of(1, 3), part_of(2, 1), marker(1, ABORT), marker(2, COMMIT), part_of(1, 1)]]).await;
    let reader = f.partition.reader_with(committed());
    let request = FetchRequest::new([(&reader, 0, 1 << 20), (&reader, 6, 1 << 20)]).max_wait(Duration::ZERO);
    let response = f.bucket.fetch_many(&request).await.unwrap();
    let [first, second] = &response.partitions[..] else { panic!() };
    let first = first.as_ref().unwrap();
    let bases: Vec<_> = first.batches().map(|batch| batch.unwrap().base_offset()).collect();
    assert_eq!((bases, first.next_offset), (vec![3, 4, 5], 6));
    assert!(second.as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn a_fetch_of_many_waits_for_a_transaction_to_end() {
    let (f, mut model) = log_of(&[&[part_of(1, 1)], &[batch(1, 1)]]).await;
    let reader = f.partition.reader_with(committed());
    let request = FetchRequest::new([(&reader, 0, 1 << 20)]).max_wait(Duration::from_secs(3600));
    let bucket = f.bucket.clone();
    let fetching = spawn(async move { bucket.fetch_many(&request).await });
    f.clock.slept(1).await;
    model.append(&f, &[batch(1, 1)], 1).await;
    for _ in 0..20 {
        f.clock.advance(Duration::from_secs(1));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    assert!(!fetching.is_finished(), "what was appended is withheld");
    model.append(&f, &[marker(1, COMMIT)], 1).await;
    while !fetching.is_finished() {
        f.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    let response = fetching.await.unwrap().unwrap();
    assert_eq!(response.partitions[0].as_ref().unwrap().next_offset, model.end());
}

#[tokio::test]
async fn fetches_of_many_that_follow_each_other_at_an_open_transaction_ask_at_the_pace_of_one() {
    let (f, _) = log_of(&[&[batch(1, 1), part_of(1, 1)], &[batch(1, 1)]]).await;
    let mut requests = Vec::new();
    for options in [ReaderOptions::default(), committed()] {
        let f = f.cold();
        let at = if options.isolation == Isolation::ReadCommitted { 1 } else { 3 };
        let reader = f.partition.reader_with(options);
        let request = FetchRequest::new([(&reader, at, 1 << 20)]).max_wait(Duration::ZERO);
        for _ in 0..3_000 {
            f.clock.advance(Duration::from_millis(10));
            assert_eq!(f.bucket.fetch_many(&request).await.unwrap().bytes(), 0);
        }
        let (lists, gets) = f.reads();
        requests.push(lists + gets);
    }
    // It reads the two segments, too.
    assert!(requests[1] <= requests[0] + 2, "{requests:?}");
}
