//! Moving the log's start, and removing what lies below it.

mod backup;
mod copy;
mod delete;
mod kafscale_manifest;
mod maintainer;
mod merge;
mod merge_for_kafscale;
mod retention;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use super::store_time::BOUND;
use crate::error::{ErrorKind, Result};
use crate::format::{BatchBuilder, BatchOptions, NewRecord, SegmentBuilder};
use crate::log::{Bucket, BucketOptions, Partition};
use crate::runtime::{Clock, Runtime};
use crate::store::RequestCounts;
use crate::testing::{Action, Failure, FaultStore, KeyMatcher, LocalSpawn, ManualClock, Op, SeededEntropy};

const NOW: i64 = 1_767_225_600_000;
const PREFIX: &str = "default/t/0/";

/// A store in memory whose last-modified times are a clock's.
struct Dated {
    inner: InMemory,
    clock: Arc<ManualClock>,
    modified: Mutex<HashMap<Path, i64>>,
}

impl Dated {
    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let ms = self.modified.lock().unwrap().get(&meta.location).copied().unwrap_or(NOW);
        meta.last_modified = (std::time::UNIX_EPOCH + Duration::from_millis(ms as u64)).into();
        meta
    }
}

impl fmt::Debug for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dated")
    }
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dated")
    }
}

#[async_trait]
impl ObjectStore for Dated {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.modified.lock().unwrap().insert(location.clone(), self.clock.wall_ms());
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let mut got = self.inner.get_opts(location, options).await?;
        got.meta = self.dated(got.meta);
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let dates = self.modified.lock().unwrap().clone();
        let listed = self.inner.list(prefix).map(move |meta| {
            let mut meta = meta?;
            let ms = dates.get(&meta.location).copied().unwrap_or(NOW);
            meta.last_modified = (std::time::UNIX_EPOCH + Duration::from_millis(ms as u64)).into();
            Ok(meta)
        });
        listed.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A log of six segments of ten records each, in a store that fails on purpose.
struct World {
    faults: Arc<FaultStore>,
    clock: Arc<ManualClock>,
    bucket: Bucket,
    partition: Partition,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let dated = Dated { inner: InMemory::new(), clock: clock.clone(), modified: Mutex::default() };
        let world = Self::over(Arc::new(dated), clock, 1);
        for base in (0..60).step_by(10) {
            world.put_segment(base, 10).await;
        }
        world
    }

    fn over(store: Arc<dyn ObjectStore>, clock: Arc<ManualClock>, seed: u64) -> Self {
        let faults = FaultStore::new(store);
        let runtime = Runtime::new(clock.clone(), Arc::new(SeededEntropy::new(seed)), Arc::new(LocalSpawn));
        let options = BucketOptions::default().runtime(runtime);
        let bucket = Bucket::from_object_store(faults.clone(), options).unwrap();
        let partition = bucket.partition("t", 0).unwrap();
        World { faults, clock, bucket, partition }
    }

    /// Another process.
    fn other(&self) -> Self {
        Self::over(self.faults.inner().clone(), self.clock.clone(), 2)
    }

    async fn put(&self, key: &str, bytes: impl Into<PutPayload>) {
        use object_store::ObjectStoreExt;
        self.faults.inner().put(&Path::from(key), bytes.into()).await.unwrap();
    }

    async fn put_segment(&self, base: i64, records: usize) {
        self.put_segment_of(base, records, NOW).await;
    }

    /// A segment whose records have this timestamp.
    async fn put_segment_of(&self, base: i64, records: usize, timestamp: i64) {
        let mut builder = SegmentBuilder::new(base, NOW, 5).unwrap();
        for _ in 0..records {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            batch.push(&NewRecord::new(timestamp).value(b"v")).unwrap();
            builder.push(&batch.finish(0).unwrap(), None).unwrap();
        }
        let built = builder.finish().unwrap();
        let id = self.partition.id();
        self.put(&id.index_key(base), built.index.clone()).await;
        self.put(&id.segment_key(base), bytes::Bytes::from(built.chunks.concat())).await;
    }

    /// Names of all that is in the partition.
    async fn names(&self) -> Vec<String> {
        let listed: Vec<_> = self.faults.inner().list(Some(&Path::from(PREFIX))).collect().await;
        let mut names: Vec<String> = listed.into_iter().map(|meta| meta.unwrap().location.to_string()).collect();
        names.sort();
        names.iter().map(|key| key.strip_prefix(PREFIX).unwrap_or(key).to_owned()).collect()
    }

    /// Bases of the segments, each of which must have its index.
    async fn bases(&self) -> Vec<i64> {
        let names = self.names().await;
        let number = |name: &str| name.strip_prefix("segment-").and_then(|rest| rest.get(..20)?.parse::<i64>().ok());
        let of = |suffix: &str| -> Vec<i64> {
            names.iter().filter(|name| name.ends_with(suffix)).filter_map(|name| number(name)).collect()
        };
        assert_eq!(of(".index"), of(".kfs"), "{names:?}");
        of(".kfs")
    }

    async fn set(&self, offset: i64) -> Result<super::LogStartReport> {
        let plan = self.partition.plan_log_start(offset).await?;
        self.partition.set_log_start(&plan).await
    }

    /// What a fresh reader finds at the log's start.
    async fn earliest(&self) -> i64 {
        self.other().partition.earliest().await.unwrap()
    }
}

/// Runs a call while its pauses pass.
async fn through<T>(world: &World, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        let tick = async {
            tokio::task::yield_now().await;
            world.clock.advance_to_next();
        };
        match futures_util::future::select(&mut call, std::pin::pin!(tick)).await {
            futures_util::future::Either::Left((end, _)) => return end,
            futures_util::future::Either::Right(_) => {}
        }
    }
}

fn mark(offset: i64) -> String {
    format!("log-start-{offset:020}")
}

#[tokio::test]
async fn what_lies_wholly_below_the_new_start_goes_from_the_oldest_up() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let plan = world.partition.plan_log_start(35).await.unwrap();
    assert_eq!((plan.log_start, plan.new_log_start, plan.high_watermark, plan.segments), (0, 35, 60, 3));
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50], "a plan writes nothing");
    let told = format!("the log start moves from 0 to 35, and 3 segments with {} bytes lie below it", plan.bytes);
    assert!(plan.to_string().contains(&told), "{plan}");
    let report = world.partition.set_log_start(&plan).await.unwrap();
    assert_eq!((report.log_start, report.segments, report.bytes, report.spared), (35, 3, plan.bytes, false));
    assert_eq!(world.bases().await, [30, 40, 50]);
    assert_eq!(world.partition.watermarks().unwrap().log_start, 35);
    assert_eq!(world.earliest().await, 35);
    let deleted: Vec<_> =
        world.faults.log().iter().filter(|r| r.request.op == Op::Delete).map(|r| r.request.key.clone()).collect();
    let segments: Vec<_> = deleted.iter().filter(|key| key.ends_with(".kfs")).collect();
    assert!(segments.is_sorted() && segments.len() == 3, "{deleted:?}");
    // Moving it again leaves one mark, the greatest.
    assert_eq!(world.set(40).await.unwrap().segments, 1);
    assert!(world.names().await.contains(&mark(40)) && !world.names().await.contains(&mark(35)));
}

#[tokio::test]
async fn the_newest_segment_stays_when_all_records_are_deleted() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let report = world.set(-1).await.unwrap();
    assert_eq!((report.log_start, report.segments), (60, 5));
    assert_eq!(world.bases().await, [50]);
    let writer = world.other().partition.writer().await.unwrap();
    let append = writer.append(&[NewRecord::new(NOW).value(b"next")]).await.unwrap();
    assert_eq!(append.durable().await.unwrap().base, 60);
}

#[tokio::test]
async fn a_segment_younger_than_the_bound_is_spared_with_all_that_follow() {
    let world = World::new().await;
    world.clock.advance(BOUND - Duration::from_secs(1));
    let report = world.set(35).await.unwrap();
    assert_eq!((report.log_start, report.segments, report.spared), (35, 0, true));
    assert_eq!(world.bases().await.len(), 6);
    assert_eq!(world.earliest().await, 35, "it is no longer served");
    world.clock.advance(Duration::from_secs(1));
    let again = world.set(35).await.unwrap();
    assert_eq!((again.segments, again.spared), (3, false), "a later call removes it");
    assert_eq!(world.bases().await, [30, 40, 50]);
}

#[tokio::test]
async fn a_merged_segment_that_reaches_beyond_the_start_stays_whatever_keys_merging_left() {
    let world = World::new().await;
    // Segments 0 to 40 were merged into the first; the others are still there.
    world.put_segment(0, 50).await;
    world.clock.advance(BOUND);
    let report = world.set(35).await.unwrap();
    assert_eq!((report.log_start, report.segments), (35, 0));
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50]);
}

#[tokio::test]
async fn an_offset_beyond_the_end_or_below_zero_is_refused_and_one_below_the_start_moves_nothing() {
    let world = World::new().await;
    let error = world.partition.plan_log_start(61).await.unwrap_err();
    assert_eq!((error.kind(), error.log_range()), (ErrorKind::OutOfRange, Some((0, 60))), "{error}");
    assert_eq!(world.partition.plan_log_start(-2).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    world.clock.advance(BOUND);
    world.set(20).await.unwrap();
    let back = world.set(5).await.unwrap();
    assert_eq!((back.log_start, back.segments), (20, 0));
    assert_eq!(world.earliest().await, 20);
    let missing = world.bucket.partition("u", 0).unwrap().plan_log_start(0).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn nothing_is_removed_before_the_mark_was_read_back() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    // The store answers that the mark is there, and keeps nothing; then it can't be asked.
    world.faults.on(Op::Put, mark(35), Action::Conflict);
    world.faults.on(Op::Head, mark(35), Action::Fail(Failure::PermissionDenied));
    let error = world.set(35).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(world.bases().await.len(), 6);
}

#[tokio::test]
async fn a_lost_answer_of_a_delete_is_looked_after() {
    for (action, what) in [
        (Action::ActThenFail(Failure::Unavailable), "it acted"),
        (Action::Fail(Failure::Unavailable), "it did not act"),
    ] {
        let world = World::new().await;
        world.clock.advance(BOUND);
        world.faults.on(Op::Delete, "segment-00000000000000000010.kfs", action);
        // The pause before the next try.
        let report = through(&world, world.set(35)).await.unwrap();
        assert_eq!(world.bases().await, [30, 40, 50], "{what}");
        assert_eq!(report.log_start, 35);
    }
}

#[tokio::test]
async fn an_object_that_asked_for_the_time_and_stays_ends_nothing() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let clock = KeyMatcher::containing("kfs-clock-");
    world.faults.on(Op::Delete, clock, Action::Fail(Failure::PermissionDenied));
    assert_eq!(world.set(35).await.unwrap().segments, 3);
    assert_eq!(world.bases().await, [30, 40, 50]);
    assert_eq!(world.faults.unused(), 0, "the delete was tried");
}

#[tokio::test]
async fn a_call_that_was_interrupted_is_finished_by_the_next() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    // It ends between a segment and its index.
    world.faults.on(Op::Delete, "segment-00000000000000000000.index", Action::Fail(Failure::PermissionDenied));
    assert_eq!(world.set(35).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(world.names().await.contains(&"segment-00000000000000000000.index".to_owned()));
    world.set(35).await.unwrap();
    assert_eq!(world.bases().await, [30, 40, 50]);
}

#[tokio::test]
async fn the_requests_are_those_that_the_documentation_says() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let plan = world.partition.plan_log_start(35).await.unwrap();
    let before = world.bucket.requests();
    world.partition.set_log_start(&plan).await.unwrap();
    let RequestCounts { put, get, list, delete, .. } = world.bucket.requests().since(&before);
    // The mark and the clock; the same read back, and the footer of each segment that goes; the clock, and each segment with
    // what stands beside it.
    assert_eq!((put, get, delete), (2, 2 + 3, 1 + 3 * 3));
    // The range; the start, for readers of this process, after the mark and after the removal; and the removal's two.
    assert_eq!(list, 5);
}
