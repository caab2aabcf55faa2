//! Durable writes: aside, fsynced, named, and the name fsynced. Durable removals.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use object_store::{PutPayload, PutResult};
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::disk::{certainly_not_named, fault, is, not_a_file, not_linked};
use super::lock::DirLock;
use super::own::FileId;
use super::root::DirError;
use super::stage::{StageError, Staged};
use super::{LocalStore, check};
use crate::error::{Error, ErrorKind};
use crate::store::failure::{Effect, StoreFailure};

/// How a put failed.
#[derive(Debug)]
pub(super) enum PutError {
    /// The name is taken by another's file.
    Exists,
    /// The file is another one than the caller expects, or is gone.
    Changed,
    Failed(StoreFailure),
}

impl From<StoreFailure> for PutError {
    fn from(failure: StoreFailure) -> Self {
        PutError::Failed(failure)
    }
}

type Put<T> = Result<T, PutError>;

pub(super) fn put_result(id: &FileId) -> PutResult {
    PutResult { e_tag: Some(id.e_tag()), version: None, extensions: Default::default() }
}

fn no_effect(what: &str, key: &str) -> impl Fn(io::Error) -> PutError {
    move |error| StoreFailure::new(Effect::None, fault(what, key, &error)).into()
}

/// A staging file could not be made. Where the disk is full, inodes may be what is lacking.
fn not_staged<'a>(dir: BorrowedFd<'a>, key: &'a str) -> impl Fn(io::Error) -> PutError + 'a {
    move |error| {
        let full = is(&error, Errno::NOSPC);
        let no_inodes = full && rustix::fs::fstatvfs(dir).is_ok_and(|disk| disk.f_files > 0 && disk.f_favail == 0);
        let what = if no_inodes { "no inode is left for a new file" } else { "no staging file can be made" };
        no_effect(what, key)(error)
    }
}

fn not_synced(visible: bool, what: &str, key: &str, error: &io::Error) -> StoreFailure {
    // Whatever the errno: the bytes may be lost, and it may pass.
    let error = fault(&format!("{what} could not be made durable (fsync)"), key, error);
    StoreFailure::new(Effect::SyncFailed { visible }, error.with_kind(ErrorKind::Unavailable))
}

/// The file that has the name, if one has.
fn named(dir: &OwnedFd, name: &str) -> Option<FileId> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| FileId::of(&stat))
}

/// The directory's path and the name of a key.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

impl LocalStore {
    /// Creates a file, unless the name is taken.
    pub(super) fn create(&self, key: &str, payload: &PutPayload, kfsid: Option<&str>) -> Put<FileId> {
        let (dir, name) = self.prepare(key)?;
        // Look first: a slot that is lost already costs no write. The link below decides.
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(no_effect("the name can't be looked up", key)(error.into())),
            Ok(_) => return self.taken(key, kfsid),
        }
        let mut nameless = !self.options().named_staging && !self.shared().no_nameless.load(Ordering::Relaxed);
        loop {
            // The bytes are durable before they have a name: whoever sees the name after a crash sees all of them.
            let staged = self.write(&dir, key, payload, nameless, None)?;
            let id = staged.id().map_err(no_effect("the staging file can't be read", key))?;
            // Remembered before it can be seen: whoever asks right after the link is told.
            if let Some(kfsid) = kfsid {
                self.own().remember(kfsid, id);
            }
            // The link fails if the name is taken, so one of all processes that race for it wins.
            match staged.link(key, (dir.as_fd(), name)) {
                Ok(()) => {}
                // A network file system repeats a request whose answer was lost.
                Err(error) if is(&error, Errno::EXIST) && self.has_name(&dir, name, &id) => {}
                Err(error) => {
                    let unnamed = is(&error, Errno::EXIST) || certainly_not_named(&error);
                    if unnamed {
                        self.own().forget(&id);
                    }
                    if is(&error, Errno::EXIST) {
                        return self.taken(key, kfsid);
                    }
                    if staged.is_nameless() && unnamed && is(&error, Errno::NOENT) {
                        // Neither /proc nor the right to link without it, if not the directory
                        // itself is gone: the named way tells.
                        self.shared().no_nameless.store(true, Ordering::Relaxed);
                        nameless = false;
                        continue;
                    }
                    let effect = if unnamed { Effect::None } else { Effect::Unknown };
                    return Err(StoreFailure::new(effect, not_linked(key, &error)).into());
                }
            }
            self.confirm(key, &dir, &id)?;
            return Ok(id);
        }
    }

    /// Writes a file, replacing what has the name.
    pub(super) fn overwrite(&self, key: &str, payload: &PutPayload) -> Put<FileId> {
        let (dir, name) = self.prepare(key)?;
        let old = named(&dir, name);
        let staged = self.write(&dir, key, payload, false, old.as_ref())?;
        self.give_name(staged, key, &dir)
    }

    /// Gives a file that was written to `staged` the name of a key, replacing what has it.
    pub(super) fn put_staged(&self, staged: Staged, key: &str) -> Put<FileId> {
        let (dir, name) = self.prepare(key)?;
        if let Some(old) = named(&dir, name) {
            staged.make_newer_than(&old).map_err(no_effect("the file's time can't be set", key))?;
        }
        self.sync_staged(&staged, key)?;
        self.give_name(staged, key, &dir)
    }

    /// Opens a staging file that has a name, so that it can be renamed.
    pub(super) fn stage(&self, key: &str) -> Put<Staged> {
        check(key).map_err(|error| StoreFailure::new(Effect::None, error))?;
        self.sweep_once();
        self.staging_file(key)
    }

    fn staging_file(&self, key: &str) -> Put<Staged> {
        Staged::named(self.disk(), self.root(), self.options().entropy.as_ref(), key).map_err(|error| match error {
            StageError::Dir(error) => self.dir_failed(key, error),
            StageError::Open(error) => match self.root().fd() {
                Ok(root) => not_staged(root, key)(error),
                Err(error) => no_effect("the directory can't be opened", key)(error),
            },
        })
    }

    /// Gives a flushed file the name of a key, replacing what has it. The bytes are durable before they get the name: a
    /// crash leaves the old file or the new one, whole.
    fn give_name(&self, staged: Staged, key: &str, dir: &OwnedFd) -> Put<FileId> {
        let name = split(key).1;
        let unread = no_effect("the staging file can't be read", key);
        // Without the lock a conditional replace could compare the old file and replace this one.
        let lock = self.lock(dir, key)?;
        // What replaces a file is newer than it, see `replace`. Another process may have replaced the old file meanwhile.
        if let Some(now) = named(dir, name)
            && staged.id().map_err(&unread)?.modified_ns <= now.modified_ns
        {
            staged.make_newer_than(&now).map_err(no_effect("the file's time can't be set", key))?;
            self.sync_staged(&staged, key)?;
        }
        let id = staged.id().map_err(&unread)?;
        self.rename(staged, key, (dir, name))?;
        drop(lock);
        self.confirm(key, dir, &id)?;
        Ok(id)
    }

    /// Replaces a file, if the one that has the name has this ETag.
    pub(super) fn replace(&self, key: &str, payload: &PutPayload, e_tag: &str, kfsid: Option<&str>) -> Put<FileId> {
        check(key).map_err(|error| StoreFailure::new(Effect::None, error))?;
        // Look first: a condition that does not hold costs no write, and makes no directory. The look under the lock
        // decides.
        let old = match self.root().open_dir(split(key).0) {
            Ok(dir) => self.expected(&dir, key, e_tag)?,
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => return Err(PutError::Changed),
            Err(error) => return Err(no_effect("the directory can't be opened", key)(error)),
        };
        let (dir, name) = self.prepare(key)?;
        // The bytes are durable before they get the name: a crash leaves the old file or the new one, whole. Readers that
        // have the old file open or mapped keep it, for no byte of it is written.
        let staged = self.write(&dir, key, payload, false, Some(&old))?;
        let id = staged.id().map_err(no_effect("the staging file can't be read", key))?;
        // An ETag never comes back along a chain of replaces, though the system gives freed inodes to new files: each
        // file is newer than the one it replaces.
        if id.modified_ns <= old.modified_ns {
            let error = Error::new(ErrorKind::Unsupported, "the file system keeps modification times too coarsely");
            return Err(StoreFailure::new(Effect::None, error.with_key(key)).into());
        }
        // From here to the rename nobody else replaces or removes a file in this directory, in any process.
        let Some(lock) = self.lock(&dir, key)? else {
            let error = Error::new(ErrorKind::Unsupported, "the file system has no locks (flock) for directories");
            let error = error.with_hint("keep the log on a local file system").with_key(key);
            return Err(StoreFailure::new(Effect::None, error).into());
        };
        self.expected(&dir, key, e_tag)?;
        // Remembered before it can be seen: whoever asks right after the rename is told.
        if let Some(kfsid) = kfsid {
            self.own().remember(kfsid, id);
        }
        if let Err(error) = self.rename(staged, key, (&dir, name)) {
            if !self.has_name(&dir, name, &id) {
                self.own().forget(&id);
            }
            return Err(error);
        }
        drop(lock);
        // The lock is not held for this: whoever replaces the file next makes its own name durable before it says so.
        self.confirm(key, &dir, &id)?;
        Ok(id)
    }

    /// The file that has the name, if it has this ETag.
    fn expected(&self, dir: &OwnedFd, key: &str, e_tag: &str) -> Put<FileId> {
        match rustix::fs::statat(dir, split(key).1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !FileType::from_raw_mode(stat.st_mode).is_file() => {
                let odd = not_a_file(key, FileType::from_raw_mode(stat.st_mode));
                Err(StoreFailure::new(Effect::None, odd).into())
            }
            Ok(stat) if FileId::of(&stat).e_tag() == e_tag => Ok(FileId::of(&stat)),
            Ok(_) | Err(Errno::NOENT) => Err(PutError::Changed),
            Err(error) => Err(no_effect("the name can't be looked up", key)(error.into())),
        }
    }

    fn lock<'d>(&self, dir: &'d OwnedFd, key: &str) -> Put<Option<DirLock<'d>>> {
        DirLock::wait(self.disk(), dir, split(key).0).map_err(no_effect("the directory can't be locked", key))
    }

    /// Gives a staged file the name, replacing what has it.
    fn rename(&self, mut staged: Staged, key: &str, to: (&OwnedFd, &str)) -> Put<()> {
        let Err(error) = staged.rename(key, (to.0.as_fd(), to.1)) else { return Ok(()) };
        if let Some(odd) = self.oddity(key) {
            return Err(StoreFailure::new(Effect::None, odd).into());
        }
        let effect = if certainly_not_named(&error) { Effect::None } else { Effect::Unknown };
        Err(StoreFailure::new(effect, fault("the file can't be replaced", key, &error)).into())
    }

    /// Makes a file's name durable, and confirms that the bucket's path still leads to it.
    fn confirm(&self, key: &str, dir: &OwnedFd, id: &FileId) -> Result<(), StoreFailure> {
        if let Err(error) = self.disk().sync_dir(dir.as_fd(), split(key).0) {
            self.own().sync_failed(id);
            return Err(not_synced(true, "the file's name", key, &error));
        }
        self.in_place(key, dir, id)
    }

    /// What was written is confirmed only where the bucket's path still leads to it.
    fn in_place(&self, key: &str, dir: &OwnedFd, id: &FileId) -> Result<(), StoreFailure> {
        self.root().in_place(split(key).0, Some(dir)).map_err(|error| {
            self.own().sync_failed(id);
            StoreFailure::misplaced(error.with_key(key))
        })
    }

    /// Removes a file, durably. One that is not there too, for an earlier removal may have failed
    /// half way; answers whether it was there.
    pub(super) fn remove(&self, key: &str) -> Result<bool, StoreFailure> {
        check(key).map_err(|error| StoreFailure::new(Effect::None, error))?;
        let (path, name) = split(key);
        let failed =
            |error: &io::Error| StoreFailure::new(Effect::Unknown, fault("the file can't be removed", key, error));
        let dir = match self.root().open_dir(path) {
            Ok(dir) => dir,
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => return Ok(false),
            Err(error) => return Err(failed(&error)),
        };
        // Without the lock a conditional replace could bring back a file that was removed after it had compared it.
        let lock = DirLock::wait(self.disk(), &dir, path).map_err(|error| failed(&error))?;
        let there = match self.disk().unlink(dir.as_fd(), name, key) {
            Ok(()) => true,
            Err(error) if is(&error, Errno::NOENT) => false,
            // A directory is no object.
            Err(error) if self.is_dir(&dir, name) => {
                let _ = error;
                return Ok(false);
            }
            Err(error) => return Err(failed(&error)),
        };
        drop(lock);
        let synced = self.disk().sync_dir(dir.as_fd(), path);
        synced.map_err(|error| not_synced(false, "the removal", key, &error))?;
        Ok(there)
    }

    /// Makes sure that a file and its name are durable.
    pub(super) fn settle(&self, key: &str) -> Result<(), StoreFailure> {
        let failed = |error: &io::Error| StoreFailure::new(Effect::None, fault("the file can't be opened", key, error));
        check(key).map_err(|error| StoreFailure::new(Effect::None, error))?;
        let file = self.root().open_beneath(key, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|e| failed(&e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| failed(&e.into()))?;
        self.settle_file(key, &file, &FileId::of(&stat))
    }

    fn settle_file(&self, key: &str, file: &OwnedFd, id: &FileId) -> Result<(), StoreFailure> {
        let file = self.disk().sync_file(file.as_fd(), key);
        let dir = match file.and_then(|()| self.root().sync_again(self.disk(), split(key).0)) {
            Ok(dir) => dir,
            Err(error) => {
                self.own().sync_failed(id);
                return Err(not_synced(true, "the file", key, &error));
            }
        };
        self.in_place(key, &dir, id)?;
        // Looked at after the fsyncs: an earlier try, cut off from its waiter, may have failed only
        // while they ran. What it was told is not told again.
        if self.own().find(id).is_some_and(|made| made.sync_failed) {
            let earlier = io::Error::other("an earlier fsync of it failed");
            return Err(not_synced(true, "the file", key, &earlier));
        }
        Ok(())
    }

    /// The name is taken. By an earlier try with the same kfsid: then that is made durable, and is
    /// what was to be created.
    fn taken(&self, key: &str, kfsid: Option<&str>) -> Put<FileId> {
        let file = match self.root().open_beneath(key, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => file,
            // Gone again; the caller looks.
            Err(error) if is(&error, Errno::NOENT) => return Err(PutError::Exists),
            Err(error) => {
                return Err(match self.oddity(key) {
                    Some(odd) => StoreFailure::new(Effect::None, odd).into(),
                    None => no_effect("what has the name can't be opened", key)(error),
                });
            }
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| no_effect("what has the name can't be read", key)(e.into()))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            let found = FileType::from_raw_mode(stat.st_mode);
            return Err(StoreFailure::new(Effect::None, not_a_file(key, found)).into());
        }
        let id = FileId::of(&stat);
        match (self.own().find(&id), kfsid) {
            (Some(made), Some(kfsid)) if made.kfsid == kfsid => {
                self.settle_file(key, &file, &id)?;
                Ok(id)
            }
            _ => Err(PutError::Exists),
        }
    }

    /// Checks the key and opens its directory, made where it is not there.
    fn prepare<'k>(&self, key: &'k str) -> Put<(OwnedFd, &'k str)> {
        check(key).map_err(|error| StoreFailure::new(Effect::None, error))?;
        self.sweep_once();
        let (path, name) = split(key);
        Ok((self.make_dir(path, key)?, name))
    }

    fn make_dir(&self, path: &str, key: &str) -> Put<OwnedFd> {
        self.root().make_dir(self.disk(), path).map_err(|error| self.dir_failed(key, error))
    }

    fn dir_failed(&self, key: &str, error: DirError) -> PutError {
        match error {
            DirError::NotSynced(error) => not_synced(false, "a directory", key, &error).into(),
            DirError::NotMade(error) => {
                let mapped = self.fault("the directory can't be made", key, &error);
                let mapped = match Errno::from_io_error(&error) {
                    Some(Errno::NOTDIR) => {
                        mapped.with_kind(ErrorKind::InvalidInput).with_hint("a file has the name of a directory")
                    }
                    _ => mapped,
                };
                StoreFailure::new(Effect::None, mapped).into()
            }
        }
    }

    /// Writes the bytes aside and flushes them. The file is made newer than `old`, if the file system can say so.
    fn write(
        &self,
        dir: &OwnedFd,
        key: &str,
        payload: &PutPayload,
        nameless: bool,
        old: Option<&FileId>,
    ) -> Put<Staged> {
        // Without a name a crash leaves nothing. A file that replaces another one needs a name to be renamed.
        let mut staged = None;
        if nameless {
            let opened = Staged::nameless(self.disk(), dir.as_fd(), key);
            staged = opened.map_err(not_staged(dir.as_fd(), key))?;
            if staged.is_none() {
                self.shared().no_nameless.store(true, Ordering::Relaxed);
            }
        }
        let staged = match staged {
            Some(staged) => staged,
            None => self.staging_file(key)?,
        };
        let chunks = payload.iter().map(Bytes::as_ref);
        let written = self.disk().write(staged.file.as_fd(), key, chunks);
        written.map_err(no_effect("the file can't be written", key))?;
        if let Some(old) = old {
            staged.make_newer_than(old).map_err(no_effect("the file's time can't be set", key))?;
        }
        self.sync_staged(&staged, key)?;
        Ok(staged)
    }

    fn sync_staged(&self, staged: &Staged, key: &str) -> Result<(), StoreFailure> {
        let synced = self.disk().sync_file(staged.file.as_fd(), key);
        synced.map_err(|error| not_synced(false, "the file", key, &error))
    }

    fn has_name(&self, dir: &OwnedFd, name: &str, id: &FileId) -> bool {
        let _ = self;
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| FileId::of(&stat) == *id)
    }

    fn is_dir(&self, dir: &OwnedFd, name: &str) -> bool {
        let _ = self;
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
    }
}
