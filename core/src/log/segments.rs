//! The segments of a partition one by one: listing them in pages, reading one by itself.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;

use super::catalog::Lookup;
use super::locate::locate;
use super::partition::Partition;
use super::reader::source::BlockSource;
use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    CrcCheck, MAX_SEGMENT_LEN, Malformed, ObjectName, Segment, SparseIndex, TIME_INDEX_LEN, TimeIndex,
};
use crate::store::{Fetched, Identity, ReadRange, Version};

/// Keys of one page: some 500 segments with their indexes.
const PAGE_KEYS: usize = 1000;

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

/// Pages through the segments of a partition; made by [`Partition::segments`].
#[derive(Clone)]
pub struct Segments {
    state: Arc<PartitionState>,
    from: i64,
    /// Segments that start above this are not wanted.
    to: i64,
    /// The key after which the next page starts; `None` before the first.
    after: Option<String>,
    /// The last segment found: what follows it is not known yet.
    held: Option<SegmentInfo>,
    /// An index whose segment was not listed yet.
    index: Option<(i64, u64)>,
    done: bool,
}

impl Partition {
    /// The segments that hold these offsets, in pages of some 500. Asks nothing before the first page.
    pub fn segments(&self, offsets: impl RangeBounds<i64>) -> Segments {
        let (from, to) = first_and_last(offsets);
        let state = self.state().clone();
        Segments { state, from: from.max(0), to, after: None, held: None, index: None, done: from > to }
    }

    /// One segment by its base offset. Asks nothing of the store.
    pub fn segment(&self, base: i64) -> SegmentHandle {
        SegmentHandle { state: self.state().clone(), base }
    }
}

impl Segments {
    /// The next page; `None` when there are no more. One LIST a page; the first takes what locating
    /// takes, and the newest segment one GET of its footer.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn next_page(&mut self) -> Result<Option<Vec<SegmentInfo>>> {
        while !self.done {
            // A copy pages on: a caller that drops this future, or gets an error, stands where it was.
            let mut pager = self.clone();
            let (pager, page) = self
                .state
                .clone()
                .runtime()
                .ask(async move {
                    let page = pager.page().await?;
                    Ok((pager, page))
                })
                .await?;
            *self = pager;
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    async fn page(&mut self) -> Result<Vec<SegmentInfo>> {
        let id = self.state.id.clone();
        let prefix = id.prefix();
        let after = match self.after.clone() {
            Some(after) => after,
            None => self.start().await?,
        };
        let listed = self.state.list_page_through(self.state.store(), &prefix, Some(&after), PAGE_KEYS).await?;
        let last_key = listed.objects.last().map(|object| object.key.clone()).unwrap_or(after);
        let ends = listed.complete || last_key > id.segment_key(i64::MAX);
        self.after = Some(last_key);
        let mut found = Vec::new();
        for object in listed.objects {
            match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                Some(ObjectName::Index(base)) => self.index = Some((base, object.size)),
                Some(ObjectName::TimeIndex(base)) => {
                    if let Some(held) = self.held.as_mut().filter(|held| held.base == base) {
                        held.time_index_size = Some(object.size);
                    }
                }
                Some(ObjectName::Segment(base)) => {
                    let info = SegmentInfo {
                        key: object.key,
                        base,
                        last: None,
                        size: object.size,
                        modified_ms: object.modified_ms,
                        version: object.version,
                        index_size: self.index.filter(|(of, _)| *of == base).map(|(_, size)| size),
                        time_index_size: None,
                    };
                    if let Some(mut before) = self.held.replace(info) {
                        before.last = Some(base.saturating_sub(1));
                        found.push(before);
                    }
                    if base > self.to {
                        self.held = None;
                        self.done = true;
                        break;
                    }
                }
                _ => {}
            }
        }
        if ends && !self.done {
            self.done = true;
            if let Some(mut newest) = self.held.take() {
                newest.last = self.last_offset(newest.base).await?;
                found.push(newest);
            }
        }
        found.retain(|info| info.last.is_none_or(|last| last >= self.from));
        Ok(found)
    }

    /// The key after which the segment that holds the first offset is listed.
    async fn start(&self) -> Result<String> {
        let id = &self.state.id;
        let from_start = format!("{}segment-", id.prefix());
        if self.from == 0 {
            return Ok(from_start);
        }
        for _ in 0..2 {
            let base = self.state.with_catalog(|catalog| match catalog.lookup(self.from) {
                Lookup::In { base, .. } => Some(Some(base)),
                Lookup::End { .. } => Some(catalog.newest()),
                Lookup::Below | Lookup::Empty => Some(None),
                Lookup::Unknown => None,
            });
            match base {
                // Its index comes before it.
                Some(Some(base)) => return Ok(format!("{from_start}{base:020}")),
                Some(None) => return Ok(from_start),
                None => locate(&self.state, self.from, false).await?,
            }
        }
        Ok(from_start)
    }

    async fn last_offset(&self, base: i64) -> Result<Option<i64>> {
        match BlockSource::new(self.state.clone(), 0).footer(base, None).await {
            Ok((footer, _)) => Ok(Some(footer.last_offset)),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pages at once: for small ranges.
    ///
    /// # Errors
    /// As [`next_page`](Self::next_page).
    pub async fn all(mut self) -> Result<Vec<SegmentInfo>> {
        let mut all = VecDeque::new();
        while let Some(page) = self.next_page().await? {
            all.extend(page);
        }
        Ok(all.into())
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("partition", &self.state.id.to_string()).field("after", &self.after).finish()
    }
}

/// One segment, by its base offset; made by [`Partition::segment`].
#[derive(Clone)]
pub struct SegmentHandle {
    state: Arc<PartitionState>,
    base: i64,
}

impl SegmentHandle {
    /// Its first offset, as the key says.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// Its key.
    pub fn key(&self) -> String {
        self.state.id.segment_key(self.base)
    }

    /// Reads all of it by one GET and checks all of it: CRCs, batches, and that it is what its key
    /// says.
    ///
    /// # Errors
    /// Not found; corrupt with key and position; what the store answers.
    pub async fn read(&self) -> Result<Segment> {
        let (key, base) = (self.key(), self.base);
        let bytes = self.bytes().await?;
        Segment::parse_at(base, &bytes, CrcCheck::Verify).map_err(|e| e.into_error(&key))
    }

    /// Reads all of it by one GET and checks nothing.
    ///
    /// # Errors
    /// Not found; what the store answers.
    pub async fn bytes(&self) -> Result<Bytes> {
        Ok(self.fetch(self.key(), MAX_SEGMENT_LEN).await?.bytes)
    }

    /// The writer's identity, as the store keeps it in the object's metadata. Sends one GET for the first bytes.
    ///
    /// # Errors
    /// Not found; what the store answers.
    pub async fn identity(&self) -> Result<Identity> {
        let (state, key) = (self.state.clone(), self.key());
        let runtime = state.runtime().clone();
        runtime.ask(async move { Ok(state.get(&key, ReadRange::Range(0..1), None).await?.identity) }).await
    }

    /// Reads its sparse index. `None` if it has no index. An index is a hint: it says where to look first.
    ///
    /// # Errors
    /// Corrupt if the object is not an index; what the store answers.
    pub async fn index(&self) -> Result<Option<SparseIndex>> {
        let most = SparseIndex::max_len(MAX_SEGMENT_LEN);
        self.sidecar(self.state.id.index_key(self.base), most, SparseIndex::parse).await
    }

    /// Reads its time index. `None` if it has no time index.
    ///
    /// # Errors
    /// Corrupt if the object is not an index; what the store answers.
    pub async fn time_index(&self) -> Result<Option<TimeIndex>> {
        self.sidecar(self.state.id.time_index_key(self.base), TIME_INDEX_LEN as u64, TimeIndex::parse).await
    }

    async fn sidecar<T>(
        &self,
        key: String,
        most: u64,
        parse: impl FnOnce(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        match self.fetch(key.clone(), most).await {
            Ok(fetched) => parse(&fetched.bytes).map(Some).map_err(|e| e.into_error(&key)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, key: String, most: u64) -> Result<Fetched> {
        if self.base < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("offset {} is negative", self.base)));
        }
        let state = self.state.clone();
        self.state.runtime().ask(async move { state.get(&key, ReadRange::AtMost(most), None).await }).await
    }
}

impl fmt::Debug for SegmentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SegmentHandle").field(&self.key()).finish()
    }
}

/// The first and the last offset of a range; a last one below the first is an empty range.
pub(crate) fn first_and_last(offsets: impl RangeBounds<i64>) -> (i64, i64) {
    let first = match offsets.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let last = match offsets.end_bound() {
        Bound::Included(last) => *last,
        Bound::Excluded(after) => after.saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    (first, last)
}

#[cfg(test)]
mod tests;
