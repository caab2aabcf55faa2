//! A look at, and a hand in, what the store does to the disk: for tests.

use std::fmt;

/// Asked before each call that changes the disk, and before files and directories are read.
pub trait DiskHook: fmt::Debug + Send + Sync + 'static {
    /// Says what is to become of the call. It may come from any thread.
    fn before(&self, op: &DiskOp<'_>) -> DiskVerdict;
}

/// A call that changes the disk, or reads from it. Paths are relative to the store's root, with `/` between; the
/// root itself is the empty path. A nameless staging file is named by the key it is staged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOp<'a> {
    /// A directory is made.
    MakeDir {
        /// Its path.
        path: &'a str,
    },
    /// A staging file is opened; it has a name only where one is given.
    Stage {
        /// The key it is staged for.
        key: &'a str,
        /// Its path, where it has one.
        path: Option<&'a str>,
    },
    /// Bytes are written to the end of a staging file.
    Write {
        /// The key it is staged for.
        key: &'a str,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes are written to a place in a staging file, whose parts come in any order.
    WriteAt {
        /// The key it is staged for.
        key: &'a str,
        /// The place, in bytes.
        at: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A file's bytes are flushed to the medium (fsync).
    SyncFile {
        /// The key it is staged for, or that it has.
        key: &'a str,
    },
    /// A directory's entries are flushed to the medium (fsync).
    SyncDir {
        /// Its path.
        path: &'a str,
    },
    /// A directory is locked, so that one file at a time is replaced or removed in it (flock).
    Lock {
        /// Its path.
        path: &'a str,
    },
    /// A staging file is given its name, unless that is taken (linkat).
    Link {
        /// The key.
        key: &'a str,
    },
    /// A staging file replaces what has the name (renameat).
    Rename {
        /// The key.
        key: &'a str,
    },
    /// A name is removed.
    Unlink {
        /// Its path.
        path: &'a str,
    },
    /// A file's bytes are read, or mapped.
    Read {
        /// The key.
        key: &'a str,
    },
    /// Directories are read for a listing.
    List {
        /// What the keys begin with.
        prefix: &'a str,
    },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskVerdict {
    /// It is made.
    Proceed,
    /// It is not made, and fails with this errno.
    Fail(i32),
    /// It is made, and its success is hidden behind this errno.
    FailAfter(i32),
}
