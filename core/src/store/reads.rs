//! Reads of one object: of truth, and of data.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore};

use super::breaker::Breaker;
use super::failure::{self, StoreFailure};
use super::meter::Attempt;
use super::types::{Fetched, Identity, ObjectInfo, ReadRange};
use super::version::Version;
use super::{KFSCOPIED, KFSID, KFSMERGED, KFSNAME, StoreReader};
use crate::error::{Error, ErrorKind, Result};
use crate::mutant::mutant;
use crate::recorder::RequestKind;
use crate::text::counted;

/// What a read does, for those who watch it.
const READING: &str = "reading an object";

/// How often the end of an object is looked for that is replaced meanwhile.
const END_LOOKS: usize = 4;

/// What is read, and so who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadOf {
    /// What stays right when it is old.
    Data,
    /// What must be the newest.
    Truth,
}

/// Who is asked: the store itself or a copy of it.
#[derive(Clone, Copy)]
pub(super) struct ReadFrom<'a> {
    pub(super) client: &'a dyn ObjectStore,
    /// A copy that is away says nothing of the store.
    pub(super) breaker: Option<&'a Arc<Breaker>>,
    pub(super) is_replica: bool,
}

impl StoreReader {
    /// Reads an object, or a part of it, as it is now: a read of truth. With `if_match`, only if it is that version still.
    ///
    /// Dropping the future gives the read up.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the object is another version; `InvalidInput` for an empty range
    /// or a key that can't be one; `Corrupt` for an object of more bytes than [`ReadRange::AtMost`]
    /// allows; `Unavailable` for a body that ended early, too.
    pub async fn get(&self, key: &str, range: ReadRange, if_match: Option<&Version>) -> Result<Fetched> {
        self.again(READING, key, || self.read(ReadOf::Truth, key, range.clone(), if_match)).await
    }

    /// Reads a part of an object that a copy of the store may answer, though it lags. Only for what stays right then: the
    /// body of a segment by its version, and a sparse index, which is a hint. Where a copy has no answer, or another
    /// version, the store itself is asked.
    ///
    /// Dropping the future gives the read up.
    ///
    /// # Errors
    /// What [`get`](Self::get) answers.
    pub async fn get_data(&self, key: &str, range: ReadRange, if_match: Option<&Version>) -> Result<Fetched> {
        self.again(READING, key, || self.read(ReadOf::Data, key, range.clone(), if_match)).await
    }

    /// The one place that says where which read goes.
    async fn read(&self, of: ReadOf, key: &str, range: ReadRange, if_match: Option<&Version>) -> Result<Fetched> {
        if of == ReadOf::Data
            && let Some(replica) = &self.inner.client.replica
            // In a box, so that reads without a replica stay small.
            && let Some(found) = Box::pin(self.read_from_replica(replica, key, &range, if_match)).await
        {
            return Ok(found);
        }
        match range {
            ReadRange::Suffix(bytes) if bytes > 0 && self.inner.client.lacks_suffix_ranges.load(Ordering::Relaxed) => {
                self.read_end(key, bytes, if_match).await
            }
            range => self.read_from(self.itself(), key, range, if_match).await,
        }
    }

    /// Reads the last bytes of an object where the store serves them only by their place: a HEAD tells the size, and the
    /// read takes no other version than the one that the HEAD saw.
    async fn read_end(&self, key: &str, bytes: u64, if_match: Option<&Version>) -> Result<Fetched> {
        for _ in 0..END_LOOKS {
            let mut there = self.head_once(key).await?;
            check_version(key, &there.info, if_match)?;
            let size = there.info.size;
            if size == 0 {
                there.range = 0..0;
                return Ok(there);
            }
            let range = ReadRange::Range(size.saturating_sub(bytes)..size);
            match self.read_from(self.itself(), key, range, Some(&there.info.version)).await {
                // The caller asked for what is there now, and it was replaced since the HEAD.
                Err(changed) if changed.kind() == ErrorKind::Conflict && if_match.is_none() => {}
                read => return read,
            }
        }
        let message = format!("the object was replaced during each of {END_LOOKS} looks at its end");
        Err(Error::new(ErrorKind::Unavailable, message).with_key(key).of_the_store())
    }

    fn itself(&self) -> ReadFrom<'_> {
        let client = &self.inner.client;
        ReadFrom { client: client.reads.as_ref(), breaker: client.breaker.as_ref(), is_replica: false }
    }

    async fn read_from(
        &self,
        from: ReadFrom<'_>,
        key: &str,
        range: ReadRange,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        let _permit = self.permit_of(from.breaker).await?;
        self.read_placed(from, key, range, if_match).await
    }

    /// The same for a caller that holds a place among the concurrent requests.
    pub(super) async fn read_placed(
        &self,
        from: ReadFrom<'_>,
        key: &str,
        range: ReadRange,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        let path = self.path(key)?;
        let most = if let ReadRange::AtMost(most) = range { most } else { u64::MAX };
        let asked = match range {
            // A file is read before its size is told, so no more is asked for than is wanted.
            ReadRange::AtMost(most) if self.local().is_some() => Some(GetRange::Bounded(0..most.saturating_add(1))),
            ReadRange::Whole | ReadRange::AtMost(_) => None,
            ReadRange::Range(range) if range.start < range.end => Some(GetRange::Bounded(range)),
            ReadRange::Suffix(bytes) if bytes > 0 => Some(GetRange::Suffix(bytes)),
            _ => return Err(Error::new(ErrorKind::InvalidInput, "an empty range was asked for").with_key(key)),
        };
        let attempt = self.attempt_of(from.breaker, RequestKind::Get, key, 0)?;
        let mut options = GetOptions::new();
        options.range = asked.clone();
        options.if_match = if_match.and_then(|version| version.if_match(self.inner.client.backend.quoted_e_tags));
        options.extensions = attempt.extensions();
        let fetched = match attempt.within(from.client.get_opts(&path, options)).await {
            Ok(answer) => {
                let body = self.body(&attempt, key, answer, asked, most, if_match);
                attempt.ends(attempt.within(body).await)?
            }
            // A store answers a range that begins after the end with an error that can't be told
            // from others. That must not look like a store that is away, for it would be asked for
            // ever: one HEAD tells.
            Err(error) => {
                let failed = match self.failed(&error, key, &attempt) {
                    // A copy that lacks an object lags. One that is not there at all is of no use.
                    failed if from.is_replica && failure::is_bucket_missing(&error) => {
                        failed.with_kind(ErrorKind::InvalidInput).with_message("the replica's bucket does not exist")
                    }
                    failed => failed,
                };
                let failed = attempt.ends(Err(failed));
                match asked {
                    Some(asked) if may_be_out_of_range(&error, attempt.status()) => {
                        self.beyond_the_end(from, key, &path, &asked, failed).await?
                    }
                    _ => return failed,
                }
            }
        };
        check_size(key, fetched.info.size, most)?;
        check_version(key, &fetched.info, if_match)?;
        Ok(fetched)
    }

    /// What a store says of an object now, without its bytes: one HEAD for each try, a read of truth.
    ///
    /// Dropping the future gives the read up.
    ///
    /// # Errors
    /// `NotFound`, and what [`get`](Self::get) answers.
    pub async fn head(&self, key: &str) -> Result<Fetched> {
        self.again("looking at an object", key, || self.head_once(key)).await
    }

    /// The same as one request, which is part of another call.
    pub(super) async fn head_once(&self, key: &str) -> Result<Fetched> {
        let path = self.path(key)?;
        let _permit = self.permit().await?;
        self.head_at(self.itself(), key, &path).await
    }

    /// Whether there is an object: one HEAD for each try, a read of truth. In a bucket that does not exist there is none, because most
    /// stores answer both alike.
    ///
    /// Dropping the future gives the read up.
    ///
    /// # Errors
    /// What [`head`](Self::head) answers, except `NotFound`.
    pub async fn exists(&self, key: &str) -> Result<bool> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The size of an object in bytes: one HEAD for each try, a read of truth.
    ///
    /// Dropping the future gives the read up.
    ///
    /// # Errors
    /// What [`head`](Self::head) answers.
    pub async fn size(&self, key: &str) -> Result<u64> {
        self.head(key).await.map(|found| found.info.size)
    }

    async fn head_at(&self, from: ReadFrom<'_>, key: &str, path: &Path) -> Result<Fetched> {
        let attempt = self.attempt_of(from.breaker, RequestKind::Get, key, 0)?;
        let options = GetOptions::new().with_head(true).with_extensions(attempt.extensions());
        let answer = attempt.within(from.client.get_opts(path, options)).await;
        let answer = attempt.ends(answer.map_err(|error| self.failed(&error, key, &attempt)))?;
        let info = info(key.to_string(), &answer.meta);
        Ok(Fetched { bytes: Bytes::new(), range: 0..0, info, identity: self.identity(&answer.attributes) })
    }

    async fn beyond_the_end(
        &self,
        from: ReadFrom<'_>,
        key: &str,
        path: &Path,
        asked: &GetRange,
        otherwise: Result<Fetched>,
    ) -> Result<Fetched> {
        let mut fetched = self.head_at(from, key, path).await?;
        let size = fetched.info.size;
        let beyond = match asked {
            GetRange::Bounded(range) => range.start >= size,
            GetRange::Offset(start) => *start >= size,
            GetRange::Suffix(_) => size == 0,
        };
        if !beyond {
            return otherwise;
        }
        fetched.range = size..size;
        Ok(fetched)
    }

    async fn body(
        &self,
        attempt: &Attempt,
        key: &str,
        answer: GetResult,
        asked: Option<GetRange>,
        most: u64,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        let info = info(key.to_string(), &answer.meta);
        // What was declared is what is wanted, and the body is no more than was declared.
        check_size(key, info.size, most)?;
        check_version(key, &info, if_match)?;
        let identity = self.identity(&answer.attributes);
        let size = info.size;
        let expected = match asked {
            None => 0..size,
            Some(GetRange::Bounded(range)) => range.start.min(size)..range.end.min(size),
            Some(GetRange::Offset(start)) => start.min(size)..size,
            Some(GetRange::Suffix(bytes)) => size.saturating_sub(bytes)..size,
        };
        let answered = answer.range.clone();
        if answered != expected {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the store answered bytes {} to {}, asked were {} to {}",
                    answered.start, answered.end, expected.start, expected.end
                ),
            )
            .with_key(key));
        }
        let bytes = self.collect(key, answer.payload, &expected).await?;
        attempt.received(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(Fetched { bytes, range: expected, info, identity })
    }

    async fn collect(&self, key: &str, payload: GetResultPayload, expected: &Range<u64>) -> Result<Bytes> {
        let wanted = expected.end.saturating_sub(expected.start);
        let mut stream = match payload {
            GetResultPayload::Stream(stream) => stream,
            // Another crate in the build may switch on object_store's own local store.
            #[allow(unreachable_patterns)]
            _ => {
                return Err(Error::new(ErrorKind::Unsupported, "object_store's LocalFileSystem is not durable enough")
                    .with_hint("open the directory by its file: URL"));
            }
        };
        let mut chunks: Vec<Bytes> = Vec::new();
        let mut length = 0u64;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| self.mapped(&error, key))?;
            length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if length > wanted {
                break;
            }
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        if mutant!(FillUpCutBody) && length < wanted {
            chunks.push(vec![0; usize::try_from(wanted.saturating_sub(length)).unwrap_or_default()].into());
            length = wanted;
        }
        if length != wanted {
            let message = format!("the body had {}, {wanted} were promised", counted(length, "byte"));
            return Err(Error::new(ErrorKind::Unavailable, message).with_key(key));
        }
        if chunks.len() <= 1 {
            return Ok(chunks.pop().unwrap_or_default());
        }
        // Sized by what arrived, not by what a header promised.
        let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
        for chunk in chunks {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Who made an object. What the server was sent in secret is taken out: both names end up in messages.
    fn identity(&self, attributes: &Attributes) -> Identity {
        let field =
            |name: &'static str| attributes.get(&Attribute::Metadata(name.into())).map(|value| value.to_string());
        let kfsid = field(KFSID).map(|kfsid| match kfsid.split_once('.') {
            // The number is ours to compare, and short enough to be like any secret.
            Some((writer, flush)) if flush.parse::<u64>().is_ok() => format!("{}.{flush}", self.redact(writer)),
            _ => self.redact(&kfsid),
        });
        let kfsname = field(KFSNAME).map(|name| self.redact(&name));
        Identity { kfsid, kfsname, kfsmerged: field(KFSMERGED), kfscopied: field(KFSCOPIED) }
    }

    /// A request about to be made, with this many bytes of a body. Where no connector counts tries, it counts as one now.
    ///
    /// # Errors
    /// The breaker's refusal, here and below: nothing was sent.
    pub(super) fn attempt(&self, kind: RequestKind, key: &str, bytes_out: usize) -> Result<Attempt> {
        self.attempt_of(self.inner.client.breaker.as_ref(), kind, key, bytes_out)
    }

    fn attempt_of(
        &self,
        breaker: Option<&Arc<Breaker>>,
        kind: RequestKind,
        key: &str,
        bytes_out: usize,
    ) -> Result<Attempt> {
        let attempt = self.uncounted_of(breaker, kind, key)?;
        if !self.inner.client.backend.counted_on_the_wire {
            attempt.count(1, u64::try_from(bytes_out).unwrap_or(u64::MAX));
        }
        Ok(attempt)
    }

    /// A request for a listing, which the caller counts. The prefix is one of the store's.
    pub(super) fn listing(&self, prefix: &str) -> Result<Attempt> {
        self.uncounted(RequestKind::List, prefix.strip_prefix(&self.inner.prefix).unwrap_or(prefix))
    }

    /// A request that the caller counts.
    pub(super) fn uncounted(&self, kind: RequestKind, key: &str) -> Result<Attempt> {
        self.uncounted_of(self.inner.client.breaker.as_ref(), kind, key)
    }

    fn uncounted_of(&self, breaker: Option<&Arc<Breaker>>, kind: RequestKind, key: &str) -> Result<Attempt> {
        let pass = breaker.map(|breaker| breaker.pass(&self.inner.url, &self.observer)).transpose()?;
        Ok(Attempt::new(&self.inner.meter, &self.observer, kind, key, pass))
    }
}

/// No more is read of an object than the caller can use.
pub(super) fn check_size(key: &str, size: u64, most: u64) -> Result<()> {
    if size <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("found an object of {}, expected at most {most}", counted(size, "byte")),
    )
    .with_key(key))
}

fn check_version(key: &str, info: &ObjectInfo, if_match: Option<&Version>) -> Result<()> {
    let Some(version) = if_match.filter(|version| !version.same_as(&info.version)) else { return Ok(()) };
    // One version has one size. That the object was replaced would be the wrong conclusion.
    if version.e_tag().is_some() && version.e_tag() == info.version.e_tag() && version.size() != info.version.size() {
        let [told, found] = [version, &info.version].map(|version| counted(version.size(), "byte"));
        let message = format!(
            "the store contradicts itself: a listing or an earlier answer said that this version of the object has {told}, \
             and a read found {found}"
        );
        return Err(Error::new(ErrorKind::Unavailable, message).with_key(key).of_the_store());
    }
    Err(failure::changed(key))
}

fn may_be_out_of_range(error: &object_store::Error, status: Option<u16>) -> bool {
    // What we found wrong with an answer ourselves is certain.
    if StoreFailure::find(error).is_some() {
        return false;
    }
    match status {
        // To a range of an empty object some servers answer 200 or 206, and object_store takes that amiss.
        Some(status) => matches!(status, 200 | 206 | 416),
        None => matches!(error, object_store::Error::Generic { .. }),
    }
}

/// An object as object_store describes it, under our key.
pub(super) fn info(key: String, meta: &ObjectMeta) -> ObjectInfo {
    let modified_ms = meta.last_modified.timestamp_millis();
    let version = Version::new(meta.e_tag.as_deref(), meta.size, Some(modified_ms));
    let version = version.with_generation(meta.version.as_deref());
    ObjectInfo { key, size: meta.size, modified_ms, version }
}
