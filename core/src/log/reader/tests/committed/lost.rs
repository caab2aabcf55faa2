//! Markers that are lost.

use super::*;
use crate::error::ErrorKind;

/// What a reader that skips gives, and what it tells.
async fn skipping(f: &Fixture) -> (Vec<i64>, Vec<String>) {
    let mut records = f.partition.reader_with(committed().on_corrupt(OnCorrupt::Skip)).records(0);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        offsets.push(record.offset());
    }
    let told = records.take_notices().into_iter().map(|notice| match notice {
        Notice::Hole(hole) => format!("hole {} to {}", hole.from, hole.to),
        Notice::Skipped(error) => error.to_string(),
    });
    (offsets, told.collect())
}

async fn with_a_gap() -> (Fixture, Model) {
    log_of(&[
        &[batch(1, 1), part_of(1, 1), part_of(2, 1)],
        &[batch(1, 1), marker(1, COMMIT)],
        &[part_of(1, 1), marker(2, COMMIT), marker(1, COMMIT), batch(1, 1)],
    ])
    .await
}

#[tokio::test]
async fn a_marker_that_may_stand_in_a_hole_is_an_error_and_with_skip_its_transaction_is_left_out() {
    let (f, _) = with_a_gap().await;
    f.delete(&f.key(3)).await;
    let reader = f.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 1 << 20).await.unwrap().next_offset, 1, "what is known to be committed comes first");
    for _ in 0..2 {
        let error = reader.fetch(1, 1 << 20).await.unwrap_err();
        assert_eq!((error.kind(), error.next_readable_offset()), (ErrorKind::Corrupt, Some(5)), "{error}");
        assert_eq!(error.offsets(), Some((1, 4)));
        assert!(error.to_string().contains("whether 2 transactions"), "{error}");
    }
    assert_eq!(offsets(&reader, 5).await, [5, 8]);
    let (got, told) = skipping(&f.cold()).await;
    assert_eq!(got, [0, 5, 8]);
    assert!(told.iter().any(|told| told == "hole 3 to 5"), "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains("whether 2 transactions")).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_hole_without_an_open_transaction_is_passed_as_ever() {
    let (f, _) =
        log_of(&[&[part_of(1, 1), marker(1, COMMIT)], &[batch(1, 1)], &[part_of(1, 1), marker(1, COMMIT)]]).await;
    f.delete(&f.key(2)).await;
    let mut records = f.partition.reader_with(committed()).records(0);
    let mut got = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        got.push(record.offset());
    }
    assert_eq!(got, [0, 3]);
    assert!(matches!(records.take_notices()[..], [Notice::Hole(Hole { from: 2, to: 3 })]));
}

#[tokio::test]
async fn a_marker_that_may_stand_in_corrupt_bytes_is_an_error_and_with_skip_its_transaction_is_left_out() {
    let (f, _) = with_a_gap().await;
    let key = f.key(3);
    let length = f.get(&key).await.len();
    // The last byte of the marker.
    flip(&f, &key, length - 17).await;
    let reader = f.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 1 << 20).await.unwrap().next_offset, 1);
    let error = reader.fetch(1, 1 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.key(), Some(key.as_str()));
    let (got, told) = skipping(&f.cold()).await;
    assert_eq!(got, [0, 3, 5, 8], "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains("whether 2 transactions")).count(), 1, "{told:?}");
}

#[tokio::test]
async fn offsets_that_compaction_left_out_lose_no_marker() {
    let f = Fixture::new();
    // A segment whose first batch stands where it must, with a gap after it.
    let gap = |batch: Batch, offset: i64| batch.with_base_offset(offset, None).unwrap();
    let batches = [gap(part_of(1, 1), 0), gap(marker(1, COMMIT), 5), gap(batch(1, 1), 9)];
    let mut builder = crate::format::SegmentBuilder::new(0, NOW, 1).unwrap();
    let thin = BatchBuilder::empty_batch(1, 3, &BatchOptions::default()).unwrap();
    for batch in [&batches[0], &thin, &batches[1], &batches[2]] {
        builder.push(batch, None).unwrap();
    }
    let built = builder.finish().unwrap();
    f.put(&f.key(0), built.chunks.concat()).await;
    let reader = f.partition.reader_with(committed());
    let all = f.partition.reader();
    assert_eq!(offsets(&reader, 0).await, offsets(&all, 0).await);
    assert_eq!(offsets(&reader, 0).await.len(), 2);
}

#[tokio::test]
async fn a_log_that_is_cut_off_beyond_the_reader_names_the_offset_that_was_asked_for() {
    let (f, model) = log_of(&[&[part_of(1, 1)], &[batch(1, 1)], &[batch(1, 1)], &[batch(1, 1)]]).await;
    let reader = f.partition.reader_with(committed());
    assert!(reader.fetch(0, 1).await.unwrap().is_empty());
    f.put(&f.partition.id().log_start_key(3), "").await;
    for base in 0..3 {
        f.delete(&f.key(base)).await;
    }
    let cold = f.cold();
    let mut stream = cold.partition.reader_with(committed()).batches(3);
    assert_eq!(stream.next().await.unwrap().unwrap().base_offset(), 3);
    let error = cold.partition.reader_with(committed()).fetch(0, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.log_range()), (ErrorKind::OutOfRange, Some((3, model.end()))));
    assert!(error.to_string().contains("offset 0 "), "{error}");
}
