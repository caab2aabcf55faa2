//! A partition that is deleted and made again while it is read.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{Either, select};

use super::*;
use crate::error::ErrorKind;
use crate::format::LogIdentity;

async fn put_log_json(f: &Fixture, id: char) {
    let identity = LogIdentity::new(id.to_string().repeat(32), 0, 0).unwrap();
    f.put(&f.partition.id().log_json_key(), identity.encode()).await;
}

/// Deletes all of the partition, and makes another log of so many segments.
async fn remake(f: &Fixture, segments: i64) {
    let objects: Vec<_> = f.store.list(None).try_collect().await.unwrap();
    for object in objects {
        f.delete(object.location.as_ref()).await;
    }
    put_log_json(f, 'b').await;
    for base in 0..segments {
        f.put_segment(base * 2, &[batch(2, 77)], 1).await;
    }
}

async fn log_of(segments: i64) -> Fixture {
    let f = Fixture::new();
    put_log_json(&f, 'a').await;
    for base in 0..segments {
        f.put_segment(base * 2, &[batch(2, 10)], 1).await;
    }
    f
}

fn says_so(error: &crate::error::Error) {
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("deleted and made again"), "{error}");
}

#[tokio::test]
async fn a_follower_does_not_cross_into_another_log() {
    // One that has come as far, and one that has not.
    for segments in [8, 5, 2, 0] {
        let f = log_of(5).await;
        let reader = f.partition.reader();
        let mut follow = reader.follow(0);
        for _ in 0..5 {
            follow.next().await.unwrap().unwrap();
        }
        assert!(reader.fetch(10, 1).await.unwrap().is_empty());
        remake(&f, segments).await;
        {
            let next = follow.next();
            let advance = async {
                for _ in 0..200 {
                    f.clock.advance(Duration::from_secs(1));
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                }
            };
            futures_util::pin_mut!(next, advance);
            match select(next, advance).await {
                Either::Left((result, _)) => says_so(&result.unwrap_err()),
                Either::Right(_) => panic!("{segments}: it waits for the old log"),
            }
        }
        // It stays so, until the caller says from where to read on.
        says_so(&follow.next().await.unwrap_err());
        if segments > 0 {
            follow.seek(0);
            assert_eq!(follow.next().await.unwrap().unwrap().base_offset(), 0);
        }
    }
}

#[tokio::test]
async fn a_reader_underway_is_told_when_its_segments_are_of_another_log() {
    let f = log_of(5).await;
    let reader = f.partition.reader_with(ReaderOptions::default().fetch_bytes(1));
    let mut stream = reader.batches(0);
    stream.next().await.unwrap();
    remake(&f, 8).await;
    says_so(&stream.next().await.unwrap_err());
    says_so(&stream.next().await.unwrap_err());
    // Who begins now reads the new log.
    let mut records = reader.records(0);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        assert_eq!(record.value().unwrap().len(), 77);
        offsets.push(record.offset());
    }
    assert_eq!(offsets, (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_copy_of_the_same_log_json_is_the_same_log() {
    let f = log_of(3).await;
    let reader = f.partition.reader();
    let mut follow = reader.follow(0);
    for _ in 0..3 {
        follow.next().await.unwrap().unwrap();
    }
    // The next segment is another writer's, so the log's id is read.
    f.put_segment(6, &[batch(2, 10)], 1).await;
    follow.next().await.unwrap().unwrap();
    put_log_json(&f, 'a').await;
    f.put_segment(8, &[batch(2, 10)], 1).await;
    assert_eq!(follow.next().await.unwrap().unwrap().base_offset(), 8);
}
