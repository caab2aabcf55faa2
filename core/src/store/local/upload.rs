//! Large files: an upload in parts, and a copy. Both write to a staging file, which gets the name when it is whole.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

use super::disk::fault;
use super::put::put_result;
use super::read::{Opened, ReadResult, ours};
use super::stage::Staged;
use super::{LocalStore, blocking};
use crate::error::{Error, ErrorKind};

/// How many bytes a copy reads at a time.
const COPY_STEP: u64 = 8 << 20;

/// An upload under way. Dropping it removes the staging file, unless a part is still being written: then that does.
#[derive(Debug)]
pub(super) struct StagedUpload {
    store: LocalStore,
    path: Path,
    /// `None` once it has ended.
    staging: Option<Arc<Staging>>,
    /// Where the next part begins.
    next: u64,
}

struct Staging {
    staged: Staged,
    /// A second descriptor of the same file.
    file: File,
    /// How many bytes were written.
    written: AtomicU64,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staging({} bytes written)", self.written.load(Ordering::Relaxed))
    }
}

impl StagedUpload {
    pub(super) async fn begin(store: LocalStore, path: Path) -> ReadResult<Self> {
        blocking(move || {
            let staged = store.stage(path.as_ref()).map_err(|error| error.into_object_store(path.as_ref()))?;
            let file = staged.file.try_clone().map(File::from);
            let file =
                file.map_err(|error| ours(fault("no staging file can be made", path.as_ref(), &error), &path))?;
            let staging = Arc::new(Staging { staged, file, written: AtomicU64::new(0) });
            Ok(StagedUpload { store, path, staging: Some(staging), next: 0 })
        })
        .await
    }

    fn ended(path: &Path) -> object_store::Error {
        let error = Error::new(ErrorKind::Closed, "the upload was completed or aborted before");
        ours(error.with_key(path.as_ref()), path)
    }
}

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let at = self.next;
        self.next = at.saturating_add(u64::try_from(data.content_length()).unwrap_or(u64::MAX));
        let (store, path, staging) = (self.store.clone(), self.path.clone(), self.staging.clone());
        Box::pin(async move {
            let staging = staging.ok_or_else(|| Self::ended(&path))?;
            blocking(move || {
                let mut at = at;
                for bytes in data.iter() {
                    let written = store.disk().write_at(&staging.file, path.as_ref(), at, bytes);
                    written.map_err(|e| ours(fault("the file can't be written", path.as_ref(), &e), &path))?;
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    at = at.saturating_add(length);
                    staging.written.fetch_add(length, Ordering::AcqRel);
                }
                Ok(())
            })
            .await
        })
    }

    async fn complete(&mut self) -> ReadResult<PutResult> {
        let staging = self.staging.take().ok_or_else(|| Self::ended(&self.path))?;
        let unfinished = |what: String| {
            let error = Error::new(ErrorKind::Internal, format!("the upload can't be completed: {what}"));
            ours(error.with_key(self.path.as_ref()), &self.path)
        };
        // A hole would be read as zeros.
        let (found, expected) = (staging.written.load(Ordering::Acquire), self.next);
        if found != expected {
            return Err(unfinished(format!("{found} bytes were written, expected {expected}")));
        }
        let Ok(Staging { staged, .. }) = Arc::try_unwrap(staging) else {
            return Err(unfinished("a part is still being written".into()));
        };
        let turn = self.store.busy().turn(self.path.as_ref()).await;
        let (store, path) = (self.store.clone(), self.path.clone());
        blocking(move || {
            let put = store.put_staged(staged, path.as_ref());
            // Held by the work, not by who waits for it.
            drop(turn);
            put.map(|id| put_result(&id)).map_err(|error| error.into_object_store(path.as_ref()))
        })
        .await
    }

    async fn abort(&mut self) -> ReadResult<()> {
        self.staging.take().map(drop).ok_or_else(|| Self::ended(&self.path))
    }
}

impl LocalStore {
    /// Copies an open file to a key, replacing what is there. No more than [`COPY_STEP`] of it is in memory at a time.
    pub(super) fn copy_file(&self, opened: &Opened, from: &Path, to: &Path) -> ReadResult<()> {
        let key = to.as_ref();
        let staged = self.stage(key).map_err(|error| error.into_object_store(key))?;
        let size = opened.meta.size;
        let mut at = 0;
        while at < size {
            let end = size.min(at.saturating_add(COPY_STEP));
            let bytes = self.read(opened, at..end, from)?;
            let written = self.disk().write(staged.file.as_fd(), key, std::iter::once(&bytes[..]));
            written.map_err(|error| ours(fault("the file can't be written", key, &error), to))?;
            at = end;
        }
        self.put_staged(staged, key).map(drop).map_err(|error| error.into_object_store(key))
    }
}
