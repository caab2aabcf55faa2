//! What reading committed records asks of the store.

use std::time::Duration;

use super::*;
use crate::log::BucketOptions;

/// The requests of a reader that scans a log, follows it and fetches from it.
async fn requests(f: &Fixture, options: ReaderOptions) -> (u64, u64) {
    let f = f.cold();
    let reader = f.partition.reader_with(options);
    let end = *offsets(&reader, 0).await.last().unwrap() + 1;
    for poll in 0..90 {
        f.clock.advance(Duration::from_secs(1));
        assert!(reader.fetch(end, 1).await.unwrap().is_empty(), "poll {poll}");
    }
    for at in [30, 3, end - 1] {
        reader.fetch(at, 500).await.unwrap();
    }
    f.reads()
}

#[tokio::test]
async fn a_log_without_transactions_takes_the_same_requests() {
    let (f, _) = log().await;
    for options in [ReaderOptions::default(), small_blocks(), small_blocks().fetch_bytes(1)] {
        let all = requests(&f, options.clone()).await;
        assert_eq!(requests(&f, options.isolation(Isolation::ReadCommitted)).await, all);
    }
}

#[tokio::test]
async fn transactions_that_end_in_the_bytes_of_a_fetch_take_no_more_requests() {
    let segment = [part_of(1, 2), part_of(2, 2), marker(1, COMMIT), batch(5, 50), marker(2, ABORT)];
    let (f, _) = log_of(&[&segment[..]; 40]).await;
    for options in [ReaderOptions::default(), ReaderOptions::default().fetch_bytes(1)] {
        let all = f.cold();
        offsets(&all.partition.reader_with(options.clone()), 0).await;
        let committed = f.cold();
        offsets(&committed.partition.reader_with(options.isolation(Isolation::ReadCommitted)), 0).await;
        assert_eq!(committed.reads(), all.reads());
    }
}

#[tokio::test]
async fn looking_ahead_reads_each_segment_once_and_finds_it_in_the_cache_afterwards() {
    let mut segments: Vec<Vec<Batch>> = (0..100).map(|_| vec![batch(2, 20)]).collect();
    segments[0].insert(0, part_of(1, 1));
    segments[99].push(marker(1, COMMIT));
    let segments: Vec<&[Batch]> = segments.iter().map(Vec::as_slice).collect();
    let (f, model) = log_of(&segments).await;
    let cold = f.cold();
    let reader = cold.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 1).await.unwrap().next_offset, 1);
    let (lists, gets) = cold.reads();
    assert_eq!((lists, gets), (1, 100));
    let records = offsets(&reader, 0).await;
    assert_eq!(records.len() as i64, model.end() - 1);
    assert_eq!(cold.reads(), (lists, gets + 1), "all of it is held, and the end is asked for once");
}

#[tokio::test]
async fn polling_an_open_transaction_takes_one_get_a_poll_even_without_a_cache() {
    let (f, _) = log_of(&[&[batch(1, 1), part_of(1, 1)], &[batch(2, 2)]]).await;
    let f = Fixture::with(f.store.clone(), BucketOptions::default().cache_bytes(0));
    let reader = f.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 100).await.unwrap().next_offset, 1);
    assert!(reader.fetch(1, 100).await.unwrap().is_empty());
    let (lists, gets) = f.reads();
    for poll in 1..=30 {
        f.clock.advance(Duration::from_secs(1));
        assert!(reader.fetch(1, 100).await.unwrap().is_empty());
        assert_eq!(f.reads(), (lists, gets + poll));
    }
}
