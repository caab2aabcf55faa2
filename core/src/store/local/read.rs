//! Reads files: mapped, or copied where that is cheaper or asked for.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta};
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::disk::{fault, is, not_a_file};
use super::hook::DiskOp;
use super::map::map;
use super::own::FileId;
use super::put::split;
use super::{LocalStore, check};
use crate::error::{Error, ErrorKind};
use crate::format::ObjectName;
use crate::store::failure::{Effect, StoreFailure};
use crate::text::counted;

/// Up to this many bytes are copied, though maps are on. To make a map, touch each page once and
/// give it back costs 5 microseconds for 4 KiB and 11 for 64 KiB, a copy 0.4 and 2.8 (measured, hot,
/// in a virtual machine): a map pays by being kept, as that of a whole segment is. And a process has
/// 65,530 places for maps.
pub(super) const COPIED: u64 = 64 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) id: FileId,
    pub(super) meta: ObjectMeta,
}

/// Why a read failed: of our own, or a condition that object_store words.
pub(super) type ReadResult<T> = std::result::Result<T, object_store::Error>;

pub(super) fn ours(error: Error, path: &Path) -> object_store::Error {
    StoreFailure::new(Effect::None, error).into_object_store(path.as_ref())
}

impl LocalStore {
    pub(super) fn open_file(&self, path: &Path) -> ReadResult<Opened> {
        let key = path.as_ref();
        check(key).map_err(|error| ours(error, path))?;
        // Without O_NONBLOCK a named pipe that somebody put there would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let missing = || {
            let absent = || Error::new(ErrorKind::NotFound, "no such object").with_key(key);
            ours(self.oddity(key).unwrap_or_else(absent), path)
        };
        let fd = match self.root().open_beneath(key, flags) {
            Ok(fd) => fd,
            Err(error) if is(&error, Errno::NXIO) => return Err(missing()),
            Err(error) => {
                let mapped = self.oddity(key).unwrap_or_else(|| self.fault("the file can't be opened", key, &error));
                // What is not there may be where the path led before.
                let moved = Some(&mapped).filter(|mapped| mapped.kind() == ErrorKind::NotFound);
                let moved = moved.and_then(|_| self.root().in_place("", None).err());
                return Err(ours(moved.unwrap_or(mapped), path));
            }
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| ours(fault("the file can't be read", key, &e.into()), path))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(missing());
        }
        let id = FileId::of(&stat);
        Ok(Opened { file: File::from(fd), id, meta: meta(path.clone(), &id) })
    }

    /// The error for what has the name of a log's object and is no file. `None` for everything else.
    pub(super) fn oddity(&self, key: &str) -> Option<Error> {
        let (path, name) = split(key);
        ObjectName::parse(name)?;
        let dir = self.root().open_dir(path).ok()?;
        let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        (!kind.is_file()).then(|| not_a_file(key, kind))
    }

    /// Opens a file and finds the bytes asked for.
    pub(super) fn locate(&self, path: &Path, options: &GetOptions) -> ReadResult<(Opened, Range<u64>)> {
        let opened = self.open_file(path)?;
        options.check_preconditions(&opened.meta)?;
        if options.version.is_some() {
            let error = Error::new(ErrorKind::Unsupported, "a directory keeps no older versions");
            return Err(ours(error, path));
        }
        let size = opened.meta.size;
        let (range, holds) = match &options.range {
            None => (0..size, true),
            Some(GetRange::Suffix(bytes)) => (size.saturating_sub(*bytes)..size, true),
            Some(GetRange::Bounded(range)) => (range.start..range.end.min(size), range.start < range.end.min(size)),
            Some(GetRange::Offset(start)) => (*start..size, *start < size),
        };
        if !holds {
            return Err(object_store::Error::Generic {
                store: "kfs directory",
                source: format!("the range begins at {}, the object has {}", range.start, counted(size, "byte")).into(),
            });
        }
        Ok((opened, range))
    }

    /// Reads by a map if maps are on and the read is large.
    pub(super) fn read(&self, opened: &Opened, range: Range<u64>, path: &Path) -> ReadResult<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let key = path.as_ref();
        let cant = |error: &io::Error| ours(fault("the file can't be read", key, error), path);
        let length = usize::try_from(length).map_err(|_| cant(&io::ErrorKind::OutOfMemory.into()))?;
        self.disk().may_read(DiskOp::Read { key }).map_err(|e| cant(&e))?;
        if self.maps(&range) {
            match map(&opened.file, range.start, length) {
                // No place for another map: a copy does too.
                Err(error) if is(&error, Errno::NOMEM) => {}
                other => return other.map_err(|e| cant(&e)),
            }
        }
        // The length is the file's own, told by fstat.
        let mut bytes = vec![0; length];
        opened.file.read_exact_at(&mut bytes, range.start).map_err(|e| cant(&e))?;
        Ok(bytes.into())
    }

    /// Whether a read of so much is mapped.
    pub(in crate::store) fn maps(&self, range: &Range<u64>) -> bool {
        self.is_mapped() && range.end.saturating_sub(range.start) > COPIED
    }
}

/// What a listing or GET says of a file.
pub(super) fn meta(location: Path, id: &FileId) -> ObjectMeta {
    let since = u64::try_from(id.modified_ns).map(std::time::Duration::from_nanos).unwrap_or_default();
    let modified = std::time::UNIX_EPOCH.checked_add(since).unwrap_or(std::time::UNIX_EPOCH);
    ObjectMeta { location, last_modified: modified.into(), size: id.size, e_tag: Some(id.e_tag()), version: None }
}
