//! Segments one by one: what listing, checking and parallel scans stand on.

use std::ops::RangeBounds;

use bytes::Bytes;

use super::bucket::Partition;
use super::wait::Wait;
use crate::SegmentInfo;
use crate::error::Result;
use crate::format::{Segment, SparseIndex, TimeIndex};
use crate::store::Identity;

/// Pages through the segments of a partition: [`Segments`](crate::Segments) for threads that wait.
#[derive(Clone, Debug)]
pub struct Segments(crate::Segments);

/// One segment: a [`SegmentHandle`](crate::SegmentHandle) for threads that wait.
#[derive(Clone, Debug)]
pub struct SegmentHandle(crate::SegmentHandle);

impl Partition {
    /// The segments that hold offsets of this range, in pages.
    pub fn segments(&self, offsets: impl RangeBounds<i64>) -> Segments {
        Segments(self.as_async().segments(offsets))
    }

    /// The segment that begins at this offset. Asks nothing of the store.
    pub fn segment(&self, base: i64) -> SegmentHandle {
        SegmentHandle(self.as_async().segment(base))
    }
}

impl Segments {
    /// The next page, in order; `None` after the last. When the wait ends first, nothing is lost.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn next_page(&mut self, wait: &Wait) -> Result<Option<Vec<SegmentInfo>>> {
        wait.on_log(&self.0.state().clone(), self.0.next_page())
    }

    /// All that is left, at once.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn all(self, wait: &Wait) -> Result<Vec<SegmentInfo>> {
        wait.on_log(&self.0.state().clone(), self.0.all())
    }
}

impl SegmentHandle {
    /// Its base offset, which is its name.
    pub fn base(&self) -> i64 {
        self.0.base()
    }

    /// Its key.
    pub fn key(&self) -> String {
        self.0.key()
    }

    /// Reads and checks it whole.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn read(&self, wait: &Wait) -> Result<Segment> {
        wait.on_log(self.0.state(), self.0.read())
    }

    /// Its bytes as they are, unchecked.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn bytes(&self, wait: &Wait) -> Result<Bytes> {
        wait.on_log(self.0.state(), self.0.bytes())
    }

    /// Who wrote it, by its metadata.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn identity(&self, wait: &Wait) -> Result<Identity> {
        wait.on_log(self.0.state(), self.0.identity())
    }

    /// Its sparse index as stored; `None` when there is none.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn index(&self, wait: &Wait) -> Result<Option<SparseIndex>> {
        wait.on_log(self.0.state(), self.0.index())
    }

    /// Its time index as stored; `None` when there is none.
    ///
    /// # Errors
    /// As the async call; timed out.
    pub fn time_index(&self, wait: &Wait) -> Result<Option<TimeIndex>> {
        wait.on_log(self.0.state(), self.0.time_index())
    }
}
