//! Reads of large objects: concurrent ranged GETs of one version.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;

use super::super::reads::check_size;
use super::super::types::{Fetched, Identity, ObjectInfo, ReadRange};
use super::super::version::Version;
use super::super::{Lane, StoreReader};
use super::task::Going;
use super::{READ_BYTES, REQUESTS};
use crate::error::Result;

/// The bytes of an object, in order, in pieces of up to 8 MiB. [`StoreReader::get_stream`] gives it.
///
/// It ends after the last byte or after an error. Up to 8 requests are under way at a time, also while it is not polled,
/// and their bytes take at most 128 MiB. Dropping it gives them up.
#[must_use = "a stream does nothing until it is polled"]
pub struct GetStream {
    /// The object; its size is the whole object's.
    info: ObjectInfo,
    /// Which bytes of the object the stream gives.
    range: Range<u64>,
    identity: Identity,
    reader: StoreReader,
    key: Arc<str>,
    /// The first piece, which came with what is known of the object.
    first: Option<Bytes>,
    /// Where the next request begins.
    next: u64,
    under_way: VecDeque<Going<Bytes>>,
}

impl StoreReader {
    /// Reads a large object, or a part of it, as a stream: concurrent ranged GETs, all of the version that the first one
    /// finds, which are read in order. So an object that is replaced meanwhile is a `Conflict`, and its bytes never mix with
    /// those of the other version. It is a read of truth. [`ReadRange::Suffix`] costs a HEAD more. This returns when the
    /// first piece is there.
    ///
    /// No more than half of the store's concurrent requests are taken by streams, so that small reads go on beside them.
    ///
    /// Dropping the future or the stream gives the read up.
    ///
    /// # Errors
    /// What [`get`](Self::get) answers; the stream gives the same, and `Conflict` when the object was replaced.
    pub async fn get_stream(&self, key: &str, range: ReadRange) -> Result<GetStream> {
        let reader = self.with_lane(Lane::Bulk);
        let (asked, version, most) = match range {
            ReadRange::Whole => (0..u64::MAX, None, u64::MAX),
            ReadRange::AtMost(most) => (0..u64::MAX, None, most),
            ReadRange::Range(range) => (range, None, u64::MAX),
            ReadRange::Suffix(bytes) => {
                // Where it begins is known with the size, and is right for that version only.
                let ObjectInfo { size, version, .. } = reader.head(key).await?.info;
                // A suffix of no bytes is refused below, as an empty range. An empty object has no range to ask for.
                let start = if size == 0 && bytes > 0 { 0..1 } else { size.saturating_sub(bytes)..size };
                (start, Some(version), u64::MAX)
            }
        };
        let piece = ReadRange::Range(asked.start..asked.end.min(asked.start.saturating_add(READ_BYTES)));
        let Fetched { bytes, range, info, identity } = reader.get(key, piece, version.as_ref()).await?;
        check_size(key, info.size, most)?;
        let end = asked.end.min(info.size).max(range.start);
        Ok(GetStream {
            next: range.end,
            range: range.start..end,
            info,
            identity,
            reader,
            key: key.into(),
            first: Some(bytes).filter(|bytes| !bytes.is_empty()),
            under_way: VecDeque::new(),
        })
    }
}

impl GetStream {
    /// The object; its size is the whole object's, in bytes.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Which bytes of the object the stream gives. Empty, and at the object's size, where the range asked for begins at or
    /// after the end.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Who made the object.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn request(&self, piece: Range<u64>) -> Going<Bytes> {
        let (reader, key, version): (_, _, Version) =
            (self.reader.clone(), self.key.clone(), self.info.version.clone());
        Going::start(async move {
            let fetched = reader.get(&key, ReadRange::Range(piece), Some(&version)).await?;
            Ok(fetched.bytes)
        })
    }
}

impl Stream for GetStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        while self.next < self.range.end && self.under_way.len() < REQUESTS {
            let piece = self.next..self.range.end.min(self.next.saturating_add(READ_BYTES));
            self.next = piece.end;
            let request = self.request(piece);
            self.under_way.push_back(request);
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(oldest) = self.under_way.front_mut() else { return Poll::Ready(None) };
        let read = ready!(Pin::new(oldest).poll(context));
        self.under_way.pop_front();
        if read.is_err() {
            self.next = self.range.end;
            self.under_way.clear();
        }
        Poll::Ready(Some(read))
    }
}

impl fmt::Debug for GetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.under_way.len();
        write!(f, "GetStream({} of {}, {:?}, {under_way} under way)", self.key, self.reader, self.range)
    }
}
