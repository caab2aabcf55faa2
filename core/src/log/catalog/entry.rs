//! What a catalog holds.

use std::sync::Arc;

use crate::format::LogManifest;
use crate::mutant::mutant;
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
}

/// One entry without its base, which stands in an array of its own for the search.
#[derive(Debug)]
pub(super) struct KnownSegment {
    pub(super) version: Version,
    /// Nothing lies between this segment and the next entry.
    pub(super) linked: bool,
}

/// A segment's greatest timestamp; `None` where it has no records.
///
/// It is for as long as the version is this one, and up to this next base: what was learned beside the
/// segments that merging replaced holds no longer when they are gone.
#[derive(Debug)]
pub(super) struct Greatest {
    pub(super) version: Version,
    pub(super) next: Option<i64>,
    pub(super) timestamp: Option<i64>,
}

/// What was learned at the log's start, by the last listing that began there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartInfo {
    /// The greatest log start mark.
    pub(crate) mark: Option<i64>,
    /// The first segment's base.
    pub(crate) first: Option<i64>,
    /// Whether `log.json` is there.
    pub(crate) has_log_json: bool,
    /// Its start offset, once read.
    pub(crate) log_json_start: Option<i64>,
}

impl StartInfo {
    /// The first offset that is served, where it is known: nothing below the greatest mark, and
    /// nothing below the first segment or, without one, below `log.json`'s start.
    pub(crate) fn log_start(&self) -> Option<i64> {
        let mark = self.mark.filter(|_| !mutant!(IgnoreLogStartMarks));
        self.first.or(self.log_json_start).into_iter().chain(mark).max()
    }

    /// Where a log without a segment starts, and goes on; `None` while its `log.json` was not read.
    pub(crate) fn empty_log_start(&self) -> Option<i64> {
        self.log_start().filter(|_| self.log_json_start.is_some() || !self.has_log_json)
    }

    /// Whether the partition exists at all.
    pub(crate) fn exists(&self) -> bool {
        self.has_log_json || self.first.is_some() || self.mark.is_some()
    }
}

/// What tells one log of a partition from the next: `log.json` is created once and never changed.
#[derive(Clone, Debug)]
pub(crate) struct KnownLog {
    /// The version of `log.json`.
    pub(crate) version: Version,
    /// The log's id, once `log.json` was read.
    pub(crate) id: Option<String>,
}

/// What is known beyond the last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CatalogEnd {
    /// There may be more.
    #[default]
    Unknown,
    /// The last entry is the newest segment; without an entry there is no segment.
    Newest,
}

/// A stretch of the key space that one look covered.
#[derive(Debug)]
pub(crate) struct Covered<'a> {
    /// Bases up to and including this one are not covered.
    pub(crate) after: i64,
    /// All segments found, ascending.
    pub(crate) segments: &'a [SegmentRef],
    /// Whether it covers everything above, and not only up to the last segment found.
    pub(crate) to_end: bool,
}

/// The manifest, as far as it was listed and read.
#[derive(Debug, Default)]
pub(super) struct KnownManifest {
    /// The version that a listing of the log's start showed.
    pub(super) listed: Option<Version>,
    /// That version is of no more use, or is held.
    pub(super) tried: bool,
    pub(super) held: Option<Arc<LogManifest>>,
}

/// A segment as a manifest names it.
#[derive(Clone, Debug)]
pub(crate) struct NamedSegment {
    pub(crate) base: i64,
    pub(crate) version: Version,
    /// The base of the segment after it.
    pub(crate) next: i64,
}

impl KnownManifest {
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |manifest| manifest.size())
    }

    /// Gives room. It is read again when it is needed.
    pub(super) fn let_go(&mut self) {
        self.tried = self.tried && self.held.is_none();
        self.held = None;
    }
}
