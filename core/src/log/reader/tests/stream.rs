use std::time::Duration;

use futures_util::TryStreamExt;

use super::*;
use crate::format::{BatchBuilder, BatchOptions, NewRecord};
use crate::log::fixtures::{NOW, spawn};

#[tokio::test]
async fn batches_and_records_stream_to_the_end() {
    let (f, model) = log().await;
    for fetch_bytes in [1, 5_000, 1 << 20] {
        let reader = f.partition.reader_with(small_blocks().fetch_bytes(fetch_bytes));
        for from in [0, 1, 2, 30, 31, model.end() - 1, model.end()] {
            let mut stream = reader.batches(from);
            let mut got = Vec::new();
            while let Some(batch) = stream.next().await.unwrap() {
                got.push(batch);
            }
            let expected: Vec<_> = model.batches.iter().filter(|b| b.next_offset() > from).cloned().collect();
            assert!(got == expected);
            assert_eq!(stream.position(), model.end());
            assert_eq!(stream.high_watermark(), model.end());
            let again: Vec<_> = reader.batches(from).into_stream().try_collect().await.unwrap();
            assert!(got == again);
            let mut records = reader.records(from);
            let mut offsets = Vec::new();
            while let Some(record) = records.next().await.unwrap() {
                assert_eq!(record.key().unwrap(), b"k");
                assert!(record.batch().base_offset <= record.offset());
                offsets.push(record.offset());
            }
            assert_eq!(offsets, (from..model.end()).collect::<Vec<_>>());
            assert_eq!(records.position(), model.end());
        }
    }
}

#[tokio::test]
async fn who_reads_on_finds_what_follows_read_ahead_and_who_stops_paid_for_one() {
    let f = Fixture::new();
    for base in 0..5 {
        f.put_segment(base, &[batch(1, 9)], 1).await;
    }
    let reader = f.partition.reader_with(ReaderOptions::default().fetch_bytes(1));
    let mut stream = reader.batches(0);
    // GETs after each batch, when all that could run has run.
    let (begun, mut gets) = (f.bucket.requests(), Vec::new());
    while let Some(batch) = stream.next().await.unwrap() {
        assert_eq!(batch.base_offset(), gets.len() as i64);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gets.push(f.bucket.requests().since(&begun).get);
    }
    let first = gets[0];
    assert_eq!(
        gets,
        [first, first + 4, first + 4, first + 4, first + 4],
        "one for the first, what follows it together, none beyond the end"
    );
    // What was fetched ahead is not what is sought.
    let mut stream = f.cold().partition.reader_with(ReaderOptions::default().fetch_bytes(1)).batches(0);
    for _ in 0..2 {
        stream.next().await.unwrap();
    }
    stream.seek(0);
    assert_eq!(stream.next().await.unwrap().unwrap().base_offset(), 0);
}

#[tokio::test]
async fn records_below_the_log_start_and_control_records_are_passed_over() {
    let f = Fixture::new();
    let mut control = BatchBuilder::new(BatchOptions::default().control(true).transactional(true));
    control.push(&NewRecord::new(NOW).key(&[0, 0, 0, 1]).value(&[0; 6])).unwrap();
    let control = control.finish(0).unwrap();
    let empty = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap();
    f.put_segment(0, &[batch(5, 5), control, empty, batch(2, 2)], 1).await;
    f.put(&f.partition.id().log_start_key(2), "").await;
    let offsets = |options: ReaderOptions| {
        let reader = f.partition.reader_with(options);
        async move {
            let mut records = reader.records(2);
            let mut offsets = Vec::new();
            while let Some(record) = records.next().await.unwrap() {
                offsets.push(record.offset());
            }
            (offsets, records.position())
        }
    };
    assert_eq!(offsets(ReaderOptions::default()).await, (vec![2, 3, 4, 7, 8], 9));
    assert_eq!(offsets(ReaderOptions::default().control_records(true)).await, (vec![2, 3, 4, 5, 7, 8], 9));
}

#[tokio::test]
async fn the_records_of_a_fetch_begin_at_the_offset_that_was_asked_for_as_its_reader_decodes() {
    let f = Fixture::new();
    let mut control = BatchBuilder::new(BatchOptions::default().control(true).transactional(true));
    control.push(&NewRecord::new(NOW).key(&[0, 0, 0, 1]).value(&[0; 6])).unwrap();
    f.put_segment(0, &[batch(5, 5), control.finish(0).unwrap()], 1).await;
    for (options, expected) in
        [(ReaderOptions::default(), vec![3, 4]), (ReaderOptions::default().control_records(true), vec![3, 4, 5])]
    {
        let fetch = f.partition.reader_with(options).fetch(3, 1 << 20).await.unwrap();
        let records: Vec<_> = fetch.records().map(Result::unwrap).collect();
        assert!(records.iter().all(|record| record.value() == record.value_bytes().map(|value| &value[..])));
        assert_eq!(records.iter().map(|record| record.offset()).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_follower_is_woken_by_a_writer_in_its_process_without_a_request() {
    let f = Fixture::new();
    let writer = f.partition.writer().await.unwrap();
    writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
    let reader = f.partition.reader();
    let mut follow = reader.follow(0);
    assert_eq!(follow.next().await.unwrap().unwrap().base_offset(), 0);
    let follower = spawn(async move {
        let batch = follow.next().await.unwrap().unwrap();
        (batch.base_offset(), follow)
    });
    f.clock.slept(1).await;
    let before = f.bucket.requests();
    for _ in 0..10 {
        f.clock.advance_to_next();
        f.clock.slept(1).await;
    }
    assert_eq!(f.bucket.requests(), before, "nothing new: no polling");
    writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
    let (base, _) = follower.await.unwrap();
    assert_eq!(base, 1);
    let since = f.bucket.requests().since(&before);
    assert_eq!((since.put, since.get, since.list), (2, 1, 0));
}

#[tokio::test]
async fn a_follower_polls_for_what_another_process_appends() {
    let f = Fixture::new();
    let other = f.cold();
    let writer = other.partition.writer().await.unwrap();
    writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
    let reader = f.partition.reader();
    let mut follow = reader.follow_records(0);
    assert_eq!(follow.next().await.unwrap().unwrap().offset(), 0);
    let mut follower = spawn(async move {
        let record = follow.next().await.unwrap().unwrap();
        (record.offset(), follow)
    });
    let mut waits = Vec::new();
    for _ in 0..70 {
        f.clock.slept(1).await;
        waits.push(f.clock.sleepers()[0].as_millis());
        f.clock.advance_to_next();
    }
    assert_eq!(waits[..7], [50, 100, 200, 400, 800, 1000, 1000]);
    f.clock.slept(1).await;
    let (lists, gets) = f.reads();
    assert_eq!((lists, gets), (2, 1 + 1 + 69), "one GET a poll, one LIST a minute");
    writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
    f.clock.advance_to_next();
    let (offset, mut follow) = (&mut follower).await.unwrap();
    assert_eq!(offset, 1);
    // After something came, waits are short again.
    let follower = spawn(async move { follow.next().await.unwrap().unwrap().offset() });
    f.clock.slept(1).await;
    assert_eq!(f.clock.sleepers()[0], Duration::from_millis(50));
    follower.abort();
}

#[tokio::test]
async fn a_follower_outlives_a_store_that_is_away_and_waits_for_a_partition() {
    use crate::testing::{Failure, FaultStore};
    let faults = FaultStore::new(std::sync::Arc::new(object_store::memory::InMemory::new()));
    let f = Fixture::over(faults.clone());
    let reader = f.partition.reader_with(ReaderOptions::default().wait_for_partition(true));
    let mut follow = reader.follow(0);
    let follower = spawn(async move { follow.next().await.unwrap().unwrap().base_offset() });
    f.clock.slept(1).await;
    faults.set_down(Some(Failure::Unavailable));
    for _ in 0..20 {
        f.clock.advance_to_next();
        f.clock.slept(1).await;
    }
    faults.set_down(None);
    let other = f.cold();
    other.put_segment(0, &[batch(1, 1)], 1).await;
    f.clock.advance_to_next();
    assert_eq!(follower.await.unwrap(), 0);
}

#[tokio::test]
async fn a_stream_moves_over_holes_and_says_so() {
    let f = Fixture::new();
    for base in [0, 5, 20, 30] {
        f.put_segment(base, &[batch(5, 5)], 1).await;
    }
    let reader = f.partition.reader_with(ReaderOptions::default().fetch_bytes(1));
    let mut stream = reader.batches(0);
    assert_eq!(stream.next().await.unwrap().unwrap().base_offset(), 0);
    // Retention takes what was to come next.
    f.delete(&f.key(0)).await;
    f.delete(&f.key(5)).await;
    f.put(&f.partition.id().log_start_key(20), "").await;
    let mut bases = Vec::new();
    while let Some(batch) = stream.next().await.unwrap() {
        bases.push(batch.base_offset());
    }
    assert_eq!(bases, [20, 30]);
    let holes: Vec<_> = stream
        .take_notices()
        .into_iter()
        .map(|notice| match notice {
            Notice::Hole(hole) => (hole.from, hole.to),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(holes, [(5, 20), (25, 30)]);
}
