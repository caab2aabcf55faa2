//! Logs on every kind of store: every vector read back, writers and followers in different processes' places.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kfs_core::format::{BatchCheck, CrcCheck, NewRecord, PartitionId, Segment};
use kfs_core::object_store::PutPayload;
use kfs_core::store::Store;
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, Reader, ReaderOptions, Writer, WriterOptions};
use kfs_tests::load::Load;
use kfs_tests::{TestBucket, each_bucket, vectors};

fn bucket(of: &TestBucket, prefix: &str) -> Bucket {
    Bucket::from_store(of.store(prefix), BucketOptions::default()).expect("bucket")
}

/// Every vector's files: (name, segment, index).
fn cases() -> Vec<(String, Bytes, Bytes)> {
    let mut cases = Vec::new();
    for directory in [vectors(), vectors().join("clients")] {
        for entry in std::fs::read_dir(directory).expect("vectors") {
            let directory = entry.expect("entry").path();
            let files = std::fs::read_dir(&directory).into_iter().flatten().map(|f| f.expect("file").path());
            for kfs in files.filter(|f| f.extension().is_some_and(|e| e == "kfs")) {
                let read = |path| Bytes::from(std::fs::read(path).expect("bytes"));
                let name = format!("case-{}", cases.len());
                cases.push((name, read(kfs.clone()), read(kfs.with_extension("index"))));
            }
        }
    }
    assert!(cases.len() >= 36, "{} vectors", cases.len());
    cases
}

async fn read_all(reader: &Reader, from: i64, max_bytes: usize) -> Vec<Bytes> {
    let (mut offset, mut batches) = (from, Vec::new());
    loop {
        let fetched = reader.fetch(offset, max_bytes).await.expect("fetched");
        if fetched.is_empty() {
            return batches;
        }
        batches.extend(fetched.batches().map(|batch| batch.expect("whole").bytes().clone()));
        offset = fetched.next_offset;
    }
}

async fn append(writer: &Writer, value: &str) -> Result<i64, Error> {
    let record = NewRecord::new(1).value(value.as_bytes());
    Ok(writer.append(&[record]).await?.durable().await?.base)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_appended_taken_over_and_read_back() {
    for server in each_bucket() {
        for (round, name) in ["one", "two", "three"].into_iter().enumerate() {
            let options = WriterOptions::default().name(name);
            let writer = bucket(&server, "log").partition("news", 0).expect("name").writer_with(options).await;
            let writer = writer.expect("writer");
            for n in 0..5 {
                let expected = i64::try_from(round * 5 + n).expect("small");
                assert_eq!(append(&writer, &format!("{expected}")).await.expect("durable"), expected);
            }
            writer.close(None).await.expect("closed");
        }
        let reading = bucket(&server, "log");
        let mut records = reading.partition("news", 0).expect("name").reader().records(0);
        let mut values = Vec::new();
        while let Some(record) = records.next().await.expect("read") {
            values.push(String::from_utf8(record.value().expect("value").to_vec()).expect("text"));
        }
        assert_eq!(values, (0..15).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_fences_the_owner_before_it() {
    for server in each_bucket() {
        let writer = async |name: &str| {
            let options = WriterOptions::default().name(name);
            bucket(&server, "claims").partition("contest", 0).expect("name").writer_with(options).await.expect("writer")
        };
        let old = writer("old").await;
        assert_eq!(append(&old, "a").await.expect("durable"), 0);
        let new = writer("new").await;
        let claimed = new.claim().await.expect("claimed").base;
        let error = append(&old, "b").await.expect_err("fenced");
        // A directory keeps no names.
        let winner = (server.name != "directory").then_some("new");
        assert_eq!((error.kind(), error.winner()), (ErrorKind::Fenced, winner), "{error:?}");
        assert!(append(&new, "c").await.expect("durable") >= claimed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_is_read_back_from_a_server() {
    for server in each_bucket() {
        let bucket = bucket(&server, "vectors");
        let store: &Store = bucket.store();
        for (name, kfs, index) in cases() {
            let segment = Segment::parse(&kfs, CrcCheck::Verify).expect("a vector is whole");
            let partition = bucket.partition(&name, 0).expect("name");
            let id: &PartitionId = partition.id();
            store.put(&id.segment_key(segment.base_offset()), PutPayload::from_bytes(kfs)).await.expect("put");
            store.put(&id.index_key(segment.base_offset()), PutPayload::from_bytes(index)).await.expect("put");
            let expected: Vec<Bytes> = segment.batches().map(|at| at.batch.bytes().clone()).collect();
            // Whole, and in parts by the index.
            for block in [1 << 20, 4 << 10] {
                let reader = partition.reader_with(ReaderOptions::default().block_bytes(block));
                assert_eq!(read_all(&reader, segment.base_offset(), 64 << 10).await, expected, "{name}");
            }
            let records: i64 = segment.batches().map(|at| i64::from(at.batch.header().record_count)).sum();
            let mut stream = partition
                .reader_with(ReaderOptions::default().control_records(true))
                .records(0.max(segment.base_offset()));
            let mut count = 0;
            while stream.next().await.expect("record").is_some() {
                count += 1;
            }
            assert_eq!(count, records, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_the_vectors_are_appended_and_come_back_with_new_offsets() {
    for server in each_bucket() {
        let bucket = bucket(&server, "append");
        // Control batches and what compaction left are among them.
        let options = WriterOptions::default().batch_check(BatchCheck::Decode);
        let writer = bucket.partition("all", 0).expect("name").writer_with(options).await.expect("writer");
        let (mut next, mut expected) = (0, Vec::new());
        for (_, kfs, _) in cases() {
            let segment = Segment::parse(&kfs, CrcCheck::Verify).expect("whole");
            for at in segment.batches() {
                let offsets = writer.append_batches(at.batch.bytes().clone()).await.expect("room");
                let batch = at.batch.with_base_offset(next, None).expect("in range");
                next = batch.next_offset();
                expected.push((batch.bytes().clone(), offsets));
            }
        }
        writer.flush().await.expect("durable");
        let reader = bucket.partition("all", 0).expect("name").reader();
        let read = read_all(&reader, 0, 1 << 20).await;
        assert_eq!(read.len(), expected.len());
        for (found, (batch, append)) in read.iter().zip(&expected) {
            assert_eq!(found, batch);
            assert!(append.outcome().expect("settled").is_ok());
        }
        writer.close(None).await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_elsewhere_sees_what_is_appended() {
    for server in each_bucket() {
        let (writing, reading) = (bucket(&server, "follow"), bucket(&server, "follow"));
        let options = ReaderOptions::default()
            .wait_for_partition(true)
            .poll_min(Duration::from_millis(5))
            .poll_max(Duration::from_millis(20));
        let mut follower = reading.partition("news", 0).expect("name").reader_with(options).follow_records(0);
        let missing = reading.partition("none", 0).expect("name").reader().fetch(0, 1).await;
        assert_eq!(missing.expect_err("never made").kind(), ErrorKind::NotFound);
        let writer = writing.partition("news", 0).expect("name").writer().await.expect("writer");
        for n in 0..20 {
            let value = format!("value {n}");
            let record = NewRecord::new(n).value(value.as_bytes());
            writer.append(&[record]).await.expect("room").durable().await.expect("durable");
            let seen = follower.next().await.expect("read").expect("a record");
            assert_eq!((seen.offset(), seen.value()), (n, Some(value.as_bytes())));
        }
        writer.close(None).await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_newest_segment_on_a_server_is_corrupt_and_not_a_server_that_is_away() {
    for server in each_bucket() {
        let partition = bucket(&server, "empty").partition("news", 0).expect("name");
        let writer = partition.writer().await.expect("writer");
        writer.append(&[NewRecord::new(0).value(b"v")]).await.expect("room").durable().await.expect("durable");
        writer.close(None).await.expect("closed");
        let key = partition.id().segment_key(1);
        server.store("empty").put(&key, PutPayload::new()).await.expect("put");
        let partition = bucket(&server, "empty").partition("news", 0).expect("name");
        assert_eq!(partition.refresh().await.expect_err("no footer").kind(), ErrorKind::Corrupt);
        let mut records = partition.reader().records(0);
        assert_eq!(records.next().await.expect("read").expect("a record").offset(), 0);
        assert_eq!(records.next().await.expect_err("no batch").kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_append_read_and_follow_at_the_same_time_agree_on_one_log() {
    for (seed, server) in (1..).zip(each_bucket()) {
        let server = Arc::new(server);
        let (opening, store) = (server.clone(), server.store("load"));
        let mut load = Load::begin(move || opening.store("load"), seed).await;
        load.until(server.name, |now| now.acked >= 100 && now.followed >= 100 && now.read >= 100).await;
        let told = load.end(&store).await;
        println!("{}: {told:?}", server.name);
    }
}
