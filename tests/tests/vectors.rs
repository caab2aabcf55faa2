//! The vectors through a writer, on every kind of store: a copy of a log has the bytes of the original.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kfs_core::format::{BatchCheck, CrcCheck, Segment, SparseIndex};
use kfs_core::runtime::Runtime;
use kfs_core::store::{ReadRange, Store};
use kfs_core::testing::{LocalSpawn, ManualClock, SeededEntropy};
use kfs_core::{Bucket, BucketOptions, WriterOptions};
use kfs_tests::{each_bucket, vectors};

fn segments(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("vectors") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            segments(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "kfs") {
            found.push(path);
        }
    }
}

/// What a writer stores in this topic that gets all batches of a segment as one append, at the time when it was made.
async fn appended(store: &Store, topic: &str, segment: &Segment, interval: i32) -> (Bytes, Bytes) {
    let clock = ManualClock::new(segment.header().created_ms);
    let runtime = Runtime::new(clock, Arc::new(SeededEntropy::new(1)), Arc::new(LocalSpawn));
    let options = BucketOptions::default().buffer_bytes(1 << 30).runtime(runtime);
    let bucket = Bucket::from_store(store.clone(), options).expect("bucket");
    let options = WriterOptions::default()
        .batch_check(BatchCheck::Decode)
        .start_offset(segment.base_offset())
        .index_interval(interval)
        .flush_interval(Duration::from_secs(3_600));
    let partition = bucket.partition(topic, 0).expect("name");
    let writer = partition.writer_with(options).await.expect("writer");
    let body: Vec<u8> = segment.batches().flat_map(|at| at.batch.bytes().to_vec()).collect();
    writer.append_batches(body).await.expect("room");
    writer.close(None).await.expect("closed");
    let listed = store.list_page(&partition.id().prefix(), None, 100).await.expect("listed");
    let object = |extension: &str| {
        let mut found = listed.objects.iter().filter(|object| object.key.ends_with(extension));
        let (one, more) = (found.next().expect("one"), found.next());
        assert!(more.is_none(), "one segment");
        one.key.clone()
    };
    let read = async |key: String| store.get(&key, ReadRange::Whole, None).await.expect("there").bytes;
    (read(object(".kfs")).await, read(object(".index")).await)
}

#[tokio::test]
async fn every_vector_that_is_appended_with_the_decode_check_is_stored_with_the_same_bytes() {
    let mut paths = Vec::new();
    segments(&vectors(), &mut paths);
    assert!(paths.len() >= 36, "{} vectors", paths.len());
    for bucket in each_bucket() {
        copies_are_equal(&bucket.store("copies"), bucket.name, &paths).await;
    }
}

async fn copies_are_equal(store: &Store, name: &str, paths: &[PathBuf]) {
    let mut renumbered = 0;
    for (number, path) in paths.iter().enumerate() {
        let read = |path: &Path| Bytes::from(std::fs::read(path).expect("bytes"));
        let (kfs, index) = (read(path), read(&path.with_extension("index")));
        let segment = Segment::parse(&kfs, CrcCheck::Verify).expect("a vector is whole");
        let interval = SparseIndex::parse(&index).expect("its index too").interval();
        let (copied, its_index) = appended(store, &format!("copy-{number}"), &segment, interval).await;
        let mut next = segment.base_offset();
        let dense = segment.batches().all(|at| {
            let base = at.batch.base_offset();
            std::mem::replace(&mut next, at.batch.next_offset()) == base
        });
        if dense {
            assert!(copied == kfs && its_index == index, "{name}: {}", path.display());
        } else {
            // An append closes gaps between batches.
            renumbered += 1;
            assert_eq!(copied.len(), kfs.len(), "{name}: {}", path.display());
        }
    }
    assert_eq!(renumbered, 2, "{name}");
}
