//! Objects and listings as streams: what is larger than memory passes in pieces.
//!
//! An object that is written so goes up in concurrent parts, and is not visible before the last one. One that is read so
//! comes down in concurrent ranged GETs of one version. Either holds at most 256 MiB at a time. No log is written so: a
//! segment is one conditional PUT.

mod get;
mod list;
mod put;
#[cfg(feature = "_http")]
mod retries;
mod task;

pub use self::get::GetStream;

/// The size of the parts in which [`Store::put_stream`](super::Store::put_stream) writes, in bytes: 16 MiB. An object of no
/// more than this is one PUT. Parts of one upload are equally large, except for the last one, because some stores need that.
/// S3 allows from 5 MiB to 5 GiB (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>), Azure up to 4,000
/// MiB (<https://learn.microsoft.com/rest/api/storageservices/put-block>).
pub const PART_BYTES: usize = 16 << 20;

/// How many parts one upload may have: S3 allows 10,000, Azure 50,000.
const MAX_PARTS: u64 = 10_000;

/// The largest object that [`Store::put_stream`](super::Store::put_stream) writes, in bytes: 10,000 parts, which are 156.25
/// GiB. It is the same on every store.
pub const MAX_STREAM_BYTES: u64 = MAX_PARTS * PART_BYTES as u64;

/// How many bytes one request of a read asks for. Its answer takes up to twice as much memory while it is joined.
const READ_BYTES: u64 = 8 << 20;

/// How many requests of one stream are under way at a time.
const REQUESTS: usize = 8;
