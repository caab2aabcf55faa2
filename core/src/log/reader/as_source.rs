//! Reading a partition that is served from a [`LogSource`].

use std::ops::RangeInclusive;

use super::answer::Fetch;
use super::handle::Reader;
use super::options::FetchOptions;
use crate::error::Result;
use crate::log::log_source::LogSource;
use crate::log::segment_info::SegmentInfo;
use crate::log::watermarks::Watermarks;
use crate::runtime::BoxFuture;

/// The log of `.kfs` segments is a source like any other.
impl LogSource for Reader {
    fn fetch(&self, offset: i64, options: FetchOptions) -> BoxFuture<Result<Fetch>> {
        let reader = self.clone();
        Box::pin(async move { reader.fetch_with(offset, options).await })
    }

    fn refresh(&self) -> BoxFuture<Result<Watermarks>> {
        let partition = self.partition();
        Box::pin(async move { partition.refresh().await })
    }

    fn segments(&self, offsets: RangeInclusive<i64>) -> BoxFuture<Result<Vec<SegmentInfo>>> {
        let segments = self.partition().segments(offsets);
        Box::pin(segments.all())
    }
}
