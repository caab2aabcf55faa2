//! One writer and a store that loses, refuses, conflicts and lies.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_append_is_one_segment_and_one_index() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    assert_eq!(append(&writer, "a").await.unwrap(), (0, 0));
    let before = process.requests();
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1));
    let sent = process.requests().since(&before);
    assert_eq!((sent.put, sent.total()), (2, 2), "budget: 1 PUT .kfs + 1 PUT .index");
    assert_eq!(world.records().await, [(0, "a".into()), (1, "b".into())]);
    let index = world.bytes(&index_key(1)).await.unwrap();
    assert_eq!(index, world.segments().await[1].1.index(100).encode());
}

#[tokio::test(start_paused = true)]
async fn an_idle_writer_sends_nothing() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let before = process.requests();
    process.bucket.runtime().clock().sleep(Duration::from_secs(86_400)).await;
    assert_eq!(process.requests().since(&before).total(), 0);
}

#[tokio::test(start_paused = true)]
async fn invariant_1_nothing_is_acked_before_the_index_is_there() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".index", Action::Hold(gate.clone()));
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    let waiting = tokio::spawn(pending.durable());
    gate.arrived(1).await;
    assert!(pending.outcome().is_none());
    gate.open();
    waiting.await.unwrap().unwrap();
    assert!(world.bytes(&index_key(0)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn invariant_4_three_waiters_survive_a_put_that_fails() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    for _ in 0..3 {
        process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    }
    let mut waiting = Vec::new();
    for value in ["a", "b", "c"] {
        waiting.push(tokio::spawn(writer.append_batches(batch(&[value])).await.unwrap().durable()));
    }
    let mut bases = Vec::new();
    for one in waiting {
        bases.push(one.await.unwrap().unwrap().base);
    }
    assert_eq!(bases, [1, 2, 3]);
    let values: Vec<_> = world.records().await.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["first", "a", "b", "c"]);
    assert_eq!(process.faults.unused(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_the_same_bytes() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    // The first try lands after the second: if their bytes differed, one of them would be wrong.
    process.faults.on(Op::Put, ".kfs", Action::Late(Failure::Unavailable));
    append(&writer, "a").await.unwrap();
    let kept = world.bytes(&segment_key(1)).await.unwrap();
    let landed = process.faults.land_late().await;
    assert!(matches!(landed[..], [(_, Err(object_store::Error::AlreadyExists { .. }))]));
    assert_eq!(world.bytes(&segment_key(1)).await.unwrap(), kept);
    assert_eq!(append(&writer, "b").await.unwrap(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_lost_reply_is_found_to_be_ours() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    process.faults.on(Op::Put, ".index", Action::ActThenFail(Failure::Unavailable));
    assert_eq!(append(&writer, "a").await.unwrap(), (1, 1));
    assert_eq!(append(&writer, "b").await.unwrap(), (2, 2));
    assert_eq!(world.records().await.len(), 3, "kept once");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_the_first_commit_is_found_to_be_ours() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    assert_eq!(append(&writer, "a").await.unwrap(), (0, 0));
    assert_eq!(world.records().await, [(0, "a".into())]);
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_conflict_that_kept_nothing_is_tried_again() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::Conflict);
    process.faults.on(Op::Put, ".kfs", Action::Conflict);
    assert_eq!(append(&writer, "a").await.unwrap(), (1, 1));
    assert_eq!(world.records().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn conflicts_that_keep_nothing_are_tried_again_until_the_caller_gives_up() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    for _ in 0..30 {
        process.faults.on(Op::Put, ".kfs", Action::Conflict);
    }
    assert_eq!(append(&writer, "a").await.unwrap(), (1, 1));
    process.faults.always(Op::Put, ".kfs", Action::Conflict);
    let before = process.segment_puts();
    let pending = writer.append(&[record("b")]).await.unwrap();
    let error = writer.close(Some(Duration::from_secs(600))).await.unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains("keeps nothing there") && error.hint().is_some(), "{said}: {:?}", error.hint());
    assert_failed(pending.durable().await.map(|_| (0, 0)), ErrorKind::Closed, Stored::Perhaps);
    assert!(process.segment_puts() - before < 200, "with pauses");
}

#[tokio::test(start_paused = true)]
async fn our_bytes_without_an_identity_are_neither_ours_nor_lost() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    // The reply is lost on a store that keeps no metadata.
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    process.faults.always(Op::Get, ".kfs", Action::DropMetadata);
    assert_failed(append(&writer, "a").await, ErrorKind::Fenced, Stored::Perhaps);
}

#[tokio::test(start_paused = true)]
async fn a_leftover_index_is_written_over() {
    let world = World::new();
    let process = world.process(1);
    world.put(&index_key(0), "a leftover").await;
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let index = world.bytes(&index_key(0)).await.unwrap();
    assert_eq!(index, world.segments().await[0].1.index(100).encode());
}

#[tokio::test(start_paused = true)]
async fn an_index_that_can_not_be_written_poisons() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.always(Op::Put, ".index", Action::Fail(Failure::PermissionDenied));
    let second = writer.append_batches(batch(&["a"])).await.unwrap();
    assert_failed(second.durable().await, ErrorKind::PermissionDenied, Stored::Perhaps);
    assert_failed(append(&writer, "b").await, ErrorKind::PermissionDenied, Stored::Not);
    process.faults.clear_rules();
    // Opening again repairs the index, and the log goes on.
    drop(writer);
    let writer = process.writer(options()).await;
    assert_eq!(append(&writer, "c").await.unwrap(), (2, 2));
    assert!(world.bytes(&index_key(1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_minutes_kills_no_writer() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.set_down(Some(Failure::Unavailable));
    let pending = tokio::spawn(writer.append_batches(batch(&["a"])).await.unwrap().durable());
    process.bucket.runtime().clock().sleep(Duration::from_secs(600)).await;
    assert!(!pending.is_finished());
    process.faults.set_down(None);
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_deadline_passes_says_perhaps_stored_for_what_was_sent() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.always(Op::Put, ".kfs", Action::Hang);
    let sent = writer.append_batches(batch(&["a"])).await.unwrap();
    let flushed = tokio::spawn(sent.durable());
    process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    let behind = writer.append_batches(batch(&["b"])).await.unwrap();
    let closed = writer.close(Some(Duration::from_secs(2))).await;
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Closed);
    assert_failed(flushed.await.unwrap(), ErrorKind::Closed, Stored::Perhaps);
    assert_failed(behind.durable().await, ErrorKind::Closed, Stored::Not);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_hangs_is_given_up_and_sent_again() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::Hang);
    assert_eq!(append(&writer, "a").await.unwrap(), (1, 1));
    process.faults.on(Op::Put, ".kfs", Action::LateAndSilent);
    assert_eq!(append(&writer, "b").await.unwrap(), (2, 2));
    process.faults.land_late().await;
    assert_eq!(world.records().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_time_index_is_written_when_asked_for() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options().time_index(true)).await;
    append(&writer, "a").await.unwrap();
    assert!(world.keys().await.contains(&format!("{PREFIX}segment-{:020}.kfst", 0)));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_may_be_the_clients_own_first_try_until_the_slot_is_read() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::AlreadyExists));
    process.faults.on(Op::Get, ".kfs", Action::Hang);
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    assert!(writer.close(Some(Duration::from_secs(1))).await.is_err());
    assert_failed(pending.durable().await, ErrorKind::Closed, Stored::Perhaps);
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_refused_says_nothing_of_the_one_before() {
    let process = World::new().process_that_sends_once(1);
    let writer = process.writer(options()).await;
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    process.faults.on(Op::Put, ".index", Action::Fail(Failure::Unavailable));
    process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::PermissionDenied));
    process.faults.on(Op::Put, ".index", Action::Fail(Failure::SyncFailed { visible: false }));
    assert_failed(append(&writer, "a").await, ErrorKind::Unavailable, Stored::Perhaps);
}
