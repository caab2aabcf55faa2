//! Committed records of a log that a `LogSource` holds.

use std::time::Duration;

use super::*;
use crate::FetchRequest;
use crate::log::fixtures::spawn;
use crate::log::reader::tests::sourced::Held;

#[tokio::test]
async fn of_a_source_too_aborted_records_are_left_out_and_open_ones_are_withheld() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 10);
    let log =
        [part_of(1, 2), batch(1, 1), part_of(2, 1), marker(1, ABORT), part_of(3, 1), marker(2, COMMIT), batch(1, 1)];
    log.iter().for_each(|batch| held.push(batch));
    let reader = partition.reader_with(committed().fetch_bytes(1));
    assert_eq!(offsets(&reader, 10).await, [12, 13], "the transaction at 15 is open");
    let fetch = reader.fetch(10, 1 << 20).await.unwrap();
    assert_eq!((fetch.next_offset, fetch.high_watermark, fetch.log_start), (15, 18, 10));
    let withheld = reader.fetch(15, 1 << 20).await.unwrap();
    assert_eq!((withheld.is_empty(), withheld.next_offset, withheld.log_start), (true, 15, 10));

    let mut follow = reader.follow_records(15);
    let follower =
        spawn(async move { [follow.next().await, follow.next().await].map(|next| next.unwrap().unwrap().offset()) });
    let request = FetchRequest::new([(&reader, 15, 1 << 20)]).max_wait(Duration::from_secs(3_600));
    let bucket = f.bucket.clone();
    let fetching = spawn(async move { bucket.fetch_many(&request).await.unwrap() });
    f.clock.slept(2).await;
    held.push(&batch(1, 1));
    for _ in 0..1_000 {
        f.clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    assert!(!follower.is_finished() && !fetching.is_finished(), "the transaction is still open");
    held.push(&marker(3, COMMIT));
    while !follower.is_finished() || !fetching.is_finished() {
        f.clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    assert_eq!(follower.await.unwrap(), [15, 17]);
    assert_eq!(fetching.await.unwrap().partitions[0].as_ref().unwrap().next_offset, 20);
    assert_eq!(f.reads(), (0, 0));
}
