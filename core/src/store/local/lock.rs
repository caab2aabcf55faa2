//! The lock of a directory: between all processes, one file at a time is replaced or removed there.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::disk::{Disk, is};

/// The lock of a directory, until it is dropped.
///
/// It is an advisory lock (flock) on the directory itself. So it leaves no file behind, it can't be lost by removing one,
/// and the system frees it when the process ends. It is held from the comparison of a file's version to the call that
/// gives the name to another file, and not while bytes are written or flushed.
#[derive(Debug)]
pub(super) struct DirLock<'a>(&'a OwnedFd);

impl<'a> DirLock<'a> {
    /// Waits for the lock. `path` is the directory's, below the root. `None` where the file system has no such locks.
    /// `dir` must be an open directory of this call's own: whoever shares it shares its lock.
    pub(super) fn wait(disk: &Disk, dir: &'a OwnedFd, path: &str) -> io::Result<Option<Self>> {
        // Network file systems lock by byte ranges, for which a directory can't be opened.
        const NO_LOCKS: [Errno; 5] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::BADF];
        match disk.lock(dir.as_fd(), path) {
            Ok(()) => Ok(Some(DirLock(dir))),
            Err(error) if NO_LOCKS.iter().any(|errno| is(&error, *errno)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for DirLock<'_> {
    fn drop(&mut self) {
        // Not left to the end of the descriptor: a child that was forked meanwhile has it too.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}
