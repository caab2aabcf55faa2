//! What a store answers: versions, identities, fetched bytes, listings, counts.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;

/// What tells one state of an object from another: its ETag where the store gives one, else its
/// size and time.
#[derive(Clone)]
pub struct Version {
    /// Shared: a version is copied with every lookup and every block that is held.
    raw: Option<Arc<str>>,
    size: u64,
    modified_ms: Option<i64>,
}

impl Version {
    /// A version of its parts. The ETag may be given as a header or a listing shows it: with or
    /// without quotes and `W/`. The time is Unix time in milliseconds; an answer to a PUT has none.
    pub fn new(e_tag: Option<&str>, size: u64, modified_ms: Option<i64>) -> Self {
        Version { raw: e_tag.map(Into::into), size, modified_ms }
    }

    /// The ETag without `W/` and quotes: Azure quotes it in headers and not in listings.
    pub fn e_tag(&self) -> Option<&str> {
        self.raw.as_deref().map(bare)
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the object was last modified by the store's own clock, in Unix milliseconds; `None`
    /// where the store did not say (the answer to a PUT).
    pub fn modified_ms(&self) -> Option<i64> {
        self.modified_ms
    }

    /// Whether both are the same state of the same object. Decided by size and ETag; where one of
    /// them has no ETag by size and time, and where one has no time either, by size alone.
    ///
    /// A time in whole seconds (HTTP headers) matches any time within that second (listings).
    pub fn same_as(&self, other: &Version) -> bool {
        if self.size != other.size {
            return false;
        }
        match (&self.raw, &other.raw) {
            // Copies of one version, as they are compared at every step of reading.
            (Some(one), Some(two)) if Arc::ptr_eq(one, two) => true,
            (Some(one), Some(two)) => bare(one) == bare(two),
            _ => match (self.modified_ms, other.modified_ms) {
                (Some(one), Some(two)) => {
                    let whole = one.rem_euclid(1000) == 0 || two.rem_euclid(1000) == 0;
                    one == two || (whole && one.div_euclid(1000) == two.div_euclid(1000))
                }
                _ => true,
            },
        }
    }

    /// The value for If-Match: as the store itself gave it, so that a store that compares plain
    /// text sees its own; quoted where `quote` says that it goes into a header.
    pub(crate) fn if_match(&self, quote: bool) -> Option<String> {
        let raw = self.raw.as_deref()?;
        let raw = raw.strip_prefix("W/").unwrap_or(raw);
        Some(if quote && !raw.starts_with('"') { format!("\"{raw}\"") } else { raw.to_string() })
    }
}

/// An ETag without `W/` and quotes.
fn bare(raw: &str) -> &str {
    let bare = raw.strip_prefix("W/").unwrap_or(raw);
    bare.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(bare)
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({}, {} bytes", self.e_tag().unwrap_or("no ETag"), self.size)?;
        if let Some(ms) = self.modified_ms {
            write!(f, ", modified {ms}")?;
        }
        write!(f, ")")
    }
}

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

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.kfsid.is_none() && self.kfsname.is_none() && self.kfsmerged.is_none()
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
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.put.saturating_add(self.get).saturating_add(self.list).saturating_add(self.delete)
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
        }
    }
}
