//! The commit protocol against a store that fails on purpose, in virtual time.

#![allow(clippy::disallowed_methods, reason = "the tests' own tasks are no part of the library")]

mod breaker;
mod buffer;
mod callbacks;
mod checks;
mod claims;
mod closing;
mod commit;
mod copies;
mod fsync;
mod hedge;
mod kafscale;
mod limits;
mod many;
mod observed;
mod policies;
mod pressure;
mod size;
mod slow;
mod stale;
mod start;
mod trouble;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::{Interest, OnConflict, Writer, WriterOptions};
use crate::error::{Error, ErrorKind, Stored};
use crate::format::{BatchBuilder, BatchOptions, CrcCheck, Limits, NewRecord, ObjectName, Segment, SegmentBuilder};
use crate::log::{Bucket, BucketOptions, Partition};
use crate::runtime::Runtime;
use crate::store::{RequestCounts, Store};
use crate::testing::{Action, Failure, FaultStore, Gate, LocalSpawn, Op, PausedClock, SeededEntropy};

const PREFIX: &str = "default/orders/0/";

/// One process over a shared store: its own faults, clock and bucket.
struct Process {
    faults: Arc<FaultStore>,
    clock: Arc<PausedClock>,
    bucket: Bucket,
}

/// What the processes share.
#[derive(Clone)]
struct World {
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        World { store: Arc::new(InMemory::new()) }
    }

    fn process(&self, seed: u64) -> Process {
        self.process_with(seed, BucketOptions::default())
    }

    fn process_with(&self, seed: u64, options: BucketOptions) -> Process {
        let faults = FaultStore::new(self.store.clone());
        self.process_over(Store::from_object_store(faults.clone()), faults, seed, options)
    }

    /// A process whose client never sends a create again by itself.
    fn process_that_sends_once(&self, seed: u64) -> Process {
        let faults = FaultStore::new(self.store.clone());
        let store = Store::from_object_store_sent_once(faults.clone());
        self.process_over(store, faults, seed, BucketOptions::default())
    }

    fn process_over(&self, store: Store, faults: Arc<FaultStore>, seed: u64, options: BucketOptions) -> Process {
        let clock = PausedClock::new(1_700_000_000_000);
        let runtime = Runtime::new(clock.clone(), Arc::new(SeededEntropy::new(seed)), Arc::new(LocalSpawn));
        let bucket = Bucket::from_store(store, options.runtime(runtime)).unwrap();
        Process { faults, clock, bucket }
    }

    /// Every record of the log, by the keys and bytes alone: (offset, value).
    async fn records(&self) -> Vec<(i64, String)> {
        let mut records = Vec::new();
        for (_, segment) in self.segments().await {
            for at in segment.batches() {
                for record in &at.batch.records(&Limits::default()).unwrap() {
                    let record = record.unwrap();
                    records.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
                }
            }
        }
        records
    }

    /// Every segment with its base offset; each must be whole and have its right index beside it.
    async fn segments(&self) -> Vec<(i64, Segment)> {
        let mut segments = Vec::new();
        for key in self.keys().await {
            if let Some(ObjectName::Segment(base)) = key.strip_prefix(PREFIX).and_then(ObjectName::parse) {
                let segment = Segment::parse(&self.bytes(&key).await.unwrap(), CrcCheck::Verify).unwrap();
                segments.push((base, segment));
            }
        }
        segments
    }

    async fn keys(&self) -> Vec<String> {
        use futures_util::TryStreamExt;
        let listed: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        let mut keys: Vec<String> = listed.into_iter().map(|o| o.location.to_string()).collect();
        keys.sort();
        keys
    }

    async fn bytes(&self, key: &str) -> Option<Bytes> {
        self.store.get(&key.into()).await.ok()?.bytes().await.ok()
    }

    async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.store.put(&key.into(), PutPayload::from_bytes(bytes.into())).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.store.delete(&key.into()).await.unwrap();
    }

    /// Another writer's segment: one record, with its index.
    async fn put_segment(&self, base: i64, value: &str) -> Bytes {
        let (bytes, index) = rivals_segment(base, value);
        self.put(&segment_key(base), bytes.clone()).await;
        self.put(&index_key(base), index).await;
        bytes
    }
}

/// The bytes of another writer's segment of one record, and of its index.
fn rivals_segment(base: i64, value: &str) -> (Bytes, Bytes) {
    let mut builder = SegmentBuilder::new(base, 5, 100).unwrap();
    let batch = crate::format::Batch::parse(&batch(&[value]), 0, CrcCheck::Verify).unwrap();
    builder.push(&batch, None).unwrap();
    let built = builder.finish().unwrap();
    (built.chunks.concat().into(), built.index)
}

impl Process {
    fn partition(&self) -> Partition {
        self.bucket.partition("orders", 0).unwrap()
    }

    async fn writer(&self, options: WriterOptions) -> Writer {
        self.partition().writer_with(options).await.unwrap()
    }

    fn requests(&self) -> RequestCounts {
        self.bucket.requests()
    }

    /// As many puts of segments as were sent.
    fn segment_puts(&self) -> usize {
        self.faults.count_of(Op::Put, ".kfs")
    }
}

fn segment_key(base: i64) -> String {
    format!("{PREFIX}segment-{base:020}.kfs")
}

fn index_key(base: i64) -> String {
    format!("{PREFIX}segment-{base:020}.index")
}

/// One record batch with these values.
fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        assert!(builder.push(&record(value)).unwrap());
    }
    builder.finish(0).unwrap().bytes().clone()
}

fn record(value: &str) -> NewRecord<'_> {
    NewRecord::new(1_700_000_000_000).value(value.as_bytes())
}

fn options() -> WriterOptions {
    WriterOptions::default()
}

fn policy(on_conflict: OnConflict) -> WriterOptions {
    options().on_conflict(on_conflict)
}

async fn append(writer: &Writer, value: &str) -> Result<(i64, i64), Error> {
    let offsets = writer.append_batches(batch(&[value])).await?.durable().await?;
    Ok((offsets.base, offsets.last))
}

#[track_caller]
fn assert_failed<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, stored: Stored) {
    let error = result.expect_err("must fail");
    assert_eq!((error.kind(), error.stored()), (kind, Some(stored)), "{error:?}");
}
