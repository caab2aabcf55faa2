//! A recording of what a store did to the disk, and the directories that a power cut may leave.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

use kfs_core::store::{DiskHook, DiskOp, DiskVerdict};
use kfs_core::testing::Prng;

/// A recorded call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    MakeDir(String),
    Stage(String, Option<String>),
    Write(String, Vec<u8>),
    SyncFile(String),
    SyncDir(String),
    Link(String),
    Rename(String),
    Unlink(String),
}

/// Records calls in their order. They must come one after the other.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<Call>>);

impl Recorder {
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().expect("lock").clone()
    }

    /// How many calls were made.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("lock").len()
    }
}

impl DiskHook for Recorder {
    fn before(&self, op: &DiskOp<'_>) -> DiskVerdict {
        let call = match *op {
            DiskOp::MakeDir { path } => Call::MakeDir(path.into()),
            DiskOp::Stage { key, path } => Call::Stage(key.into(), path.map(str::to_owned)),
            DiskOp::Write { key, bytes } => Call::Write(key.into(), bytes.to_vec()),
            DiskOp::SyncFile { key } => Call::SyncFile(key.into()),
            DiskOp::SyncDir { path } => Call::SyncDir(path.into()),
            DiskOp::Link { key } => Call::Link(key.into()),
            DiskOp::Rename { key } => Call::Rename(key.into()),
            DiskOp::Unlink { path } => Call::Unlink(path.into()),
            DiskOp::Lock { .. } | DiskOp::Read { .. } | DiskOp::List { .. } => return DiskVerdict::Proceed,
            _ => panic!("a call that the power-cut test does not know: {op:?}"),
        };
        self.0.lock().expect("lock").push(call);
        DiskVerdict::Proceed
    }
}

/// What becomes of what was not flushed.
#[derive(Debug)]
pub(crate) enum Fate {
    Vanishes,
    Survives,
    Either(Prng),
}

impl Fate {
    fn survives(&mut self) -> bool {
        match self {
            Fate::Vanishes => false,
            Fate::Survives => true,
            Fate::Either(prng) => prng.one_in(2),
        }
    }

    fn keeps(&mut self, unsynced: usize) -> usize {
        match self {
            Fate::Vanishes => 0,
            Fate::Survives => unsynced,
            Fate::Either(prng) => usize::try_from(prng.below(unsynced as u64 + 1)).expect("a length"),
        }
    }
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    durable: usize,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Dir,
    File(usize),
    Gone,
}

/// A change of one entry of a directory.
#[derive(Debug)]
struct Entry {
    path: String,
    target: Target,
    durable: bool,
}

/// The directory that an entry is in; the root's own is `..`.
fn parent(path: &str) -> &str {
    if path.is_empty() { ".." } else { path.rsplit_once('/').map_or("", |(dir, _)| dir) }
}

/// What a power cut leaves: directories (`None`) and files by path, parents first.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// The disk after some of the calls.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The file that is staged for a key, and its path if it has one.
    staged: HashMap<String, (usize, Option<String>)>,
    entries: Vec<Entry>,
}

impl Disk {
    fn enter(&mut self, path: &str, target: Target) {
        self.entries.push(Entry { path: path.into(), target, durable: false });
    }

    fn named(&self, path: &str) -> Option<usize> {
        match self.entries.iter().rev().find(|entry| entry.path == path)?.target {
            Target::File(file) => Some(file),
            _ => None,
        }
    }

    pub(crate) fn apply(&mut self, call: &Call) {
        match call {
            // A directory that is there already is not made anew.
            Call::MakeDir(path) => {
                if !self.entries.iter().any(|entry| entry.path == *path) {
                    self.enter(path, Target::Dir);
                }
            }
            Call::Stage(key, path) => {
                self.files.push(File::default());
                let file = self.files.len() - 1;
                if let Some(path) = path {
                    self.enter(path, Target::File(file));
                }
                self.staged.insert(key.clone(), (file, path.clone()));
            }
            Call::Write(key, bytes) => {
                let file = self.staged[key].0;
                self.files[file].bytes.extend_from_slice(bytes);
            }
            // Its bytes only: that it makes the name durable too is no promise.
            Call::SyncFile(key) => {
                let file = self.staged.get(key).map(|staged| staged.0).or_else(|| self.named(key));
                let file = &mut self.files[file.expect("a file to flush")];
                file.durable = file.bytes.len();
            }
            Call::SyncDir(path) => {
                self.entries.iter_mut().filter(|entry| parent(&entry.path) == path).for_each(|e| e.durable = true);
            }
            Call::Link(key) => {
                let (file, _) = self.staged.remove(key).expect("a staged file");
                if self.named(key).is_none() {
                    self.enter(key, Target::File(file));
                }
            }
            Call::Rename(key) => {
                let (file, path) = self.staged.remove(key).expect("a staged file");
                self.enter(key, Target::File(file));
                self.enter(&path.expect("a path"), Target::Gone);
            }
            Call::Unlink(path) => self.enter(path, Target::Gone),
        }
    }

    /// What is left when the power goes now.
    pub(crate) fn cut(&self, fate: &mut Fate) -> Tree {
        let mut last: BTreeMap<&str, Target> = BTreeMap::new();
        for entry in &self.entries {
            if entry.durable || fate.survives() {
                last.insert(&entry.path, entry.target);
            }
        }
        let kept: Vec<usize> =
            self.files.iter().map(|file| file.durable + fate.keeps(file.bytes.len() - file.durable)).collect();
        let (mut tree, mut dirs) = (Tree::new(), HashSet::from([".."]));
        for (path, target) in last {
            // In a directory that is gone nothing is left.
            if !dirs.contains(parent(path)) {
                continue;
            }
            match target {
                Target::Dir => {
                    dirs.insert(path);
                    tree.insert(path.into(), None);
                }
                Target::File(file) => {
                    tree.insert(path.into(), Some(self.files[file].bytes[..kept[file]].to_vec()));
                }
                Target::Gone => {}
            }
        }
        tree
    }
}

/// Puts a tree on the disk; its root is `root`.
pub(crate) fn build(tree: &Tree, root: &Path) {
    for (path, bytes) in tree {
        let place = if path.is_empty() { root.to_owned() } else { root.join(path) };
        match bytes {
            None => std::fs::create_dir(place).expect("directory"),
            Some(bytes) => std::fs::write(place, bytes).expect("file"),
        }
    }
}
