//! What is known of one segment without reading it.

use crate::store::Version;

/// What a listing tells about a segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its key.
    pub key: String,
    /// The first offset.
    pub base: i64,
    /// The last offset: of the newest segment from its footer, of others one below the next one's base
    /// (which a merged segment reaches beyond while what it replaced is still there). `None` when the
    /// newest one's footer can't be read.
    pub last: Option<i64>,
    /// Bytes of the object.
    pub size: u64,
    /// Last modified by the store's clock, Unix milliseconds.
    pub modified_ms: i64,
    /// Its version.
    pub version: Version,
    /// Bytes of its sparse index. `None` if it has no index.
    pub index_size: Option<u64>,
    /// Bytes of its time index. `None` if it has no time index.
    pub time_index_size: Option<u64>,
}

impl SegmentInfo {
    /// What a [`LogSource`](crate::LogSource) tells of an object that holds offsets from `base` on. The size and the time come
    /// from the version; the last offset is not known, and there are no indexes. The fields can be set.
    pub fn new(key: impl Into<String>, base: i64, version: Version) -> Self {
        SegmentInfo {
            key: key.into(),
            base,
            last: None,
            size: version.size(),
            modified_ms: version.modified_ms().unwrap_or(0),
            version,
            index_size: None,
            time_index_size: None,
        }
    }
}
