//! Which files this process made, and for whom: a directory keeps no metadata.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

use crate::store::types::STAND_IN;

/// How many flushes are remembered for each writer. A writer asks only for the one that it has
/// under way, or had before it moved on.
const FLUSHES: usize = 4;

/// One state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) modified_ns: i128,
    pub(super) size: u64,
}

impl FileId {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types differ between systems")]
    pub(super) fn of(stat: &Stat) -> Self {
        let seconds = i128::from(stat.st_mtime) * 1_000_000_000;
        FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified_ns: seconds + i128::from(stat.st_mtime_nsec),
            size: u64::try_from(stat.st_size).unwrap_or(0),
        }
    }

    /// An inode's number comes back after its file is gone; time and size with it hardly ever.
    pub(super) fn e_tag(&self) -> String {
        format!("{:x}-{:x}-{:x}", self.inode, self.modified_ns, self.size)
    }

    /// What `kfsid` says of a file that is not known as ours: that it is another's.
    pub(super) fn stranger(&self) -> String {
        format!("{STAND_IN}{:x}-{:x}", self.device, self.inode)
    }
}

/// What is known of a file of ours.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) kfsid: String,
    /// An fsync failed after it may have had its name. A later fsync that succeeds proves nothing
    /// then: the kernel reports a lost write once.
    pub(super) sync_failed: bool,
}

/// The files that this process made with a `kfsid`, remembered before they get their name.
#[derive(Debug, Default)]
pub(super) struct Own(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    files: HashMap<FileId, Made>,
    writers: HashMap<String, VecDeque<(String, Vec<FileId>)>>,
}

/// A writer's id and the number of its flush.
fn parts(kfsid: &str) -> (&str, &str) {
    kfsid.split_once('.').unwrap_or((kfsid, ""))
}

impl Own {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember(&self, kfsid: &str, file: FileId) {
        let (writer, flush) = parts(kfsid);
        let mut books = self.books();
        let Books { files, writers } = &mut *books;
        files.insert(file, Made { kfsid: kfsid.to_string(), sync_failed: false });
        let flushes = writers.entry(writer.to_string()).or_default();
        match flushes.iter_mut().find(|(number, _)| number == flush) {
            Some((_, made)) => made.push(file),
            None => flushes.push_back((flush.to_string(), vec![file])),
        }
        if flushes.len() > FLUSHES {
            for file in flushes.pop_front().map(|(_, made)| made).unwrap_or_default() {
                files.remove(&file);
            }
        }
    }

    /// For a file that certainly did not get its name.
    pub(super) fn forget(&self, file: &FileId) {
        let mut books = self.books();
        let Books { files, writers } = &mut *books;
        let Some(made) = files.remove(file) else { return };
        let (writer, flush) = parts(&made.kfsid);
        let Some(flushes) = writers.get_mut(writer) else { return };
        if let Some((_, made)) = flushes.iter_mut().find(|(number, _)| number == flush) {
            made.retain(|one| one != file);
        }
        flushes.retain(|(_, made)| !made.is_empty());
        if flushes.is_empty() {
            writers.remove(writer);
        }
    }

    pub(super) fn sync_failed(&self, file: &FileId) {
        if let Some(made) = self.books().files.get_mut(file) {
            made.sync_failed = true;
        }
    }

    pub(super) fn find(&self, file: &FileId) -> Option<Made> {
        self.books().files.get(file).cloned()
    }

    pub(super) fn forget_writer(&self, writer: &str) {
        let mut books = self.books();
        for file in books.writers.remove(writer).unwrap_or_default().into_iter().flat_map(|(_, made)| made) {
            books.files.remove(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> FileId {
        FileId { device: 1, inode, modified_ns: 5, size: 6 }
    }

    #[test]
    fn the_newest_flushes_of_each_writer_are_remembered() {
        let own = Own::default();
        own.remember("aa.0", file(100));
        for flush in 0..10 {
            own.remember(&format!("bb.{flush}"), file(flush));
            own.remember(&format!("bb.{flush}"), file(50 + flush));
        }
        let kept: Vec<u64> = (0..10).filter(|n| own.find(&file(*n)).is_some()).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
        assert!(own.find(&file(55)).is_none() && own.find(&file(56)).is_some());
        assert_eq!(own.find(&file(100)).unwrap().kfsid, "aa.0");
        own.forget(&file(100));
        own.forget_writer("bb");
        assert!(own.books().files.is_empty() && own.books().writers.is_empty());
    }

    #[test]
    fn another_state_of_the_inode_is_another_file() {
        let own = Own::default();
        own.remember("aa.0", file(1));
        assert!(own.find(&FileId { modified_ns: 6, ..file(1) }).is_none());
        assert!(own.find(&FileId { size: 7, ..file(1) }).is_none());
    }
}
