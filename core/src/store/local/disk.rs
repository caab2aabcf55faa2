//! The calls that change the disk, each past the hook, and what the errors of all calls mean.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode};
use rustix::io::{Errno, retry_on_intr};

use super::hook::{DiskHook, DiskOp, DiskVerdict};
use crate::error::{Error, ErrorKind};

/// The most buffers that one writev takes (IOV_MAX of Linux and the BSDs).
const BUFFERS_A_CALL: usize = 1024;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) hook: Option<Arc<dyn DiskHook>>,
    /// The permissions of new files and directories, of which the process's umask takes away.
    pub(super) file_mode: Mode,
    pub(super) dir_mode: Mode,
}

impl Disk {
    fn run<T>(&self, op: DiskOp<'_>, act: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
        let verdict = self.hook.as_ref().map_or(DiskVerdict::Proceed, |hook| hook.before(&op));
        match verdict {
            DiskVerdict::Proceed => Ok(retry_on_intr(act)?),
            DiskVerdict::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
            DiskVerdict::FailAfter(errno) => {
                retry_on_intr(act)?;
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// Asks the hook for a call that reads, which others make.
    pub(super) fn may_read(&self, op: DiskOp<'_>) -> io::Result<()> {
        self.run(op, || Ok(()))
    }

    pub(super) fn make_dir(&self, dir: BorrowedFd<'_>, name: &str, path: &str) -> io::Result<()> {
        self.run(DiskOp::MakeDir { path }, || rustix::fs::mkdirat(dir, name, self.dir_mode))
    }

    /// Asks the hook for the opening of a staging file, which `open` does.
    pub(super) fn stage<T>(
        &self,
        key: &str,
        path: Option<&str>,
        open: impl FnMut() -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        self.run(DiskOp::Stage { key, path }, open)
    }

    /// Appends all chunks to a file.
    pub(super) fn write<'a>(
        &self,
        file: BorrowedFd<'_>,
        key: &str,
        chunks: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut chunks = chunks.filter(|chunk| !chunk.is_empty()).peekable();
        if self.hook.is_some() {
            for chunk in chunks {
                let op = DiskOp::Write { key, bytes: chunk };
                self.run(op, || write_all(file, &mut [io::IoSlice::new(chunk)]))?;
            }
            return Ok(());
        }
        // The chunks of a segment go out in few calls, uncopied.
        let mut slices = Vec::new();
        while chunks.peek().is_some() {
            slices.clear();
            slices.extend(chunks.by_ref().take(BUFFERS_A_CALL).map(io::IoSlice::new));
            write_all(file, &mut slices)?;
        }
        Ok(())
    }

    /// Writes bytes to a place in a file.
    pub(super) fn write_at(&self, file: &File, key: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.run(DiskOp::WriteAt { key, at, bytes }, || {
            file.write_all_at(bytes, at).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    pub(super) fn sync_file(&self, file: BorrowedFd<'_>, key: &str) -> io::Result<()> {
        self.run(DiskOp::SyncFile { key }, || sync(file))
    }

    pub(super) fn sync_dir(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        self.run(DiskOp::SyncDir { path }, || sync(dir))
    }

    /// Waits for the lock of a directory.
    pub(super) fn lock(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        self.run(DiskOp::Lock { path }, || rustix::fs::flock(dir, FlockOperation::LockExclusive))
    }

    /// Gives a file its name, unless that is taken.
    pub(super) fn link(
        &self,
        key: &str,
        from: (BorrowedFd<'_>, &str, AtFlags),
        to: (BorrowedFd<'_>, &str),
    ) -> io::Result<()> {
        self.run(DiskOp::Link { key }, || rustix::fs::linkat(from.0, from.1, to.0, to.1, from.2))
    }

    pub(super) fn rename(&self, key: &str, from: (BorrowedFd<'_>, &str), to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
        self.run(DiskOp::Rename { key }, || rustix::fs::renameat(from.0, from.1, to.0, to.1))
    }

    pub(super) fn unlink(&self, dir: BorrowedFd<'_>, name: &str, path: &str) -> io::Result<()> {
        self.run(DiskOp::Unlink { path }, || rustix::fs::unlinkat(dir, name, AtFlags::empty()))
    }
}

fn write_all(file: BorrowedFd<'_>, mut slices: &mut [io::IoSlice<'_>]) -> rustix::io::Result<()> {
    while !slices.is_empty() {
        match retry_on_intr(|| rustix::io::writev(file, slices))? {
            0 => return Err(Errno::IO),
            written => io::IoSlice::advance_slices(&mut slices, written),
        }
    }
    Ok(())
}

/// Flushes to the medium. Apple's fsync stops at the drive's cache.
fn sync(fd: impl AsFd) -> rustix::io::Result<()> {
    #[cfg(target_vendor = "apple")]
    return rustix::fs::fcntl_fullfsync(fd);
    #[cfg(not(target_vendor = "apple"))]
    return rustix::fs::fsync(fd);
}

/// The error of a call, for the object or directory `key`.
pub(super) fn fault(what: &str, key: &str, error: &io::Error) -> Error {
    let errno = Errno::from_io_error(error);
    let mapped = Error::new(errno.map_or(ErrorKind::Unavailable, kind), format!("{what}: {error}"));
    let mapped = match errno.and_then(hint) {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    };
    if key.is_empty() { mapped } else { mapped.with_key(key) }
}

/// The error of a name that must be a file's and is not.
pub(super) fn not_a_file(key: &str, found: FileType) -> Error {
    let (found, hint) = match found {
        FileType::Symlink => {
            ("a symbolic link", "links below the bucket's directory are not followed: put the file itself in its place")
        }
        FileType::Directory => ("a directory", "move it away"),
        _ => ("neither a file nor a directory", "move it away"),
    };
    Error::new(ErrorKind::Corrupt, format!("found {found} under an object's name, expected a file"))
        .with_key(key)
        .with_hint(hint)
}

/// The error of a link that failed. What says that the file system has no hard links is no refusal
/// that may pass.
pub(super) fn not_linked(key: &str, error: &io::Error) -> Error {
    const NO_LINKS: [Errno; 5] = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
    let mapped = fault("the file can't be given its name", key, error);
    if !Errno::from_io_error(error).is_some_and(|errno| NO_LINKS.contains(&errno)) {
        return mapped;
    }
    mapped.with_kind(ErrorKind::Unsupported).with_hint(
        "the file system makes no hard links (FAT, exFAT and some network file systems do not), \
         and a segment is created by one: keep the log on another file system",
    )
}

fn kind(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::LOOP => ErrorKind::PermissionDenied,
        Errno::NAMETOOLONG | Errno::ISDIR | Errno::NOTEMPTY => ErrorKind::InvalidInput,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::INVAL => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

fn hint(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOSPC => "make room on the disk (df shows it), or remove files if no inode is left (df -i)",
        Errno::DQUOT => "the disk quota is used up: make room, or raise it",
        Errno::ROFS => "the file system is mounted read-only",
        Errno::ACCESS | Errno::PERM => "check owner and mode of the directory, and as whom this process runs",
        Errno::MFILE | Errno::NFILE => "raise the limit of open files (ulimit -n)",
        Errno::FBIG => "raise the limit of a file's size (ulimit -f), or flush smaller segments",
        Errno::LOOP => "symbolic links below the directory are not followed",
        Errno::XDEV => "the whole directory must be on one file system",
        _ => return None,
    })
}

/// Whether a failed linkat or renameat certainly gave no name. A network file system may have
/// done its work when its answer was lost, and says EIO or the like.
pub(super) fn certainly_not_named(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::ACCESS
                | Errno::PERM
                | Errno::ROFS
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::ISDIR
                | Errno::NOTEMPTY
                | Errno::NOSPC
                | Errno::DQUOT
                | Errno::MLINK
                | Errno::XDEV
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::INVAL
        )
    )
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
