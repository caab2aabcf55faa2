use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use object_store::memory::InMemory;

use crate::log::fixtures::spawn;
use crate::testing::{Action, FaultStore, Gate, KeyMatcher, Op};

#[tokio::test]
async fn the_end_is_asked_for_by_the_next_key_and_once_a_minute_by_a_listing() {
    let (f, model) = log().await;
    let reader = f.partition.reader();
    let mut offset = 0;
    while offset < model.end() {
        offset = reader.fetch(offset, usize::MAX).await.unwrap().next_offset;
    }
    let (lists, gets) = f.reads();
    for poll in 1..=59 {
        f.clock.advance(Duration::from_secs(1));
        assert!(reader.fetch(offset, 1).await.unwrap().is_empty());
        assert_eq!(f.reads(), (lists, gets + poll));
    }
    f.clock.advance(Duration::from_secs(1));
    assert!(reader.fetch(offset, 1).await.unwrap().is_empty());
    assert_eq!(f.reads(), (lists + 1, gets + 59), "a 404 is believed for 60 s");
    f.clock.advance(Duration::from_secs(1));
    reader.fetch(offset, 1).await.unwrap();
    assert_eq!(f.reads(), (lists + 1, gets + 60));
}

#[tokio::test]
async fn what_another_process_appends_takes_one_get() {
    let (f, mut model) = log().await;
    let reader = f.partition.reader();
    let at = model.end();
    assert!(reader.fetch(at, 1).await.unwrap().is_empty());
    let before = f.reads();
    f.clock.advance(Duration::from_secs(1));
    model.append(&f, &[batch(3, 30)], 1).await;
    model.check(&reader.fetch(at, 1).await.unwrap(), at, 1);
    assert_eq!(f.reads(), (before.0, before.1 + 1));
    model.append(&f, &sizes(), 1).await;
    model.append(&f, &sizes(), 1).await;
    let mut at = at;
    while at < model.end() {
        let fetch = reader.fetch(at, 1_000_000).await.unwrap();
        model.check(&fetch, at, fetch.bytes());
        at = fetch.next_offset;
    }
    assert_eq!(f.reads(), (before.0, before.1 + 3));
    assert_eq!(f.partition.watermarks().unwrap().high_watermark, model.end());
}

#[tokio::test]
async fn a_log_that_went_on_elsewhere_is_found_after_a_minute() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let reader = f.partition.reader();
    assert!(reader.fetch(5, 1).await.unwrap().is_empty());
    f.put_segment(50, &[batch(5, 5)], 1).await;
    f.clock.advance(Duration::from_secs(30));
    assert!(reader.fetch(5, 1).await.unwrap().is_empty());
    f.clock.advance(Duration::from_secs(31));
    let fetch = reader.fetch(5, 1).await.unwrap();
    assert_eq!((fetch.next_offset, fetch.hole()), (55, Some(Hole::new(5, 50))));
    // All that was known is gone, and the log went on.
    f.delete(&f.key(0)).await;
    f.delete(&f.key(50)).await;
    f.put_segment(90, &[batch(5, 5)], 1).await;
    f.clock.advance(Duration::from_secs(61));
    let error = reader.fetch(55, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.log_range()), (ErrorKind::OutOfRange, Some((90, 95))), "{error}");
}

#[tokio::test]
async fn beyond_the_known_end_the_store_is_asked() {
    let (f, mut model) = log().await;
    let reader = f.partition.reader();
    reader.fetch(model.end(), 1).await.unwrap();
    for _ in 0..3 {
        model.append(&f, &sizes(), 1).await;
    }
    let at = model.end() - 2;
    model.check(&reader.fetch(at, 1).await.unwrap(), at, 1);
    assert_eq!(reader.fetch(model.end() + 1, 1).await.unwrap_err().kind(), ErrorKind::OutOfRange);
}

#[tokio::test]
async fn a_writer_in_this_process_spares_all_requests_at_the_end() {
    let f = Fixture::new();
    let writer = f.partition.writer().await.unwrap();
    let first = batch(3, 30);
    writer.append_batches(first.bytes().clone()).await.unwrap().durable().await.unwrap();
    let reader = f.partition.reader();
    assert_eq!(reader.fetch(0, 1).await.unwrap().next_offset, 3);
    let before = f.bucket.requests();
    f.clock.advance(Duration::from_secs(59));
    for _ in 0..10 {
        let fetch = reader.fetch(3, 1).await.unwrap();
        assert!(fetch.is_empty());
        assert_eq!(fetch.high_watermark, 3);
    }
    assert_eq!(f.bucket.requests(), before);
    // A writer that sleeps does not notice when it is displaced: the tail is looked at once a minute.
    for _ in 0..300 {
        f.clock.advance(Duration::from_secs(1));
        assert!(reader.fetch(3, 1).await.unwrap().is_empty());
    }
    let since = f.bucket.requests().since(&before);
    assert_eq!((since.get + since.list, since.put), (5, 0));

    // What is buffered has final offsets now, and is given to who asks.
    let append = writer.append_batches(batch(2, 20).bytes().clone()).await.unwrap();
    assert!(reader.fetch(3, 1).await.unwrap().is_empty());
    let fetch = reader.fetch_with(3, FetchOptions::new(1 << 20).include_buffered(true)).await.unwrap();
    assert_eq!(fetch.next_offset, 5);
    assert_eq!(fetch.batches().next().unwrap().unwrap().base_offset(), 3);
    assert_eq!(fetch.high_watermark, 3);
    let fetch = reader.fetch_with(0, FetchOptions::new(1 << 20).include_buffered(true)).await.unwrap();
    assert_eq!((fetch.next_offset, fetch.batches().count()), (5, 2));
    append.durable().await.unwrap();
    assert_eq!(reader.fetch(3, 1).await.unwrap().next_offset, 5);
}

#[tokio::test]
async fn a_listing_is_as_old_as_its_request_and_not_as_its_answer() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let f = Fixture::over(faults.clone());
    let writer = f.partition.writer().await.unwrap();
    writer.append_batches(batch(3, 30).bytes().clone()).await.unwrap().durable().await.unwrap();
    let gate = Gate::new();
    faults.on(Op::List, KeyMatcher::any(), Action::ActThenHold(gate.clone()));
    let partition = f.partition.clone();
    let refresh = spawn(async move { partition.refresh().await });
    gate.arrived(1).await;
    // The machine sleeps before the answer is taken in, and another writer goes on.
    f.clock.advance(Duration::from_secs(3_600));
    f.put_segment(3, &[batch(2, 20)], 1).await;
    gate.open();
    assert_eq!(refresh.await.unwrap().unwrap().high_watermark, 3);
    let fetch = f.partition.reader().fetch(3, 1).await.unwrap();
    assert_eq!(fetch.next_offset, 5);
}

#[tokio::test]
async fn a_listing_that_is_cut_again_and_again_makes_progress() {
    for keys in [1, 2, 3] {
        let (whole, model) = log().await;
        let faults = FaultStore::new(whole.store.clone());
        faults.always(Op::List, KeyMatcher::any(), Action::BreakAfter(keys));
        let f = Fixture::over(faults);
        let reader = f.partition.reader();
        let mut offset = 0;
        while offset < model.end() {
            let fetch = reader.fetch(offset, usize::MAX).await.unwrap();
            model.check_part(&fetch, offset, usize::MAX);
            offset = fetch.next_offset;
        }
        assert_eq!(f.partition.refresh().await.unwrap().high_watermark, model.end());
    }
}

#[tokio::test]
async fn a_follower_whose_options_ask_for_no_wait_waits_a_millisecond() {
    let (f, model) = log().await;
    let options = ReaderOptions::default().poll_min(Duration::ZERO).poll_max(Duration::ZERO);
    let mut follow = f.partition.reader_with(options).follow(model.end());
    let follower = spawn(async move { follow.next().await.map(drop) });
    f.clock.slept(1).await;
    assert_eq!(f.clock.sleepers(), [Duration::from_millis(1)]);
    follower.abort();
}
