//! Logs for the tests of reading: put straight into a store, without a writer.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::{Bucket, BucketOptions, Partition};
use crate::format::{Batch, BatchBuilder, BatchOptions, CrcCheck, NewRecord, SegmentBuilder};
use crate::runtime::{Runtime, SystemEntropy};
use crate::testing::{LocalSpawn, ManualClock};

/// Unix milliseconds at which the tests' clocks start.
pub(crate) const NOW: i64 = 1_767_225_600_000;

/// The batch with its bytes changed, and the CRC over them made right, as a client's mistake would leave it.
pub(crate) fn changed(batch: &Batch, change: impl FnOnce(&mut [u8])) -> Batch {
    let mut bytes = batch.bytes().to_vec();
    change(&mut bytes);
    let crc = crate::format::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Batch::parse(&bytes.into(), 0, CrcCheck::Verify).unwrap()
}

/// The batch with another `max_timestamp` in its header.
pub(crate) fn told(batch: &Batch, max_timestamp: i64) -> Batch {
    changed(batch, |bytes| bytes[35..43].copy_from_slice(&max_timestamp.to_be_bytes()))
}

/// A store, and one process that reads it.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) bucket: Bucket,
    pub(crate) partition: Partition,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// Another process over the same store.
    pub(crate) fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self::with(store, BucketOptions::default())
    }

    /// The same with options.
    pub(crate) fn with(store: Arc<dyn ObjectStore>, options: BucketOptions) -> Self {
        let clock = ManualClock::new(NOW);
        let runtime = Runtime::new(clock.clone(), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
        let bucket = Bucket::from_object_store(store.clone(), options.runtime(runtime)).unwrap();
        let partition = bucket.partition("t", 0).unwrap();
        Fixture { store, clock, bucket, partition }
    }

    /// A process that knows nothing yet, over the same store.
    pub(crate) fn cold(&self) -> Self {
        Self::over(self.store.clone())
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.store.put(&Path::parse(key).unwrap(), PutPayload::from_bytes(bytes.into())).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.store.delete(&Path::parse(key).unwrap()).await.unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> Bytes {
        self.store.get(&Path::parse(key).unwrap()).await.unwrap().bytes().await.unwrap()
    }

    pub(crate) fn key(&self, base: i64) -> String {
        self.partition.id().segment_key(base)
    }

    /// Keys of segments and indexes, with nothing in them: for tests that only list.
    pub(crate) async fn put_names(&self, bases: impl IntoIterator<Item = i64>) {
        let id = self.partition.id();
        for base in bases {
            self.put(&id.segment_key(base), Bytes::from_static(b"s")).await;
            self.put(&id.index_key(base), Bytes::from_static(b"i")).await;
        }
    }

    /// A segment of these batches, dense from `base`, and its index.
    pub(crate) async fn put_segment(&self, base: i64, batches: &[Batch], interval: i32) -> i64 {
        let mut builder = SegmentBuilder::new(base, NOW, interval).unwrap();
        for batch in batches {
            builder.push(batch, None).unwrap();
        }
        let built = builder.finish().unwrap();
        self.put(&self.key(base), built.chunks.concat()).await;
        self.put(&self.partition.id().index_key(base), built.index.clone()).await;
        built.last_offset + 1
    }

    /// Requests since the fixture was made: listings, GETs.
    pub(crate) fn reads(&self) -> (u64, u64) {
        let requests = self.bucket.requests();
        assert_eq!((requests.put, requests.delete), (0, 0), "invariant 5: a reader never writes");
        (requests.list, requests.get)
    }
}

/// A batch of `count` records with `size` bytes of value each.
pub(crate) fn batch(count: usize, size: usize) -> Batch {
    batch_at(count, size, NOW)
}

/// The same with timestamps from `time_ms` on, 1 ms apart.
pub(crate) fn batch_at(count: usize, size: usize, time_ms: i64) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for i in 0..count {
        let value = vec![b'a' + (i % 26) as u8; size];
        assert!(builder.push(&NewRecord::new(time_ms + i as i64).key(b"k").value(&value)).unwrap());
    }
    builder.finish(0).unwrap()
}

/// The position at which KafScale's broker begins to read a segment for an offset, by the offsets and positions of its index.
///
/// Its search is rebuilt here from its description. In a third to half of the gaps of an index with five entries or more it
/// gives the first entry; the answer then ends at the fetch size from there, and the wanted batch is not in it.
pub(crate) fn kafscale_position(entries: &[(i64, u64)], target: i64) -> u64 {
    let (first, last) = (entries[0], entries[entries.len() - 1]);
    if target <= first.0 {
        return first.1;
    }
    if target >= last.0 {
        return last.1;
    }
    let (mut low, mut high) = (0_usize, entries.len() - 1);
    while low <= high {
        let middle = (low + high) / 2;
        let entry = entries[middle];
        if entry.0 == target {
            return entry.1;
        }
        if entry.0 < target {
            if middle < high && entries[middle + 1].0 > target {
                return entry.1;
            }
            low = middle + 1;
        } else if middle == 0 {
            break;
        } else {
            high = middle - 1;
        }
    }
    first.1
}

/// Starts a task of the test's own.
#[allow(clippy::disallowed_methods, reason = "a test has no other runtime than tokio's")]
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}
