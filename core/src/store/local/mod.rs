//! The durable store on a directory.
//!
//! - A put is written aside, fsynced, linked or renamed into place, and the directory fsynced, with
//!   all new directories above it. Create-if-absent is a link, atomic between processes. So is a conditional replace, by a
//!   lock of the directory that is held from the comparison to the rename.
//! - No file that has a name is ever written to, so a map of it stays whole.
//! - Nothing is reached through a symbolic link below the root, and no key leaves the root. What is no file and
//!   has the name of a log's object is listed like one, and reading it says what it is.
//! - Nothing is confirmed once the root's path leads elsewhere than to the directory that was opened.
//! - What a crash leaves lies in one directory, `.kfs-tmp`, and is removed before the next process's
//!   first write. Where nameless files exist (Linux), only overwriting leaves anything at all.
//!
//! Small reads, and maps, are made where they are asked for: they take a few microseconds, less
//! than the way to another thread and back. Whatever writes, lists or copies much runs on tokio's
//! threads for that, or in place where there is no tokio. A disk that hangs holds a bounded number of
//! those: one for each key that is written, and for reads and listings as many as requests may be under way.

mod busy;
mod disk;
mod hook;
mod lock;
mod map;
mod object_store_impl;
mod own;
mod put;
mod read;
mod root;
mod stage;
mod tree_walk;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path as FsPath;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use object_store::ObjectMeta;
use rustix::fs::{Mode, RawMode};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use self::busy::Busy;
use self::disk::{Disk, fault, is};
use self::own::Own;
use self::root::Root;
use self::tree_walk::TreeWalk;
use super::StoreOptions;
use super::failure::{Effect, StoreFailure};
use crate::error::{Error, ErrorKind, Result};

pub use self::hook::{DiskHook, DiskOp, DiskVerdict};

/// A directory as an [`object_store::ObjectStore`]: durable, atomic between processes, mapped.
///
/// [`Store::open`](super::Store::open) opens one from a `file:` URL. It is public so that it can be
/// wrapped. Clones share everything.
#[derive(Clone)]
pub struct LocalStore(Arc<Shared>);

struct Shared {
    root: Root,
    disk: Disk,
    own: Own,
    busy: Busy,
    /// Places for reads and listings that take a thread.
    reads: Arc<Semaphore>,
    options: StoreOptions,
    swept: OnceLock<()>,
    /// The file system or the system has no nameless files.
    no_nameless: AtomicBool,
}

impl LocalStore {
    /// Opens a directory. It is made with the first object; its parent must be there. Writes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` when the parent does not exist, `InvalidInput` when something else has the
    /// directory's place, `PermissionDenied`.
    pub fn open(path: impl AsRef<FsPath>, options: &StoreOptions) -> Result<Self> {
        Ok(LocalStore(Arc::new(Shared {
            root: Root::open(path.as_ref())?,
            disk: Disk {
                hook: options.disk_hook.clone(),
                file_mode: mode(options.file_mode),
                dir_mode: mode(options.dir_mode),
            },
            own: Own::default(),
            busy: Busy::default(),
            reads: Arc::new(Semaphore::new(options.max_in_flight.clamp(1, Semaphore::MAX_PERMITS))),
            options: options.clone(),
            swept: OnceLock::new(),
            no_nameless: AtomicBool::new(false),
        })))
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn root(&self) -> &Root {
        &self.0.root
    }

    fn disk(&self) -> &Disk {
        &self.0.disk
    }

    fn own(&self) -> &Own {
        &self.0.own
    }

    fn busy(&self) -> &Busy {
        &self.0.busy
    }

    fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// Whether large reads are mapped.
    pub fn is_mapped(&self) -> bool {
        self.0.options.map
    }

    fn sweep_once(&self) {
        self.0.swept.get_or_init(|| stage::sweep(&self.0.disk, &self.0.root));
    }

    /// Forgets which files a writer made; for when it is closed.
    pub(crate) fn forget_writer(&self, writer: &str) {
        self.own().forget_writer(writer);
    }

    /// See [`Store::settle`](super::Store::settle).
    pub(crate) async fn settle_durably(&self, key: &str) -> Result<(), object_store::Error> {
        let (store, key, turn) = (self.clone(), key.to_string(), self.busy().turn(key).await);
        blocking(move || {
            let settled = store.settle(&key).map_err(|failure| failure.into_object_store(&key));
            drop(turn);
            settled
        })
        .await
    }

    /// At most `max` files with a prefix, after a text, and whether these are all.
    pub(crate) async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<(Vec<ObjectMeta>, bool), object_store::Error> {
        let one_more = max.saturating_add(1);
        let mut walk = TreeWalk::new(prefix, after, one_more);
        let key = prefix.to_string();
        self.reading(move |store| {
            store.may_list(&key)?;
            let mut found = walk.next(store.root(), one_more).map_err(|error| store.not_listed(&key, &error))?;
            let complete = found.len() <= max;
            found.truncate(max);
            Ok((found, complete))
        })
        .await
    }

    /// Whether what is below a prefix may be listed: it stays below the root, and the root is in its place.
    fn may_list(&self, prefix: &str) -> Result<(), object_store::Error> {
        let refused = |error| StoreFailure::new(Effect::None, error).into_object_store(prefix);
        if prefix.contains('\0') || prefix.split('/').any(|name| name == "." || name == "..") {
            let error = Error::new(ErrorKind::InvalidInput, "not a usable prefix: `.`, `..` or a zero byte is in it");
            return Err(refused(error.with_key(prefix)));
        }
        self.root().in_place("", None).map_err(refused)?;
        self.disk().may_read(DiskOp::List { prefix }).map_err(|error| self.not_listed(prefix, &error))
    }

    /// Runs a read or a listing where it may wait for the disk. One that hangs there keeps its place, though nobody may
    /// wait for it any more. So there are no more of them than requests may be under way, and what comes after them
    /// waits for a place without a thread.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalStore) -> Result<T, object_store::Error> + Send + 'static,
    ) -> Result<T, object_store::Error> {
        let store = self.clone();
        // The semaphore is never closed.
        let place = self.0.reads.clone().acquire_owned().await.ok();
        blocking(move || {
            let done = work(&store);
            drop(place);
            done
        })
        .await
    }

    /// The directories directly in one that hold a file at any depth. `NotFound` where the root is not there.
    pub(crate) async fn dirs(&self, path: &str) -> Result<Vec<String>, object_store::Error> {
        let path = path.to_string();
        self.reading(move |store| {
            store.may_list(&path)?;
            if let Some(missing) = store.root().missing() {
                return Err(StoreFailure::new(Effect::None, missing).into_object_store(&path));
            }
            tree_walk::children(store.root(), &path)
                .map(|(_, dirs)| dirs)
                .map_err(|error| store.not_listed(&path, &error))
        })
        .await
    }

    fn not_listed(&self, key: &str, error: &io::Error) -> object_store::Error {
        StoreFailure::new(Effect::None, self.fault("the directory can't be listed", key, error)).into_object_store(key)
    }

    /// The error of a call for what is at a path below the root.
    fn fault(&self, what: &str, key: &str, error: &io::Error) -> Error {
        let link = Some(error).filter(|error| is(error, Errno::LOOP)).and_then(|_| self.root().through_a_link(key));
        link.map_or_else(|| fault(what, key, error), |link| link.with_key(key))
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({:?})", self.0.root)
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.root)
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o777) as RawMode)
}

/// Refuses keys that are not ours to use: those that leave the root above all.
fn check(key: &str) -> Result<()> {
    let invalid = |what: &str| {
        let shown: String = key.escape_default().collect();
        Err(Error::new(ErrorKind::InvalidInput, format!("not a usable key: {what}")).with_key(shown))
    };
    let mut names = key.split('/');
    if key.contains('\0') || names.clone().any(|name| name.is_empty() || name == "." || name == "..") {
        return invalid("an empty name, `.`, `..` or a zero byte is in it");
    }
    if names.next() == Some(stage::STAGING_DIR) {
        return invalid("it lies where the store keeps its staging files");
    }
    Ok(())
}

/// Runs what may wait for the disk where waiting is allowed. Once begun it runs to its end, though
/// nobody may wait for it any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, object_store::Error> + Send + 'static,
) -> Result<T, object_store::Error> {
    // A simulation brings its own executor: there nothing else waits on this thread.
    let Ok(tokio) = tokio::runtime::Handle::try_current() else { return work() };
    match tokio.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, format!("the disk's task ended without a result: {error}"));
            Err(StoreFailure::new(Effect::Unknown, error).into_object_store(""))
        }
    }
}
