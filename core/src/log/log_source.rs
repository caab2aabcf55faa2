//! The seam above the catalog: what readers need of a partition's log, whatever holds it (docs/design.md, "Reading").

use std::ops::RangeInclusive;

use super::reader::{Fetch, FetchOptions};
use super::segment_info::SegmentInfo;
use super::watermarks::Watermarks;
use crate::error::Result;
use crate::runtime::BoxFuture;

/// A partition's log that something other than `.kfs` segments holds, such as files of another format.
/// [`Bucket::partition_from`](crate::Bucket::partition_from) makes a partition of it, whose readers, streams and
/// [fetches of many](crate::Bucket::fetch_many) are served from it.
///
/// Each method is called once for a fetch, a poll or a listing, never for a record, and may be called again while it is at
/// work. The bytes of batches are passed on without a copy. The futures run on the bucket's
/// [runtime](crate::Bucket::runtime). If their caller goes away, they are dropped 30 s later at the latest.
///
/// What fails as *unavailable* or *timed out* is asked again with the pauses of the bucket's
/// [`RetryPolicy`](crate::RetryPolicy), and [`Bucket::trouble`](crate::Bucket::trouble) tells it. Every other error goes to
/// the caller. A poll that lasts 30 s is dropped and sent again, and a wait that ends in vain is *timed out*. Nothing else has
/// a time limit, so a source sets one itself where its futures may hang. A source that panics fails the call as *invalid input*, and no
/// other partition.
///
/// The headers of the batches that it gives are checked, and their CRCs are not. Bytes that are no batches are *invalid
/// input*.
///
/// A log grows at its end and loses what is at its start: an older log start or high watermark than the last one is
/// ignored.
///
/// A [`Reader`](crate::Reader) is a `LogSource` too, so a source can serve its newest offsets from `.kfs` segments.
pub trait LogSource: Send + Sync + 'static {
    /// The batches from the one that holds `offset` on, whole, of [`max_bytes`](FetchOptions::max_bytes) in all; the first
    /// comes whatever its length. At the log's end there are none. Where the offset does not exist, the answer begins
    /// with the next one that does. [`Fetch::of_batches`] makes the answer; where batches were lost, its
    /// [`hole`](Fetch::hole) says so ([`Fetch::with_hole`]).
    ///
    /// # Errors
    /// As [`Reader::fetch`](crate::Reader::fetch): out of range with the [log's range](crate::Error::with_log_range) for an
    /// offset below its start or beyond its end, and not found where there is no log.
    fn fetch(&self, offset: i64, options: FetchOptions) -> BoxFuture<Result<Fetch>>;

    /// The log's range now. Fetches that wait at the log's end poll it, at the pace of
    /// [`ReaderOptions::poll_min`](crate::ReaderOptions::poll_min) and [`poll_max`](crate::ReaderOptions::poll_max).
    ///
    /// # Errors
    /// As [`Partition::refresh`](crate::Partition::refresh): not found where there is no log.
    fn refresh(&self) -> BoxFuture<Result<Watermarks>>;

    /// The objects that hold these offsets, in the order of their base offsets: what
    /// [`Partition::segments`](crate::Partition::segments) lists. It is asked for all of a range at once.
    ///
    /// # Errors
    /// What the source can't list.
    fn segments(&self, offsets: RangeInclusive<i64>) -> BoxFuture<Result<Vec<SegmentInfo>>>;
}
