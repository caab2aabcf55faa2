//! The bucket and its partitions.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use super::reader::Reader;
use super::wait::Wait;
use super::writer::Writer;
use crate::error::Result;
use crate::format::{PartitionId, Topic};
use crate::log::reader::{ReaderOptions, TimedOffset};
use crate::log::writer::WriterOptions;
use crate::log::{BucketOptions, Watermarks};
use crate::runtime::Runtime;
use crate::store::{RequestCounts, Store};

/// A [`Bucket`](crate::Bucket) for threads that wait. It runs on a runtime of its own, whatever
/// the thread that opens it is in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket(crate::Bucket);

impl Bucket {
    /// Opens the bucket that a URL names. Sends no request.
    ///
    /// # Errors
    /// As [`Bucket::open`](crate::Bucket::open); unavailable when threads can't be started.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_with(url, BucketOptions::default())
    }

    /// Like [`open`](Self::open), with options. A [`runtime`](BucketOptions::runtime) that is given
    /// there is used; no thread that it runs on may wait here.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(url: &str, options: BucketOptions) -> Result<Self> {
        Self::from_store(Store::open(url, &options.store)?, options)
    }

    /// A bucket over any `object_store` implementation, as
    /// [`Bucket::from_object_store`](crate::Bucket::from_object_store).
    ///
    /// # Errors
    /// Unavailable when threads can't be started.
    pub fn from_object_store(store: Arc<dyn ObjectStore>, options: BucketOptions) -> Result<Self> {
        Self::from_store(Store::from_object_store_with(store, &options.store), options)
    }

    /// A bucket over an opened [`Store`].
    ///
    /// # Errors
    /// Unavailable when threads can't be started.
    pub fn from_store(store: Store, mut options: BucketOptions) -> Result<Self> {
        if options.runtime.is_none() {
            options.runtime = Some(Runtime::own()?);
        }
        crate::Bucket::from_store(store, options).map(Bucket)
    }

    /// The async bucket that it stands for; [`Wait::on`] waits for its futures.
    pub fn as_async(&self) -> &crate::Bucket {
        &self.0
    }

    /// A partition of the default namespace. A name: nothing is asked of the store.
    ///
    /// # Errors
    /// Invalid input when the topic's name or the number is not allowed (format.md).
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Partition> {
        self.0.partition(topic, partition).map(Partition::new)
    }

    /// A partition by its full name. Nothing is asked of the store.
    pub fn partition_of(&self, id: PartitionId) -> Partition {
        Partition::new(self.0.partition_of(id))
    }

    /// Topics of the default namespace, by name.
    ///
    /// # Errors
    /// What the store answers; timed out.
    pub fn topics(&self, wait: &Wait) -> Result<Vec<Topic>> {
        wait.on(self.0.topics()).map_err(|error| self.0.explain(error))
    }

    /// Partitions of a topic, by number.
    ///
    /// # Errors
    /// What the store answers; timed out.
    pub fn partitions(&self, topic: &Topic, wait: &Wait) -> Result<Vec<PartitionId>> {
        wait.on(self.0.partitions(topic)).map_err(|error| self.0.explain(error))
    }

    /// Requests sent to the store so far.
    pub fn requests(&self) -> RequestCounts {
        self.0.requests()
    }

    /// Bytes of appends that are buffered or in flight now.
    pub fn buffered_bytes(&self) -> usize {
        self.0.buffered_bytes()
    }

    /// Flushes and closes every writer. At the limit of `wait` retries stop, and the error names
    /// what is not durable.
    ///
    /// # Errors
    /// As [`Bucket::close`](crate::Bucket::close); timed out when cancelled, while the closing goes on.
    pub fn close(&self, wait: &Wait) -> Result<()> {
        // The deadline is the closing's own: it tells which partitions are at fault.
        wait.without_limit().on(self.0.close(wait.limit().unwrap_or(Duration::MAX)))
    }
}

/// A [`Partition`](crate::Partition) for threads that wait. A name: making one asks nothing of the
/// store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Partition(crate::Partition);

impl Partition {
    pub(super) fn new(partition: crate::Partition) -> Self {
        Partition(partition)
    }

    /// The async partition that it stands for.
    pub fn as_async(&self) -> &crate::Partition {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> &PartitionId {
        self.0.id()
    }

    /// The range of the log as far as this process knows it, without asking the store.
    pub fn watermarks(&self) -> Option<Watermarks> {
        self.0.watermarks()
    }

    /// Opens a writer. When the wait ends first, the opening goes on and the writer is closed then.
    ///
    /// # Errors
    /// As [`Partition::writer`](crate::Partition::writer); timed out.
    pub fn writer(&self, options: WriterOptions, wait: &Wait) -> Result<Writer> {
        wait.on_log(self.0.state(), self.0.writer(options)).map(Writer::new)
    }

    /// A reader. Asks nothing of the store.
    pub fn reader(&self, options: ReaderOptions) -> Reader {
        Reader::new(self.0.reader(options))
    }

    /// Asks the store what range the log has: log start, high watermark.
    ///
    /// # Errors
    /// As [`Partition::refresh`](crate::Partition::refresh); timed out.
    pub fn refresh(&self, wait: &Wait) -> Result<Watermarks> {
        wait.on_log(self.0.state(), self.0.refresh())
    }

    /// The first record with a timestamp at or after `timestamp_ms`; `None` when there is none.
    ///
    /// # Errors
    /// As [`Partition::offset_for_timestamp`](crate::Partition::offset_for_timestamp); timed out.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64, wait: &Wait) -> Result<Option<TimedOffset>> {
        wait.on_log(self.0.state(), self.0.offset_for_timestamp(timestamp_ms))
    }

    /// The first record that has the greatest timestamp of the log; `None` when there is no record.
    ///
    /// # Errors
    /// As [`Partition::max_timestamp`](crate::Partition::max_timestamp); timed out.
    pub fn max_timestamp(&self, wait: &Wait) -> Result<Option<TimedOffset>> {
        wait.on_log(self.0.state(), self.0.max_timestamp())
    }

    /// Creates the log without an append.
    ///
    /// # Errors
    /// As [`Partition::create`](crate::Partition::create); timed out.
    pub fn create(&self, start_offset: i64, wait: &Wait) -> Result<()> {
        wait.on_log(self.0.state(), self.0.create(start_offset))
    }
}
