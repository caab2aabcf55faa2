//! Closing a bucket.

use super::*;
use crate::testing::KeyMatcher;

const HOUR: Duration = Duration::from_secs(3_600);

async fn ten(process: &Process) -> Vec<Writer> {
    let mut writers = Vec::new();
    for number in 0..10 {
        let partition = process.bucket.partition("orders", number).unwrap();
        let writer = partition.writer_with(options().flush_interval(HOUR)).await.unwrap();
        drop(writer.append_batches(batch(&["x"])).await.unwrap());
        writers.push(writer);
    }
    writers
}

#[tokio::test(start_paused = true)]
async fn a_bucket_keeps_its_deadline_however_many_partitions_are_stuck() {
    let process = World::new().process(1);
    let writers = ten(&process).await;
    process.faults.always(Op::Put, ".kfs", Action::Hang);
    let clock = process.bucket.runtime().clock().clone();
    let begun = clock.elapsed();
    let error = process.bucket.close(Duration::from_secs(10)).await.unwrap_err();
    let took = clock.elapsed().saturating_sub(begun);
    assert!(took < Duration::from_secs(11), "{took:?}");
    assert_eq!((error.kind(), error.stored()), (ErrorKind::TimedOut, Some(Stored::Perhaps)));
    for number in 0..10 {
        assert!(error.message().contains(&format!("orders/{number}")), "{error}");
    }
    assert!(writers.iter().all(|writer| writer.failure().is_some()));
    assert_eq!(process.bucket.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_closes_its_writers_at_the_same_time_and_takes_nothing_more() {
    let process = World::new().process(1);
    let writers = ten(&process).await;
    let gate = Gate::new();
    process.faults.always(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let opening = {
        let hold = Gate::new();
        process.faults.on(Op::List, KeyMatcher::containing("/late/0"), Action::Hold(hold.clone()));
        let opening = tokio::spawn({
            let partition = process.bucket.partition("late", 0).unwrap();
            async move { partition.writer_with(options()).await }
        });
        hold.arrived(1).await;
        (hold, opening)
    };
    let bucket = process.bucket.clone();
    let close = tokio::spawn(async move { bucket.close(HOUR).await });
    gate.arrived(10).await;
    for writer in &writers {
        assert_failed(writer.try_append_batches(batch(&["late"])), ErrorKind::Closed, Stored::Not);
    }
    let reopened = process.bucket.partition("orders", 11).unwrap().writer_with(options()).await;
    assert_eq!(reopened.unwrap_err().kind(), ErrorKind::Closed);
    opening.0.open();
    let error = opening.1.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "it was being opened when the closing began");
    gate.open();
    close.await.unwrap().unwrap();
    process.bucket.close(HOUR).await.unwrap();
}
