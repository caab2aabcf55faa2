//! Several writers of one partition, in processes of their own.

use super::*;

#[tokio::test(start_paused = true)]
async fn invariant_3_takeover_displaces_the_owner_who_then_is_fenced() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let old = one.writer(options().name("old")).await;
    let new = two.writer(options().name("new")).await;
    assert_eq!(append(&old, "old-0").await.unwrap(), (0, 0));
    // The new one opened before that: it loses slot 0, moves on, and owns the partition from then on.
    assert_eq!(append(&new, "new-1").await.unwrap(), (1, 1));
    let error = append(&old, "old-1").await.unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)));
    assert_eq!(error.winner(), Some("new"));
    assert_eq!(error.key(), Some(&*segment_key(1)));
    assert_failed(append(&old, "old-2").await, ErrorKind::Fenced, Stored::Not);
    assert_eq!(append(&new, "new-2").await.unwrap(), (2, 2));
    let values: Vec<_> = world.records().await.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["old-0", "new-1", "new-2"]);
}

#[tokio::test(start_paused = true)]
async fn fence_gives_up_at_the_first_loss() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    one.partition().create(0).await.unwrap();
    let careful = two.writer(policy(OnConflict::Fence)).await;
    let pending = careful.append_batches(batch(&["x"])).await.unwrap();
    assert_eq!(pending.final_offsets().map(|o| o.base), Some(0), "final once log.json was read");
    let other = one.writer(options()).await;
    append(&other, "a").await.unwrap();
    assert_failed(pending.durable().await, ErrorKind::Fenced, Stored::Not);
    assert_eq!(pending.final_offsets(), None);
}

#[tokio::test(start_paused = true)]
async fn rebase_lets_writers_share_a_partition() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let first = one.writer(policy(OnConflict::Rebase)).await;
    let second = two.writer(policy(OnConflict::Rebase)).await;
    for round in 0..5 {
        append(&first, &format!("one-{round}")).await.unwrap();
        let pending = second.append_batches(batch(&[&format!("two-{round}")])).await.unwrap();
        assert_eq!(pending.final_offsets(), None, "not final before it is durable");
        assert_eq!(pending.durable().await.unwrap().base, round * 2 + 1);
    }
    let offsets: Vec<_> = world.records().await.into_iter().map(|(o, _)| o).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn invariant_2_offsets_under_takeover_are_final_after_the_first_commit() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    let first = writer.append_batches(batch(&["a", "b"])).await.unwrap();
    assert_eq!(first.final_offsets(), None);
    first.durable().await.unwrap();
    let second = writer.append_batches(batch(&["c"])).await.unwrap();
    assert_eq!(second.final_offsets().map(|o| (o.base, o.last)), Some((2, 2)));
}

#[tokio::test(start_paused = true)]
async fn the_first_commit_of_a_takeover_is_one_append_and_not_the_whole_buffer() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    for value in ["a", "b", "c"] {
        writer.append(&[record(value)]).await.unwrap();
    }
    writer.flush().await.unwrap();
    let counts: Vec<_> = world.segments().await.iter().map(|(_, s)| s.header().message_count).collect();
    assert_eq!(counts, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_fences_every_earlier_owner_and_takes_one_offset() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let old = one.writer(options()).await;
    append(&old, "a").await.unwrap();
    let new = two.writer(options()).await;
    let before = two.requests();
    let claimed = new.claim().await.unwrap();
    assert_eq!((claimed.base, claimed.last), (1, 1));
    let spent = two.requests().since(&before);
    assert_eq!(
        (spent.get, spent.put, spent.total()),
        (1, 3, 4),
        "budget: GET and PUT claim.json, PUT .kfs, PUT .index"
    );
    assert_failed(append(&old, "b").await, ErrorKind::Fenced, Stored::Not);
    let pending = new.append_batches(batch(&["c"])).await.unwrap();
    assert_eq!(pending.final_offsets().map(|o| o.base), Some(2));
    pending.durable().await.unwrap();
    assert_eq!(world.records().await, [(0, "a".into()), (2, "c".into())]);
    assert_eq!(world.segments().await[1].1.header().message_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_late_put_of_a_former_owner_is_fenced_by_a_claim() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let old = one.writer(options()).await;
    append(&old, "a").await.unwrap();
    one.faults.always(Op::Put, segment_key(1), Action::LateAndSilent);
    let lost = old.append_batches(batch(&["late"])).await.unwrap();
    let waiting = tokio::spawn(lost.durable());
    one.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    let new = two.writer(options()).await;
    assert_eq!(new.claim().await.unwrap().base, 1);
    let late = one.faults.land_late().await;
    assert!(late.iter().all(|(_, answer)| answer.is_err()), "{late:?}");
    one.faults.clear_rules();
    // The try was sent less than the bound ago, so what is in the slot says that ours never was.
    assert_failed(waiting.await.unwrap(), ErrorKind::Fenced, Stored::Not);
}

#[tokio::test(start_paused = true)]
async fn a_higher_leader_epoch_in_the_log_fences() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let slept = one.writer(options().leader_epoch(4)).await;
    let leader = two.writer(options().leader_epoch(5)).await;
    append(&leader, "a").await.unwrap();
    assert_failed(append(&slept, "b").await, ErrorKind::Fenced, Stored::Not);
    drop(slept);
    let again = one.partition().writer_with(options().leader_epoch(4)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Fenced);
    let equal = world.process(3).writer(options().leader_epoch(5)).await;
    append(&equal, "c").await.unwrap();
    let epochs: Vec<_> =
        world.segments().await.iter().map(|(_, s)| s.batches().next().unwrap().batch.header().leader_epoch).collect();
    assert_eq!(epochs, [5, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_second_exclusive_writer_in_the_process_is_a_conflict() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    let second = process.partition().writer_with(options()).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    writer.close(None).await.unwrap();
    process.writer(options()).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_writer_flushes_and_makes_room_for_the_next() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    drop(writer);
    pending.durable().await.unwrap();
    tokio::task::yield_now().await;
    let writer = process.writer(options()).await;
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn invariant_7_junk_in_the_next_slot_is_corrupt_with_its_key() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    world.put(&segment_key(1), "junk").await;
    let error = append(&writer, "b").await.unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Corrupt, Some(Stored::Not)));
    assert_eq!(error.key(), Some(&*segment_key(1)));
}

#[tokio::test(start_paused = true)]
async fn the_index_of_a_segment_that_is_followed_is_made_right_first() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    world.put_segment(0, "rival").await;
    world.put(&index_key(0), "not its index").await;
    // The index must be right when the next segment is put.
    let gate = Gate::new();
    process.faults.on(Op::Put, segment_key(1), Action::Hold(gate.clone()));
    let pending = tokio::spawn(writer.append_batches(batch(&["a"])).await.unwrap().durable());
    gate.arrived(1).await;
    assert_eq!(world.bytes(&index_key(0)).await.unwrap(), world.segments().await[0].1.index(100).encode());
    gate.open();
    assert_eq!(pending.await.unwrap().unwrap().base, 1);
}

/// Whoever is about to put a segment finds that a rival was faster.
pub(super) fn always_loses(world: &World, process: &Process) {
    let store = world.store.clone();
    process.faults.decide_with(move |request| {
        let base = request.key.strip_prefix(PREFIX).and_then(ObjectName::parse);
        if let (Op::Put, Some(ObjectName::Segment(base))) = (request.op, base) {
            let (segment, index) = rivals_segment(base, "busy");
            for (key, bytes) in [(segment_key(base), segment), (index_key(base), index)] {
                store.put(&key.into(), PutPayload::from_bytes(bytes)).now_or_never().unwrap().unwrap();
            }
        }
        Action::Pass
    });
}

#[tokio::test(start_paused = true)]
async fn invariant_4_nothing_is_acked_after_a_contended_flush() {
    for on_conflict in [OnConflict::Takeover, OnConflict::Rebase] {
        let world = World::new();
        let process = world.process(1);
        let writer = process.writer(policy(on_conflict).batch_bytes(1).flush_bytes(1)).await;
        always_loses(&world, &process);
        let mut waiting = Vec::new();
        for value in ["a", "b", "c"] {
            waiting.push(writer.append_batches(batch(&[value])).await.unwrap());
        }
        let error = waiting[0].durable().await.unwrap_err();
        process.faults.clear_rules();
        assert_eq!((error.kind(), error.stored()), (ErrorKind::Unavailable, Some(Stored::Not)), "{error:?}");
        assert!(error.is_contended() && error.hint().is_some(), "{error:?}");
        let tries = process.segment_puts();
        // A writer that shares the partition may lose 64 slots in a row by chance alone, so it bears more.
        let borne = if on_conflict == OnConflict::Rebase { 256..=256 } else { 32..=64 };
        assert!(borne.contains(&tries), "{tries} tries under {on_conflict:?}");
        for later in &waiting[1..] {
            assert_failed(later.durable().await, ErrorKind::Unavailable, Stored::Not);
        }
        // It says so, and takes nothing more until it is opened again.
        assert!(writer.failure().unwrap().is_contended());
        assert_failed(append(&writer, "d").await, ErrorKind::Unavailable, Stored::Not);
        assert!(writer.close(None).await.unwrap_err().is_contended());
        let again = process.writer(policy(on_conflict)).await;
        append(&again, "e").await.unwrap();
        let mine: Vec<_> = world.records().await.into_iter().map(|(_, v)| v).filter(|v| v != "busy").collect();
        assert_eq!(mine, ["e"]);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_nothing_is_acked_after_a_flush_that_conflicts_with_nothing() {
    for on_conflict in [OnConflict::Takeover, OnConflict::Fence, OnConflict::Rebase] {
        let process = World::new().process(1);
        let writer = process.writer(policy(on_conflict).batch_bytes(1).flush_bytes(1)).await;
        process.faults.always(Op::Put, segment_key(0), Action::Conflict);
        let (a, b) =
            (writer.append_batches(batch(&["a"])).await.unwrap(), writer.append_batches(batch(&["b"])).await.unwrap());
        writer.close(Some(Duration::from_secs(60))).await.unwrap_err();
        process.faults.clear_rules();
        assert_failed(a.durable().await, ErrorKind::Closed, Stored::Perhaps);
        assert_failed(b.durable().await, ErrorKind::Closed, Stored::Not);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loser_leaves_no_time_index_beside_the_winners_segment() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Rebase).time_index(true)).await;
    world.put_segment(0, "rival").await;
    assert_eq!(append(&writer, "a").await.unwrap(), (1, 1));
    let keys = world.keys().await;
    assert!(!keys.contains(&format!("{PREFIX}segment-{:020}.kfst", 0)));
    assert!(keys.contains(&format!("{PREFIX}segment-{:020}.kfst", 1)));
}

#[tokio::test(start_paused = true)]
async fn a_leftover_time_index_is_written_over() {
    let world = World::new();
    let process = world.process(1);
    let key = format!("{PREFIX}segment-{:020}.kfst", 0);
    world.put(&key, "a leftover").await;
    append(&process.writer(options().time_index(true)).await, "a").await.unwrap();
    let found = crate::format::TimeIndex::parse(&world.bytes(&key).await.unwrap()).unwrap();
    assert_eq!((found.min_offset, found.max_offset), (0, 0));
}
