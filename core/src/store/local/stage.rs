//! Staging files: where bytes are written before they get their name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::disk::{Disk, is};
use super::own::FileId;
use super::root::{DirError, Root};
use crate::runtime::Entropy;

/// Where staging files with names lie. No object's key begins with it.
pub(super) const STAGING_DIR: &str = ".kfs-tmp";
const STAGING_NAME: &str = "stage-";
/// How often another random name is tried. One is enough, but for a sweep that gets in between.
const NAMES: usize = 8;

/// A file that is being written.
pub(super) struct Staged {
    pub(super) file: OwnedFd,
    disk: Disk,
    /// Its directory and name, where it has one.
    named: Option<(OwnedFd, String)>,
}

pub(super) enum StageError {
    Dir(DirError),
    Open(io::Error),
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        StageError::Open(error)
    }
}

impl Staged {
    /// A file without a name in the directory where it is to go. `None` where the file system or
    /// the system has no such thing.
    pub(super) fn nameless(disk: &Disk, dir: BorrowedFd<'_>, key: &str) -> io::Result<Option<Self>> {
        #[cfg(target_os = "linux")]
        {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let opened = disk.stage(key, None, || rustix::fs::openat(dir, ".", flags, disk.file_mode));
            match opened {
                Ok(file) => Ok(Some(Staged { file, disk: disk.clone(), named: None })),
                // As the file system, or a kernel before 3.11, says that it knows no O_TMPFILE.
                Err(error) if [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL].iter().any(|e| is(&error, *e)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (disk, dir, key);
            Ok(None)
        }
    }

    /// A file with a random name in the staging directory, locked as long as it is open: so a sweep
    /// tells a crash's leftover from it.
    pub(super) fn named(disk: &Disk, root: &Root, entropy: &dyn Entropy, key: &str) -> Result<Self, StageError> {
        let dir = root.make_dir(disk, STAGING_DIR).map_err(StageError::Dir)?;
        for _ in 0..NAMES {
            let mut random = [0u8; 16];
            entropy.fill(&mut random).map_err(io::Error::other)?;
            let name = format!("{STAGING_NAME}{:032x}", u128::from_be_bytes(random));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let path = format!("{STAGING_DIR}/{name}");
            let file = match disk.stage(key, Some(&path), || rustix::fs::openat(&dir, &name, flags, disk.file_mode)) {
                Ok(file) => file,
                Err(error) if is(&error, Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // A sweep may have come between open and lock. Where there are no locks no sweep takes
            // anything.
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
                || rustix::fs::fstat(&file).map_err(io::Error::from)?.st_nlink == 0
            {
                continue;
            }
            return Ok(Staged { file, disk: disk.clone(), named: Some((dir, name)) });
        }
        Err(io::Error::from(Errno::AGAIN).into())
    }

    pub(super) fn is_nameless(&self) -> bool {
        self.named.is_none()
    }

    pub(super) fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&rustix::fs::fstat(&self.file)?))
    }

    /// Gives the file a later modification time than `old` has, if the file system's times are fine enough: two files
    /// that are written within one tick of the clock have the same time otherwise. Call it after the last write.
    pub(super) fn make_newer_than(&self, old: &FileId) -> io::Result<()> {
        // In nanoseconds. Some file systems keep microseconds, others seconds, FAT every other second.
        for step in [1, 1_000, 1_000_000_000, 2_000_000_000] {
            if self.id()?.modified_ns > old.modified_ns {
                break;
            }
            let time = old.modified_ns + step;
            let out_of_range = |_| io::Error::from(Errno::RANGE);
            let last_modification = Timespec {
                tv_sec: i64::try_from(time.div_euclid(1_000_000_000)).map_err(out_of_range)?,
                tv_nsec: time.rem_euclid(1_000_000_000) as _,
            };
            let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
            rustix::fs::futimens(&self.file, &Timestamps { last_access, last_modification })?;
        }
        Ok(())
    }

    /// Gives the file its name, unless that is taken.
    pub(super) fn link(&self, key: &str, to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
        if let Some((dir, name)) = &self.named {
            return self.disk.link(key, (dir.as_fd(), name, AtFlags::empty()), to);
        }
        self.link_nameless(key, to)
    }

    #[cfg(target_os = "linux")]
    fn link_nameless(&self, key: &str, to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // By /proc everybody may, by the descriptor alone (AT_EMPTY_PATH) only who may read all
        // files; so the latter is for where /proc is not mounted.
        let proc = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match self.disk.link(key, (rustix::fs::CWD, &proc, AtFlags::SYMLINK_FOLLOW), to) {
            Err(error) if is(&error, Errno::NOENT) && !std::path::Path::new(&proc).exists() => {
                self.disk.link(key, (self.file.as_fd(), "", AtFlags::EMPTY_PATH), to)
            }
            other => other,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn link_nameless(&self, _key: &str, _to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    /// Replaces what has the name. For files with names only.
    pub(super) fn rename(&mut self, key: &str, to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
        let Some((dir, name)) = &self.named else { return Err(Errno::NOSYS.into()) };
        self.disk.rename(key, (dir.as_fd(), name), to)?;
        self.named = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some((dir, name)) = &self.named {
            // What stays is a leftover that the next sweep takes.
            let _ = self.disk.unlink(dir.as_fd(), name, &format!("{STAGING_DIR}/{name}"));
        }
    }
}

/// Removes what crashes left in the staging directory: files that nobody holds locked. What can't
/// be removed stays.
pub(super) fn sweep(disk: &Disk, root: &Root) {
    let Ok(dir) = root.open_dir(STAGING_DIR) else { return };
    let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if !name.starts_with(STAGING_NAME) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(file) = rustix::fs::openat(&dir, name, flags, Mode::empty()) else { continue };
        let regular = rustix::fs::fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        if regular && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Unlinked while it is locked by us: whoever made it and waits for the lock then sees
            // that it has no name left.
            let _ = disk.unlink(dir.as_fd(), name, &format!("{STAGING_DIR}/{name}"));
        }
    }
}
