//! Lists files in ascending order of their keys, a stretch at a time.

use std::collections::BinaryHeap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use object_store::ObjectMeta;
use object_store::path::Path;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::disk::is;
use super::own::FileId;
use super::read::meta;
use super::root::Root;
use super::stage::STAGING_DIR;
use crate::format::ObjectName;

/// A walk over all files whose key begins with a prefix and is greater than another text.
///
/// Memory is bounded by `stretch` names for each level of directories, however many files there
/// are; a directory with more is read again for its next stretch. One directory is open at a time, however
/// deep the tree. Only what is given out is looked at (stat).
#[derive(Debug)]
pub(super) struct TreeWalk {
    prefix: String,
    after: String,
    stretch: usize,
    levels: Vec<OpenLevel>,
    /// The directory that was read or looked into last, by its path.
    current: Option<(String, OwnedFd)>,
    begun: bool,
}

/// One directory on the way.
#[derive(Debug)]
struct OpenLevel {
    /// Its path, with `/` at the end; empty for the root.
    path: String,
    /// The next entries, the smallest last.
    entries: Vec<String>,
    /// The last entry that was read, when the directory holds greater ones.
    more_after: Option<String>,
}

impl TreeWalk {
    pub(super) fn new(prefix: &str, after: Option<&str>, stretch: usize) -> Self {
        TreeWalk {
            prefix: prefix.to_string(),
            after: after.unwrap_or_default().to_string(),
            stretch: stretch.max(1),
            levels: Vec::new(),
            current: None,
            begun: false,
        }
    }

    /// The next files, `max` at most; fewer only at the end.
    pub(super) fn next(&mut self, root: &Root, max: usize) -> io::Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        if !self.begun {
            self.begun = true;
            let start = self.prefix.rfind('/').and_then(|at| self.prefix.get(..at)).unwrap_or_default().to_string();
            self.enter(root, &start)?;
        }
        while found.len() < max {
            let Some(level) = self.levels.last_mut() else { break };
            let entry = level.entries.pop();
            if let Some(name) = entry.as_deref().and_then(|entry| entry.strip_suffix('/')) {
                let path = format!("{}{name}", level.path);
                self.enter(root, &path)?;
                continue;
            }
            if entry.is_none() && level.more_after.is_none() {
                self.levels.pop();
                continue;
            }
            let Some(dir) = open(&mut self.current, root, &level.path)? else {
                // Gone since its names were read.
                self.levels.pop();
                continue;
            };
            let Some(entry) = entry else {
                let last = level.more_after.take();
                (level.entries, level.more_after) =
                    read(dir, &level.path, &self.prefix, &self.after, last.as_deref(), self.stretch)?;
                continue;
            };
            // Skips a file that has gone since its name was read.
            if let Some(id) = object(dir, &entry)
                // Names that can't be keys are none.
                && let Ok(location) = Path::parse(format!("{}{entry}", level.path))
            {
                found.push(meta(location, &id));
            }
        }
        Ok(found)
    }

    fn enter(&mut self, root: &Root, path: &str) -> io::Result<()> {
        let path = if path.is_empty() { String::new() } else { format!("{path}/") };
        let Some(dir) = open(&mut self.current, root, &path)? else { return Ok(()) };
        let (entries, more_after) = read(dir, &path, &self.prefix, &self.after, None, self.stretch)?;
        self.levels.push(OpenLevel { path, entries, more_after });
        Ok(())
    }
}

/// Opens a directory of a walk, unless it is the one that is open. `None` if it does not exist.
fn open<'a>(current: &'a mut Option<(String, OwnedFd)>, root: &Root, path: &str) -> io::Result<Option<&'a OwnedFd>> {
    if current.as_ref().is_none_or(|(open, _)| open != path) {
        // The last one is closed first.
        *current = None;
        *current = open_dir(root, path)?.map(|dir| (path.to_string(), dir));
    }
    Ok(current.as_ref().map(|(_, dir)| dir))
}

/// Opens a directory. `None` if it does not exist: a prefix that is no directory has no files, one may vanish while we
/// walk, and a path that is too long for the system holds no key of ours. A symbolic link is an error: what it leads to
/// may be a log, and must not look like none.
fn open_dir(root: &Root, path: &str) -> io::Result<Option<OwnedFd>> {
    match root.open_dir(path.trim_end_matches('/')) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG].iter().any(|e| is(&error, *e)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file, or what has the name of a log's object instead of one: that counts as an object without bytes, so that
/// whoever reads it learns what it is (docs/format.md: names decide).
fn object(dir: &OwnedFd, name: &str) -> Option<FileId> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let id = FileId::of(&stat);
    match FileType::from_raw_mode(stat.st_mode).is_file() {
        true => Some(id),
        false => ObjectName::parse(name).map(|_| FileId { size: 0, ..id }),
    }
}

/// Reads a directory's next entries in the order of keys, the smallest last, and where to go on.
/// A directory counts as its name with `/`: so `a.b` comes before what is in `a`.
fn read(
    dir: &OwnedFd,
    path: &str,
    prefix: &str,
    after: &str,
    entries_after: Option<&str>,
    stretch: usize,
) -> io::Result<(Vec<String>, Option<String>)> {
    let mut smallest: BinaryHeap<String> = BinaryHeap::new();
    let mut more = false;
    // What prefix and text say of the names here. (A walk enters only directories of which they say
    // something, or all.)
    let prefix = prefix.strip_prefix(path).unwrap_or_default();
    let after = match after.strip_prefix(path) {
        Some(rest) => rest,
        None if after > path => return Ok((Vec::new(), None)),
        None => "",
    };
    let after = entries_after.map_or(after, |last| last.max(after));
    let mut with_slash = String::new();
    each(dir, path, |name, kind| {
        let directory = match kind {
            EntryKind::File => false,
            EntryKind::Directory => true,
            EntryKind::Link => return ControlFlow::Continue(()),
        };
        let entry = if directory {
            with_slash.clear();
            with_slash.push_str(name);
            with_slash.push('/');
            with_slash.as_str()
        } else {
            name
        };
        let mut wanted = entry.starts_with(prefix) && entry > after;
        if directory && !wanted && entries_after.is_none_or(|last| entry > last) {
            // Not itself, but perhaps what is in it.
            wanted =
                (entry.starts_with(prefix) || prefix.starts_with(entry)) && (entry > after || after.starts_with(entry));
        }
        if !wanted {
            return ControlFlow::Continue(());
        }
        if smallest.len() < stretch {
            smallest.push(entry.to_string());
        } else {
            more = true;
            if let Some(mut greatest) = smallest.peek_mut().filter(|greatest| entry < greatest.as_str()) {
                *greatest = entry.to_string();
            }
        }
        ControlFlow::Continue(())
    })?;
    let more_after = smallest.peek().cloned().filter(|_| more);
    let mut entries = smallest.into_sorted_vec();
    entries.reverse();
    Ok((entries, more_after))
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    /// A file, or what has the name of a log's object instead of one.
    File,
    Directory,
    /// A symbolic link to a directory, or to nothing: a directory that is not there now.
    Link,
}

/// Calls `visit` with each name and what it is, until it breaks off.
fn each(dir: &OwnedFd, path: &str, mut visit: impl FnMut(&str, EntryKind) -> ControlFlow<()>) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." || (path.is_empty() && name == STAGING_DIR) {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            known => known,
        };
        let flow = match kind {
            FileType::RegularFile => visit(name, EntryKind::File),
            _ if ObjectName::parse(name).is_some() => visit(name, EntryKind::File),
            FileType::Directory => visit(name, EntryKind::Directory),
            FileType::Symlink if may_lead_to_a_directory(dir, name) => visit(name, EntryKind::Link),
            _ => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

fn may_lead_to_a_directory(dir: &OwnedFd, name: &str) -> bool {
    match rustix::fs::statat(dir, name, AtFlags::empty()) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode).is_dir(),
        Err(_) => true,
    }
}

/// The files and the directories directly in a directory. A directory is named only if there is a
/// file somewhere beneath it. A symbolic link is named too, so that whoever asks for what is in it learns what it is.
pub(super) fn children(root: &Root, path: &str) -> io::Result<(Vec<ObjectMeta>, Vec<String>)> {
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    let mut walk = TreeWalk::new("", None, usize::MAX);
    walk.enter(root, path)?;
    let (Some(level), Some((_, dir))) = (walk.levels.pop(), &walk.current) else { return Ok((files, dirs)) };
    for entry in level.entries.iter().rev() {
        if let Some(name) = entry.strip_suffix('/') {
            if holds_a_file(root, &format!("{}{name}", level.path))? {
                dirs.push(name.to_string());
            }
            continue;
        }
        if let Some(id) = object(dir, entry)
            && let Ok(location) = Path::parse(format!("{}{entry}", level.path))
        {
            files.push(meta(location, &id));
        }
    }
    each(dir, &level.path, |name, kind| {
        if kind == EntryKind::Link {
            dirs.push(name.to_string());
        }
        ControlFlow::Continue(())
    })?;
    Ok((files, dirs))
}

fn holds_a_file(root: &Root, path: &str) -> io::Result<bool> {
    let mut paths = vec![path.to_string()];
    while let Some(path) = paths.pop() {
        let Some(dir) = open_dir(root, &path)? else { continue };
        let path = format!("{path}/");
        let mut found = false;
        each(&dir, &path, |name, kind| match kind {
            EntryKind::File | EntryKind::Link => {
                found = true;
                ControlFlow::Break(())
            }
            EntryKind::Directory => {
                paths.push(format!("{path}{name}"));
                ControlFlow::Continue(())
            }
        })?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
