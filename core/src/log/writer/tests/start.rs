//! Where a log starts, and what opening checks.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_append_ever_makes_log_json() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options().start_offset(500)).await;
    assert!(world.keys().await.is_empty(), "opening writes nothing");
    let before = process.requests();
    assert_eq!(append(&writer, "a").await.unwrap(), (500, 500));
    assert_eq!(process.requests().since(&before).put, 3, "budget: log.json, segment, index");
    let identity =
        crate::format::LogIdentity::parse(&world.bytes(&format!("{PREFIX}log.json")).await.unwrap()).unwrap();
    assert_eq!(identity.start_offset, 500);
}

#[tokio::test(start_paused = true)]
async fn invariant_3_two_writers_of_an_empty_partition_share_one_first_slot() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let first = one.writer(options().start_offset(100)).await;
    let second = two.writer(options().start_offset(200)).await;
    let third = world.process(3).writer(options()).await;
    append(&first, "a").await.unwrap();
    assert_failed(append(&second, "b").await, ErrorKind::Conflict, Stored::Not);
    assert_eq!(append(&third, "c").await.unwrap(), (101, 101), "who asked for none obeys");
    assert_eq!(world.records().await, [(100, "a".into()), (101, "c".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_log_json_is_read_back() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options().start_offset(7)).await;
    process.faults.on(Op::Put, "log.json", Action::ActThenFail(Failure::Unavailable));
    assert_eq!(append(&writer, "a").await.unwrap(), (7, 7));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_log_json_that_kept_nothing_creates_again() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    process.faults.on(Op::Put, "log.json", Action::Conflict);
    assert_eq!(append(&writer, "a").await.unwrap(), (0, 0));
    assert!(world.bytes(&format!("{PREFIX}log.json")).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_same_start_offset_is_accepted_at_any_time_and_another_is_a_conflict() {
    let world = World::new();
    let process = world.process(1);
    process.partition().create(9).await.unwrap();
    process.partition().create(9).await.unwrap();
    assert_eq!(process.partition().create(8).await.unwrap_err().kind(), ErrorKind::Conflict);
    let writer = process.writer(options().start_offset(9)).await;
    append(&writer, "a").await.unwrap();
    writer.close(None).await.unwrap();
    process.writer(options().start_offset(9)).await.close(None).await.unwrap();
    let other = process.partition().writer_with(options().start_offset(10)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_continues_at_its_log_start_mark() {
    let world = World::new();
    let process = world.process(1);
    process.partition().create(9).await.unwrap();
    world.put(&format!("{PREFIX}log-start-{:020}", 40), "").await;
    let writer = process.writer(options()).await;
    assert_eq!(append(&writer, "a").await.unwrap(), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_flipped_bit_anywhere_in_the_newest_segment_opens_no_writer() {
    let world = World::new();
    let process = world.process(1);
    let bytes = world.put_segment(0, "some value").await;
    // Header: magic, base offset, message count; body; footer: CRC, last offset, magic.
    for at in [0, 15, 19, 40, 80, bytes.len() - 16, bytes.len() - 5, bytes.len() - 1] {
        let mut broken = bytes.to_vec();
        broken[at] ^= 1;
        world.put(&segment_key(0), broken).await;
        let error = process.partition().writer_with(options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error:?}");
        assert_eq!(error.key(), Some(&*segment_key(0)));
    }
    world.put(&segment_key(0), bytes).await;
    process.writer(options()).await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_under_another_key_opens_no_writer() {
    let world = World::new();
    let process = world.process(1);
    let bytes = world.put_segment(0, "a").await;
    world.put(&segment_key(3), bytes).await;
    let error = process.partition().writer_with(options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*segment_key(3))));
}

#[tokio::test(start_paused = true)]
async fn opening_makes_the_newest_index_right_and_keeps_another_interval() {
    let world = World::new();
    let process = world.process(1);
    world.put_segment(0, "a").await;
    world.delete(&index_key(0)).await;
    process.writer(options()).await.close(None).await.unwrap();
    let segment = world.segments().await.remove(0).1;
    assert_eq!(world.bytes(&index_key(0)).await.unwrap(), segment.index(100).encode());
    world.put(&index_key(0), segment.index(7).encode()).await;
    process.writer(options()).await;
    assert_eq!(world.bytes(&index_key(0)).await.unwrap(), segment.index(7).encode());
}

#[tokio::test(start_paused = true)]
async fn opening_a_partition_of_one_segment_takes_three_requests() {
    let world = World::new();
    world.put_segment(0, "a").await;
    let process = world.process(1);
    process.writer(options()).await;
    let sent = process.requests();
    assert_eq!((sent.list, sent.get, sent.put), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn opening_a_partition_of_several_segments_takes_one_request_more() {
    let world = World::new();
    for base in 0..5 {
        world.put_segment(base, "a").await;
    }
    let process = world.process(1);
    process.writer(options()).await;
    let sent = process.requests();
    assert_eq!((sent.list, sent.get, sent.put), (1, 3, 0), "the footer before the newest segment");
}

/// A log of one segment with five records, and one segment that begins inside it.
async fn log_with_a_ghost() -> World {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    writer.append_batches(batch(&["a", "b", "c", "d", "e"])).await.unwrap().durable().await.unwrap();
    world.put_segment(1, "ghost").await;
    world
}

#[tokio::test(start_paused = true)]
async fn invariant_2_no_writer_opens_on_a_newest_segment_that_begins_inside_the_one_before_it() {
    let world = log_with_a_ghost().await;
    let process = world.process(2);
    let error = process.partition().writer_with(options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*segment_key(1))));
    assert!(error.to_string().contains("begins inside"), "{error}");
    assert!(error.hint().unwrap().contains(&segment_key(1)), "{error:?}");
    assert_eq!(process.requests().put, 0);
}

/// Another writer's segment of so many records, with its index.
async fn put_records(world: &World, base: i64, count: usize) {
    let mut builder = SegmentBuilder::new(base, 5, 100).unwrap();
    let batch = crate::format::Batch::parse(&batch(&vec!["x"; count]), 0, CrcCheck::Verify).unwrap();
    builder.push(&batch, None).unwrap();
    let built = builder.finish().unwrap();
    world.put(&segment_key(base), built.chunks.concat()).await;
    world.put(&index_key(base), built.index).await;
}

#[tokio::test(start_paused = true)]
async fn a_ghost_that_reaches_beyond_the_newest_segment_keeps_no_writer_from_opening() {
    // Retention moved the log's start to 56 and removed slot 55; a writer that slept won it again.
    let world = World::new();
    world.put(&format!("{PREFIX}log-start-{:020}", 56), "").await;
    put_records(&world, 55, 3).await;
    put_records(&world, 56, 1).await;
    let writer = world.process(1).writer(options()).await;
    assert_eq!(append(&writer, "a").await.unwrap(), (57, 57));
    // Merging made one segment of 0 to 9 and removed slot 5.
    let world = World::new();
    for (base, count) in [(0, 10), (5, 8), (10, 1)] {
        put_records(&world, base, count).await;
    }
    let writer = world.process(2).writer(options()).await;
    assert_eq!(append(&writer, "a").await.unwrap(), (11, 11));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_opens_below_the_greatest_mark_first_covers_the_offsets_up_to_it() {
    for policy in [OnConflict::Takeover, OnConflict::Fence, OnConflict::Rebase] {
        let world = World::new();
        put_records(&world, 5, 3).await;
        world.put(&format!("{PREFIX}log-start-{:020}", 9), "").await;
        let process = world.process(1);
        // The answers are lost: the segment may be there all the same.
        process.faults.on(Op::Put, segment_key(8), Action::ActThenFail(Failure::Unavailable));
        let writer = process.writer(options().on_conflict(policy)).await;
        let watermarks = process.partition().watermarks().unwrap();
        assert_eq!((watermarks.log_start, watermarks.high_watermark), (9, 9), "{policy:?}");
        assert_eq!(append(&writer, "a").await.unwrap(), (9, 9), "{policy:?}");
        let cover = world.bytes(&segment_key(8)).await.unwrap();
        let segment = Segment::parse(&cover, CrcCheck::Verify).unwrap();
        assert_eq!((segment.next_offset(), segment.header().message_count), (9, 0), "{policy:?}");
        assert_eq!(world.bytes(&index_key(8)).await.unwrap(), segment.index(segment_interval()).encode(), "{policy:?}");
        // A mark at the end of the log needs no cover.
        world.put(&format!("{PREFIX}log-start-{:020}", 10), "").await;
        writer.close(None).await.unwrap();
        let writer = world.process(2).writer(options()).await;
        assert_eq!(append(&writer, "b").await.unwrap(), (10, 10), "{policy:?}");
    }
}

/// The interval of the options that these tests open writers with.
fn segment_interval() -> i32 {
    options().index_interval
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_that_open_below_the_greatest_mark_the_later_goes_on_after_the_earlier() {
    let world = World::new();
    put_records(&world, 5, 3).await;
    world.put(&format!("{PREFIX}log-start-{:020}", 20), "").await;
    let (one, two) = (world.process(1), world.process(2));
    // The second finds the log as the first does, and is held before its cover is put.
    let gate = Gate::new();
    two.faults.on(Op::Put, segment_key(8), Action::Hold(gate.clone()));
    let partition = two.partition();
    let second = tokio::spawn(async move { partition.writer_with(options().on_conflict(OnConflict::Rebase)).await });
    gate.arrived(1).await;
    let first = one.writer(options().on_conflict(OnConflict::Rebase)).await;
    assert_eq!(append(&first, "a").await.unwrap(), (20, 20));
    gate.open();
    let second = second.await.unwrap().unwrap();
    assert_eq!(append(&second, "b").await.unwrap(), (21, 21), "it covers nothing twice");
    let records: Vec<_> = world.records().await.into_iter().filter(|(offset, _)| *offset >= 8).collect();
    assert_eq!(records, [(20, "a".into()), (21, "b".into())]);
}

#[tokio::test(start_paused = true)]
async fn no_writer_opens_far_below_the_greatest_mark() {
    let world = World::new();
    put_records(&world, 5, 3).await;
    let above = format!("{PREFIX}log-start-{:020}", 9 + (1_i64 << 40));
    world.put(&above, "").await;
    let error = world.process(1).partition().writer_with(options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*above)), "{error}");
    // An empty log goes on at the mark, where a log can begin there.
    let world = World::new();
    let beyond = format!("{PREFIX}log-start-{:020}", i64::MAX);
    world.put(&beyond, "").await;
    let process = world.process(3);
    let error = process.partition().writer_with(options()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*beyond)), "{error}");
    assert_eq!(process.requests().put, 0);
}

#[tokio::test(start_paused = true)]
async fn a_footer_alone_keeps_no_writer_from_opening() {
    let world = log_with_a_ghost().await;
    // The two follow each other; then a bit is flipped in the first one's footer, which has no checksum.
    let (first, _) = rivals_segment(0, "a");
    let mut flipped = first.to_vec();
    let at = flipped.len() - 5;
    flipped[at] ^= 0x10;
    world.put(&segment_key(0), flipped).await;
    let writer = world.process(2).writer(options()).await;
    assert_eq!(append(&writer, "b").await.unwrap(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_index_repair_that_is_not_answered_does_not_hold_the_partition_for_ever() {
    let world = World::new();
    world.put_segment(0, "a").await;
    world.delete(&index_key(0)).await;
    let process = world.process(1);
    process.faults.on(Op::Put, ".index", Action::Hang);
    let error = process.partition().writer_with(options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
    append(&process.writer(options()).await, "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_json_that_is_not_answered_is_created_again() {
    let world = World::new();
    let process = world.process(1);
    process.faults.on(Op::Put, "log.json", Action::Hang);
    process.partition().create(7).await.unwrap();
    assert!(world.keys().await.contains(&format!("{PREFIX}log.json")));
}
