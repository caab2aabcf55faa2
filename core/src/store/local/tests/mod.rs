mod conformance;
mod faults;
mod names;
mod race;
mod reads;
mod replace;
mod uploads;

use std::sync::Arc;

use object_store::PutPayload;

use super::{DiskHook, DiskOp, DiskVerdict, LocalStore};
use crate::store::{Store, StoreOptions};

/// A hook of a test's own.
struct Hook<F>(F);

impl<F> std::fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl<F: Fn(&DiskOp<'_>) -> DiskVerdict + Send + Sync + 'static> DiskHook for Hook<F> {
    fn before(&self, op: &DiskOp<'_>) -> DiskVerdict {
        (self.0)(op)
    }
}

fn hook(decide: impl Fn(&DiskOp<'_>) -> DiskVerdict + Send + Sync + 'static) -> Arc<dyn DiskHook> {
    Arc::new(Hook(decide))
}

fn open(dir: &std::path::Path, options: &StoreOptions) -> Store {
    Store::open(url::Url::from_directory_path(dir).unwrap().as_str(), options).unwrap()
}

fn payload(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

/// Staging with and without names, which are two ways to the same.
fn both() -> [StoreOptions; 2] {
    [StoreOptions::default(), StoreOptions::default().named_staging(true)]
}

/// All names below a directory, staging included.
fn tree(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn it_works_without_tokio() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let done = futures_util::FutureExt::now_or_never(store.put("a/b", payload("x")));
    done.unwrap().unwrap();
    let page = futures_util::FutureExt::now_or_never(store.list_page("a/", None, 5)).unwrap().unwrap();
    assert_eq!(page.objects[0].key, "a/b");
}

#[test]
fn opening_and_reading_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    let store = open(&root, &StoreOptions::default());
    let page = futures_util::FutureExt::now_or_never(store.list_page("", None, 5)).unwrap().unwrap();
    assert!(page.objects.is_empty() && page.complete && !root.exists());
    drop(LocalStore::open(&root, &StoreOptions::default()).unwrap());
    assert!(!root.exists());
    futures_util::FutureExt::now_or_never(store.put("a", payload("x"))).unwrap().unwrap();
    assert!(root.join("a").exists());
}
