//! Requests that create, replace and remove one object.

use std::sync::atomic::Ordering;

use object_store::{Attribute, Attributes, CopyOptions, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult};

use super::dialect::Dialect;
use super::failure::{self, PutCondition, PutFailure, StoreFailure};
use super::meter::Attempt;
use super::types::{Created, Identity, Replaced};
use super::version::Version;
use super::{Backend, KFSCOPIED, KFSID, KFSMERGED, KFSNAME, Lane, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::mutant::mutant;
use crate::recorder::{RequestKind, RequestOutcome};

/// The largest object that S3 copies in one request, in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
const S3_COPY_LIMIT: u64 = 5 << 30;

impl Store {
    /// Creates an object, unless its name is taken. The outcome says what is known; see
    /// [`Created`]. Never in parts, whatever its size. Where the store is one that [`Store::open`] made it is sent once,
    /// because a second try could not tell the first one's object from another's, and takes at most the setting
    /// `operation_timeout`. It comes after one HEAD where
    /// [`StoreOptions::single_writer`](super::StoreOptions::single_writer) makes up for a store without create-if-absent.
    ///
    /// On a directory the bytes and the name are durable when this answers [`Created::Yes`], and a
    /// `kfsid` makes it idempotent within this process. There, dropping the future ends the wait
    /// only; the work goes on. Elsewhere dropping it gives the request up, which may still be applied.
    pub async fn create(&self, key: &str, payload: PutPayload, identity: &Identity) -> Created {
        let created = self.once("creating an object", key, || self.create_once(key, payload, identity)).await;
        created.unwrap_or_else(Created::Unknown)
    }

    async fn create_once(&self, key: &str, payload: PutPayload, identity: &Identity) -> Created {
        if !self.inner.creates_plainly.load(Ordering::Relaxed) {
            return self.put_new(key, payload, identity, PutMode::Create).await;
        }
        // Nothing keeps another writer from the name between the two: the caller promised that there is none.
        match self.head_once(key).await {
            Ok(_) => Created::Exists,
            Err(absent) if absent.kind() == ErrorKind::NotFound => {
                self.put_new(key, payload, identity, PutMode::Overwrite).await
            }
            Err(error) => Created::Refused(error),
        }
    }

    async fn put_new(&self, key: &str, payload: PutPayload, identity: &Identity, mode: PutMode) -> Created {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return Created::Refused(error),
        };
        let _permit = match self.permit().await {
            Ok(permit) => permit,
            Err(error) => return Created::Refused(error),
        };
        let size = payload.content_length();
        let attempt = match self.attempt(RequestKind::Put, key, size) {
            Ok(attempt) => attempt,
            Err(error) => return Created::Refused(error),
        };
        let overwrites = mutant!(OverwriteInsteadOfCreate) && identity.kfsid.is_some();
        let options = PutOptions {
            mode: if overwrites { PutMode::Overwrite } else { mode },
            attributes: self.attributes(identity),
            extensions: attempt.extensions(),
            ..PutOptions::default()
        };
        let created = match attempt.within(self.inner.client.commits.put_opts(&path, payload, options)).await {
            Ok(answer) => Created::Yes(version_put(&answer, size)),
            Err(error) => self.not_created(&error, key, &attempt),
        };
        match &created {
            Created::Yes(_) => attempt.end(RequestOutcome::Done),
            Created::Exists => attempt.end(RequestOutcome::Failed(ErrorKind::Conflict)),
            Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => {
                attempt.fail(error);
            }
        }
        created
    }

    fn not_created(&self, error: &object_store::Error, key: &str, attempt: &Attempt) -> Created {
        let mapped = self.failed(error, key, attempt);
        let Backend { dialect, single_attempt, .. } = self.inner.client.backend;
        match PutFailure::of(error, attempt.status(), PutCondition::FreeName, dialect, single_attempt) {
            PutFailure::Condition => Created::Exists,
            // The bucket is absent, and an earlier try may have been applied while it was there.
            PutFailure::Absent if !single_attempt => Created::Unknown(mapped),
            PutFailure::Absent | PutFailure::Refused => Created::Refused(mapped),
            PutFailure::Unknown => Created::Unknown(mapped),
            PutFailure::SyncFailed { visible } => Created::SyncFailed { visible, error: mapped },
        }
    }

    /// Replaces an object by another one, if it is that version still. The outcome says what is known; see [`Replaced`]
    /// for what the caller does then. Where the store is one that [`Store::open`] made it is sent once, so that its outcome
    /// is known, and takes at most the setting `operation_timeout`. A condition that does not hold costs one HEAD more,
    /// which tells an object that is gone from one that changed.
    ///
    /// On a directory it is atomic between processes, the bytes and the name are durable when this answers
    /// [`Replaced::Yes`], and readers that have the old file open or mapped go on with it. There, dropping the future ends
    /// the wait only; the work goes on. Elsewhere dropping it gives the request up, which may still be applied.
    pub async fn replace_if(&self, key: &str, payload: PutPayload, identity: &Identity, version: &Version) -> Replaced {
        let replace = || self.replace_once(key, payload, identity, version);
        self.once("replacing an object", key, replace).await.unwrap_or_else(Replaced::Unknown)
    }

    async fn replace_once(&self, key: &str, payload: PutPayload, identity: &Identity, version: &Version) -> Replaced {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return Replaced::Refused(error),
        };
        let Some(condition) = version.condition(self.inner.client.backend.quoted_e_tags) else {
            let error =
                Error::new(ErrorKind::InvalidInput, "the version to replace has neither an ETag nor a generation");
            return Replaced::Refused(error.with_hint("take the version from a read of the object").with_key(key));
        };
        let permit = match self.permit().await {
            Ok(permit) => permit,
            Err(error) => return Replaced::Refused(error),
        };
        let size = payload.content_length();
        let attempt = match self.attempt(RequestKind::Put, key, size) {
            Ok(attempt) => attempt,
            Err(error) => return Replaced::Refused(error),
        };
        let options = PutOptions {
            mode: PutMode::Update(condition),
            attributes: self.attributes(identity),
            extensions: attempt.extensions(),
            ..PutOptions::default()
        };
        let error = match attempt.within(self.inner.client.commits.put_opts(&path, payload, options)).await {
            Ok(answer) => {
                attempt.end(RequestOutcome::Done);
                return Replaced::Yes(version_put(&answer, size));
            }
            Err(error) => error,
        };
        drop(permit);
        let mapped = self.failed(&error, key, &attempt);
        attempt.fail(&mapped);
        let Backend { dialect, single_attempt, .. } = self.inner.client.backend;
        match PutFailure::of(&error, attempt.status(), PutCondition::SameVersion, dialect, single_attempt) {
            PutFailure::Condition => match self.head_once(key).await {
                Err(gone) if gone.kind() == ErrorKind::NotFound => Replaced::NotFound,
                _ => Replaced::Changed,
            },
            PutFailure::Absent => Replaced::NotFound,
            PutFailure::Refused => Replaced::Refused(mapped),
            PutFailure::Unknown => Replaced::Unknown(mapped),
            PutFailure::SyncFailed { visible } => Replaced::SyncFailed { visible, error: mapped },
        }
    }

    /// Writes an object: creates it, or replaces what is there. Never in parts, whatever its size; see
    /// [`put_stream`](Self::put_stream) for large objects.
    ///
    /// Dropping the future gives the request up, which may still be applied. On a directory it ends the wait only.
    ///
    /// # Errors
    /// Whatever failed; the object may be the old or the new one, and a try that was not answered may be applied yet. On a directory a failed fsync is told
    /// by [`SyncFailure::of`](super::SyncFailure::of), here and by `delete` and `settle`.
    pub async fn put(&self, key: &str, payload: PutPayload) -> Result<Version> {
        let identity = Identity::none();
        self.again("writing an object", key, || self.put_as(key, payload.clone(), &identity)).await
    }

    /// The same as one request, with an identity. A directory does not keep it.
    pub(super) async fn put_as(&self, key: &str, payload: PutPayload, identity: &Identity) -> Result<Version> {
        let path = self.path(key)?;
        let _permit = self.permit().await?;
        let size = payload.content_length();
        let attempt = self.attempt(RequestKind::Put, key, size)?;
        let options = PutOptions {
            attributes: self.attributes(identity),
            extensions: attempt.extensions(),
            ..PutOptions::default()
        };
        let put = attempt.within(self.inner.client.commits.put_opts(&path, payload, options)).await;
        attempt.ends(put.map_err(|error| self.not_put(&error, key, &attempt))).map(|answer| version_put(&answer, size))
    }

    /// What goes with a new object: who made it, and the class of storage that is set.
    pub(super) fn attributes(&self, identity: &Identity) -> Attributes {
        let mut attributes = Attributes::new();
        if let Some(class) = &self.inner.storage_class {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        let Identity { kfsid, kfsname, kfsmerged, kfscopied } = identity;
        let fields = [(KFSID, kfsid), (KFSNAME, kfsname), (KFSMERGED, kfsmerged), (KFSCOPIED, kfscopied)];
        for (name, value) in fields {
            if let Some(value) = value {
                attributes.insert(Attribute::Metadata(name.into()), value.clone().into());
            }
        }
        attributes
    }

    /// The error of a write without a condition.
    pub(super) fn not_put(&self, error: &object_store::Error, key: &str, attempt: &Attempt) -> Error {
        use object_store::Error as E;
        match error {
            E::AlreadyExists { .. } | E::Precondition { .. } => attempt.named(failure::met(error, key)),
            _ => self.failed(error, key, attempt),
        }
    }

    /// Copies an object to another key, and replaces what is there. The store itself copies, so no byte passes through
    /// this process. The identity goes with it where the store keeps one. A try that fails costs one HEAD more, which tells
    /// why.
    ///
    /// S3 copies at most 5 GiB in one request. Copy a larger object by [`get_stream`](super::StoreReader::get_stream) and
    /// [`put_stream`](Self::put_stream).
    ///
    /// Dropping the future gives the request up, which may still be applied. On a directory it ends the wait only.
    ///
    /// # Errors
    /// `NotFound` when there is no object at `from`; `InvalidInput` when both keys are the same; `Unsupported` for an
    /// object that is too large for S3; `Unavailable` also when Azure has not finished the copy yet, which is not tried
    /// again. After any other than the first three the object at `to` may be the old or the new one.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.again("copying an object", to, || self.copy_once(from, to)).await?
    }

    /// One try. The outer error is one that may pass.
    async fn copy_once(&self, from: &str, to: &str) -> Result<Result<()>> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        if source == target {
            return Err(Error::new(ErrorKind::InvalidInput, "an object can't be copied to its own key").with_key(to));
        }
        let bulk = self.with_lane(Lane::Bulk);
        let permit = bulk.permit().await?;
        // object_store lets no attempt travel with a copy.
        let attempt = self.uncounted(RequestKind::Put, to)?;
        attempt.count(1, 0);
        let copied = attempt.within(self.inner.client.commits.copy_opts(&source, &target, CopyOptions::new())).await;
        let Err(error) = copied else { return Ok(attempt.ends(Ok(()))) };
        let failed = self.not_put(&error, to, &attempt);
        let failed = attempt.ends::<()>(Err(failed));
        drop(permit);
        // Stores word a missing source in many ways, and some fail on a large one as if they were away.
        match self.head_once(from).await {
            Err(missing) if missing.kind() == ErrorKind::NotFound => Err(missing),
            Ok(there) if self.inner.client.backend.dialect == Dialect::S3 && there.info.size > S3_COPY_LIMIT => {
                let message = format!("S3 copies at most {S3_COPY_LIMIT} bytes, the object has {}", there.info.size);
                let error = Error::new(ErrorKind::Unsupported, message).with_key(from);
                Err(error.with_hint("read it by get_stream and write it by put_stream").of_the_store())
            }
            // The store goes on with a copy that it has not finished, and refuses a second one meanwhile.
            _ if StoreFailure::find(&error).is_some() => Ok(failed),
            _ => failed.map(Ok),
        }
    }

    /// Deletes an object. One that is not there is deleted already.
    ///
    /// Dropping the future gives the request up, which may still be applied. On a directory it ends the wait only.
    ///
    /// # Errors
    /// Whatever failed; the object may be gone or not.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.again("deleting an object", key, || self.delete_once(key)).await
    }

    async fn delete_once(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let _permit = self.permit().await?;
        // object_store lets no attempt travel with a DELETE.
        let attempt = self.uncounted(RequestKind::Delete, key)?;
        attempt.count(1, 0);
        attempt.ends(match attempt.within(self.inner.client.reads.delete(&path)).await {
            Ok(()) => Ok(()),
            // Also after a try that was applied and not answered.
            Err(error) => match self.failed(&error, key, &attempt) {
                absent if absent.kind() == ErrorKind::NotFound => Ok(()),
                failed => Err(failed),
            },
        })
    }

    /// Makes certain that an object that is there is durable: on a directory file and directories
    /// are fsynced again. Elsewhere what is there is durable, and nothing is sent.
    ///
    /// Dropping the future ends the wait only.
    ///
    /// # Errors
    /// `NotFound`; what a failed fsync says.
    pub async fn settle(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let Some(local) = self.local() else { return Ok(()) };
        let _permit = self.permit().await?;
        local.settle_durably(path.as_ref()).await.map_err(|error| self.mapped(&error, key))
    }
}

/// The version that a write made, of this many bytes.
pub(super) fn version_put(answer: &PutResult, size: usize) -> Version {
    let version = Version::new(answer.e_tag.as_deref(), u64::try_from(size).unwrap_or(u64::MAX), None);
    version.with_generation(answer.version.as_deref())
}
