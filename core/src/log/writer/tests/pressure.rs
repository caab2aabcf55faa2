//! A full buffer: who gets in, who waits, who must flush.

use super::*;
use crate::testing::KeyMatcher;

const DAY: Duration = Duration::from_secs(86_400);

/// A process whose partition `stuck/0` can't write.
fn with_a_stuck_partition(buffer: usize) -> Process {
    let process = World::new().process_with(1, BucketOptions::default().buffer_bytes(buffer));
    process.faults.always(Op::Put, KeyMatcher::containing("/stuck/0/"), Action::Fail(Failure::Unavailable));
    process
}

async fn writer_of(process: &Process, topic: &str, options: WriterOptions) -> Writer {
    process.bucket.partition(topic, 0).unwrap().writer_with(options).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stuck_partition_does_not_hold_up_the_others_of_its_bucket() {
    let process = with_a_stuck_partition(1 << 20);
    let (stuck, fine) = (writer_of(&process, "stuck", options()).await, writer_of(&process, "fine", options()).await);
    let large = batch(&[&"x".repeat(100_000)]);
    let waiting: Vec<_> = (0..12).map(|_| stuck.append_batches(large.clone())).collect();
    for n in 0..50 {
        let within =
            process.bucket.runtime().timeout(DAY, fine.append_batches(large.clone())).await.expect("it gets in");
        assert_eq!(within.unwrap().durable().await.unwrap().base, n);
    }
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_flushed_is_flushed_while_another_partition_is_stuck() {
    let process = with_a_stuck_partition(1 << 20);
    let slow = options().flush_interval(DAY);
    let (stuck, fine) = (writer_of(&process, "stuck", slow.clone()).await, writer_of(&process, "fine", slow).await);
    append(&fine, "before").await.unwrap();
    let large = batch(&[&"x".repeat(100_000)]);
    let first = stuck.append_batches(large.clone()).await.unwrap();
    let waits = tokio::spawn(first.durable());
    process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    for _ in 0..4 {
        drop(stuck.try_append_batches(large.clone()));
    }
    let clock = process.bucket.runtime().clock().clone();
    let begun = clock.elapsed();
    for _ in 0..20 {
        // Nobody waits for durability: only the pressure makes room.
        drop(fine.append_batches(large.clone()).await.unwrap());
    }
    assert!(clock.elapsed().saturating_sub(begun) < Duration::from_secs(1));
    waits.abort();
}

#[tokio::test(start_paused = true)]
async fn appends_that_were_given_up_are_gone_at_once() {
    let process = World::new().process_with(1, BucketOptions::default().buffer_bytes(1_000));
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let writer = process.writer(options()).await;
    let first = writer.append_batches(batch(&["x"])).await.unwrap();
    let mut payloads = Vec::new();
    for n in 0..100 {
        let payload = batch(&[&"x".repeat(900)]);
        payloads.push(payload.clone());
        let admission = writer.append_batches(payload);
        match n % 3 {
            0 => assert!(admission.take_back().is_none()),
            1 => drop(admission),
            _ => assert!(process.bucket.runtime().timeout(Duration::from_secs(1), admission).await.is_none()),
        }
    }
    assert!(payloads.iter().all(Bytes::is_unique), "the payloads of what was given up");
    drop(writer.try_append_batches(batch(&["fits"])).unwrap());
    assert!(first.outcome().is_none());
}

#[tokio::test(start_paused = true)]
async fn appends_that_wait_for_room_end_when_their_writer_does() {
    let process = World::new().process_with(1, BucketOptions::default().buffer_bytes(1_000));
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let writer = process.writer(options()).await;
    let first = writer.append_batches(batch(&[&"x".repeat(400)])).await.unwrap();
    let waiting = writer.append_batches(batch(&[&"x".repeat(400)]));
    let close = tokio::spawn(writer.close(Some(DAY)));
    assert_failed(waiting.await, ErrorKind::Closed, Stored::Not);
    assert!(first.outcome().is_none(), "the close still waits for it");
    assert_failed(writer.append_batches(batch(&["late"])).await, ErrorKind::Closed, Stored::Not);
    close.abort();
}
