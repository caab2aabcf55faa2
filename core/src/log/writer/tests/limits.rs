//! What must not end a writer, or be said of what was never sent.

use super::*;
use crate::format::BatchCheck;
use crate::store::StoreOptions;
use crate::testing::KeyMatcher;

/// A process that may have so many requests under way.
fn with_places(world: &World, places: usize) -> Process {
    let faults = FaultStore::new(world.store.clone());
    let store = Store::from_object_store_with(faults.clone(), &StoreOptions::default().max_in_flight(places));
    world.process_over(store, faults, 1, BucketOptions::default())
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_was_not_sent_and_is_not_stored() {
    let process = with_places(&World::new(), 1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    let hog = process.bucket.partition("hog", 0).unwrap().writer_with(options()).await.unwrap();
    process.faults.always(Op::Put, KeyMatcher::containing("/hog/"), Action::Hang);
    drop(hog.append_batches(batch(&["x"])).await.unwrap());
    process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    let before = process.faults.count_of(Op::Put, KeyMatcher::containing("/orders/"));
    let pending = writer.append_batches(batch(&["y"])).await.unwrap();
    // Shorter than the time after which the hog's request is given up.
    assert!(writer.close(Some(Duration::from_secs(10))).await.is_err());
    assert_failed(pending.outcome().unwrap(), ErrorKind::Closed, Stored::Not);
    assert_eq!(process.faults.count_of(Op::Put, KeyMatcher::containing("/orders/")), before);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_does_not_run_while_it_waits_for_its_place() {
    let process = with_places(&World::new(), 2);
    // Opened before the places are taken.
    let writer = process.writer(options().time_index(true)).await;
    let mut hogs = Vec::new();
    for number in 0..2 {
        let partition = process.bucket.partition("hog", number).unwrap();
        let hog = partition.writer_with(options()).await.unwrap();
        append(&hog, "before").await.unwrap();
        hogs.push(hog);
    }
    process.faults.always(Op::Put, KeyMatcher::containing("/hog/"), Action::Hang);
    for hog in &hogs {
        let pending = hog.append_batches(batch(&["x"])).await.unwrap();
        tokio::spawn(pending.durable());
    }
    process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    // It waits for `log.json`, behind two flushes of 30 s each.
    append(&writer, "first").await.unwrap();
    let of_log_json = process.faults.count_of(Op::Get, KeyMatcher::containing("/orders/0/log.json"));
    assert_eq!(of_log_json, 0, "what was not sent was not given up, so nobody asked what became of it");
}

#[tokio::test(start_paused = true)]
async fn an_ack_does_not_wait_for_reads() {
    let process = with_places(&World::new(), 2);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.always(Op::List, KeyMatcher::containing("/elsewhere/"), Action::Hang);
    for number in 0..4 {
        let partition = process.bucket.partition("elsewhere", number).unwrap();
        tokio::spawn(async move { partition.refresh().await });
    }
    process.bucket.runtime().clock().sleep(Duration::from_millis(1)).await;
    let acked = process.bucket.runtime().timeout(Duration::from_secs(1), append(&writer, "second")).await;
    assert_eq!(acked.expect("in time").unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lost_a_slot_does_not_wait_for_reads() {
    let world = World::new();
    let process = with_places(&world, 2);
    let writer = process.writer(policy(OnConflict::Rebase)).await;
    append(&writer, "first").await.unwrap();
    process.faults.always(Op::List, KeyMatcher::containing("/elsewhere/"), Action::Hang);
    for number in 0..4 {
        let partition = process.bucket.partition("elsewhere", number).unwrap();
        tokio::spawn(async move { partition.refresh().await });
    }
    let clock = process.bucket.runtime().clock();
    let in_time = Duration::from_secs(1);
    // It reads the segment that won the slot.
    world.put_segment(1, "rival").await;
    clock.sleep(Duration::from_millis(1)).await;
    let acked = process.bucket.runtime().timeout(in_time, append(&writer, "second")).await;
    assert_eq!(acked.expect("in time").unwrap(), (2, 2));
    // It looks for the end of the log as an opening does, for the segment that it knew is gone.
    world.put_segment(3, "rival").await;
    world.delete(&segment_key(2)).await;
    clock.sleep(Duration::from_secs(1)).await;
    let acked = process.bucket.runtime().timeout(in_time, append(&writer, "third")).await;
    assert_eq!(acked.expect("in time").unwrap(), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_over_a_given_store_keeps_the_bound_of_its_options() {
    let faults = FaultStore::new(World::new().store);
    faults.always(Op::List, KeyMatcher::any(), Action::Hang);
    let clock = PausedClock::new(0);
    let runtime = Runtime::new(clock, Arc::new(SeededEntropy::new(1)), Arc::new(LocalSpawn));
    let options = BucketOptions::default().runtime(runtime).store(StoreOptions::default().max_in_flight(1));
    let bucket = Bucket::from_object_store(faults.clone(), options).unwrap();
    for number in 0..4 {
        let partition = bucket.partition("orders", number).unwrap();
        tokio::spawn(async move { partition.refresh().await });
    }
    bucket.runtime().clock().sleep(Duration::from_millis(1)).await;
    assert_eq!(faults.count(Op::List), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_slot_may_take_as_long_as_its_size_needs() {
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "first").await.unwrap();
    process.faults.decide_with(|request| {
        if request.op == Op::Put && request.key.ends_with(".kfs") {
            return Action::ActThenFail(Failure::Unavailable);
        }
        if request.op == Op::Get && request.key.ends_with(".kfs") {
            let gate = Gate::new();
            let opens = gate.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(600)).await;
                opens.open();
            });
            return Action::Hold(gate);
        }
        Action::Pass
    });
    let pending = writer.append_batches(batch(&["second"])).await.unwrap();
    let acked = process.bucket.runtime().timeout(Duration::from_secs(6 * 3_600), pending.durable()).await;
    assert_eq!(acked.expect("the read ends").unwrap().base, 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_can_not_be_decoded_stops_no_flush_that_has_a_time_index() {
    let world = World::new();
    let process = world.process(1);
    let trusting = policy(OnConflict::Rebase).time_index(true).batch_check(BatchCheck::Crc);
    let writer = process.writer(trusting.flush_interval(Duration::from_secs(3_600))).await;
    let mut broken = batch(&["abc"]).to_vec();
    broken[61] = 0x7f; // the record's length
    let crc = crate::format::crc32c(&broken[21..]);
    broken[17..21].copy_from_slice(&crc.to_be_bytes());
    let good = writer.append_batches(batch(&["good"])).await.unwrap();
    let bad = writer.append_batches(broken).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(good.outcome().unwrap().unwrap().base, 0);
    assert_eq!(bad.outcome().unwrap().unwrap().base, 1);
    assert_eq!(append(&writer, "next").await.unwrap(), (2, 2));
    let times: Vec<_> = world.keys().await.into_iter().filter(|key| key.ends_with(".kfst")).collect();
    assert_eq!(times.len(), 1, "the segment with the broken batch has none: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_takes_no_more_than_a_segment_holds() {
    let world = World::new();
    let process = world.process(1);
    let asked = policy(OnConflict::Rebase).flush_bytes(usize::MAX).batch_bytes(usize::MAX).segment_bytes(4096);
    let writer = process.writer(asked.flush_interval(Duration::from_secs(3_600))).await;
    let value = "x".repeat(1_000);
    for n in 0..12 {
        if n % 2 == 0 {
            drop(writer.append_batches(batch(&[&value])).await.unwrap());
        } else {
            drop(writer.append(&[record(&value)]).await.unwrap());
        }
    }
    writer.flush().await.unwrap();
    assert_eq!(world.records().await.len(), 12);
    assert!(world.segments().await.len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn records_that_can_not_be_compressed_are_not_acked_and_end_the_writer() {
    for read in [false, true] {
        let world = World::new();
        let process = world.process(1);
        let writer = process.writer(options().flush_interval(Duration::from_secs(3_600))).await;
        append(&writer, "before").await.unwrap();
        let lost = writer.append(&[record("lost")]).await.unwrap();
        let failure = || Err(Error::new(ErrorKind::Internal, "compressing failed, on purpose"));
        writer.core().before_sealing(failure);
        if read {
            let reader = process.partition().reader();
            let fetched = reader.fetch_with(1, crate::FetchOptions::new(1).include_buffered(true)).await.unwrap();
            assert!(fetched.is_empty());
        } else {
            let next = writer.append_batches(batch(&["next"])).await;
            assert_failed(next, ErrorKind::Internal, Stored::Not);
        }
        assert_failed(lost.durable().await, ErrorKind::Internal, Stored::Not);
        assert_failed(writer.append_batches(batch(&["later"])).await, ErrorKind::Internal, Stored::Not);
        assert_eq!(world.records().await, [(0, "before".into())]);
        assert_eq!(process.bucket.buffered_bytes(), 0);
    }
}

#[tokio::test]
async fn options_without_sense_are_refused_by_name_with_what_is_allowed() {
    let process = World::new().process(1);
    for (options, named) in [
        (options().flush_bytes(0), "flush_bytes is 0, at least 1"),
        (options().flush_records(0), "flush_records is 0, at least 1"),
        (options().flush_batches(0), "flush_batches is 0, at least 1"),
        (options().batch_bytes(0), "batch_bytes is 0, at least 1"),
        (options().index_interval(0), "index_interval is 0, at least 1"),
        (options().index_interval(-5), "index_interval is -5, at least 1"),
        (options().segment_bytes(0), "segment_bytes is 0, 4096 to 2147483647"),
        (options().leader_epoch(-2), "leader_epoch is -2, at least 0"),
        (options().start_offset(-1), "start_offset is -1, 0 to 2^63-3"),
        (options().stale_after(Duration::ZERO), "stale_after is 0ns, 1 s to 5 minutes"),
    ] {
        let error = process.partition().writer_with(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(named), "{named}: {error}");
    }
}

#[test]
fn a_bucket_s_options_without_sense_are_refused_by_name_with_what_is_allowed() {
    let store = |options| BucketOptions::default().store(options);
    for (options, named) in [
        (BucketOptions::default().buffer_bytes(0), "buffer_bytes is 0, at least 64"),
        (BucketOptions::default().buffer_bytes(63), "buffer_bytes is 63, at least 64"),
        (store(StoreOptions::default().max_in_flight(0)), "max_in_flight is 0, at least 1"),
        (store(StoreOptions::default().file_mode(0o040)), "file_mode is 040, at least 0400"),
        (store(StoreOptions::default().file_mode(600)), "file_mode is 01130, at most 0777"),
        (store(StoreOptions::default().dir_mode(777)), "dir_mode is 01411, at most 0777"),
        (store(StoreOptions::default().file_mode(0o4640)), "file_mode is 04640, at most 0777"),
        (store(StoreOptions::default().dir_mode(0o600)), "dir_mode is 0600, at least 0700"),
    ] {
        let errors = [
            Bucket::open_with("memory:", options.clone()).unwrap_err(),
            Bucket::from_object_store(Arc::new(InMemory::new()), options).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().starts_with(named), "{named}: {error}");
        }
    }
}

/// Holds whoever seals a batch until the test lets it go on.
struct Stop {
    arrived: std::sync::mpsc::Receiver<()>,
    go_on: std::sync::mpsc::Sender<()>,
}

/// Stops the first thread that seals a batch of the writer.
fn stop_first_sealing(writer: &Writer) -> Stop {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (arrive, arrived) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel();
    let (wait, first) = (std::sync::Mutex::new(wait), AtomicBool::new(true));
    writer.core().before_sealing(move || {
        if first.swap(false, Ordering::SeqCst) {
            arrive.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    Stop { arrived, go_on }
}

#[tokio::test]
async fn a_flush_and_other_appends_pass_a_thread_that_compresses() {
    let world = World::new();
    let process = world.process(1);
    let long = policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600)).batch_bytes(200);
    let writer = process.writer(long).await;
    let value = "x".repeat(80);
    let earlier = writer.append_batches(batch(&["earlier"])).await.unwrap();
    writer.append(&[record(&value)]).await.unwrap();
    let stop = stop_first_sealing(&writer);
    // Its records do not fit the open batch, which it closes and compresses.
    let other = writer.clone();
    let closes = std::thread::spawn(move || {
        let value = "y".repeat(80);
        other.append(&[record(&value)]).now_or_never().unwrap().map(drop)
    });
    stop.arrived.recv().unwrap();
    let later = writer.append(&[record("later")]).await.unwrap();
    assert_eq!(writer.status().buffered_records, 4);
    earlier.durable().await.unwrap();
    assert_eq!(world.records().await, [(0, "earlier".into())], "nothing passes what is not compressed");
    assert!(later.outcome().is_none());
    stop.go_on.send(()).unwrap();
    closes.join().unwrap().unwrap();
    assert_eq!(later.durable().await.unwrap().base, 3);
    let values: Vec<_> = world.records().await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["earlier", &value, &"y".repeat(80), "later"]);
    assert_eq!(process.bucket.buffered_bytes(), 0);
}

#[tokio::test]
async fn a_flush_passes_a_thread_that_makes_many_batches_of_one_append() {
    let world = World::new();
    let process = world.process(1);
    let long = policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600)).batch_bytes(200);
    let writer = process.writer(long).await;
    let earlier = writer.append(&[record("earlier")]).await.unwrap();
    let stop = stop_first_sealing(&writer);
    let other = writer.clone();
    let tokio = tokio::runtime::Handle::current();
    let makes = std::thread::spawn(move || {
        let _within = tokio.enter();
        let value = "y".repeat(80);
        other.append(&[record(&value); 5]).now_or_never().unwrap().unwrap().outcome()
    });
    stop.arrived.recv().unwrap();
    earlier.durable().await.unwrap();
    assert_eq!(world.records().await, [(0, "earlier".into())]);
    stop.go_on.send(()).unwrap();
    assert!(makes.join().unwrap().is_none());
    writer.flush().await.unwrap();
    assert_eq!(world.records().await.len(), 6);
    assert!(world.segments().await.iter().any(|(_, segment)| segment.batch_count() >= 3));
}
