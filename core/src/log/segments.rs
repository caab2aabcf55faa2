//! The segments of a partition one by one: listing them in pages, reading one by itself.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;

use super::catalog::Lookup;
use super::locate::locate;
use super::partition::Partition;
use super::reader::source::BlockSource;
use super::reader::{SegmentFetch, SegmentReader};
use super::scan_budget::{ScanBudget, ScanPermit};
use super::segment_info::SegmentInfo;
use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    CrcCheck, MAX_SEGMENT_LEN, Malformed, ObjectName, Segment, SparseIndex, TIME_INDEX_LEN, TimeIndex,
};
use crate::store::{Fetched, Identity, ReadRange, Version};

/// Keys of one page: some 500 segments with their indexes.
const PAGE_KEYS: usize = 1000;

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

    /// One segment by its base offset, whichever version the store has when it is read. Asks nothing of the store.
    pub fn segment(&self, base: i64) -> SegmentHandle {
        SegmentHandle { reader: SegmentReader::new(self.state().clone(), base, None), version: None }
    }

    /// The version of a segment that was listed. Each read returns bytes of that version and of no other. If the segment was
    /// replaced or removed since then, a read that asks the store fails as a *conflict*; [`fetch`](SegmentHandle::fetch) and
    /// [`range`](SegmentHandle::range) still return what the block cache holds of the listed version. A sidecar is an object of
    /// its own: [`SegmentHandle::index`] says what is checked. Asks nothing of the store.
    pub fn segment_of(&self, listed: &SegmentInfo) -> SegmentHandle {
        let next = listed.last.map(|last| last.saturating_add(1));
        let reader = SegmentReader::new(self.state().clone(), listed.base, next);
        SegmentHandle { reader, version: Some(listed.version.clone()) }
    }
}

impl Segments {
    /// The next page; `None` when there are no more. One LIST a page; the first takes what locating
    /// takes, and the newest segment one GET of its footer. What a [`LogSource`](crate::LogSource) lists is one page.
    ///
    /// Dropping the future loses no page: the next call asks for the same one.
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
        if let Some(source) = &self.state.source {
            self.done = true;
            return self.state.ask_source("listing a log source", || source.segments(self.from..=self.to)).await;
        }
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
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
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

/// One segment; made by [`Partition::segment`] of whichever version there is, or by [`Partition::segment_of`] of the version
/// that was listed. Cheap to clone.
#[derive(Clone)]
pub struct SegmentHandle {
    reader: SegmentReader,
    version: Option<Version>,
}

impl SegmentHandle {
    /// Its first offset, as the key says.
    pub fn base(&self) -> i64 {
        self.reader.base()
    }

    /// Its key.
    pub fn key(&self) -> String {
        self.state().id.segment_key(self.base())
    }

    /// The version that it reads; `None` for whichever the store has.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    fn state(&self) -> &Arc<PartitionState> {
        self.reader.state()
    }

    /// The batches that hold these offsets, whole, of `max_bytes` in all; the first comes whatever its length. Empty if the
    /// segment holds none of them. What is read goes through the bucket's block cache, as that of a
    /// [`Reader`](crate::Reader) does, and is checked in the same way. Dropping the future ends the wait; what it began to
    /// read is cached.
    ///
    /// # Errors
    /// Not found; conflict if the listed version is gone; corrupt with key, position, offsets and the next readable
    /// offset; what the store answers.
    pub async fn fetch(&self, offsets: impl RangeBounds<i64>, max_bytes: usize) -> Result<SegmentFetch> {
        self.fetch_holding(first_and_last(offsets), max_bytes, None).await
    }

    /// Like [`fetch`](Self::fetch), for many segments at the same time. It first waits until `budget` has `max_bytes`, or as
    /// many as the segment has if these are fewer, and gives back what the batches do not take, the rest when they are
    /// dropped. A first batch of more than that counts as no more.
    ///
    /// Dropping the future gives up its place in the line. If its request is under way by then, the request goes on for up to
    /// 30 s, and its bytes of the budget are given back when it ends, because until then they are in use.
    ///
    /// The size of a segment that was not listed is learned before the wait, by the same GET that `fetch` sends. What that
    /// brings goes into the block cache, and that version is read.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch); conflict also if a segment that was not listed was replaced during the wait.
    pub async fn fetch_within(
        &self,
        budget: &ScanBudget,
        offsets: impl RangeBounds<i64>,
        max_bytes: usize,
    ) -> Result<SegmentFetch> {
        self.check()?;
        let (range, handle) = (first_and_last(offsets), self.clone());
        let version = self.state().runtime().ask(async move { handle.version_now().await }).await?;
        let size = usize::try_from(version.size()).unwrap_or(usize::MAX);
        let permit = budget.acquire(size.min(max_bytes)).await;
        let of_version = SegmentHandle { version: Some(version), ..self.clone() };
        of_version.fetch_holding(range, max_bytes, Some(permit)).await
    }

    /// The permit is held until the work has ended, whatever becomes of this future.
    async fn fetch_holding(
        &self,
        range: (i64, i64),
        max_bytes: usize,
        permit: Option<ScanPermit>,
    ) -> Result<SegmentFetch> {
        self.check()?;
        let handle = self.clone();
        let work = async move {
            let mut permit = permit;
            let version = handle.version_now().await?;
            let mut fetch = handle.reader.fetch(&version, range, max_bytes).await?;
            if let Some(permit) = &mut permit {
                permit.shrink_to(fetch.bytes());
            }
            fetch.permit = permit.filter(|_| !fetch.is_empty());
            Ok(fetch)
        };
        self.state().runtime().ask(work).await
    }

    /// These bytes of the object, through the bucket's block cache. Batches in them are not checked.
    ///
    /// # Errors
    /// Invalid input for a range beyond the object; else as [`fetch`](Self::fetch).
    pub async fn range(&self, bytes: Range<u64>) -> Result<Bytes> {
        self.check()?;
        let handle = self.clone();
        let work = async move {
            let version = handle.version_now().await?;
            handle.reader.bytes(&version, bytes).await
        };
        self.state().runtime().ask(work).await
    }

    /// The version that is read.
    ///
    /// # Errors
    /// Corrupt for a size that no segment can have, whoever told it; what the store answers.
    async fn version_now(&self) -> Result<Version> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.reader.newest_version().await?,
        };
        if version.size() > MAX_SEGMENT_LEN {
            let message = format!("the object has {} bytes, a segment at most {MAX_SEGMENT_LEN}", version.size());
            return Err(Error::new(ErrorKind::Corrupt, message).with_key(self.key()));
        }
        Ok(version)
    }

    fn check(&self) -> Result<()> {
        if self.base() < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("offset {} is negative", self.base())));
        }
        Ok(())
    }

    /// Reads all of it by one GET and checks all of it: CRCs, batches, and that it is what its key
    /// says.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found; conflict if the listed version is gone; corrupt with key and position; what the store answers.
    pub async fn read(&self) -> Result<Segment> {
        let (key, base) = (self.key(), self.base());
        let bytes = self.bytes().await?;
        Segment::parse_at(base, &bytes, CrcCheck::Verify).map_err(|e| e.into_error(&key))
    }

    /// Reads all of it by one GET and checks nothing.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found; conflict if the listed version is gone; what the store answers.
    pub async fn bytes(&self) -> Result<Bytes> {
        let got = self.get(self.key(), ReadRange::AtMost(MAX_SEGMENT_LEN), self.version.clone()).await;
        Ok(got.map_err(|error| self.explain(error))?.bytes)
    }

    /// The writer's identity, as the store keeps it in the object's metadata. Sends one GET for the first bytes.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found; conflict if the listed version is gone; what the store answers.
    pub async fn identity(&self) -> Result<Identity> {
        let got = self.get(self.key(), ReadRange::Range(0..1), self.version.clone()).await;
        Ok(got.map_err(|error| self.explain(error))?.identity)
    }

    /// Reads its sparse index. `None` if it has no index. An index is a hint: it says where to look first.
    ///
    /// An index does not say which version of a segment it describes. After the index of a listed segment was read, one more
    /// GET checks that the store still has the listed version. So the index is not a later one, as merging writes the segment
    /// first. It may still be wrong: compare what it says with the batch headers.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Conflict if the listed version of the segment is gone; corrupt if the object is not an index; what the store answers.
    pub async fn index(&self) -> Result<Option<SparseIndex>> {
        let most = SparseIndex::max_len(MAX_SEGMENT_LEN);
        self.sidecar(self.state().id.index_key(self.base()), most, SparseIndex::parse).await
    }

    /// Reads its time index. `None` if it has no time index. What is checked is the same as for [`index`](Self::index).
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Conflict if the listed version of the segment is gone; corrupt if the object is not an index; what the store answers.
    pub async fn time_index(&self) -> Result<Option<TimeIndex>> {
        self.sidecar(self.state().id.time_index_key(self.base()), TIME_INDEX_LEN as u64, TimeIndex::parse).await
    }

    async fn sidecar<T>(
        &self,
        key: String,
        most: u64,
        parse: impl FnOnce(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let fetched = match self.get(key.clone(), ReadRange::AtMost(most), None).await {
            Ok(fetched) => Some(fetched),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if self.version.is_some() {
            // Asked after the sidecar was read: a segment is replaced before its sidecars are.
            self.identity().await?;
        }
        fetched.map(|fetched| parse(&fetched.bytes).map_err(|e| e.into_error(&key))).transpose()
    }

    async fn get(&self, key: String, range: ReadRange, version: Option<Version>) -> Result<Fetched> {
        self.check()?;
        let (state, base) = (self.state().clone(), self.base());
        let get = async move { state.get_through(state.store_of(base), &key, range, version.as_ref()).await };
        self.state().runtime().ask(get).await
    }

    /// Says what it means that a listed version is gone.
    fn explain(&self, error: Error) -> Error {
        if self.version.is_some() { self.reader.explain(error) } else { error }
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
