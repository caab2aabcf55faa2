//! The accumulator: triggers, grouping, order, and the bound on what is buffered.

use super::*;

#[tokio::test(start_paused = true)]
async fn invariant_3_appends_gather_behind_the_put_in_flight() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let mut waiting = vec![tokio::spawn(writer.append_batches(batch(&["a"])).await.unwrap().durable())];
    gate.arrived(1).await;
    for value in ["b", "c", "d"] {
        waiting.push(tokio::spawn(writer.append_batches(batch(&[value])).await.unwrap().durable()));
    }
    assert_eq!(process.segment_puts(), 2, "one PUT in flight (invariant 3)");
    gate.open();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(process.segment_puts(), 3, "the three that gathered went together");
    let values: Vec<_> = world.records().await.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["first", "a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn the_interval_flushes_though_nobody_waits() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    process.bucket.runtime().clock().sleep(Duration::from_millis(249)).await;
    assert_eq!(process.segment_puts(), 0);
    process.bucket.runtime().clock().sleep(Duration::from_millis(2)).await;
    tokio::task::yield_now().await;
    assert_eq!(process.segment_puts(), 1);
    pending.durable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_records_and_batches_flush_at_once() {
    let long = options().flush_interval(Duration::from_secs(3_600));
    for options in [long.clone().flush_bytes(100), long.clone().flush_records(2), long.flush_batches(2)] {
        let process = World::new().process(1);
        let writer = process.writer(options).await;
        writer.append_batches(batch(&["some bytes"])).await.unwrap();
        process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(process.segment_puts(), 0);
        writer.append_batches(batch(&["some bytes"])).await.unwrap();
        process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
        assert!(process.segment_puts() >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_who_waits_flushes_after_linger() {
    let process = World::new().process(1);
    let slow = options().flush_interval(Duration::from_secs(3_600)).linger(Duration::from_millis(20));
    let writer = process.writer(slow).await;
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    let clock = process.bucket.runtime().clock().clone();
    let start = clock.elapsed();
    pending.durable().await.unwrap();
    let waited = clock.elapsed() - start;
    assert!((20..40).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_linger_longer_than_the_flush_interval_ends_with_it() {
    let process = World::new().process(1);
    let options = options().flush_interval(Duration::from_millis(20)).linger(Duration::from_secs(3_600));
    let writer = process.writer(options).await;
    let clock = process.bucket.runtime().clock().clone();
    let start = clock.elapsed();
    append(&writer, "a").await.unwrap();
    let waited = clock.elapsed() - start;
    assert!((20..40).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn records_of_successive_appends_share_a_batch() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Rebase)).await;
    let mut pending = Vec::new();
    for value in ["a", "b", "c"] {
        pending.push(writer.append(&[record(value), record(value)]).await.unwrap());
    }
    let mut offsets = Vec::new();
    for one in &pending {
        let got = one.durable().await.unwrap();
        offsets.push((got.base, got.last));
    }
    assert_eq!(offsets, [(0, 1), (2, 3), (4, 5)]);
    assert_eq!(world.segments().await[0].1.batch_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_closed_by_size() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Rebase).batch_bytes(200)).await;
    let value = "x".repeat(80);
    for _ in 0..6 {
        writer.append(&[record(&value)]).await.unwrap();
    }
    writer.flush().await.unwrap();
    let segments = world.segments().await;
    assert!(segments[0].1.batch_count() >= 3);
    assert!(segments[0].1.batches().all(|b| b.batch.bytes().len() <= 264));
    assert_eq!(world.records().await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_append_of_several_batches_is_in_one_segment() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(policy(OnConflict::Rebase).flush_bytes(150)).await;
    let value = "x".repeat(60);
    let two = [batch(&[&value]), batch(&[&value])].concat();
    for _ in 0..3 {
        writer.append_batches(two.clone()).await.unwrap();
    }
    writer.flush().await.unwrap();
    let counts: Vec<_> = world.segments().await.iter().map(|(_, s)| s.header().message_count).collect();
    assert_eq!(counts, [2, 2, 2], "larger than the flush size: a segment of its own, whole");
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_not_whole_are_invalid_input_and_lose_nothing() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    let good = batch(&["a"]);
    let mut flipped = good.to_vec();
    flipped[66] ^= 1;
    for bad in [Vec::new(), good[..good.len() - 1].to_vec(), flipped, [&good[..], b"x"].concat()] {
        let error = writer.append_batches(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    assert_eq!(writer.append(&[]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(append(&writer, "b").await.unwrap(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_refuses_or_makes_wait_in_call_order() {
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(250));
    let writer = process.writer(policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600))).await;
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let value = |n: i32| format!("{n}{}", "x".repeat(20));
    let mut waiting = Vec::new();
    for n in 0..8 {
        // Not polled yet: the order is that of the calls.
        waiting.push(writer.append_batches(batch(&[&value(n)])));
    }
    assert_eq!(writer.try_append_batches(batch(&["y"])).unwrap_err().kind(), ErrorKind::Full);
    gate.open();
    waiting.reverse();
    for admission in waiting {
        admission.await.unwrap().durable().await.unwrap();
    }
    let values: Vec<_> = world.records().await.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, (0..8).map(value).collect::<Vec<_>>());
    assert_eq!(process.bucket.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_dropped_before_there_was_room_is_wholly_out() {
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(100));
    let writer = process.writer(policy(OnConflict::Rebase)).await;
    let first = writer.append_batches(batch(&["a"])).await.unwrap();
    drop(writer.append_batches(batch(&["dropped"])));
    let third = writer.append_batches(batch(&["c"]));
    first.durable().await.unwrap();
    assert_eq!(third.await.unwrap().durable().await.unwrap().base, 1);
    assert_eq!(world.records().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_wait_does_not_drop_the_append() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    drop(pending.durable());
    drop(pending);
    writer.flush().await.unwrap();
    assert_eq!(world.records().await, [(0, "a".into())]);
}

#[tokio::test(start_paused = true)]
async fn awaiting_an_append_starts_its_flush_and_returns_its_offsets_when_it_is_durable() {
    let world = World::new();
    let writer = world.process(1).writer(options().flush_interval(Duration::from_secs(3_600))).await;
    let begun = tokio::time::Instant::now();
    let offsets = writer.append_batches(batch(&["a", "b"])).await.unwrap().await.unwrap();
    assert_eq!((offsets.base, offsets.last), (0, 1));
    assert_eq!(world.records().await.len(), 2);
    assert!(begun.elapsed() < Duration::from_secs(3_600), "it did not wait for flush_interval");
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_called_once_when_it_is_settled() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    let again = send.clone();
    pending.on_settled(Interest::Waits, move |outcome| send.send(outcome).unwrap());
    assert_eq!(receive.recv().await.unwrap().unwrap().base, 0);
    pending.on_settled(Interest::Observes, move |outcome| again.send(outcome).unwrap());
    assert_eq!(receive.recv().await.unwrap().unwrap().base, 0);
    assert!(receive.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn marks_move_with_commits_and_final_appends_and_wake_watches() {
    let process = World::new().process(1);
    let partition = process.partition();
    let writer = process.writer(options()).await;
    assert!(partition.watermarks().is_none());
    let mut watch = crate::log::Watch::new();
    watch.add(&partition);
    append(&writer, "a").await.unwrap();
    let (id, watermarks) = watch.changed().await.unwrap();
    assert_eq!(&id, partition.id());
    assert_eq!((watermarks.log_start, watermarks.high_watermark, watermarks.log_end), (0, 1, 1));
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let pending = writer.append_batches(batch(&["b"])).await.unwrap();
    let watermarks = watch.changed().await.unwrap().1;
    assert_eq!((watermarks.high_watermark, watermarks.log_end), (1, 2));
    gate.open();
    pending.durable().await.unwrap();
    assert_eq!(watch.changed().await.unwrap().1.high_watermark, 2);
}

#[tokio::test(start_paused = true)]
async fn closing_a_bucket_flushes_every_writer() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options().flush_interval(Duration::from_secs(3_600))).await;
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    process.bucket.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(pending.outcome().unwrap().unwrap().base, 0);
    assert_eq!(writer.append_batches(batch(&["b"])).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_and_what_waits_is_served_and_stored_in_order() {
    let world = World::new();
    let process = world.process(1);
    // Groups of one append, two of which make a segment.
    let writer = process.writer(options().batch_bytes(1).flush_bytes(2 * batch(&["0", "1"]).len())).await;
    append(&writer, "first").await.unwrap();
    let gate = Gate::new();
    process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
    let mut pending = Vec::new();
    for n in 0..7 {
        let pair = [format!("{n}a"), format!("{n}b")];
        let append = match n % 3 {
            0 => writer.append_batches(batch(&[&pair[0], &pair[1]])).await,
            1 => writer.append_batches([batch(&[&pair[0]]), batch(&[&pair[1]])].concat()).await,
            _ => {
                let [a, b] = &pair;
                let records = [NewRecord::new(1).value(a.as_bytes()), NewRecord::new(1).value(b.as_bytes())];
                writer.append(&records).await
            }
        };
        pending.push(append.unwrap());
        if n == 1 {
            gate.arrived(1).await;
        }
    }
    let reader = process.partition().reader();
    let everything = crate::FetchOptions::new(1 << 20).include_buffered(true);
    let fetched = reader.fetch_with(1, everything).await.unwrap();
    let offsets: Vec<_> = fetched
        .batches()
        .map(|batch| batch.unwrap())
        .flat_map(|batch| batch.base_offset()..batch.next_offset())
        .collect();
    assert_eq!(offsets, (1..15).collect::<Vec<_>>());
    gate.open();
    for (n, append) in pending.iter().enumerate() {
        let base = 1 + 2 * n as i64;
        let offsets = append.durable().await.unwrap();
        assert_eq!((offsets.base, offsets.last), (base, base + 1));
    }
    let values = (0..7).flat_map(|n| [format!("{n}a"), format!("{n}b")]);
    let expected: Vec<_> = std::iter::once("first".to_owned()).chain(values).enumerate().collect();
    let kept: Vec<_> = world.records().await.into_iter().map(|(offset, value)| (offset as usize, value)).collect();
    assert_eq!(kept, expected);
    assert!(process.segment_puts() >= 4, "several flushes took parts of the queue");
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_flush_that_had_no_room_does_not_wait_for_the_interval() {
    let process = World::new().process(1);
    let one = batch(&["a"]);
    // One alone does not fill a segment, two do not fit.
    let slow = options().batch_bytes(1).flush_bytes(one.len() + 1).flush_interval(Duration::from_secs(3_600));
    let writer = process.writer(slow).await;
    let (first, second) =
        (writer.append_batches(one.clone()).await.unwrap(), writer.append_batches(one).await.unwrap());
    let clock = process.bucket.runtime().clock().clone();
    let begun = clock.elapsed();
    let (first, second) = tokio::join!(first.durable(), second.durable());
    assert_eq!((first.unwrap().base, second.unwrap().base), (0, 1));
    assert_eq!(process.segment_puts(), 2);
    assert!(clock.elapsed().saturating_sub(begun) < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_flush_takes_no_more_records_and_batches_than_asked_unless_one_append_brings_more() {
    let long = policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600));
    for by_records in [true, false] {
        let asked = if by_records { long.clone().flush_records(2) } else { long.clone().flush_batches(2) };
        let world = World::new();
        let process = world.process(1);
        let writer = process.writer(asked).await;
        let gate = Gate::new();
        process.faults.on(Op::Put, ".kfs", Action::Hold(gate.clone()));
        let first = writer.append_batches(batch(&["first"])).await.unwrap();
        writer.core().flush_all();
        gate.arrived(1).await;
        let three = batch(&["a"]).repeat(3);
        drop(writer.append_batches(three).await.unwrap());
        for n in 0..5 {
            drop(writer.append_batches(batch(&[&format!("batch {n}")])).await.unwrap());
        }
        for n in 0..5 {
            drop(writer.append(&[record(&format!("record {n}"))]).await.unwrap());
        }
        gate.open();
        first.durable().await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(world.records().await.len(), 14);
        for (base, segment) in world.segments().await {
            let (records, batches) = (segment.header().message_count, segment.batch_count());
            let taken = if by_records { usize::try_from(records).unwrap() } else { batches };
            // An append is not split.
            assert!(taken <= 2 || (base == 1 && batches == 3), "{records} records in {batches} batches at {base}");
        }
    }
}
