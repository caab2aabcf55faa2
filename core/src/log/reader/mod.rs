//! Reading a partition's log.
//!
//! Each file imports only from files above it: what a fetch gathers (`gather`, `answer`); the blocks that it
//! holds and serves batches from (`span`, `walk`); where they come from (`source`); the fetch itself (`job`, `core`,
//! `fetch`, `supply`); what is read from a `LogSource` instead (`sourced`); the committed part of it (`transactions`,
//! `committed`); the handle, and on top of it the streams and the fetch of many partitions. As the last, `as_source`
//! makes a `LogSource` of the handle.

mod answer;
mod as_source;
mod committed;
mod core;
mod fetch;
mod fetch_many;
mod follow;
mod gather;
mod greatest;
mod handle;
mod job;
mod one_segment;
mod options;
mod pass;
mod records;
mod refresh;
pub(crate) mod source;
mod sourced;
mod span;
mod stamps;
mod stream;
mod supply;
mod times;
mod transactions;
mod walk;

pub(crate) use self::greatest::GreatestTimestamps;
pub(crate) use self::one_segment::SegmentReader;
pub(crate) use self::pass::{SegmentTimes, times_of_records};
pub(crate) use self::refresh::{exists as refresh_exists, refresh as refresh_range};

pub use self::answer::{BatchPlace, Fetch, Hole};
pub use self::fetch_many::{FetchPartition, FetchRequest, FetchResponse};
pub use self::handle::Reader;
pub use self::one_segment::SegmentFetch;
pub use self::options::{FetchOptions, Isolation, OnCorrupt, ReaderOptions};
pub use self::records::{FetchRecords, RecordStream, StreamRecord};
pub use self::stamps::TimedOffset;
pub use self::stream::{BatchStream, Notice};

#[cfg(test)]
mod tests;
