//! Reading a directory, where segments of any size are mapped.

use futures_util::TryStreamExt;

use super::*;
use crate::{Bucket, BucketOptions};

/// The same objects as files, and a bucket over them.
async fn directory(f: &Fixture) -> (tempfile::TempDir, Bucket) {
    let dir = tempfile::tempdir().unwrap();
    let objects: Vec<_> = f.store.list(None).try_collect().await.unwrap();
    for object in objects {
        let path = dir.path().join(object.location.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, f.get(object.location.as_ref()).await).unwrap();
    }
    let url = format!("file://{}", dir.path().display());
    let bucket = Bucket::open_with(&url, BucketOptions::default()).unwrap();
    (dir, bucket)
}

#[tokio::test]
async fn every_offset_of_a_directory_is_read_as_the_model_says() {
    let (f, model) = log().await;
    let (_dir, bucket) = directory(&f).await;
    for options in [ReaderOptions::default(), small_blocks(), small_blocks().crc_check(CrcCheck::AlreadyChecked)] {
        let reader = bucket.partition("t", 0).unwrap().reader_with(options);
        for offset in 0..model.end() {
            for max in [0, 1_000, 200_000] {
                // The first one, which lists, may stop early.
                model.check_part(&reader.fetch(offset, max).await.unwrap(), offset, max);
                model.check(&reader.fetch(offset, max).await.unwrap(), offset, max);
            }
        }
        for offset in (0..model.end()).rev() {
            model.check(&reader.fetch(offset, 1).await.unwrap(), offset, 1);
        }
    }
}

#[tokio::test]
async fn what_is_mapped_is_checked_when_it_is_served() {
    let (f, model) = log().await;
    let each = sizes().iter().map(|b| b.header().record_count as i64).sum::<i64>();
    let good = f.get(&f.key(0)).await;
    for position in (32..good.len() - 16).step_by(331) {
        f.put(&f.key(0), good.clone()).await;
        flip(&f, &f.key(0), position).await;
        let (_dir, bucket) = directory(&f).await;
        let reader = bucket.partition("t", 0).unwrap().reader_with(small_blocks());
        let (mut at, mut failed) = (0, false);
        while at < each {
            match reader.fetch(at, 300).await {
                Ok(fetch) => {
                    model.check_part(&fetch, at, 300);
                    at = fetch.next_offset;
                }
                Err(error) => {
                    assert_eq!(error.key(), Some(&f.key(0)[..]));
                    let next = error.next_readable_offset().unwrap();
                    assert!(next > at, "byte {position}: {error}");
                    (at, failed) = (next, true);
                }
            }
        }
        assert!(failed, "byte {position}");
    }
}

#[tokio::test]
async fn a_missing_index_of_a_mapped_segment_is_built_in_memory() {
    let (f, model) = log().await;
    let indexes: Vec<_> = f.store.list(None).try_collect::<Vec<_>>().await.unwrap();
    for object in indexes.iter().filter(|o| o.location.as_ref().ends_with(".index")) {
        f.delete(object.location.as_ref()).await;
    }
    let (_dir, bucket) = directory(&f).await;
    for offset in (0..model.end()).rev() {
        let reader = bucket.partition("t", 0).unwrap().reader_with(small_blocks());
        model.check_part(&reader.fetch(offset, 300).await.unwrap(), offset, 300);
    }
    assert_eq!(bucket.requests().put, 0, "invariant 5");
}
