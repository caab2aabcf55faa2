//! What a fetch of many partitions asks, and what it gives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::log::partition::Partition;
use crate::log::reader::answer::Fetch;
use crate::log::reader::handle::Reader;
use crate::setters::setters;

/// What [`Bucket::fetch_many`](crate::Bucket::fetch_many) fetches: Kafka's Fetch request. The limits begin with the
/// defaults of Kafka's consumer.
///
/// The partitions are read in their order. A request that is used again begins with the partition that had no room
/// the last time, and comes round to all of them. So a busy partition does not keep the others from being read,
/// however small `max_bytes` is. A request that is made for each fetch begins with its first partition each time.
/// Then the caller must change the order, as Kafka's clients do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchRequest {
    /// The partitions, and where to read them. The response has their results in the same order.
    pub partitions: Vec<FetchPartition>,
    /// How many bytes of batches to wait for, over all partitions (default 1). With 0 the fetch does not wait. More
    /// than `max_bytes` counts as `max_bytes`. Kafka: `min_bytes`.
    pub min_bytes: usize,
    /// The most bytes of batches to return over all partitions (default 50 MiB). The first batch of the first partition
    /// that has one is returned whole, whatever its length (KIP-74). Kafka: `max_bytes`.
    pub max_bytes: usize,
    /// How long to wait for `min_bytes` (default 500 ms). Kafka: `max_wait_ms`.
    pub max_wait: Duration,
    turn: FirstIndex,
}

/// One partition of a [`FetchRequest`].
///
/// `(&partition, offset, max_bytes)` reads it with default options. `(&reader, offset, max_bytes)` reads it with those
/// of the reader, which also say how often the store is asked about others' appends
/// ([`ReaderOptions::poll_min`](crate::ReaderOptions::poll_min)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchPartition {
    /// What reads the partition.
    pub reader: Reader,
    /// The first offset that is wanted.
    pub offset: i64,
    /// The most bytes of batches to return of this partition. Kafka: `partition_max_bytes`, of which the consumer's
    /// default is 1 MiB.
    pub max_bytes: usize,
}

/// What [`Bucket::fetch_many`](crate::Bucket::fetch_many) gives: Kafka's Fetch response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchResponse {
    /// The result of each partition, in the order of the request. A partition that has nothing new, or for which there
    /// was no room, has a [`Fetch`] without batches. Its high watermark and log start are lower bounds.
    pub partitions: Vec<Result<Fetch>>,
}

impl FetchRequest {
    /// A request for these partitions: `(&partition, offset, max_bytes)` each, or with a reader.
    pub fn new<P: Into<FetchPartition>>(partitions: impl IntoIterator<Item = P>) -> Self {
        FetchRequest {
            partitions: partitions.into_iter().map(Into::into).collect(),
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_wait: Duration::from_millis(500),
            turn: FirstIndex::default(),
        }
    }

    setters! { min_bytes: usize, max_bytes: usize, max_wait: Duration }

    /// Goes on where a response to this request ended: sets the offset of each partition that was read. The offset of
    /// a partition that failed stays.
    pub fn advance(&mut self, response: &FetchResponse) {
        for (partition, fetched) in self.partitions.iter_mut().zip(&response.partitions) {
            if let Ok(fetch) = fetched {
                partition.offset = fetch.next_offset;
            }
        }
    }

    /// The partition that the next fetch begins with.
    pub(super) fn turn(&self) -> usize {
        self.turn.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_turn(&self, index: usize) {
        self.turn.0.store(index, Ordering::Relaxed);
    }
}

impl FetchResponse {
    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.partitions.iter().flatten().map(Fetch::bytes).sum()
    }
}

impl From<(&Partition, i64, usize)> for FetchPartition {
    fn from((partition, offset, max_bytes): (&Partition, i64, usize)) -> Self {
        FetchPartition { reader: partition.reader(), offset, max_bytes }
    }
}

impl From<(&Reader, i64, usize)> for FetchPartition {
    fn from((reader, offset, max_bytes): (&Reader, i64, usize)) -> Self {
        FetchPartition { reader: reader.clone(), offset, max_bytes }
    }
}

/// The number of a partition. A clone of a request has a turn of its own.
#[derive(Debug, Default)]
struct FirstIndex(AtomicUsize);

impl Clone for FirstIndex {
    fn clone(&self) -> Self {
        FirstIndex(AtomicUsize::new(self.0.load(Ordering::Relaxed)))
    }
}
