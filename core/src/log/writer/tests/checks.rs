//! What is asked of batches and records before they get into the buffer.

use super::*;
use crate::format::{Batch, BatchCheck, Codec, MAX_DECOMPRESSED_BATCH, crc32c};

fn checked_so(check: BatchCheck) -> WriterOptions {
    options().batch_check(check)
}

fn edited(batch: &Bytes, edit: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch.to_vec();
    edit(&mut bytes);
    let crc = crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    bytes.into()
}

/// As Sarama sends it.
fn without_max_timestamp() -> Bytes {
    edited(&batch(&["a", "b"]), |bytes| bytes[35..43].fill(0xff))
}

fn undecodable() -> Bytes {
    edited(&batch(&["a"]), |bytes| bytes[61] = 0x7e)
}

async fn stored(world: &World) -> Vec<Bytes> {
    let segments = world.segments().await;
    segments.iter().flat_map(|(_, segment)| segment.batches()).map(|at| at.batch.bytes().clone()).collect()
}

#[tokio::test]
async fn by_default_a_wrong_max_timestamp_is_set_right_before_it_is_stored() {
    let world = World::new();
    let writer = world.process(1).writer(options()).await;
    let several: Bytes = [without_max_timestamp(), batch(&["c"])].concat().into();
    writer.append_batches(several).await.unwrap();
    writer.append_batches(without_max_timestamp()).await.unwrap();
    writer.close(None).await.unwrap();
    let times: Vec<_> = world.segments().await.iter().flat_map(|(_, s)| s.batches()).collect();
    assert_eq!(times.len(), 3);
    for at in times {
        assert_eq!(at.batch.header().max_timestamp, 1_700_000_000_000);
    }
}

#[tokio::test]
async fn a_refused_batch_is_named_by_its_place_and_nothing_of_the_append_is_stored() {
    let world = World::new();
    let process = world.process(1);
    for check in [BatchCheck::Produce, BatchCheck::Decode] {
        let writer = process.writer(checked_so(check)).await;
        let first = batch(&["good"]);
        let bytes: Bytes = [first.clone(), undecodable()].concat().into();
        let error = writer.append_batches(bytes.clone()).await.unwrap_err();
        assert_eq!(error.position(), Some(first.len() as u64 + 61), "{error}");
        assert!(error.message().contains("found a length that runs past the end"), "{error}");
        assert_failed(Err::<(), _>(error), ErrorKind::InvalidInput, Stored::Not);
        assert_failed(writer.try_append_batches(bytes), ErrorKind::InvalidInput, Stored::Not);
        writer.close(None).await.unwrap();
    }
    assert!(stored(&world).await.is_empty());
}

#[tokio::test]
async fn decode_stores_as_it_is_and_crc_stores_what_nobody_can_decode() {
    let world = World::new();
    let process = world.process(1);
    let empty = BatchBuilder::empty_batch(0, 3, &BatchOptions::default()).unwrap().bytes().clone();
    let writer = process.writer(checked_so(BatchCheck::Decode)).await;
    writer.append_batches(without_max_timestamp()).await.unwrap();
    writer.append_batches(empty.clone()).await.unwrap();
    writer.close(None).await.unwrap();
    let writer = process.writer(checked_so(BatchCheck::Crc)).await;
    writer.append_batches(undecodable()).await.unwrap();
    let mut damaged = undecodable().to_vec();
    damaged[62] ^= 1;
    assert_failed(writer.append_batches(damaged).await, ErrorKind::InvalidInput, Stored::Not);
    writer.close(None).await.unwrap();
    let as_sent = [without_max_timestamp(), empty, undecodable()];
    for (stored, sent) in stored(&world).await.iter().zip(&as_sent) {
        assert_eq!(stored[8..], sent[8..], "all but the base offset");
    }
}

#[tokio::test]
async fn batches_that_were_checked_before_are_not_checked_again() {
    let world = World::new();
    let writer = world.process(1).writer(options()).await;
    let batches: Vec<_> = crate::format::batches(&undecodable(), CrcCheck::Verify).map(Result::unwrap).collect();
    let append = writer.append_checked(batches).await.unwrap();
    assert_failed(writer.append_checked(Vec::<Batch>::new()).await, ErrorKind::InvalidInput, Stored::Not);
    writer.close(None).await.unwrap();
    assert!(append.outcome().unwrap().is_ok());
    assert_eq!(stored(&world).await, [undecodable()]);
}

#[tokio::test]
async fn no_batch_is_built_that_readers_refuse_by_default() {
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(1 << 30));
    let lz4 = options().compression(Codec::Lz4).batch_bytes(256 << 20).flush_interval(Duration::from_secs(3600));
    let writer = process.writer(lz4).await;
    let value = vec![b'a'; 40 << 20];
    let record = NewRecord::new(0).value(&value);
    for _ in 0..2 {
        // Both as one append of several records, and by joining the open batch.
        writer.append(&[record, record]).await.unwrap();
    }
    writer.close(None).await.unwrap();
    let mut records = 0;
    for (_, segment) in world.segments().await {
        for at in segment.batches() {
            let decoded = at.batch.records(&Limits::default()).unwrap();
            assert!(decoded.bytes().len() <= MAX_DECOMPRESSED_BATCH);
            records += decoded.count();
        }
    }
    assert_eq!(records, 4);
}

#[tokio::test]
async fn a_record_that_no_reader_takes_by_default_is_refused_as_not_stored() {
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(1 << 30));
    let value = vec![b'a'; MAX_DECOMPRESSED_BATCH];
    let record = NewRecord::new(0).value(&value);
    for codec in [Codec::Zstd, Codec::Lz4] {
        let writer = process.writer(options().compression(codec)).await;
        let error = writer.append(&[record]).await.unwrap_err();
        assert!(error.message().contains("134217728"), "{error:?}");
        assert_failed(Err::<(), _>(error), ErrorKind::InvalidInput, Stored::Not);
        writer.close(None).await.unwrap();
    }
    assert!(stored(&world).await.is_empty());
    // Uncompressed it is as long in the log as it is in memory, and readers take it.
    let writer = process.writer(options()).await;
    writer.append(&[record]).await.unwrap();
    writer.close(None).await.unwrap();
    assert_eq!(stored(&world).await.len(), 1);
}
