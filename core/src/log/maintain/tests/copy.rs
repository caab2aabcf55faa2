//! Copying a log into another partition.

use super::*;
use crate::format::{Codec, CrcCheck, Limits, Segment, SparseIndex};
use crate::log::maintain::{CopyOptions, CopyReport};

const COPY: &str = "default/copy/0/";

impl World {
    fn target(&self) -> Partition {
        self.bucket.partition("copy", 0).unwrap()
    }

    async fn copy(&self, options: &CopyOptions) -> Result<CopyReport> {
        let plan = self.partition.plan_copy(&self.target(), options).await?;
        self.partition.copy(&self.target(), &plan).await
    }

    /// Names and bytes of the copy's segments and indexes.
    async fn objects(&self, prefix: &str) -> Vec<(String, bytes::Bytes)> {
        use object_store::ObjectStoreExt;
        let listed: Vec<_> = self.faults.inner().list(Some(&Path::from(prefix))).collect().await;
        let mut objects = Vec::new();
        for meta in listed {
            let location = meta.unwrap().location;
            let name = location.as_ref().strip_prefix(prefix).unwrap().to_owned();
            if name.starts_with("segment-") {
                objects.push((name, self.faults.inner().get(&location).await.unwrap().bytes().await.unwrap()));
            }
        }
        objects.sort();
        objects
    }
}

fn whole() -> CopyOptions {
    CopyOptions::default()
}

#[tokio::test]
async fn a_log_is_copied_byte_by_byte_and_is_a_log_of_its_own() {
    let world = World::new().await;
    let plan = world.partition.plan_copy(&world.target(), &whole()).await.unwrap();
    assert_eq!((plan.from, plan.next, plan.to, plan.segments), (0, 0, 60, 6));
    let told = format!("t/0 into copy/0: offsets 0 to 60 are copied; 6 segments with {} bytes", plan.bytes);
    assert_eq!(plan.to_string(), told);
    assert!(world.objects(COPY).await.is_empty(), "a plan writes nothing");
    let report = world.partition.copy(&world.target(), &plan).await.unwrap();
    assert_eq!((report.segments, report.bytes, report.next, report.holes), (6, plan.bytes, 60, 0));
    let told = format!("t/0 into copy/0: 6 segments with {} bytes were copied, and the copy ends at 60", plan.bytes);
    assert_eq!(report.to_string(), told);
    assert_eq!(world.objects(COPY).await, world.objects(PREFIX).await);
    let head = world.bucket.store().head(&world.target().id().segment_key(10)).await.unwrap();
    assert!(head.identity.kfscopied.is_some_and(|id| id.len() == 32) && head.identity.kfsid.is_none());
    // A writer goes on with it.
    let writer = world.other().target().writer().await.unwrap();
    let append = writer.append(&[NewRecord::new(NOW).value(b"next")]).await.unwrap();
    assert_eq!(append.durable().await.unwrap().base, 60);
}

#[tokio::test]
async fn a_later_call_copies_what_was_appended_since_and_nothing_twice() {
    let world = World::new().await;
    world.copy(&whole()).await.unwrap();
    let again = world.copy(&whole()).await.unwrap();
    assert_eq!((again.segments, again.next), (0, 60));
    world.put_segment(60, 10).await;
    world.put_segment(70, 10).await;
    let plan = world.partition.plan_copy(&world.target(), &whole()).await.unwrap();
    assert!(plan.to_string().contains("of which those below 60 are there already; 2 segments"), "{plan}");
    let more = world.partition.copy(&world.target(), &plan).await.unwrap();
    assert_eq!((more.segments, more.next), (2, 80));
    assert_eq!(world.objects(COPY).await, world.objects(PREFIX).await);
}

#[tokio::test]
async fn a_range_begins_with_the_segment_that_holds_it_and_ends_with_its_batch() {
    let world = World::new().await;
    let report = world.copy(&whole().from(15).to(33)).await.unwrap();
    assert_eq!((report.segments, report.next), (3, 33));
    let range = world.target().refresh().await.unwrap();
    assert_eq!((range.log_start, range.high_watermark), (15, 33));
    let copied = world.objects(COPY).await;
    let names: Vec<_> = copied.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with(".kfs")).collect();
    assert_eq!(names, [10, 20, 30].map(|base| format!("segment-{base:020}.kfs")));
    let last = Segment::parse(&copied.last().unwrap().1, CrcCheck::Verify).unwrap();
    assert_eq!((last.base_offset(), last.next_offset()), (30, 33));
    for (options, kind) in [
        (whole().from(61), ErrorKind::OutOfRange),
        (whole().from(-1), ErrorKind::InvalidInput),
        (whole().from(5).to(4), ErrorKind::InvalidInput),
        (whole().segment_size(0), ErrorKind::InvalidInput),
        // The copy was begun with others.
        (whole(), ErrorKind::Conflict),
        (whole().from(15).to(34), ErrorKind::Conflict),
    ] {
        assert_eq!(world.copy(&options).await.unwrap_err().kind(), kind, "{options}");
    }
    let other = world.copy(&whole().segment_size(99)).await.unwrap_err();
    let told = "a copy into copy/0 was begun with offsets from 15 to 33 segment by segment and not with offsets from the log \
                start to the end in segments of 99 bytes";
    assert_eq!(other.message(), told);
}

#[tokio::test]
async fn segments_get_another_size_and_batches_stay() {
    let world = World::new().await;
    let report = world.copy(&whole().segment_size(2_000)).await.unwrap();
    assert_eq!((report.segments, report.next), (3, 60), "{report}");
    let batches = |objects: Vec<(String, bytes::Bytes)>| -> Vec<u8> {
        let segments = objects.into_iter().filter(|(name, _)| name.ends_with(".kfs"));
        let parsed = segments.map(|(_, bytes)| Segment::parse(&bytes, CrcCheck::Verify).unwrap());
        parsed.flat_map(|segment| segment.batches().flat_map(|at| at.batch.bytes().to_vec())).collect()
    };
    let copied = world.objects(COPY).await;
    for (name, bytes) in copied.iter().filter(|(name, _)| name.ends_with(".kfs")) {
        let segment = Segment::parse(bytes, CrcCheck::Verify).unwrap();
        assert!(bytes.len() <= 2_000);
        let index = &copied.iter().find(|(other, _)| *other == name.replace(".kfs", ".index")).unwrap().1;
        assert_eq!(SparseIndex::parse(index).unwrap().interval(), 5, "that of the source");
        assert_eq!(*index, segment.index(5).encode());
    }
    assert_eq!(batches(copied), batches(world.objects(PREFIX).await));
}

#[tokio::test]
async fn a_copy_that_was_interrupted_goes_on_where_it_stopped() {
    for refused in ["segment-00000000000000000020.index", "segment-00000000000000000020.kfs"] {
        let world = World::new().await;
        world.faults.on(Op::Put, format!("{COPY}{refused}"), Action::Fail(Failure::PermissionDenied));
        assert_eq!(world.copy(&whole()).await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{refused}");
        let before = world.objects(COPY).await.len();
        let report = world.copy(&whole()).await.unwrap();
        assert_eq!(report.segments, 6 - before as u64 / 2, "{refused}: no segment is copied twice");
        assert_eq!(world.objects(COPY).await, world.objects(PREFIX).await, "{refused}");
    }
}

#[tokio::test]
async fn a_reply_that_is_lost_is_looked_after() {
    for action in [
        Action::ActThenFail(Failure::Unavailable),
        Action::Fail(Failure::Unavailable),
        Action::Conflict,
        Action::ActThenFail(Failure::AlreadyExists),
    ] {
        for key in [".kfs-jobs/copy/", "copy/0/segment-00000000000000000030.kfs"] {
            let world = World::new().await;
            world.faults.on(Op::Put, KeyMatcher::containing(key), action.clone());
            let report = through(&world, world.copy(&whole())).await.unwrap();
            assert_eq!((report.segments, report.next), (6, 60), "{action:?} {key}");
            assert_eq!(world.objects(COPY).await, world.objects(PREFIX).await);
            assert_eq!(world.faults.unused(), 0);
        }
    }
}

#[tokio::test]
async fn a_log_that_is_no_copy_is_never_written_to() {
    let world = World::new().await;
    let writer = world.target().writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"mine")]).await.unwrap().durable().await.unwrap();
    let error = world.copy(&whole()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "copy/0 has a log already, which is no copy of t/0");
    // Somebody appends to a copy on its way.
    let world = World::new().await;
    world.faults.on(Op::Put, format!("{COPY}segment-{:020}.index", 20), Action::Fail(Failure::PermissionDenied));
    world.copy(&whole()).await.unwrap_err();
    let writer = world.target().writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"mine")]).await.unwrap().durable().await.unwrap();
    writer.close(None).await.unwrap();
    let error = world.copy(&whole()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "copy/0 has other records at offset 20 than t/0");
    assert_eq!(world.objects(COPY).await[4].0, format!("segment-{:020}.index", 20));
}

#[tokio::test]
async fn leftovers_of_a_merge_are_passed_over_and_a_hole_stays_one() {
    let world = World::new().await;
    // Segments 0 to 40 were merged into the first, and the others are still there.
    world.put_segment(0, 40).await;
    let report = world.copy(&whole()).await.unwrap();
    assert_eq!((report.segments, report.next, report.holes), (3, 60, 0));
    let world = World::new().await;
    for suffix in ["kfs", "index"] {
        use object_store::ObjectStoreExt;
        world.faults.inner().delete(&Path::from(format!("{PREFIX}segment-{:020}.{suffix}", 20))).await.unwrap();
    }
    let report = world.copy(&whole()).await.unwrap();
    assert_eq!((report.segments, report.next, report.holes), (5, 60, 1));
    assert!(report.to_string().ends_with("it has 1 hole, as the source"), "{report}");
}

#[tokio::test]
async fn what_is_merged_in_the_source_between_two_calls_is_copied_from_where_the_copy_ends() {
    let world = World::new().await;
    world.faults.on(Op::Put, format!("{COPY}segment-{:020}.kfs", 30), Action::Fail(Failure::PermissionDenied));
    world.copy(&whole()).await.unwrap_err();
    world.put_segment(10, 40).await;
    for base in [20, 30, 40] {
        use object_store::ObjectStoreExt;
        world.faults.inner().delete(&Path::from(world.partition.id().segment_key(base))).await.unwrap();
    }
    let report = world.copy(&whole()).await.unwrap();
    assert_eq!((report.segments, report.next, report.holes), (2, 60, 0));
    let range = world.target().refresh().await.unwrap();
    assert_eq!((range.log_start, range.high_watermark), (0, 60));
}

#[tokio::test]
async fn a_copy_goes_on_though_the_source_starts_later_now_and_ends_where_that_left_a_gap() {
    let world = World::new().await;
    world.copy(&whole()).await.unwrap();
    world.clock.advance(BOUND);
    world.set(-1).await.unwrap();
    world.put_segment(60, 10).await;
    let report = world.copy(&whole()).await.unwrap();
    assert_eq!((report.segments, report.next, report.holes), (1, 70, 0));
    world.put_segment(70, 10).await;
    world.put_segment(80, 10).await;
    world.set(65).await.unwrap();
    assert_eq!(world.copy(&whole()).await.unwrap().next, 90);
    world.put_segment(90, 10).await;
    world.put_segment(100, 10).await;
    world.set(105).await.unwrap();
    let error = world.copy(&whole()).await.unwrap_err();
    assert_eq!((error.kind(), error.log_range()), (ErrorKind::OutOfRange, Some((105, 110))));
    assert_eq!(error.message(), "the log of t/0 starts at 105 now, and its copy in copy/0 ends before");
}

#[tokio::test]
async fn a_broken_segment_ends_the_copy_and_says_which() {
    let world = World::new().await;
    let key = world.partition.id().segment_key(20);
    world.put(&key, bytes::Bytes::from_static(b"KAFS broken")).await;
    let error = world.copy(&whole()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*key)));
    assert_eq!(world.target().refresh().await.unwrap().high_watermark, 20);
}

#[tokio::test]
async fn the_requests_of_a_copy_are_those_that_the_documentation_says() {
    let world = World::new().await;
    let plan = world.partition.plan_copy(&world.target(), &whole()).await.unwrap();
    let before = world.bucket.requests();
    world.partition.copy(&world.target(), &plan).await.unwrap();
    let RequestCounts { put, .. } = world.bucket.requests().since(&before);
    // The copy's object and log.json; each segment with its index.
    assert_eq!(put, 2 + 6 * 2);
}

/// Timestamps that rise and fall, ten for each of three segments.
const TIMES: [i64; 30] =
    [5, 1, 4, 9, 2, 6, 3, 8, 7, 10, 11, 19, 12, 18, 13, 17, 14, 16, 15, 20, 21, 22, 40, 23, 24, 39, 25, 26, 27, 28];

/// A world whose log has three segments of a batch of ten records each, with this codec.
async fn of_batches(codec: Codec) -> World {
    let clock = ManualClock::new(NOW);
    let dated = Dated { inner: InMemory::new(), clock: clock.clone(), modified: Mutex::default() };
    let world = World::over(Arc::new(dated), clock, 1);
    for (number, times) in TIMES.chunks(10).enumerate() {
        let mut batch = BatchBuilder::new(BatchOptions::default().compression(codec).producer_id(7).producer_epoch(1));
        for time in times {
            batch.push(&NewRecord::new(*time).value(format!("at {time}").as_bytes())).unwrap();
        }
        let base = 10 * number as i64;
        let mut segment = SegmentBuilder::new(base, NOW, 5).unwrap();
        segment.push(&batch.finish(0).unwrap(), None).unwrap();
        let built = segment.finish().unwrap();
        world.put(&world.partition.id().index_key(base), built.index.clone()).await;
        world.put(&world.partition.id().segment_key(base), bytes::Bytes::from(built.chunks.concat())).await;
    }
    world
}

/// The offsets and timestamps of a partition's records.
async fn records(partition: &Partition) -> Vec<(i64, i64)> {
    let range = partition.refresh().await.unwrap();
    let (mut found, mut offset) = (Vec::new(), range.log_start);
    while offset < range.high_watermark {
        let fetched = partition.reader().fetch(offset, 1 << 20).await.unwrap();
        for batch in fetched.batches() {
            for record in batch.unwrap().records(&Limits::default()).unwrap().iter() {
                let record = record.unwrap();
                found.push((record.offset, record.timestamp_ms));
            }
        }
        offset = fetched.next_offset;
    }
    found
}

fn expected(until: usize) -> Vec<(i64, i64)> {
    TIMES[..until].iter().enumerate().map(|(offset, time)| (offset as i64, *time)).collect()
}

#[tokio::test]
async fn a_copy_ends_at_any_offset_and_a_batch_that_reaches_beyond_it_is_cut() {
    for codec in Codec::ALL {
        for (to, size) in [(1, None), (10, None), (13, None), (29, Some(10_000)), (25, Some(1))] {
            let world = of_batches(codec).await;
            let options = CopyOptions { segment_size: size, ..whole().to(to) };
            assert_eq!(world.copy(&options).await.unwrap().next, to, "{codec}");
            assert_eq!(records(&world.target()).await, expected(to as usize));
            let range = world.target().refresh().await.unwrap();
            assert_eq!((range.log_start, range.high_watermark), (0, to));
            let again = world.copy(&options).await.unwrap();
            assert_eq!((again.segments, again.next), (0, to), "its newest segment is known again");
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_time_ends_before_the_first_record_of_it_or_later() {
    for time in 0..42 {
        let world = of_batches(Codec::Gzip).await;
        let until = TIMES.iter().position(|at| *at >= time).unwrap_or(TIMES.len());
        let options = whole().before_time(time);
        let plan = world.partition.plan_copy(&world.target(), &options).await.unwrap();
        assert!(plan.to_string().contains(&format!("up to the first record of the time {time} or later")), "{plan}");
        assert_eq!(world.partition.copy(&world.target(), &plan).await.unwrap().next, until as i64, "{time}");
        assert_eq!(records(&world.target()).await, expected(until), "{time}");
        let again = world.copy(&options).await.unwrap();
        assert_eq!((again.segments, again.next), (0, until as i64), "{time}");
    }
}

#[tokio::test]
async fn a_copy_of_a_time_reads_no_more_of_the_log_than_it_takes_to_find_its_end() {
    let world = World::new().await;
    for base in (60..2_000).step_by(10) {
        world.put_segment_of(base, 10, NOW + base).await;
    }
    world.faults.clear_log();
    world.copy(&whole().before_time(NOW + 75)).await.unwrap();
    let read = world.faults.count_of(Op::Get, KeyMatcher::containing("default/t/0/segment-"));
    assert!(read <= 30, "{read} of 200 segments were read");
    assert_eq!(world.target().refresh().await.unwrap().high_watermark, 80);
}

#[tokio::test]
async fn a_copy_of_a_time_that_is_interrupted_goes_on_to_the_same_end() {
    let world = of_batches(Codec::Zstd).await;
    let options = whole().before_time(23);
    world.faults.on(Op::Put, "copy/0/segment-00000000000000000020.kfs", Action::Fail(Failure::PermissionDenied));
    world.copy(&options).await.unwrap_err();
    let other = world.copy(&whole().before_time(24)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "other settings: {other}");
    assert_eq!(world.copy(&options).await.unwrap().next, 22);
    assert_eq!(records(&world.target()).await, expected(22));
}
