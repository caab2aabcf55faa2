//! Partitions whose log a `LogSource` holds. No `.kfs` object is in the store.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::format::PartitionId;
use crate::log::fixtures::{NOW, spawn};
use crate::log::log_source::LogSource;
use crate::log::segment_info::SegmentInfo;
use crate::log::{Partition, Watermarks};
use crate::runtime::BoxFuture;
use crate::{VerifyOptions, Watch};

/// Batches in memory.
pub(super) struct Held {
    id: PartitionId,
    start: i64,
    batches: Mutex<Vec<Batch>>,
    hole: Mutex<Option<Hole>>,
    /// What the next calls fail with, the last one first.
    failures: Mutex<Vec<Error>>,
    fetches: AtomicUsize,
    refreshes: AtomicUsize,
}

impl Held {
    /// A log that starts at `start`, and the partition that is served from it.
    pub(super) fn log(f: &Fixture, topic: &str, start: i64) -> (Arc<Held>, Partition) {
        let held = Arc::new(Held {
            id: f.bucket.partition(topic, 0).unwrap().id().clone(),
            start,
            batches: Mutex::default(),
            hole: Mutex::default(),
            failures: Mutex::default(),
            fetches: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
        });
        let partition = f.bucket.partition_from(topic, 0, held.clone()).unwrap();
        (held, partition)
    }

    pub(super) fn push(&self, batch: &Batch) {
        let end = self.end();
        self.batches.lock().unwrap().push(batch.with_base_offset(end, None).unwrap());
    }

    fn end(&self) -> i64 {
        self.batches.lock().unwrap().last().map_or(self.start, Batch::next_offset)
    }

    fn fail(&self, kind: ErrorKind) {
        self.failures.lock().unwrap().push(Error::new(kind, "the source can't be read"));
    }

    fn check(&self) -> Result<()> {
        self.failures.lock().unwrap().pop().map_or(Ok(()), Err)
    }

    fn calls(&self) -> (usize, usize) {
        (self.fetches.load(Ordering::SeqCst), self.refreshes.load(Ordering::SeqCst))
    }

    fn find(&self, offset: i64, max_bytes: usize) -> Result<Fetch> {
        self.check()?;
        if !(self.start..=self.end()).contains(&offset) {
            let message = format!("offset {offset} of {}", self.id);
            return Err(Error::new(ErrorKind::OutOfRange, message).with_log_range(self.start, self.end()));
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for batch in self.batches.lock().unwrap().iter().filter(|batch| batch.next_offset() > offset) {
            bytes += batch.bytes().len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(batch.clone());
        }
        let mut fetch = Fetch::of_batches(&self.id, offset, &found, &Watermarks::new(self.start, self.end(), NOW))?;
        if let Some(hole) = self.hole.lock().unwrap().filter(|hole| hole.from == offset) {
            fetch = fetch.with_hole(hole);
        }
        Ok(fetch)
    }
}

impl LogSource for Held {
    fn fetch(&self, offset: i64, options: FetchOptions) -> BoxFuture<Result<Fetch>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let fetched = self.find(offset, options.max_bytes);
        Box::pin(async move { fetched })
    }

    fn refresh(&self) -> BoxFuture<Result<Watermarks>> {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        let range = self.check().map(|()| Watermarks::new(self.start, self.end(), NOW + 7));
        Box::pin(async move { range })
    }

    fn segments(&self, offsets: RangeInclusive<i64>) -> BoxFuture<Result<Vec<SegmentInfo>>> {
        let batches = self.batches.lock().unwrap();
        let within =
            batches.iter().filter(|b| b.last_offset() >= *offsets.start() && b.base_offset() <= *offsets.end());
        let of = |batch: &Batch| {
            let version = Version::new(Some("e"), batch.bytes().len() as u64, Some(NOW));
            let mut info = SegmentInfo::new(format!("file-{}", batch.base_offset()), batch.base_offset(), version);
            info.last = Some(batch.last_offset());
            info
        };
        let found = within.map(of).collect();
        Box::pin(async move { Ok(found) })
    }
}

/// Lets tasks run and time pass until this one has ended.
async fn ended<T>(f: &Fixture, task: tokio::task::JoinHandle<T>) -> T {
    while !task.is_finished() {
        f.clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    task.await.unwrap()
}

#[tokio::test]
async fn a_fetch_and_a_record_stream_are_served_from_a_source_without_a_request_or_a_copy() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 100);
    for _ in 0..50 {
        held.push(&batch(3, 100));
    }
    let reader = partition.reader_with(ReaderOptions::default().fetch_bytes(1_000));
    let mut records = reader.records(101);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        offsets.push(record.offset());
    }
    assert_eq!(offsets, (101..250).collect::<Vec<_>>());
    let fetch = reader.fetch(101, 1).await.unwrap();
    assert_eq!(fetch.chunks[0].as_ptr(), held.batches.lock().unwrap()[0].bytes().as_ptr());
    assert_eq!((fetch.next_offset, fetch.high_watermark, fetch.log_start), (103, 250, 100));
    assert_eq!(fetch.records().map(|record| record.unwrap().offset()).collect::<Vec<_>>(), [101, 102]);
    assert_eq!(reader.fetch(99, 1).await.unwrap_err().log_range(), Some((100, 250)));
    assert_eq!(reader.fetch(-1, 1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(reader.fetch(250, 1).await.unwrap().is_empty());
    assert_eq!(f.reads(), (0, 0));
}

#[tokio::test]
async fn a_source_tells_the_log_range_and_the_objects_of_a_range() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 100);
    held.push(&batch(3, 10));
    held.push(&batch(2, 10));
    assert_eq!(partition.watermarks(), None);
    assert_eq!(partition.refresh().await.unwrap(), Watermarks::new(100, 105, NOW + 7));
    assert_eq!((partition.earliest().await.unwrap(), partition.latest().await.unwrap()), (100, 105));
    let mut watch = Watch::new();
    watch.add(&partition);
    assert_eq!(watch.changed().await.unwrap().1.high_watermark, 105);
    let all = partition.segments(..).all().await.unwrap();
    assert_eq!(all.iter().map(|info| (info.base, info.last)).collect::<Vec<_>>(), [(100, Some(102)), (103, Some(104))]);
    assert_eq!((&*all[0].key, all[0].size, all[0].modified_ms), ("file-100", all[0].version.size(), NOW));
    let one = partition.segments(103..).all().await.unwrap();
    assert_eq!(one.iter().map(|info| info.base).collect::<Vec<_>>(), [103]);
    assert_eq!(f.reads(), (0, 0));
}

#[tokio::test]
async fn a_follower_waits_for_a_source_to_grow() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    held.push(&batch(1, 10));
    let mut follow = partition.reader().follow_records(0);
    assert_eq!(follow.next().await.unwrap().unwrap().offset(), 0);
    let follower = spawn(async move { follow.next().await.unwrap().unwrap().offset() });
    f.clock.slept(1).await;
    assert!(!follower.is_finished());
    held.push(&batch(1, 10));
    assert_eq!(ended(&f, follower).await, 1);
    assert_eq!(f.reads(), (0, 0));
}

#[tokio::test]
async fn fetches_of_many_that_wait_for_a_source_poll_it_at_the_pace_of_one() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    held.push(&batch(3, 100));
    let (_, empty) = Held::log(&f, "other", 0);
    let request = || {
        let long = Duration::from_secs(3_600);
        FetchRequest::new([(&partition, 3, 1 << 20), (&empty, 0, 1 << 20)]).max_wait(long)
    };
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (bucket, request) = (f.bucket.clone(), request());
            spawn(async move { bucket.fetch_many(&request).await.unwrap() })
        })
        .collect();
    f.clock.slept(1).await;
    for _ in 0..30 {
        f.clock.advance(Duration::from_secs(1));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    let (fetches, refreshes) = held.calls();
    assert!(fetches <= 10 && (15..=31).contains(&refreshes), "{fetches} fetches, {refreshes} polls");
    held.push(&batch(2, 100));
    for task in waiting {
        let grown = ended(&f, task).await;
        assert_eq!(grown.partitions[0].as_ref().unwrap().next_offset, 5);
        let empty = grown.partitions[1].as_ref().unwrap();
        assert_eq!((empty.is_empty(), empty.high_watermark), (true, 0));
    }
    assert_eq!(held.calls().0, fetches + 10, "each reads what came, once");
    assert_eq!(f.reads(), (0, 0));
}

#[tokio::test]
async fn a_fetch_of_many_counts_the_bytes_of_a_source_by_reading_them() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    held.push(&batch(1, 400));
    let request = FetchRequest::new([(&partition, 0, 1 << 20)]).min_bytes(1_000).max_wait(Duration::from_secs(3_600));
    let (bucket, asked) = (f.bucket.clone(), request.clone());
    let waiting = spawn(async move { bucket.fetch_many(&asked).await.unwrap() });
    f.clock.slept(1).await;
    for _ in 0..2 {
        assert!(!waiting.is_finished(), "there is too little");
        held.push(&batch(1, 400));
        for _ in 0..1_000 {
            f.clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    }
    assert!(waiting.is_finished(), "there is enough");
    assert_eq!(waiting.await.unwrap().partitions[0].as_ref().unwrap().next_offset, 3);
    assert_eq!(held.calls().0, 3, "each byte is read once");
}

#[tokio::test]
async fn a_fetch_of_many_tells_why_a_source_can_not_be_polled() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    let request = FetchRequest::new([(&partition, 0, 1 << 20)]).max_wait(Duration::from_secs(3_600));
    let bucket = f.bucket.clone();
    let waiting = spawn(async move { bucket.fetch_many(&request).await.unwrap() });
    f.clock.slept(1).await;
    held.fail(ErrorKind::PermissionDenied);
    let response = ended(&f, waiting).await;
    assert_eq!(response.partitions[0].as_ref().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn of_two_sources_fetched_together_only_the_first_gives_a_batch_that_does_not_fit() {
    let f = Fixture::new();
    let partitions = [("a", 1_000), ("b", 1_500)].map(|(topic, size)| {
        let (held, partition) = Held::log(&f, topic, 0);
        held.push(&batch(1, size));
        partition
    });
    let mut request =
        FetchRequest::new(partitions.each_ref().map(|partition| (partition, 0, 1 << 20))).max_bytes(2_000);
    for next in [[1, 0], [1, 1]] {
        let response = f.bucket.fetch_many(&request).await.unwrap();
        assert!(response.bytes() <= 2_000);
        request.advance(&response);
        let offsets: Vec<i64> = request.partitions.iter().map(|partition| partition.offset).collect();
        assert_eq!(offsets, next);
    }
}

#[tokio::test]
async fn a_source_that_is_away_is_asked_again_and_that_can_be_seen() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    held.push(&batch(1, 10));
    held.fail(ErrorKind::Unavailable);
    let reader = partition.reader();
    let fetching = spawn(async move { reader.fetch(0, 1).await.unwrap().next_offset });
    f.clock.slept(1).await;
    let trouble = f.bucket.trouble().unwrap();
    assert_eq!((trouble.doing, trouble.failures), ("reading from a log source", 1));
    assert_eq!(ended(&f, fetching).await, 1);
    assert!(f.bucket.trouble().is_none());
}

#[tokio::test]
async fn a_hole_that_a_source_tells_of_reaches_the_caller() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    held.batches.lock().unwrap().push(batch(1, 1).with_base_offset(5, None).unwrap());
    *held.hole.lock().unwrap() = Some(Hole::new(0, 5));
    let mut batches = partition.reader().batches(0);
    assert_eq!(batches.next().await.unwrap().unwrap().base_offset(), 5);
    let notices = batches.take_notices();
    assert!(matches!(notices[..], [Notice::Hole(hole)] if hole == Hole::new(0, 5)), "{notices:?}");
}

#[tokio::test]
async fn batches_of_a_source_must_rise_and_lead_further() {
    let f = Fixture::new();
    let (held, partition) = Held::log(&f, "t", 0);
    let range = Watermarks::new(0, 9, NOW);
    let first = batch(2, 10).with_base_offset(5, None).unwrap();
    for batches in [vec![first.clone(), first.clone()], vec![batch(2, 10)]] {
        let refused = Fetch::of_batches(&held.id, 5, &batches, &range).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    assert!(Fetch::of_batches(&held.id, 6, &[first], &range).is_ok(), "it holds the offset");

    struct Stuck(PartitionId);
    impl LogSource for Stuck {
        fn fetch(&self, offset: i64, _: FetchOptions) -> BoxFuture<Result<Fetch>> {
            let mut fetch = Fetch::of_batches(&self.0, 0, &[batch(1, 1)], &Watermarks::new(0, 1, NOW)).unwrap();
            fetch.next_offset = offset;
            Box::pin(async move { Ok(fetch) })
        }
        fn refresh(&self) -> BoxFuture<Result<Watermarks>> {
            Box::pin(async { Ok(Watermarks::new(0, 1, NOW)) })
        }
        fn segments(&self, _: RangeInclusive<i64>) -> BoxFuture<Result<Vec<SegmentInfo>>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }
    let stuck = f.bucket.partition_from("t", 0, Arc::new(Stuck(partition.id().clone()))).unwrap();
    assert_eq!(stuck.reader().fetch(0, 1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_reader_of_segments_is_a_source_too() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let view = f.bucket.partition_from("view", 0, Arc::new(f.partition.reader())).unwrap();
    assert_eq!(offsets_of(&view.reader()).await, [0, 1, 2, 3, 4]);
    assert_eq!(view.refresh().await.unwrap().high_watermark, 5);
    let segments = view.segments(..).all().await.unwrap();
    assert_eq!((segments.len(), &*segments[0].key), (1, &*f.key(0)));
}

async fn offsets_of(reader: &Reader) -> Vec<i64> {
    let mut records = reader.records(0);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        offsets.push(record.offset());
    }
    offsets
}

#[tokio::test]
async fn what_needs_segments_is_unsupported_on_a_source_and_the_partition_of_that_name_is_apart() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(2, 5)], 1).await;
    let (held, partition) = Held::log(&f, "t", 0);
    held.push(&batch(9, 5));
    assert_eq!((partition.latest().await.unwrap(), f.partition.watermarks()), (9, None));
    assert_eq!(f.partition.latest().await.unwrap(), 2);
    let before = f.reads();
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    refused(partition.writer().await.map(drop).unwrap_err());
    refused(partition.create(0).await.unwrap_err());
    refused(partition.offset_for_timestamp(0).await.unwrap_err());
    refused(partition.max_timestamp().await.unwrap_err());
    refused(partition.verify(VerifyOptions::default()).next().await.unwrap_err());
    refused(partition.plan_repair().await.unwrap_err());
    refused(partition.plan_set_aside(0).await.unwrap_err());
    refused(partition.segment(0).read().await.unwrap_err());
    refused(partition.segment(0).fetch(.., 1).await.map(drop).unwrap_err());
    assert_eq!(f.reads(), before);
    assert_eq!(offsets_of(&f.partition.reader()).await, [0, 1]);
}
