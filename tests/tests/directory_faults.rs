//! A directory that is not what it should be: oddities under segments' names, and a bucket that was moved.

#![allow(clippy::disallowed_methods, reason = "the tests' own tasks are no part of the library")]

use std::path::{Path, PathBuf};

use kfs_core::format::NewRecord;
use kfs_core::{Bucket, ErrorKind, Partition, Severity, Stored, VerifyOptions, Writer};

fn bucket(root: &Path) -> Bucket {
    Bucket::open(&format!("file://{}", root.display())).unwrap()
}

async fn partition(root: &Path) -> Partition {
    bucket(root).partition("t", 0).unwrap()
}

async fn append(writer: &Writer, value: &[u8]) -> kfs_core::Result<kfs_core::Offsets> {
    writer.append(&[NewRecord::new(1).value(value)]).await?.durable().await
}

/// Three segments of one record each; answers the path of the segment.
async fn three_segments(root: &Path) -> impl Fn(i64) -> PathBuf {
    let writer = partition(root).await.writer().await.unwrap();
    for value in [b"a", b"b", b"c"] {
        append(&writer, value).await.unwrap();
    }
    writer.close(None).await.unwrap();
    let root = root.to_path_buf();
    move |base| root.join(format!("default/t/0/segment-{base:020}.kfs"))
}

/// Puts a link to the segment, or a directory, in its place.
fn replace(dir: &Path, segment: &Path, link: bool) {
    let moved = dir.join("moved.kfs");
    std::fs::rename(segment, &moved).unwrap();
    if link {
        std::os::unix::fs::symlink(&moved, segment).unwrap();
    } else {
        std::fs::create_dir(segment).unwrap();
    }
}

#[tokio::test]
async fn a_link_or_directory_under_a_segments_name_is_named_by_readers_verify_and_writers() {
    for (base, link) in [(2, true), (2, false), (1, true), (1, false)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let segment = three_segments(&root).await;
        replace(dir.path(), &segment(base), link);
        let key = format!("default/t/0/segment-{base:020}.kfs");
        let partition = partition(&root).await;

        let reader = partition.reader();
        let mut records = reader.records(0);
        let error = loop {
            match records.next().await {
                Ok(record) => assert!(record.unwrap().offset() < base),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key[..])), "{error}");

        let found = partition.verify(VerifyOptions::default()).all().await.unwrap();
        let named = found.iter().any(|finding| finding.key == key && finding.severity == Severity::Error);
        assert!(named, "verify does not name {key}: {found:?}");

        let writer = partition.writer().await;
        if base == 2 {
            let error = writer.unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key[..])), "{error}");
        } else {
            append(&writer.unwrap(), b"d").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_writer_whose_bucket_was_moved_acks_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let bucket = bucket(&root);
    let partition = bucket.partition("t", 0).unwrap();
    let writer = partition.writer().await.unwrap();
    append(&writer, b"a").await.unwrap();
    std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
    std::fs::create_dir(&root).unwrap();
    let error = append(&writer, b"b").await.unwrap_err();
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Unavailable, Some(Stored::Perhaps)), "{error}");
    assert!(error.to_string().contains("no longer leads to the directory that was opened"), "{error}");
    let error = append(&writer, b"c").await.unwrap_err();
    assert_eq!(error.stored(), Some(Stored::Not), "{error}");
    let mut records = partition.reader().records(0);
    assert_eq!(records.next().await.unwrap().unwrap().offset(), 0);
    // Somebody may put the directory back: a reader asks until its caller has had enough, and says what it waits for.
    let refresh = tokio::spawn(async move { partition.refresh().await });
    let error = loop {
        match bucket.trouble().and_then(|trouble| trouble.error) {
            Some(error) => break error,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(error.to_string().contains("no longer leads"), "{error}");
    refresh.abort();
}
