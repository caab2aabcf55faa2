//! Requests that create, replace and remove one object.

use object_store::{Attribute, Attributes, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult};

use super::failure::{self, PutCondition, PutFailure};
use super::meter::Attempt;
use super::types::{Created, Identity, ReadRange, Replaced};
use super::version::Version;
use super::{Backend, KFSID, KFSMERGED, KFSNAME, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::format::MAX_SEGMENT_LEN;
use crate::mutant::mutant;
use crate::recorder::{RequestKind, RequestOutcome};

impl Store {
    /// Creates an object, unless its name is taken. The outcome says what is known; see
    /// [`Created`]. Never in parts, whatever its size. Sent once where the store is one that
    /// [`Store::open`] made. There is no time-out here: the caller sets one.
    ///
    /// On a directory the bytes and the name are durable when this answers [`Created::Yes`], and a
    /// `kfsid` makes it idempotent within this process. There, dropping the future ends the wait
    /// only; the work goes on. Elsewhere dropping it gives the request up, which may still be applied.
    pub async fn create(&self, key: &str, payload: PutPayload, identity: &Identity) -> Created {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return Created::Refused(error),
        };
        let _permit = match self.permit().await {
            Ok(permit) => permit,
            Err(error) => return Created::Refused(error),
        };
        let size = payload.content_length();
        let attempt = self.attempt(RequestKind::Put, key, size);
        let overwrites = mutant!(OverwriteInsteadOfCreate) && identity.kfsid.is_some();
        let options = PutOptions {
            mode: if overwrites { PutMode::Overwrite } else { PutMode::Create },
            attributes: attributes(identity),
            extensions: attempt.extensions(),
            ..PutOptions::default()
        };
        let created = match attempt.within(self.inner.commits.put_opts(&path, payload, options)).await {
            Ok(answer) => Created::Yes(version_put(&answer, size)),
            Err(error) => self.not_created(&error, key, &attempt),
        };
        attempt.end(match &created {
            Created::Yes(_) => RequestOutcome::Done,
            Created::Exists => RequestOutcome::Failed(ErrorKind::Conflict),
            Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => {
                RequestOutcome::Failed(error.kind())
            }
        });
        created
    }

    fn not_created(&self, error: &object_store::Error, key: &str, attempt: &Attempt) -> Created {
        let mapped = self.failed(error, key, attempt);
        let Backend { dialect, single_attempt, .. } = self.inner.backend;
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
    /// for what the caller does then. Sent once where the store is one that [`Store::open`] made; a condition that does
    /// not hold costs one HEAD more, which tells an object that is gone from one that changed. There is no time-out here:
    /// the caller sets one.
    ///
    /// On a directory it is atomic between processes, the bytes and the name are durable when this answers
    /// [`Replaced::Yes`], and readers that have the old file open or mapped go on with it. There, dropping the future ends
    /// the wait only; the work goes on. Elsewhere dropping it gives the request up, which may still be applied.
    pub async fn replace_if(&self, key: &str, payload: PutPayload, identity: &Identity, version: &Version) -> Replaced {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return Replaced::Refused(error),
        };
        let Some(condition) = version.condition(self.inner.backend.quoted_e_tags) else {
            let error =
                Error::new(ErrorKind::InvalidInput, "the version to replace has neither an ETag nor a generation");
            return Replaced::Refused(error.with_hint("take the version from a read of the object").with_key(key));
        };
        let permit = match self.permit().await {
            Ok(permit) => permit,
            Err(error) => return Replaced::Refused(error),
        };
        let size = payload.content_length();
        let attempt = self.attempt(RequestKind::Put, key, size);
        let options = PutOptions {
            mode: PutMode::Update(condition),
            attributes: attributes(identity),
            extensions: attempt.extensions(),
            ..PutOptions::default()
        };
        let error = match attempt.within(self.inner.commits.put_opts(&path, payload, options)).await {
            Ok(answer) => {
                attempt.end(RequestOutcome::Done);
                return Replaced::Yes(version_put(&answer, size));
            }
            Err(error) => error,
        };
        drop(permit);
        let mapped = self.failed(&error, key, &attempt);
        attempt.end(RequestOutcome::Failed(mapped.kind()));
        let Backend { dialect, single_attempt, .. } = self.inner.backend;
        match PutFailure::of(&error, attempt.status(), PutCondition::SameVersion, dialect, single_attempt) {
            PutFailure::Condition => match self.head(key).await {
                Err(gone) if gone.kind() == ErrorKind::NotFound => Replaced::NotFound,
                _ => Replaced::Changed,
            },
            PutFailure::Absent => Replaced::NotFound,
            PutFailure::Refused => Replaced::Refused(mapped),
            PutFailure::Unknown => Replaced::Unknown(mapped),
            PutFailure::SyncFailed { visible } => Replaced::SyncFailed { visible, error: mapped },
        }
    }

    /// Writes an object, replacing what is there. Sent once where the store is one that
    /// [`Store::open`] made. There is no time-out here: the caller sets one.
    ///
    /// Dropping the future gives the request up, which may still be applied. On a directory it ends the wait only.
    ///
    /// # Errors
    /// Whatever failed; the object may be the old or the new one. On a directory a failed fsync is told
    /// by [`SyncFailure::of`](super::SyncFailure::of), here and by `delete` and `settle`.
    pub async fn overwrite(&self, key: &str, payload: PutPayload) -> Result<Version> {
        use object_store::Error as E;
        let path = self.path(key)?;
        let _permit = self.permit().await?;
        let size = payload.content_length();
        let attempt = self.attempt(RequestKind::Put, key, size);
        let options = PutOptions { extensions: attempt.extensions(), ..PutOptions::default() };
        attempt.ends(match attempt.within(self.inner.commits.put_opts(&path, payload, options)).await {
            Ok(answer) => Ok(version_put(&answer, size)),
            Err(error @ (E::AlreadyExists { .. } | E::Precondition { .. })) => {
                Err(attempt.named(failure::met(&error, key)))
            }
            Err(error) => Err(self.failed(&error, key, &attempt)),
        })
    }

    /// Copies an object under a name that is free, with its bytes and without its identity.
    ///
    /// Dropping the future gives the copying up. The copy may still be made.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` for an object larger than a segment can be; `Conflict` when the name is taken; what the
    /// requests answer. After any other than these the copy may be there.
    pub async fn copy(&self, from: &str, to: &str) -> Result<Version> {
        let whole = self.get(from, ReadRange::AtMost(MAX_SEGMENT_LEN), None).await?;
        match self.create(to, whole.bytes.into(), &Identity::none()).await {
            Created::Yes(version) => Ok(version),
            Created::Exists => Err(Error::new(ErrorKind::Conflict, "the object exists already").with_key(to)),
            Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => Err(error),
        }
    }

    /// Deletes an object. One that is not there is deleted already.
    ///
    /// Dropping the future gives the request up, which may still be applied. On a directory it ends the wait only.
    ///
    /// # Errors
    /// Whatever failed; the object may be gone or not.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let _permit = self.permit().await?;
        // object_store lets no attempt travel with a DELETE.
        let attempt = self.uncounted(RequestKind::Delete, key);
        attempt.count(1, 0);
        attempt.ends(match attempt.within(self.inner.reads.delete(&path)).await {
            Ok(()) => Ok(()),
            Err(error) => match attempt.named(self.mapped(&error, key)) {
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

fn version_put(answer: &PutResult, size: usize) -> Version {
    let version = Version::new(answer.e_tag.as_deref(), u64::try_from(size).unwrap_or(u64::MAX), None);
    version.with_generation(answer.version.as_deref())
}

fn attributes(identity: &Identity) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in [(KFSID, &identity.kfsid), (KFSNAME, &identity.kfsname), (KFSMERGED, &identity.kfsmerged)] {
        if let Some(value) = value {
            attributes.insert(Attribute::Metadata(name.into()), value.clone().into());
        }
    }
    attributes
}
