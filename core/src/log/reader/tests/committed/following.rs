//! Followers that wait for a transaction to end.

use super::*;
use crate::log::fixtures::spawn;
use crate::{Writer, WriterOptions};

async fn append(writer: &Writer, batch: &Batch) {
    writer.append_batches(batch.bytes().clone()).await.unwrap().durable().await.unwrap();
}

async fn writer(f: &Fixture) -> Writer {
    f.partition.writer_with(WriterOptions::default().batch_check(crate::format::BatchCheck::Decode)).await.unwrap()
}

#[tokio::test]
async fn a_follower_waits_for_the_end_of_a_transaction_and_goes_on() {
    let f = Fixture::new();
    let writer = writer(&f).await;
    for batch in [batch(1, 1), part_of(1, 2), part_of(2, 1), batch(1, 1)] {
        append(&writer, &batch).await;
    }
    let mut follow = f.partition.reader_with(committed()).follow_records(0);
    assert_eq!(follow.next().await.unwrap().unwrap().offset(), 0);
    let follower = spawn(async move {
        let mut offsets = Vec::new();
        while offsets.len() < 3 {
            offsets.push(follow.next().await.unwrap().unwrap().offset());
        }
        offsets
    });
    f.clock.slept(1).await;
    append(&writer, &marker(2, ABORT)).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!follower.is_finished(), "the first transaction is open");
    append(&writer, &marker(1, COMMIT)).await;
    assert_eq!(follower.await.unwrap(), [1, 2, 4]);
}

#[tokio::test]
async fn what_is_buffered_does_not_end_a_transaction() {
    let f = Fixture::new();
    let writer = writer(&f).await;
    append(&writer, &part_of(1, 1)).await;
    let reader = f.partition.reader_with(committed());
    let buffered = writer.append_batches(marker(1, COMMIT).bytes().clone()).await.unwrap();
    let with_buffered = FetchOptions::new(1 << 20).include_buffered(true);
    let all = f.partition.reader().fetch_with(0, with_buffered).await.unwrap();
    assert_eq!(all.next_offset, 2, "the marker is buffered");
    assert!(reader.fetch_with(0, with_buffered).await.unwrap().is_empty());
    buffered.durable().await.unwrap();
    assert_eq!(reader.fetch(0, 1 << 20).await.unwrap().next_offset, 2);
}
