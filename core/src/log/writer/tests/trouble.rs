//! A failure is never silent: its cause is kept, seen and told.

use super::*;
use crate::log::writer::WriterPhase;
use crate::testing::KeyMatcher;

/// The texts of an error's causes.
fn causes(error: &Error) -> Vec<String> {
    std::iter::successors(std::error::Error::source(error), |e| e.source()).map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn giving_up_names_the_last_failure_as_message_and_source() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::PermissionDenied));
    let writer = process.writer(options()).await;
    let append = writer.append_batches(batch(&["a"])).await.unwrap();
    let closed = writer.close(Some(Duration::from_secs(3))).await;
    for error in [closed.unwrap_err(), append.durable().await.unwrap_err(), writer.failure().unwrap()] {
        assert_eq!((error.kind(), error.stored()), (ErrorKind::Closed, Some(Stored::Not)));
        let told = error.to_string();
        assert!(told.contains("writing a segment failed") && told.contains("injected: PermissionDenied"), "{told}");
        let causes = causes(&error);
        assert!(causes.iter().any(|cause| cause.contains("injected: PermissionDenied")), "{causes:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("credentials")), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_a_request_without_an_answer_says_so() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    process.faults.always(Op::Put, ".kfs", Action::Hang);
    let writer = process.writer(options()).await;
    let _append = writer.append_batches(batch(&["a"])).await.unwrap();
    let error = writer.close(Some(Duration::from_secs(3))).await.unwrap_err();
    assert!(error.to_string().contains("writing a segment, no answer for 3s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_over_is_not_told() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    assert!(process.bucket.trouble().is_none());
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::PermissionDenied));
    let _append = writer.append_batches(batch(&["b"])).await.unwrap();
    let error = writer.close(Some(Duration::from_secs(3))).await.unwrap_err();
    assert!(!format!("{error:#}").contains("Unavailable"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_seen_while_it_fails() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::PermissionDenied));
    let writer = process.writer(options()).await;
    let append = writer.append_batches(batch(&["a"])).await.unwrap().durable();
    let append = tokio::spawn(append);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let trouble = process.bucket.trouble().unwrap();
    assert_eq!((trouble.doing, trouble.lasting.as_secs()), ("writing a segment", 20));
    assert!(trouble.failures > 4, "{trouble:?}");
    assert_eq!(trouble.error.unwrap().kind(), ErrorKind::PermissionDenied);
    process.faults.clear_rules();
    append.await.unwrap().unwrap();
    assert!(process.bucket.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_at_the_overwrite_of_an_index_is_tried_again() {
    for conflict in [Failure::AlreadyExists, Failure::Precondition] {
        let world = World::new();
        let process = world.process(1);
        process.faults.on(Op::Put, ".index", Action::Fail(Failure::Unavailable));
        for _ in 0..12 {
            process.faults.on(Op::Put, ".index", Action::Fail(conflict));
        }
        let writer = process.writer(options()).await;
        assert_eq!(append(&writer, "a").await.unwrap(), (0, 0));
        assert_eq!(process.faults.unused(), 0);
        assert_eq!(world.records().await, [(0, "a".to_string())]);
    }
}

#[tokio::test(start_paused = true)]
async fn opening_and_creating_wait_until_the_store_is_back() {
    let world = World::new();
    world.put_segment(0, "a").await;
    let process = world.process(1);
    process.faults.set_down(Some(Failure::Unavailable));
    let faults = process.faults.clone();
    let opening = tokio::spawn(async move {
        process.bucket.partition("other", 3).unwrap().create(7).await.unwrap();
        append(&process.writer(options()).await, "b").await.unwrap()
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!opening.is_finished());
    faults.set_down(None);
    assert_eq!(opening.await.unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_nobody_waits_for_ends() {
    let world = World::new();
    let process = world.process(1);
    process.faults.set_down(Some(Failure::Unavailable));
    let partition = process.partition();
    drop(tokio::time::timeout(Duration::from_secs(1), partition.writer_with(options())).await);
    // Its place is taken until then.
    tokio::time::sleep(Duration::from_secs(31)).await;
    let tries = process.faults.log().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(process.faults.log().len(), tries);
    process.faults.set_down(None);
    append(&process.writer(options()).await, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_status_tells_what_is_buffered_and_why_the_flush_waits() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    let writer = process.writer(options()).await;
    let status = writer.status();
    assert_eq!((status.phase, status.doing, status.buffered_bytes), (WriterPhase::Open, "nothing", 0));
    assert!(status.trouble.is_none() && status.flushing_for.is_none() && status.last_error().is_none());

    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::PermissionDenied));
    let bytes = batch(&["a", "b"]);
    let first = tokio::spawn(writer.append_batches(bytes.clone()).await.unwrap().durable());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let _second = writer.append_batches(batch(&["c"])).await.unwrap();
    let status = writer.status();
    assert_eq!((status.buffered_bytes, status.buffered_records), (bytes.len() + batch(&["c"]).len(), 3));
    assert_eq!((status.doing, status.flushing_for), ("writing a segment", Some(Duration::from_secs(10))));
    assert_eq!(status.retrying_for(), Some(Duration::from_secs(10)));
    assert_eq!(status.last_error().unwrap().kind(), ErrorKind::PermissionDenied);

    let closed = writer.close(Some(Duration::from_secs(1)));
    let closing = tokio::spawn(closed);
    tokio::task::yield_now().await;
    assert_eq!(writer.status().phase, WriterPhase::Closing);
    let error = closing.await.unwrap().unwrap_err();
    let status = writer.status();
    assert_eq!((status.phase, status.buffered_bytes, status.flushing_for), (WriterPhase::Failed, 0, None));
    assert_eq!(status.last_error().unwrap().to_string(), error.to_string());
    first.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn readers_and_followers_survive_an_outage() {
    let world = World::new();
    world.put_segment(0, "a").await;
    world.put_segment(1, "b").await;
    let process = world.process(1);
    process.faults.set_down(Some(Failure::Unavailable));
    let reader = process.partition().reader();
    let mut follower = reader.follow_records(0);
    let reading = tokio::spawn(async move { reader.fetch(0, 1 << 20).await.unwrap().next_offset });
    let following = tokio::spawn(async move {
        let mut offsets = Vec::new();
        while offsets.len() < 3 {
            offsets.push(follower.next().await.unwrap().unwrap().offset());
        }
        offsets
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!reading.is_finished() && !following.is_finished());
    process.faults.set_down(None);
    assert!(reading.await.unwrap() > 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    process.faults.set_down(Some(Failure::TimedOut));
    world.put_segment(2, "c").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    process.faults.set_down(None);
    assert_eq!(following.await.unwrap(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_is_cut_again_and_again_makes_progress() {
    for keys in [1, 2, 3] {
        let world = World::new();
        for base in 0..20 {
            world.put_segment(base, "x").await;
        }
        let process = world.process_that_sends_once(1);
        process.faults.always(Op::List, KeyMatcher::any(), Action::BreakAfter(keys));
        let writer = process.writer(options()).await;
        assert_eq!(append(&writer, "y").await.unwrap().0, 20);
        // Each listing brings it a key further at the least.
        let listings = process.faults.count(Op::List);
        assert!(listings <= 40 + 2, "{listings} listings of 40 keys, each cut after {keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_and_a_callers_deadline_end_a_pause_that_the_store_asked_for() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    process.faults.always(Op::Put, ".kfs", Action::Fail(Failure::SlowDown(Duration::from_secs(300))));
    let writer = process.writer(options()).await;
    let append = writer.append_batches(batch(&["a"])).await.unwrap();
    let (clock, began) = (process.bucket.runtime().clock().clone(), process.bucket.runtime().clock().elapsed());
    let late = process.bucket.runtime().timeout(Duration::from_secs(2), append.durable()).await;
    assert!(late.is_none(), "{late:?}");
    let error = writer.close(Some(Duration::from_secs(3))).await.unwrap_err();
    assert_eq!((clock.elapsed() - began).as_secs(), 5);
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Closed, Some(Duration::from_secs(300))));
    assert!(error.to_string().contains("the store asks for a pause of 300s"), "{error}");
    assert_eq!(process.segment_puts(), 1, "nothing is sent while the store asks for a pause");
}
