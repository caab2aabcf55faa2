//! Many partitions in one process.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_partitions_stay_in_a_bounded_buffer_and_are_all_durable() {
    const BOUND: usize = 16 << 20;
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(BOUND));
    let value = "x".repeat(8 << 10);
    let one = batch(&[&value]);
    let mut writers = Vec::new();
    for n in 0..1_000 {
        let partition = process.bucket.partition("many", n).unwrap();
        writers.push(partition.writer_with(options().flush_interval(Duration::from_secs(3_600))).await.unwrap());
    }
    let mut admissions = Vec::new();
    for _ in 0..4 {
        for writer in &writers {
            admissions.push(tokio::spawn(writer.append_batches(one.clone())));
        }
    }
    // 32 MiB were offered; nobody asked for durability: only the bound makes writers flush.
    let mut appends = Vec::new();
    for admission in admissions {
        appends.push(admission.await.unwrap().unwrap());
        assert!(process.bucket.buffered_bytes() <= BOUND);
    }
    for append in &appends {
        append.durable().await.unwrap();
    }
    assert_eq!(process.bucket.buffered_bytes(), 0);
    for writer in &writers {
        writer.flush().await.unwrap();
    }
}

#[test]
fn appends_fail_when_their_runtime_is_shut_down() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let pending = runtime.block_on(async {
        let process = world.process(1);
        process.faults.always(Op::Put, ".kfs", Action::Hang);
        let writer = process.writer(options()).await;
        let pending = writer.append_batches(batch(&["a"])).await.unwrap();
        let waiting = tokio::spawn(pending.durable());
        tokio::task::yield_now().await;
        drop(waiting);
        pending
    });
    drop(runtime);
    let error = pending.outcome().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Closed, Some(Stored::Perhaps)));
}
