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

/// A walk over all files whose key begins with a prefix and is greater than another text.
///
/// Memory is bounded by `stretch` names for each level of directories, however many files there
/// are; a directory with more is read again for its next stretch. Only what is given out is
/// looked at (stat).
#[derive(Debug)]
pub(super) struct Walk {
    prefix: String,
    after: String,
    stretch: usize,
    frames: Vec<Frame>,
    begun: bool,
}

/// One directory on the way.
#[derive(Debug)]
struct Frame {
    dir: OwnedFd,
    /// Its path, with `/` at the end; empty for the root.
    path: String,
    /// The next entries, the smallest last.
    entries: Vec<String>,
    /// The last entry that was read, when the directory holds greater ones.
    more_after: Option<String>,
}

impl Walk {
    pub(super) fn new(prefix: &str, after: Option<&str>, stretch: usize) -> Self {
        Walk {
            prefix: prefix.to_string(),
            after: after.unwrap_or_default().to_string(),
            stretch: stretch.max(1),
            frames: Vec::new(),
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
            let Some(frame) = self.frames.last_mut() else { break };
            let Some(entry) = frame.entries.pop() else {
                let Some(last) = frame.more_after.take() else {
                    self.frames.pop();
                    continue;
                };
                let (entries, more) = read(frame, &self.prefix, &self.after, Some(&last), self.stretch)?;
                frame.entries = entries;
                frame.more_after = more;
                continue;
            };
            if let Some(name) = entry.strip_suffix('/') {
                let path = format!("{}{name}", frame.path);
                self.enter(root, &path)?;
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&frame.dir, entry.as_str(), AtFlags::SYMLINK_NOFOLLOW) else {
                // Gone since its name was read.
                continue;
            };
            if !FileType::from_raw_mode(stat.st_mode).is_file() {
                continue;
            }
            // Names that can't be keys are none.
            if let Ok(location) = Path::parse(format!("{}{entry}", frame.path)) {
                found.push(meta(location, &FileId::of(&stat)));
            }
        }
        Ok(found)
    }

    fn enter(&mut self, root: &Root, path: &str) -> io::Result<()> {
        let dir = match root.open_dir(path) {
            Ok(dir) => dir,
            // A prefix that is no directory has no files; one may vanish while we walk.
            Err(error) if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|e| is(&error, *e)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut frame = Frame { dir, path, entries: Vec::new(), more_after: None };
        let (entries, more) = read(&frame, &self.prefix, &self.after, None, self.stretch)?;
        frame.entries = entries;
        frame.more_after = more;
        self.frames.push(frame);
        Ok(())
    }
}

/// Reads a directory's next entries in the order of keys, the smallest last, and where to go on.
/// A directory counts as its name with `/`: so `a.b` comes before what is in `a`.
fn read(
    frame: &Frame,
    prefix: &str,
    after: &str,
    entries_after: Option<&str>,
    stretch: usize,
) -> io::Result<(Vec<String>, Option<String>)> {
    let mut smallest: BinaryHeap<String> = BinaryHeap::new();
    let mut more = false;
    // What prefix and text say of the names here. (A walk enters only directories of which they say
    // something, or all.)
    let prefix = prefix.strip_prefix(frame.path.as_str()).unwrap_or_default();
    let after = match after.strip_prefix(frame.path.as_str()) {
        Some(rest) => rest,
        None if after > frame.path.as_str() => return Ok((Vec::new(), None)),
        None => "",
    };
    let after = entries_after.map_or(after, |last| last.max(after));
    let mut with_slash = String::new();
    each(frame, |name, directory| {
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

/// Calls `visit` with each file's and directory's name, and whether it is a directory, until it
/// breaks off.
fn each(frame: &Frame, mut visit: impl FnMut(&str, bool) -> ControlFlow<()>) -> io::Result<()> {
    for entry in Dir::read_from(&frame.dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." || (frame.path.is_empty() && name == STAGING_DIR) {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(&frame.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            known => known,
        };
        let flow = match kind {
            FileType::RegularFile => visit(name, false),
            FileType::Directory => visit(name, true),
            _ => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// The files and the directories directly in a directory. A directory is named only if there is a
/// file somewhere beneath it.
pub(super) fn children(root: &Root, path: &str) -> io::Result<(Vec<ObjectMeta>, Vec<String>)> {
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    let mut walk = Walk::new("", None, usize::MAX);
    walk.enter(root, path)?;
    let Some(frame) = walk.frames.pop() else { return Ok((files, dirs)) };
    for entry in frame.entries.iter().rev() {
        if let Some(name) = entry.strip_suffix('/') {
            if holds_a_file(root, &format!("{}{name}", frame.path))? {
                dirs.push(name.to_string());
            }
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&frame.dir, entry.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if let Ok(location) = Path::parse(format!("{}{entry}", frame.path)) {
            files.push(meta(location, &FileId::of(&stat)));
        }
    }
    Ok((files, dirs))
}

fn holds_a_file(root: &Root, path: &str) -> io::Result<bool> {
    let mut paths = vec![path.to_string()];
    while let Some(path) = paths.pop() {
        let dir = match root.open_dir(&path) {
            Ok(dir) => dir,
            Err(error) if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|e| is(&error, *e)) => continue,
            Err(error) => return Err(error),
        };
        let frame = Frame { dir, path: format!("{path}/"), entries: Vec::new(), more_after: None };
        let mut found = false;
        each(&frame, |name, directory| {
            if !directory {
                found = true;
                return ControlFlow::Break(());
            }
            paths.push(format!("{}{name}", frame.path));
            ControlFlow::Continue(())
        })?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
