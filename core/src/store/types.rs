//! What a store answers: identities, fetched bytes, outcomes of PUTs, listings, counts.

use std::ops::Range;

use bytes::Bytes;

use super::version::Version;
use crate::error::Error;

/// One object as a listing or a GET shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// The key, without the prefix that the store's URL names.
    pub key: String,
    /// The whole object's size in bytes.
    pub size: u64,
    /// When it was last modified, Unix milliseconds by the store's clock.
    pub modified_ms: i64,
    /// Its version.
    pub version: Version,
}

/// How the `kfsid` begins that a directory answers for a file that this process did not make.
pub(super) const STAND_IN: &str = "inode-";

/// Who made an object: user metadata that rides with it (docs/format.md, "Metadata of segments").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// `<32 hex digits of the writer's id>.<flush number>`. On a directory, which keeps no
    /// metadata, a file that this process did not make answers `inode-<device>-<inode>`.
    pub kfsid: Option<String>,
    /// The name that the writer's caller gave it.
    pub kfsname: Option<String>,
    /// Set on a segment that maintenance merged.
    pub kfsmerged: Option<String>,
    /// Set on a segment that was copied from another log, by the copy's id.
    pub kfscopied: Option<String>,
}

impl Identity {
    /// No identity: for objects that need none.
    pub fn none() -> Self {
        Self::default()
    }

    /// The identity of one flush of a writer.
    pub fn of(kfsid: impl Into<String>) -> Self {
        Identity { kfsid: Some(kfsid.into()), ..Self::default() }
    }

    /// Whether this `kfsid` is what a directory answers for a file that this process did not make.
    pub(crate) fn is_stand_in(kfsid: &str) -> bool {
        kfsid.starts_with(STAND_IN)
    }

    /// Adds the writer's name.
    #[must_use]
    pub fn with_name(mut self, name: Option<impl Into<String>>) -> Self {
        self.kfsname = name.map(Into::into);
        self
    }

    /// Adds the mark of a merged segment.
    #[must_use]
    pub fn with_merged(mut self, merged: Option<impl Into<String>>) -> Self {
        self.kfsmerged = merged.map(Into::into);
        self
    }

    /// Adds the mark of a copied segment.
    #[must_use]
    pub fn with_copied(mut self, copied: Option<impl Into<String>>) -> Self {
        self.kfscopied = copied.map(Into::into);
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let Identity { kfsid, kfsname, kfsmerged, kfscopied } = self;
        [kfsid, kfsname, kfsmerged, kfscopied].iter().all(|field| field.is_none())
    }
}

/// Which bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRange {
    /// All of it.
    Whole,
    /// All of an object that is known to be small. One of more bytes than this is *corrupt*, and its
    /// body is not read.
    AtMost(u64),
    /// From start to before end, in bytes; must not be empty. Clipped to the object.
    Range(Range<u64>),
    /// The last bytes, at least one; the whole object where it is shorter.
    Suffix(u64),
}

/// Bytes of an object, with what the answer said of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The bytes of `range`. They may be a view over a mapped file.
    pub bytes: Bytes,
    /// Which bytes of the object these are. Empty, and at the object's size, where the range asked
    /// for begins at or after the end.
    pub range: Range<u64>,
    /// The object; its size is the whole object's.
    pub info: ObjectInfo,
    /// Who made it.
    pub identity: Identity,
}

/// How a create-if-absent ended.
#[derive(Debug)]
#[must_use = "a create may have failed, or may have been applied without an answer"]
pub enum Created {
    /// The object was created by this call, or by an earlier try with the same `kfsid` whose
    /// outcome this call could make certain (directories only).
    Yes(Version),
    /// The store says that the name is taken. It may be an earlier try of the same caller, and
    /// some stores say so and keep nothing: look at the object.
    Exists,
    /// The request may have been applied, or may yet be.
    Unknown(Error),
    /// The request certainly was not and will not be applied.
    Refused(Error),
    /// A directory only: the bytes were written, and an fsync failed. What was not yet durable may
    /// never be, whatever later fsyncs say, so the writer must not ack anything that leans on it. Likewise when
    /// the directory was moved or mounted over meanwhile, so that the bytes are not where others look.
    SyncFailed {
        /// Whether the object has its name already. A power cut may take it away again.
        visible: bool,
        /// What failed.
        error: Error,
    },
}

/// How a conditional replace ended.
///
/// A reply can be lost on every store, and some answer a failed condition to a request that was applied before. So after
/// [`Changed`](Self::Changed), [`NotFound`](Self::NotFound) and [`Unknown`](Self::Unknown) the caller reads the object
/// and compares it with what it sent. After `Unknown` the request may still be applied, though only while the object has
/// the version that the request names: once another version has been read, an earlier request can't be applied any more,
/// unless the old version comes back (on S3, by a write of the same bytes).
#[derive(Debug)]
#[must_use = "a replace may have failed, or may have been applied without an answer"]
pub enum Replaced {
    /// The object was replaced, and has this version now.
    Yes(Version),
    /// This request replaced nothing: the object is another version, or another request for it was in the way. What is
    /// there may be the work of an earlier try, the caller's or its client's own.
    Changed,
    /// This request replaced nothing: there is no such object.
    NotFound,
    /// The request may have been applied, or may yet be.
    Unknown(Error),
    /// The request certainly was not and will not be applied. `Unsupported` where the store has no conditional replace,
    /// `PermissionDenied`, `InvalidInput` for a version that the store can't compare.
    Refused(Error),
    /// A directory only: the bytes were written, and an fsync failed; see [`Created::SyncFailed`].
    SyncFailed {
        /// Whether the object is replaced already. A power cut may bring the old one back.
        visible: bool,
        /// What failed.
        error: Error,
    },
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListPage {
    /// The objects, their keys ascending by bytes.
    pub objects: Vec<ObjectInfo>,
    /// Whether nothing follows. `false` says only that more may follow.
    pub complete: bool,
}

/// Requests and bytes since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// PUTs of any kind.
    pub put: u64,
    /// GETs and HEADs.
    pub get: u64,
    /// Listings: one for each 1,000 keys begun.
    pub list: u64,
    /// DELETEs.
    pub delete: u64,
    /// Bytes of object bodies received.
    pub bytes_in: u64,
    /// Bytes of object bodies sent, once for each try.
    pub bytes_out: u64,
    /// Requests of any kind that the store did: as long as this grows, it makes progress.
    pub done: u64,
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.put + self.get + self.list + self.delete
    }

    /// The sum of both.
    #[must_use]
    pub(crate) fn plus(&self, other: &RequestCounts) -> RequestCounts {
        RequestCounts {
            put: self.put.saturating_add(other.put),
            get: self.get.saturating_add(other.get),
            list: self.list.saturating_add(other.list),
            delete: self.delete.saturating_add(other.delete),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            done: self.done.saturating_add(other.done),
        }
    }

    /// What was added since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &RequestCounts) -> RequestCounts {
        RequestCounts {
            put: self.put.saturating_sub(earlier.put),
            get: self.get.saturating_sub(earlier.get),
            list: self.list.saturating_sub(earlier.list),
            delete: self.delete.saturating_sub(earlier.delete),
            bytes_in: self.bytes_in.saturating_sub(earlier.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(earlier.bytes_out),
            done: self.done.saturating_sub(earlier.done),
        }
    }
}
