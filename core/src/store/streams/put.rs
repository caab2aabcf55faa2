//! Writes of large objects: concurrent parts of one upload.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::{FutureExt, Stream};
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload};
use tokio::runtime::Handle;

use super::super::dialect::Dialect;
use super::super::tries::tried;
use super::super::types::Identity;
use super::super::version::Version;
use super::super::writes::version_put;
use super::super::{Lane, Store};
use super::task::{Going, to_its_end};
use super::{MAX_PARTS, MAX_STREAM_BYTES, PART_BYTES, REQUESTS};
use crate::error::{Error, ErrorKind, Result};
use crate::recorder::RequestKind;

impl Store {
    /// Writes an object of any size up to [`MAX_STREAM_BYTES`] from a stream: creates it, or replaces what is there. An
    /// object of no more than [`PART_BYTES`] is one PUT. A larger one goes up in parts of that size, up to 8 at a time, and
    /// is not visible before all of them are there: until then readers find the old object or none. It takes at most 256
    /// MiB of memory, besides the piece that the stream gave last.
    ///
    /// On a directory a staging file is written, which is fsynced and renamed as for [`put`](Self::put). Each request of the
    /// upload is a call of its own: its beginning and its parts are tried again as other calls are, and each may take the
    /// setting `operation_timeout`. The request that makes the parts an object is sent once, because a second one could not
    /// tell what became of the first. The stream as a whole has no time limit: the caller sets one. No more than half of the
    /// store's concurrent requests are taken by streams.
    ///
    /// When it fails, and when the future is dropped, the upload is aborted: a task removes its parts. A process that ends
    /// in the middle leaves them on S3 and GCS, where they cost money and no listing shows them: give the bucket a lifecycle
    /// rule that aborts incomplete multipart uploads. Azure removes them after a week.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use futures_util::{TryStreamExt, stream};
    /// use kfs_core::store::{ReadRange, Store, StoreOptions};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let store = Store::open("memory:", &StoreOptions::default())?;
    /// let pieces = [Bytes::from_static(b"one, "), Bytes::from_static(b"two")];
    /// store.put_stream("numbers", stream::iter(pieces.map(Ok))).await?;
    ///
    /// let read: Vec<Bytes> = store.get_stream("numbers", ReadRange::Whole).await?.try_collect().await?;
    /// assert_eq!(read.concat(), b"one, two");
    /// # Ok::<(), kfs_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The error that the stream gave; `InvalidInput` for more than [`MAX_STREAM_BYTES`]; whatever failed at the store. The
    /// object is the old one then, unless the last request failed: after that it may be the new one.
    pub async fn put_stream(&self, key: &str, bytes: impl Stream<Item = Result<Bytes>> + Send) -> Result<Version> {
        let store = self.with_lane(Lane::Bulk);
        store.path(key)?;
        let mut upload = None;
        let written = store.write_stream(key, bytes, &mut upload).await;
        match (written, upload) {
            (Err(error), Some(upload)) => Err(upload.abort(error).await),
            (written, _) => written,
        }
    }

    /// Writes the stream. An upload that was begun is left in `upload`: its end is the caller's to see to.
    async fn write_stream(
        &self,
        key: &str,
        bytes: impl Stream<Item = Result<Bytes>> + Send,
        upload: &mut Option<Upload>,
    ) -> Result<Version> {
        let mut bytes = pin!(bytes);
        let mut part = Vec::new();
        while let Some(piece) = poll_fn(|context| poll_piece(bytes.as_mut(), upload, context)).await {
            let mut piece = piece?;
            while !piece.is_empty() {
                if part.len() == PART_BYTES {
                    if upload.is_none() {
                        // An upload that nobody waits for any more is dropped when it has begun, which aborts it.
                        let (store, key) = (self.clone(), key.to_string());
                        let begun =
                            async move { store.again("beginning an upload", &key, || store.begin_upload(&key)).await };
                        *upload = Some(to_its_end(begun).await?);
                    }
                    if let Some(upload) = upload {
                        upload.send(std::mem::take(&mut part)).await?;
                    }
                }
                let room = PART_BYTES.saturating_sub(part.len());
                append(&mut part, &piece.split_to(room.min(piece.len())));
            }
        }
        match upload {
            None => self.put(key, part.into()).await,
            Some(upload) => {
                upload.send(part).await?;
                upload.complete().await
            }
        }
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        let path = self.path(key)?;
        let place = self.permit().await?;
        let attempt = self.uncounted(RequestKind::Put, key)?;
        let attributes = self.attributes(&Identity::none());
        let mut options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        match (self.inner.client.backend.dialect, self.inner.client.backend.counted_on_the_wire) {
            // No request begins an upload there. object_store would send the attempt with the last one.
            (Dialect::Azure, _) => {}
            (_, true) => options.extensions = attempt.extensions(),
            (_, false) => attempt.count(1, 0),
        }
        #[cfg(feature = "_http")]
        let options = options.with_retry_policy(Arc::new(super::retries::PartRetries::new(self, key)));
        let begun = attempt.within(self.inner.client.commits.put_multipart_opts(&path, options)).await;
        let at_store = attempt.ends(begun.map_err(|error| self.not_put(&error, key, &attempt)))?;
        drop(place);
        Ok(Upload {
            store: self.clone(),
            key: key.into(),
            at_store: Some(at_store),
            parts: Vec::new(),
            sent: 0,
            bytes: 0,
            tokio: Handle::try_current().ok(),
        })
    }
}

/// The next piece of the stream, or the failure of a part: that ends the upload at once, though the stream may give nothing
/// for long.
fn poll_piece(
    bytes: Pin<&mut impl Stream<Item = Result<Bytes>>>,
    upload: &mut Option<Upload>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes>>> {
    match upload.as_mut().map(|upload| upload.poll_parts(context, 0)) {
        Some(Poll::Ready(Err(error))) => Poll::Ready(Some(Err(error))),
        _ => bytes.poll_next(context),
    }
}

/// Adds bytes to a part. They are copied, so that the parts take no more memory than they have bytes: a small piece may be
/// a view of a large buffer.
fn append(part: &mut Vec<u8>, bytes: &[u8]) {
    let length = part.len().saturating_add(bytes.len());
    if length > part.capacity() {
        // A small object takes little, and a part takes its size and no more.
        let capacity = if length <= PART_BYTES / 16 { length.saturating_mul(2) } else { PART_BYTES };
        part.reserve_exact(capacity.max(length).saturating_sub(part.len()));
    }
    part.extend_from_slice(bytes);
}

/// An upload under way. Dropping it aborts it.
struct Upload {
    store: Store,
    key: Arc<str>,
    /// `None` once it has ended.
    at_store: Option<Box<dyn MultipartUpload>>,
    /// The parts under way.
    parts: Vec<Going<()>>,
    sent: u64,
    bytes: usize,
    /// Where the abort runs after a drop, which may happen on any thread.
    tokio: Option<Handle>,
}

impl Upload {
    /// Waits until at most `most` parts are under way. The first failure is answered at once.
    fn poll_parts(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Result<()>> {
        let mut failed = None;
        self.parts.retain_mut(|part| match part.poll_unpin(context) {
            Poll::Pending => true,
            Poll::Ready(sent) => {
                failed = failed.take().or(sent.err());
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if self.parts.len() <= most => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Sends a part as soon as there is room for it.
    async fn send(&mut self, part: Vec<u8>) -> Result<()> {
        if self.sent == MAX_PARTS {
            let message = format!("the stream has more than {MAX_STREAM_BYTES} bytes, the most that an upload takes");
            return Err(Error::new(ErrorKind::InvalidInput, message).with_key(&*self.key));
        }
        poll_fn(|context| self.poll_parts(context, REQUESTS - 1)).await?;
        let Some(at_store) = &mut self.at_store else { return Err(ended(&self.key)) };
        let size = part.len();
        // The order of these calls is the order of the parts.
        let sending = at_store.put_part(PutPayload::from(part));
        self.sent += 1;
        self.bytes += size;
        let (store, key) = (self.store.clone(), self.key.clone());
        self.parts.push(Going::start(async move {
            let _place = store.permit().await?;
            // object_store lets no attempt travel with a part.
            let attempt = store.uncounted(RequestKind::Put, &key)?;
            attempt.count(1, u64::try_from(size).unwrap_or(u64::MAX));
            let sent = store.once("writing a part of an object", &key, || attempt.within(sending)).await;
            let sent = sent.and_then(|sent| sent.map_err(|error| store.not_put(&error, &key, &attempt)));
            attempt.ends(sent.map_err(|error| tried(error, attempt.failures().saturating_add(1))))
        }));
        Ok(())
    }

    /// Makes the parts an object.
    async fn complete(&mut self) -> Result<Version> {
        poll_fn(|context| self.poll_parts(context, 0)).await?;
        let Some(at_store) = &mut self.at_store else { return Err(ended(&self.key)) };
        let _place = self.store.permit().await?;
        let attempt = self.store.uncounted(RequestKind::Put, &self.key)?;
        attempt.count(1, 0);
        let completed = self.store.once("ending an upload", &self.key, || attempt.within(at_store.complete())).await;
        let failed = |error| self.store.not_put(&error, &self.key, &attempt);
        let answer = attempt.ends(completed.and_then(|completed| completed.map_err(failed)))?;
        self.at_store = None;
        Ok(version_put(&answer, self.bytes))
    }

    /// Removes what was sent, after an error, and gives that error.
    async fn abort(mut self, error: Error) -> Error {
        let (parts, at_store) = (std::mem::take(&mut self.parts), self.at_store.take());
        let Some(at_store) = at_store else { return error };
        match abort(&self.store, &self.key, parts, at_store).await {
            Err(left) if error.hint().is_none() => {
                error.with_hint(format!("parts of the upload are left at the store, for its abort failed too: {left}"))
            }
            _ => error,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (parts, at_store) = (std::mem::take(&mut self.parts), self.at_store.take());
        let (Some(at_store), Some(tokio)) = (at_store, &self.tokio) else { return };
        let (store, key) = (self.store.clone(), self.key.clone());
        // Nobody is left to be told, except the recorder.
        tokio.spawn(async move { drop(abort(&store, &key, parts, at_store).await) });
    }
}

/// Aborts an upload. A part that arrives after the abort would stay, so the parts end first.
async fn abort(store: &Store, key: &str, parts: Vec<Going<()>>, mut at_store: Box<dyn MultipartUpload>) -> Result<()> {
    for part in parts {
        part.stop().await;
    }
    let _place = store.permit().await?;
    let attempt = store.uncounted(RequestKind::Delete, key)?;
    if store.inner.client.backend.dialect != Dialect::Azure {
        attempt.count(1, 0);
    }
    attempt.ends(attempt.within(at_store.abort()).await.map_err(|error| store.failed(&error, key, &attempt)))
}

fn ended(key: &str) -> Error {
    Error::new(ErrorKind::Internal, "the upload has ended already").with_key(key)
}
