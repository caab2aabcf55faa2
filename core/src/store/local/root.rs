//! The directory itself, and ways to what is beneath it that never leave it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::disk::{Disk, fault, is};
use crate::error::{Error, ErrorKind, Result};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The root directory of a store.
///
/// Nothing beneath it is reached through a symbolic link: a link is an error, on every system
/// alike. The root itself may be one.
pub(super) struct Root {
    path: PathBuf,
    fd: OnceLock<OwnedFd>,
    /// Whether the root was made by us, and by whom it must be made durable.
    made: AtomicBool,
    /// Directories whose own entry in their parent is known to be durable, with their inode. A
    /// directory that another process made may not be yet, so each is fsynced once by each store.
    durable: Mutex<HashMap<String, u64>>,
    /// Whether the system has openat2.
    pub(super) no_openat2: AtomicBool,
}

impl Root {
    /// Looks at the directory. It is made with the first object, so that a reader leaves no trace;
    /// until then only its parent must exist.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // A relative path would mean another directory after the process changed its own.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let root = Root {
            path: path.clone(),
            fd: OnceLock::new(),
            made: AtomicBool::new(false),
            durable: Mutex::new(HashMap::new()),
            no_openat2: AtomicBool::default(),
        };
        match root.fd() {
            Ok(_) => return Ok(root),
            Err(error) if is(&error, Errno::NOENT) => {}
            Err(error) if is(&error, Errno::NOTDIR) => {
                return Err(Error::new(ErrorKind::InvalidInput, format!("{} is not a directory", path.display())));
            }
            Err(error) => return Err(fault(&format!("{} can't be opened", path.display()), "", &error)),
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        match rustix::fs::stat(parent).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()) {
            Ok(true) => Ok(root),
            Ok(false) => Err(Error::new(ErrorKind::InvalidInput, format!("{} is not a directory", parent.display()))),
            Err(error) => {
                let what = format!("{} does not exist, and its parent can't be used", path.display());
                Err(fault(&what, "", &error.into()).with_hint("make the parent directory first"))
            }
        }
    }

    /// The root for reading.
    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let fd = rustix::fs::openat(CWD, &self.path, DIRECTORY, Mode::empty())?;
        Ok(self.fd.get_or_init(|| fd).as_fd())
    }

    /// The root for writing: made if it is not there.
    fn made(&self, disk: &Disk) -> io::Result<BorrowedFd<'_>> {
        match self.fd() {
            Err(error) if is(&error, Errno::NOENT) => {}
            other => return other,
        }
        let name = self.path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        match disk.make_dir(CWD, name, "") {
            Ok(()) => self.made.store(true, Ordering::Release),
            Err(error) if is(&error, Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        self.fd()
    }

    /// Opens what is at a path below the root, or the root for the empty path.
    pub(super) fn open_beneath(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let root = self.fd()?;
        Ok(self.beneath(root, if path.is_empty() { "." } else { path }, flags | OFlags::CLOEXEC)?)
    }

    pub(super) fn open_dir(&self, path: &str) -> io::Result<OwnedFd> {
        self.open_beneath(path, DIRECTORY)
    }

    /// Opens a directory, made if it is not there, and makes sure that it and all above it are
    /// durable.
    pub(super) fn make_dir(&self, disk: &Disk, path: &str) -> Result<OwnedFd, DirError> {
        match self.open_dir(path) {
            Ok(found) if self.is_durable(path, &found) => return Ok(found),
            Err(error) if !is(&error, Errno::NOENT) => return Err(DirError::NotMade(error)),
            _ => {}
        }
        let root = self.made(disk).map_err(DirError::NotMade)?;
        let mut parent = self.beneath(root, ".", DIRECTORY).map_err(|e| DirError::NotMade(e.into()))?;
        self.sync_above_root(disk, &parent)?;
        let mut parent_path = "";
        for (end, name) in components(path) {
            let here = path.get(..end).unwrap_or_default();
            match disk.make_dir(parent.as_fd(), name, here) {
                Ok(()) => self.forget(here),
                Err(error) if is(&error, Errno::EXIST) => {}
                Err(error) => return Err(DirError::NotMade(error)),
            }
            let child = self.beneath(parent.as_fd(), name, DIRECTORY).map_err(|e| DirError::NotMade(e.into()))?;
            if !self.is_durable(here, &child) {
                disk.sync_dir(parent.as_fd(), parent_path).map_err(DirError::NotSynced)?;
                self.remember(here, &child);
            }
            parent = child;
            parent_path = here;
        }
        Ok(parent)
    }

    fn sync_above_root(&self, disk: &Disk, root: &OwnedFd) -> Result<(), DirError> {
        if self.is_durable("", root) {
            return Ok(());
        }
        match rustix::fs::openat(root, "..", DIRECTORY, Mode::empty()) {
            Ok(above) => disk.sync_dir(above.as_fd(), "..").map_err(DirError::NotSynced)?,
            // A root that was there before is somebody else's to make durable; we may not even be
            // allowed to look at its parent.
            Err(Errno::ACCESS | Errno::PERM) if !self.made.load(Ordering::Acquire) => {}
            Err(error) => return Err(DirError::NotSynced(error.into())),
        }
        self.remember("", root);
        Ok(())
    }

    /// Makes a directory's and all its parents' entries durable again, whatever is remembered. Answers the directory.
    pub(super) fn sync_again(&self, disk: &Disk, path: &str) -> io::Result<OwnedFd> {
        let mut parent = self.open_dir("")?;
        let mut parent_path = "";
        for (end, name) in components(path) {
            let child = self.beneath(parent.as_fd(), name, DIRECTORY)?;
            disk.sync_dir(parent.as_fd(), parent_path)?;
            parent = child;
            parent_path = path.get(..end).unwrap_or_default();
        }
        disk.sync_dir(parent.as_fd(), parent_path)?;
        Ok(parent)
    }

    /// Makes sure that a path below the root still leads to the directory that was opened by it. (`None`: the root
    /// itself.) It does not when a directory on the way was moved, or a file system was mounted over one: what is
    /// written through the old descriptor then is not where others look.
    ///
    /// # Errors
    /// Unavailable, when it leads elsewhere or can't be followed.
    pub(super) fn in_place(&self, path: &str, dir: Option<&OwnedFd>) -> Result<()> {
        // Not opened yet: the next call opens what is there then.
        let Some(dir) = dir.or_else(|| self.fd.get()) else { return Ok(()) };
        let full = self.path.join(path);
        let held = rustix::fs::fstat(dir).map(|stat| (stat.st_dev, stat.st_ino));
        let named = rustix::fs::stat(&full).map(|stat| (stat.st_dev, stat.st_ino));
        let why = match (held, named) {
            (Ok(held), Ok(named)) if held == named => return Ok(()),
            (Ok(_), Ok(_)) => "another directory is there now".to_string(),
            (Err(error), _) | (_, Err(error)) => io::Error::from(error).to_string(),
        };
        let message = format!("{} no longer leads to the directory that was opened ({why})", full.display());
        Err(Error::new(ErrorKind::Unavailable, message).with_hint(
            "it was moved, or something was mounted over it: put it back, or open the bucket again where it is",
        ))
    }

    /// The error of a path below the root that leads through a symbolic link, with the link that is met first.
    pub(super) fn through_a_link(&self, path: &str) -> Option<Error> {
        let root = self.fd().ok()?;
        let is_link = |path: &str| {
            let found = rustix::fs::statat(root, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
        };
        let link = components(path).filter_map(|(end, _)| path.get(..end)).find(|path| is_link(path))?;
        let message = format!("{} is a symbolic link, expected a directory or a file", self.path.join(link).display());
        Some(Error::new(ErrorKind::Unsupported, message).with_hint(
            "links below the bucket's directory are not followed: put what it leads to in its place (or mount it \
             there), or open the bucket at the directory that holds it",
        ))
    }

    /// The error for a root that is not there.
    pub(super) fn missing(&self) -> Option<Error> {
        let error = self.fd().err().filter(|error| is(error, Errno::NOENT))?;
        let message = format!("the bucket's directory {} does not exist: {error}", self.path.display());
        Some(Error::new(ErrorKind::NotFound, message).with_hint("check its path; the first append makes it"))
    }

    /// Opens a path that may not leave the directory, by `..` or by a link.
    fn beneath(&self, dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        if path.split('/').any(|name| name == "..") {
            return Err(Errno::ACCESS);
        }
        if !self.no_openat2.load(Ordering::Relaxed) {
            match in_one_call(dir, path, flags) {
                // Before 5.6 there is none, and a sandbox's filter may forbid it.
                Err(Errno::NOSYS | Errno::PERM) => self.no_openat2.store(true, Ordering::Relaxed),
                other => return other,
            }
        }
        step_by_step(dir, path, flags)
    }

    fn is_durable(&self, path: &str, fd: &OwnedFd) -> bool {
        let inode = rustix::fs::fstat(fd).map(|stat| stat.st_ino);
        let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        durable.get(path).is_some_and(|known| inode == Ok(*known))
    }

    fn remember(&self, path: &str, fd: &OwnedFd) {
        if let Ok(stat) = rustix::fs::fstat(fd) {
            self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_string(), stat.st_ino);
        }
    }

    fn forget(&self, path: &str) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.path.display())
    }
}

/// Why a directory can't be written into.
#[derive(Debug)]
pub(super) enum DirError {
    NotMade(io::Error),
    NotSynced(io::Error),
}

/// The names of a path, each with where it ends.
fn components(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0usize;
    path.split('/').filter(|name| !name.is_empty()).map(move |name| {
        let end = start + name.len();
        start = end + 1;
        (end, name)
    })
}

/// Opens a path in one call that follows no link.
#[cfg(target_os = "linux")]
fn in_one_call(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve))
}

#[cfg(not(target_os = "linux"))]
fn in_one_call(_dir: BorrowedFd<'_>, _path: &str, _flags: OFlags) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Opens a path name by name, following no link.
fn step_by_step(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let open = |dir: BorrowedFd<'_>, name: &str, flags: OFlags| {
        let opened =
            rustix::io::retry_on_intr(|| rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty()));
        opened.map_err(|error| match error {
            // With O_DIRECTORY a link is said to be no directory.
            Errno::NOTDIR | Errno::MLINK => {
                match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() => Errno::LOOP,
                    _ => Errno::NOTDIR,
                }
            }
            other => other,
        })
    };
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parent: Option<OwnedFd> = None;
    for name in parents.split('/').filter(|name| !name.is_empty()) {
        parent = Some(open(parent.as_ref().map_or(dir, |fd| fd.as_fd()), name, DIRECTORY)?);
    }
    open(parent.as_ref().map_or(dir, |fd| fd.as_fd()), name, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_beneath_refuse_links_and_parents_and_find_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/a/b")).unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        let path = dir.path().join("root");
        std::fs::write(path.join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink("b", path.join("a/link")).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("out")).unwrap();
        for no_openat2 in [false, true] {
            let root = Root::open(&path).unwrap();
            root.no_openat2.store(no_openat2, Ordering::Relaxed);
            let open = |path: &str, flags| root.beneath(root.fd().unwrap(), path, flags);
            open("a/b/c", OFlags::RDONLY).unwrap();
            open(".", DIRECTORY).unwrap();
            for link in ["a/link", "a/link/c", "out", "out/passwd"] {
                for flags in [OFlags::RDONLY, DIRECTORY] {
                    assert_eq!(open(link, flags).unwrap_err(), Errno::LOOP, "{link}");
                }
            }
            for up in ["..", "../outside", "a/../../outside", "a/b/../b/c", "a/.."] {
                assert_eq!(open(up, OFlags::RDONLY).unwrap_err(), Errno::ACCESS, "{up}");
            }
            assert_eq!(open("a/b/c/d", OFlags::RDONLY).unwrap_err(), Errno::NOTDIR);
            assert_eq!(open("a/x/c", OFlags::RDONLY).unwrap_err(), Errno::NOENT);
        }
    }

    #[test]
    fn components_end_where_their_paths_do() {
        let found: Vec<_> = components("ns/topic/0").collect();
        assert_eq!(found, [(2, "ns"), (8, "topic"), (10, "0")]);
        assert_eq!(components("").count(), 0);
    }
}
