use std::task::Waker;

use super::*;
use crate::log::fixtures::{Fixture, batch};

#[tokio::test]
async fn a_watch_gives_each_partition_its_turn_beside_one_that_moves_all_the_time() {
    let f = Fixture::new();
    let (quiet, hot) = (f.partition.clone(), f.bucket.partition("hot", 0).unwrap());
    let mut watch = Watch::new();
    watch.add(&quiet);
    watch.add(&hot);
    quiet.state().watermarks.learn(None, 1, 0);
    let mut reported = Vec::new();
    for end in 1..=10 {
        hot.state().watermarks.learn(None, end, 0);
        reported.push(watch.changed().await.unwrap().0);
    }
    assert_eq!(reported.iter().filter(|id| *id == quiet.id()).count(), 1, "its news are told, once");
    assert_eq!(&reported[0], quiet.id(), "in the order in which they came");
    assert_eq!(reported.iter().filter(|id| *id == hot.id()).count(), 9);
}

#[tokio::test]
async fn a_partition_stands_in_a_watchs_queue_once_and_leaves_it_when_it_is_removed() {
    let f = Fixture::new();
    let mut watch = Watch::new();
    let partitions: Vec<_> = (0..100).map(|n| f.bucket.partition("t", n).unwrap()).collect();
    for partition in &partitions {
        watch.add(partition);
    }
    for end in 1..=50 {
        for partition in &partitions {
            partition.state().watermarks.learn(None, end, 0);
        }
    }
    assert_eq!(watch.queue.lock().entries.len(), 100);
    for partition in &partitions[1..] {
        watch.remove(partition.id());
    }
    assert_eq!(watch.queue.lock().entries.len(), 1);
    let (id, watermarks) = watch.changed().await.unwrap();
    assert_eq!((&id, watermarks.high_watermark), (partitions[0].id(), 50));
    assert!(!partitions[1].state().watermarks.is_watched());
}

#[tokio::test]
async fn a_watch_tells_the_bytes_beyond_an_offset() {
    let f = Fixture::new();
    let writer = f.partition.writer().await.unwrap();
    let append = async || {
        writer.append_batches(batch(2, 50).bytes().clone()).await.unwrap().durable().await.unwrap();
    };
    append().await;
    append().await;
    let size = |base: i64| f.partition.state().with_catalog(|catalog| catalog.get(base)).unwrap().size;
    let mut watch = Watch::new();
    watch.add_from(&f.partition, 2);
    watch.changed().await.unwrap();
    assert_eq!(watch.bytes_beyond(f.partition.id()), size(2), "what lies before the offset is not counted");
    append().await;
    append().await;
    while watch.changed().await.unwrap().1.high_watermark < 8 {}
    assert_eq!(watch.bytes_beyond(f.partition.id()), size(2) + size(4) + size(6));
    watch.add_from(&f.partition, 8);
    watch.changed().await.unwrap();
    assert_eq!(watch.bytes_beyond(f.partition.id()), 0, "at the end there is nothing");
    watch.add_from(&f.partition, 3);
    watch.changed().await.unwrap();
    assert_eq!(watch.bytes_beyond(f.partition.id()), size(2) + size(4) + size(6), "the one that holds it counts whole");
}

/// Asks a writer for its status within `wake`, as an executor may that polls at once.
struct Asks(crate::Writer, std::sync::atomic::AtomicUsize);

impl std::task::Wake for Asks {
    fn wake(self: Arc<Self>) {
        self.0.status();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn whoever_is_woken_by_a_watch_may_call_the_writer_that_moved_the_marks() {
    let f = Fixture::new();
    let writer = f.partition.writer().await.unwrap();
    writer.append_batches(batch(2, 50).bytes().clone()).await.unwrap().durable().await.unwrap();
    let mut watch = Watch::new();
    watch.add(&f.partition);
    watch.changed().await.unwrap();
    let asks = Arc::new(Asks(writer.clone(), Default::default()));
    let waker = Waker::from(asks.clone());
    let mut changed = Box::pin(watch.changed());
    assert!(changed.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    let append = writer.append_batches(batch(1, 50).bytes().clone()).await.unwrap();
    assert_eq!(asks.1.load(Ordering::Relaxed), 1, "the end of the log moved");
    append.durable().await.unwrap();
}
