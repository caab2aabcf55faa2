//! A newest segment that has no readable end.

use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::format::{BatchBuilder, BatchOptions, Limits, NewRecord};
use crate::log::fixtures::{changed, spawn, told};

/// Two sound segments, and a newest one that is broken in one of many ways.
async fn broken(f: &Fixture, model: &mut Model, bytes: Bytes) -> String {
    model.append(f, &sizes(), 5).await;
    model.append(f, &sizes(), 5).await;
    let key = f.key(model.end());
    f.put(&key, bytes).await;
    key
}

/// What a crash, a full disk or a careless tool leaves. No batch of it is whole.
async fn ends() -> Vec<Bytes> {
    let f = Fixture::new();
    f.put_segment(0, &sizes(), 5).await;
    let whole = f.get(&f.key(0)).await;
    let mut ends: Vec<_> = [0, 1, 16, 31, 32, 40, 48, 60, 93, 108, 5_000].map(|len| Bytes::from(vec![0; len])).into();
    // A base offset that is not the key's, besides being cut.
    ends.extend([20, 32, 48].map(|len| whole.slice(..len)));
    ends
}

/// Reads on as a caller does, and gives where that ended.
async fn read(reader: &Reader, model: &Model, max_bytes: usize) -> (i64, Vec<crate::error::Error>) {
    let (mut at, mut skipped) = (0, Vec::new());
    for _ in 0..1000 {
        match reader.fetch(at, max_bytes).await {
            Ok(fetch) => {
                model.check_part(&fetch, at, max_bytes);
                skipped.extend(fetch.skipped().to_vec());
                if fetch.next_offset == at {
                    return (at, skipped);
                }
                at = fetch.next_offset;
            }
            Err(error) => {
                skipped.push(error);
                return (at, skipped);
            }
        }
    }
    panic!("a fetch makes progress, or says that it can't");
}

#[tokio::test]
async fn invariant_6_a_broken_newest_segment_ends_the_reading_behind_all_that_is_sound() {
    for bytes in ends().await {
        for (on_corrupt, block) in
            [(OnCorrupt::Stop, 1 << 20), (OnCorrupt::Skip, 1 << 20), (OnCorrupt::Stop, 4096), (OnCorrupt::Skip, 4096)]
        {
            let (f, mut model) = (Fixture::new(), Model::default());
            let key = broken(&f, &mut model, bytes.clone()).await;
            let options = ReaderOptions::default().on_corrupt(on_corrupt).block_bytes(block);
            let reader = f.cold().partition.reader_with(options);
            for max_bytes in [100, 1 << 20] {
                let (at, skipped) = read(&reader, &model, max_bytes).await;
                assert_eq!(at, model.end(), "{} bytes, {on_corrupt:?}", bytes.len());
                if max_bytes == 100 || on_corrupt == OnCorrupt::Stop {
                    let [error] = &skipped[..] else { panic!("{} bytes: {skipped:?}", bytes.len()) };
                    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key[..])), "{error}");
                } else {
                    assert!(skipped.is_empty(), "it was told already: {skipped:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_knew_the_end_returns_from_a_newest_segment_without_a_batch() {
    for on_corrupt in [OnCorrupt::Stop, OnCorrupt::Skip] {
        for len in [0, 20, 48] {
            let (f, mut model) = (Fixture::new(), Model::default());
            model.append(&f, &sizes(), 5).await;
            let reader = f.partition.reader_with(ReaderOptions::default().on_corrupt(on_corrupt));
            assert_eq!(read(&reader, &model, 1 << 20).await.0, model.end());
            assert_eq!(f.partition.refresh().await.unwrap().high_watermark, model.end());
            f.put(&f.key(model.end()), vec![0; len]).await;
            let (at, skipped) = read(&reader, &model, 1 << 20).await;
            assert_eq!((at, skipped.len()), (model.end(), 1));
            assert_eq!(skipped[0].kind(), ErrorKind::Corrupt);
            // It may be set aside, and the log goes on.
            f.delete(&f.key(model.end())).await;
            let at = model.end();
            model.append(&f, &sizes(), 5).await;
            model.check_part(&reader.fetch(at, 1 << 20).await.unwrap(), at, 1 << 20);
        }
    }
}

#[tokio::test]
async fn a_follower_behind_a_broken_newest_segment_waits_and_says_so_once() {
    let (f, mut model) = (Fixture::new(), Model::default());
    model.append(&f, &[batch(3, 3)], 5).await;
    f.put(&f.key(3), vec![0; 40]).await;
    let mut follow = f.partition.reader_with(ReaderOptions::default().on_corrupt(OnCorrupt::Skip)).follow(0);
    assert_eq!(follow.next().await.unwrap().unwrap().base_offset(), 0);
    let follower = spawn(async move {
        let batch = follow.next().await.unwrap().unwrap();
        (batch.base_offset(), follow.take_notices())
    });
    for _ in 0..20 {
        f.clock.slept(1).await;
        f.clock.advance_to_next();
    }
    f.delete(&f.key(3)).await;
    f.put_segment(3, &[batch(2, 2)], 5).await;
    for _ in 0..3 {
        if !follower.is_finished() {
            f.clock.advance(Duration::from_secs(1));
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    }
    let (base, notices) = follower.await.unwrap();
    assert_eq!(base, 3);
    assert!(matches!(&notices[..], [Notice::Skipped(error)] if error.key() == Some(&f.key(3)[..])), "{notices:?}");
}

#[tokio::test]
async fn the_log_start_needs_no_readable_end() {
    let (f, mut model) = (Fixture::new(), Model::default());
    broken(&f, &mut model, Bytes::new()).await;
    assert_eq!(f.partition.earliest().await.unwrap(), 0);
    assert_eq!(f.cold().partition.refresh().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(f.bucket.partition("other", 0).unwrap().earliest().await.unwrap_err().kind(), ErrorKind::NotFound);
    let empty = f.bucket.partition("empty", 0).unwrap();
    empty.create(70).await.unwrap();
    assert_eq!(empty.earliest().await.unwrap(), 70);
}

/// A batch that is whole, with a good CRC, and records that can't be decoded.
fn undecodable(records: i32) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for n in 0..records {
        builder.push(&NewRecord::new(i64::from(n)).value(b"v")).unwrap();
    }
    // The first record's length.
    changed(&builder.finish(0).unwrap(), |bytes| bytes[61] = 0x7e)
}

#[tokio::test]
async fn records_that_cannot_be_decoded_are_named_with_key_position_and_offsets() {
    let f = Fixture::new();
    let good = batch(3, 10);
    f.put_segment(0, &[good.clone(), undecodable(2), good.clone()], 1).await;
    let position = 32 + good.bytes().len() as u64 + 61;
    let check = |error: &crate::error::Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!((error.key(), error.position()), (Some(&f.key(0)[..]), Some(position)), "{error}");
        assert_eq!((error.offsets(), error.next_readable_offset()), (Some((3, 4)), Some(5)));
        assert!(error.hint().unwrap().contains("nothing can repair it"), "{:?}", error.hint());
    };
    let mut records = f.partition.reader().records(0);
    let mut offsets = Vec::new();
    for _ in 0..7 {
        match records.next().await {
            Ok(record) => offsets.push(record.unwrap().offset()),
            Err(error) => check(&error),
        }
    }
    assert_eq!(offsets, [0, 1, 2, 5, 6, 7], "after the error the stream goes on with the next batch");
    let reader = f.partition.reader_with(ReaderOptions::default().on_corrupt(OnCorrupt::Skip));
    let mut records = reader.records(0);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        offsets.push(record.offset());
    }
    assert_eq!(offsets, [0, 1, 2, 5, 6, 7]);
    match &records.take_notices()[..] {
        [Notice::Skipped(error)] => check(error),
        other => panic!("{other:?}"),
    }
    // The time search decodes too.
    let late = crate::log::fixtures::NOW + 1_000_000;
    let bad = told(&undecodable(2), late);
    let other = Fixture::new();
    other.put_segment(0, &[batch(3, 10), bad, batch(3, 10)], 1).await;
    check(&other.partition.offset_for_timestamp(late).await.unwrap_err());
    check(&other.partition.max_timestamp().await.unwrap_err());
    let fetch = reader.fetch(1, 1 << 20).await.unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = fetch.records().partition(Result::is_ok);
    assert_eq!(good.into_iter().map(|r| r.unwrap().offset()).collect::<Vec<_>>(), [1, 2, 5, 6, 7]);
    assert_eq!(bad.len(), 1);
    check(bad[0].as_ref().unwrap_err());
}

#[tokio::test]
async fn a_batch_beyond_the_limit_is_not_called_corrupt_and_a_higher_limit_reads_it() {
    let f = Fixture::new();
    let mut builder = BatchBuilder::new(BatchOptions::default().compression(crate::format::Codec::Zstd));
    builder.push(&NewRecord::new(0).value(&vec![0; 2 << 20])).unwrap();
    f.put_segment(0, &[builder.finish(0).unwrap()], 1).await;
    let first = async |limit: usize| {
        let reader =
            f.partition.reader_with(ReaderOptions::default().limits(Limits::default().max_decompressed_batch(limit)));
        reader.records(0).next().await.map(|record| record.unwrap().value().unwrap().len())
    };
    let error = first(1 << 20).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some(&f.key(0)[..])), "{error}");
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    assert!(error.hint().unwrap().contains("--max-decompressed"), "{:?}", error.hint());
    assert_eq!(first(3 << 20).await.unwrap(), 2 << 20);
}
