//! The segments of a partition that this process knows of.

use crate::store::Version;

/// A segment as a listing names it.
#[derive(Clone, Debug)]
pub(crate) struct SegmentRef {
    /// Its first offset: the number in its key.
    pub(crate) base: i64,
    /// Bytes of the object.
    pub(crate) size: u64,
    /// Which bytes: an object is held by key and version.
    pub(crate) version: Version,
    /// Last modified, Unix milliseconds.
    pub(crate) modified_ms: i64,
}

/// Known segments, and where nothing lies between two of them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {}

impl Catalog {
    /// Our writer created `segment`, which ends before `end`, directly after `previous`.
    pub(crate) fn committed(&mut self, _previous: Option<i64>, _segment: SegmentRef, _end: i64) {}
}
