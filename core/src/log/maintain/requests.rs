//! Requests that are sent again until the store answers.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;

use crate::error::{Error, ErrorKind, Result};
use crate::log::retry::{Retries, Retry, patiently};
use crate::log::state::{BucketInner, PartitionState};
use crate::log::writer::bounded;
use crate::store::{Created, Identity, ListPage, ReadRange, may_pass};

/// Puts an object of a partition, whatever is there. `doing` says in logs and errors what it is for.
pub(super) async fn put(state: &Arc<PartitionState>, doing: &'static str, key: &str, bytes: Bytes) -> Result<()> {
    Objects::of(state).put(doing, key, bytes).await
}

/// Deletes an object of a partition, which may be gone already. `doing` says in logs and errors what it is for.
pub(super) async fn remove(state: &Arc<PartitionState>, doing: &'static str, key: &str) -> Result<()> {
    Objects::of(state).remove(doing, key).await
}

/// The objects of a bucket that are small and no part of a log.
#[derive(Clone, Copy)]
pub(super) struct Objects<'a> {
    bucket: &'a BucketInner,
    /// Takes what fails.
    retries: &'a Retries,
}

impl<'a> Objects<'a> {
    /// Those that belong to no partition.
    pub(super) fn in_bucket(bucket: &'a BucketInner) -> Self {
        Objects { bucket, retries: &bucket.retries }
    }

    /// Those that belong to a partition.
    pub(super) fn of(state: &'a PartitionState) -> Self {
        Objects { bucket: &state.bucket, retries: &state.retries }
    }

    /// Puts an object, whatever is there.
    pub(super) async fn put(self, doing: &'static str, key: &str, bytes: Bytes) -> Result<()> {
        let (runtime, size) = (&self.bucket.runtime, bytes.len() as u64);
        let put = || async {
            let put = self.bucket.reads.put(key, PutPayload::from_bytes(bytes.clone()));
            bounded(runtime, size, put).await?.map(drop)
        };
        patiently(self.retries, runtime, doing, put).await
    }

    /// Deletes an object, which may be gone already.
    pub(super) async fn remove(self, doing: &'static str, key: &str) -> Result<()> {
        let delete = || async { bounded(&self.bucket.runtime, 0, self.bucket.reads.delete(key)).await? };
        patiently(self.retries, &self.bucket.runtime, doing, delete).await
    }

    /// Reads an object of at most so many bytes, and when the store last modified it. `None` where there is none.
    pub(super) async fn find(self, key: &str, most: u64) -> Result<Option<(Bytes, i64)>> {
        let read = || self.bucket.reads.get(key, ReadRange::AtMost(most), None);
        match patiently(self.retries, &self.bucket.runtime, "reading", read).await {
            Ok(found) => Ok(Some((found.bytes, found.info.modified_ms))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object of at most `most` bytes unless it is there. Answers the bytes of the one that is there, which may be
    /// another program's: some stores answer a conflict and keep nothing, and a reply may be lost.
    pub(super) async fn create(self, doing: &'static str, key: &str, bytes: Bytes, most: u64) -> Result<Bytes> {
        let (store, runtime) = (&self.bucket.reads, &self.bucket.runtime);
        let mut retry = Retry::begin(self.retries, runtime, doing);
        loop {
            let nobody = Identity::none();
            let created = store.create(key, PutPayload::from_bytes(bytes.clone()), &nobody);
            let failure = match bounded(runtime, bytes.len() as u64, created).await.unwrap_or_else(Created::Unknown) {
                Created::Yes(_) | Created::Exists => None,
                Created::SyncFailed { error, .. } => return Err(error),
                Created::Refused(error) if !may_pass(&error) => return Err(error),
                Created::Refused(error) | Created::Unknown(error) => Some(error),
            };
            match (self.find(key, most).await?, failure) {
                (Some((there, _)), _) => {
                    retry.done();
                    store.settle(key).await?;
                    return Ok(there);
                }
                (None, Some(failure)) if !may_pass(&failure) => return Err(failure),
                (None, failure) => {
                    let kept_nothing = "the store answered that the object is there, and it is not";
                    let kept_nothing = || Error::new(ErrorKind::Unavailable, kept_nothing).with_key(key);
                    retry.after(failure.unwrap_or_else(kept_nothing)).await;
                }
            }
        }
    }

    /// A page of a listing.
    pub(super) async fn page(self, prefix: &str, after: Option<&str>, max: usize) -> Result<ListPage> {
        let list = || self.bucket.reads.list_page(prefix, after, max);
        patiently(self.retries, &self.bucket.runtime, "listing", list).await
    }

    /// The names under a prefix under which there are objects.
    pub(super) async fn dirs(self, prefix: &str) -> Result<Vec<String>> {
        let list = || self.bucket.reads.list_dirs(prefix);
        patiently(self.retries, &self.bucket.runtime, "listing", list).await
    }
}
