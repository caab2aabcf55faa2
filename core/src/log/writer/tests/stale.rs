//! A writer that slept, and what happened to the log meanwhile.

use super::*;

async fn slept(process: &Process, seconds: u64) {
    process.bucket.runtime().clock().sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_after_the_bound_costs_one_look() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    slept(&process, 61).await;
    let before = process.requests();
    append(&writer, "b").await.unwrap();
    let sent = process.requests().since(&before);
    assert_eq!((sent.list, sent.total()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_writer_that_wakes_after_its_slot_was_merged_away_is_fenced() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    slept(&process, 3_600).await;
    // Others appended at 1 and 2; slots 0 and 1 were merged into one, slot 1 removed after the grace.
    let merged = world.put_segment(0, "merged").await;
    assert!(!merged.is_empty());
    world.put_segment(2, "later").await;
    assert_failed(append(&writer, "x").await, ErrorKind::Fenced, Stored::Not);
    assert_eq!(process.segment_puts(), 1, "nothing was sent into the past");
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_last_segment_was_deleted_is_fenced() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    slept(&process, 61).await;
    world.delete(&segment_key(0)).await;
    assert_failed(append(&writer, "x").await, ErrorKind::Fenced, Stored::Not);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_holds_nothing_finds_the_tail_anew_after_sleeping() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    world.put_segment(0, "a").await;
    world.put_segment(1, "b").await;
    slept(&process, 3_600).await;
    world.delete(&segment_key(0)).await;
    assert_eq!(append(&writer, "c").await.unwrap(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_partition_made_anew_gets_no_second_chain_from_a_writer_that_slept() {
    let world = World::new();
    let (sleeper, other) = (world.process(1), world.process(2));
    sleeper.partition().create(5).await.unwrap();
    let writer = sleeper.writer(options()).await;
    slept(&sleeper, 3_600).await;
    // The partition is deleted and made again; nothing was appended to it yet.
    world.delete(&format!("{PREFIX}log.json")).await;
    other.partition().create(9).await.unwrap();
    let owner = other.writer(options()).await;
    assert_eq!(append(&writer, "a").await.unwrap(), (9, 9), "it finds the new log");
    assert_eq!(append(&owner, "b").await.unwrap(), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_first_segment_won_after_the_partition_was_made_anew_is_not_acked() {
    let world = World::new();
    let (sleeper, other) = (world.process(1), world.process(2));
    let writer = sleeper.writer(options()).await;
    let gate = Gate::new();
    sleeper.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["ghost"])).await.unwrap().durable());
    gate.arrived(1).await;
    sleeper.clock.suspend(Duration::from_secs(86_400));
    world.delete(&format!("{PREFIX}log.json")).await;
    other.partition().create(9).await.unwrap();
    gate.open();
    assert_failed(pending.await.unwrap(), ErrorKind::Fenced, Stored::Perhaps);
}

#[tokio::test(start_paused = true)]
async fn a_first_append_after_the_bound_costs_one_look() {
    let world = World::new();
    let process = world.process(1);
    process.partition().create(5).await.unwrap();
    let writer = process.writer(options()).await;
    slept(&process, 61).await;
    let before = process.requests();
    assert_eq!(append(&writer, "a").await.unwrap(), (5, 5));
    let sent = process.requests().since(&before);
    assert_eq!((sent.list, sent.total()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_commits_all_the_time_confirms_the_log_once_a_bound() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    let before = process.requests();
    for _ in 0..60 {
        append(&writer, "a").await.unwrap();
        slept(&process, 10).await;
    }
    let sent = process.requests().since(&before);
    assert!((8..=10).contains(&sent.get), "{} requests in ten minutes", sent.get);
    assert_eq!((sent.list, sent.put), (0, 2 * 60 + 1));
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_busy_writer_is_fenced_within_the_bound_after_its_partition_was_made_again() {
    for on_conflict in [OnConflict::Takeover, OnConflict::Fence] {
        let world = World::new();
        let (busy, other) = (world.process(1), world.process(2));
        let writer = busy.writer(policy(on_conflict)).await;
        for value in ["a", "b"] {
            append(&writer, value).await.unwrap();
        }
        for key in world.keys().await {
            world.delete(&key).await;
        }
        let owner = other.writer(options()).await;
        append(&owner, "of another log").await.unwrap();
        for _ in 0..14 {
            slept(&busy, 5).await;
            let _ = append(&writer, "of the old log").await;
        }
        slept(&busy, 5).await;
        let error = writer.failure().expect("it is fenced after a minute");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_went_back_counts_as_past_the_bound() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.clock.shift_wall(-5_000);
    let before = process.requests();
    append(&writer, "b").await.unwrap();
    assert_eq!(process.requests().since(&before).list, 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_machine_looks_first() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.clock.suspend(Duration::from_secs(3_600));
    let before = process.requests();
    append(&writer, "b").await.unwrap();
    assert_eq!(process.requests().since(&before).list, 1);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_took_longer_than_the_bound_is_acked_after_a_second_look() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    process.clock.suspend(Duration::from_secs(120));
    let before = process.requests();
    gate.open();
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
    assert_eq!(process.requests().since(&before).list, 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_segment_won_in_the_middle_of_the_past_is_not_acked() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["ghost"])).await.unwrap().durable());
    gate.arrived(1).await;
    // The machine sleeps for a day; others append 1..=5 and retention removes all but the last.
    process.clock.suspend(Duration::from_secs(86_400));
    world.put_segment(5, "later").await;
    world.delete(&segment_key(0)).await;
    gate.open();
    assert_failed(pending.await.unwrap(), ErrorKind::Fenced, Stored::Perhaps);
    assert!(world.bytes(&segment_key(1)).await.is_some(), "it deletes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_the_bound_finds_its_own_segment_by_the_look() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    process.faults.on(Op::Get, ".kfs", Action::Fail(Failure::Unavailable));
    let clock = process.clock.clone();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".index", Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    clock.suspend(Duration::from_secs(120));
    gate.open();
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
    assert_eq!(process.segment_puts(), 2, "the look found it: it was not sent again");
}

#[tokio::test(start_paused = true)]
async fn an_old_try_whose_slot_others_hold_is_perhaps_stored() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    let gate = Gate::new();
    process.faults.on(Op::Put, ".index", Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    process.clock.suspend(Duration::from_secs(86_400));
    // Built upon, merged away, and the slot used again: nobody can tell any more.
    world.delete(&segment_key(1)).await;
    world.put_segment(1, "other").await;
    gate.open();
    assert_failed(pending.await.unwrap(), ErrorKind::Fenced, Stored::Perhaps);
}

#[tokio::test(start_paused = true)]
async fn a_merged_slot_after_a_lost_reply_is_perhaps_stored() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    process.faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
    let gate = Gate::new();
    process.faults.on(Op::Put, ".index", Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    let bytes = world.bytes(&segment_key(1)).await.unwrap();
    let merged = object_store::Attributes::from_iter([(object_store::Attribute::Metadata("kfsmerged".into()), "1")]);
    world.store.put_opts(&segment_key(1).into(), bytes.into(), merged.into()).await.unwrap();
    gate.open();
    assert_failed(pending.await.unwrap(), ErrorKind::Fenced, Stored::Perhaps);
}

#[tokio::test(start_paused = true)]
async fn a_lost_slot_is_no_look_at_the_tail() {
    let world = World::new();
    let process = world.process_that_sends_once(1);
    let writer = process.writer(policy(OnConflict::Rebase)).await;
    append(&writer, "a").await.unwrap();
    for base in 1..=3 {
        world.put_segment(base, "other").await;
    }
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    // The conflict is heard a day later: slot 1 is still there, slot 2 is not.
    process.clock.suspend(Duration::from_secs(86_400));
    world.delete(&segment_key(2)).await;
    gate.open();
    assert_eq!(pending.await.unwrap().unwrap().base, 4, "slot 2 is in the past");
}

#[tokio::test(start_paused = true)]
async fn a_win_that_others_have_followed_already_is_no_look_at_the_tail() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Fence)).await;
    append(&writer, "a").await.unwrap();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    gate.arrived(1).await;
    process.clock.suspend(Duration::from_secs(120));
    world.put_segment(2, "other").await;
    gate.open();
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
    assert_failed(append(&writer, "c").await, ErrorKind::Fenced, Stored::Not);
    assert_eq!(process.segment_puts(), 2, "it looked before it sent a third");
}

#[tokio::test(start_paused = true)]
async fn the_tail_was_seen_when_the_first_try_was_sent_and_not_the_last() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Fence)).await;
    append(&writer, "a").await.unwrap();
    // It lands, and is not answered in 30 s; the next try is told that it exists.
    process.faults.on(Op::Put, ".kfs", Action::ActThenHold(Gate::new()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    slept(&process, 1).await;
    world.put_segment(2, "other").await;
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
    slept(&process, 45).await;
    assert_failed(append(&writer, "c").await, ErrorKind::Fenced, Stored::Not);
    assert_eq!(process.segment_puts(), 3, "it looked before it sent a fourth");
}

#[tokio::test(start_paused = true)]
async fn invariant_2_what_a_look_reads_must_be_what_it_listed() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let (index, read) = (Gate::new(), Gate::new());
    process.faults.on(Op::Put, ".kfs", Action::Late(Failure::Unavailable));
    process.faults.on(Op::Put, ".index", Action::Hold(index.clone()));
    process.faults.on(Op::Get, ".kfs", Action::Hold(read.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["b"])).await.unwrap().durable());
    index.arrived(1).await;
    process.clock.suspend(Duration::from_secs(120));
    world.put_segment(1, "other").await;
    index.open();
    // The look listed the other's segment, alone. Before it is read the log goes on, is retained, and ours lands.
    read.arrived(1).await;
    world.put_segment(2, "later").await;
    world.delete(&segment_key(0)).await;
    world.delete(&segment_key(1)).await;
    process.faults.land_late().await;
    read.open();
    assert_failed(pending.await.unwrap(), ErrorKind::Fenced, Stored::Perhaps);
}
