use ::bytes::Bytes;

use super::*;
use crate::error::ErrorKind;
use crate::format::{Batch, FOOTER_LEN, SegmentBuilder, TimeIndex};
use crate::log::fixtures::{Fixture, NOW, batch};

async fn findings(f: &Fixture) -> Vec<Finding> {
    f.partition.verify(VerifyOptions::default()).all().await.unwrap()
}

fn kinds(findings: &[Finding]) -> Vec<(Severity, FindingKind)> {
    findings.iter().map(|f| (f.severity, f.kind)).collect()
}

async fn log() -> Fixture {
    let f = Fixture::new();
    f.partition.create(0).await.unwrap();
    let f = f.cold();
    for base in [0, 10, 20] {
        f.put_segment(base, &[batch(3, 10), batch(4, 100), batch(3, 1)], 2).await;
    }
    f
}

async fn flip(f: &Fixture, key: &str, position: usize) {
    let mut bytes = f.get(key).await.to_vec();
    bytes[position] ^= 0x20;
    f.put(key, Bytes::from(bytes)).await;
}

#[tokio::test]
async fn a_good_log_is_clean_and_its_parts_are_counted() {
    let f = log().await;
    f.put(&format!("{}junk.kfs", f.partition.id().prefix()), "junk").await;
    f.put(&f.partition.id().log_start_key(3), "").await;
    let (send, seen) = std::sync::mpsc::channel();
    let options = VerifyOptions::default().on_progress(move |progress| send.send(progress.segments).unwrap());
    let mut verify = f.partition.verify(options);
    assert_eq!(verify.next().await.unwrap(), None);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    let progress = verify.progress();
    assert!(progress.is_clean());
    assert_eq!((progress.segments, progress.batches, progress.records), (3, 9, 30));
    assert_eq!((progress.first_offset, progress.next_offset), (Some(0), Some(30)));
    let part = f.partition.verify(VerifyOptions::default().offsets(12..15)).all().await.unwrap();
    assert!(part.is_empty());
    let missing = f.bucket.partition("none", 0).unwrap().verify(VerifyOptions::default()).all().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn invariant_7_any_flipped_byte_is_found_and_named() {
    let f = log().await;
    let key = f.key(10);
    let good = f.get(&key).await;
    for position in 0..good.len() {
        flip(&f, &key, position).await;
        let found = findings(&f).await;
        f.put(&key, good.clone()).await;
        if (20..28).contains(&position) {
            // created_ms is covered by nothing.
            assert!(found.is_empty());
            continue;
        }
        assert!(!found.is_empty(), "byte {position}");
        for finding in &found {
            assert!(finding.key.contains("segment-00000000000000000010"), "byte {position}: {finding}");
        }
        let worst = found.iter().find(|f| f.severity == Severity::Error).expect("an error");
        assert_eq!(worst.key, key);
        let at = worst.position.unwrap() as usize;
        assert!(at <= good.len(), "byte {position}: {worst}");
        if position >= good.len() - FOOTER_LEN {
            assert!(at >= good.len() - FOOTER_LEN - 61, "byte {position}: {worst}");
        }
        if let Some((first, last)) = worst.offsets {
            assert!(first >= 10 && last < 20, "byte {position}: {worst}");
        }
    }
    assert!(findings(&f).await.is_empty());
}

#[tokio::test]
async fn each_broken_batch_is_named() {
    let f = log().await;
    let key = f.key(10);
    let lens: Vec<usize> = [batch(3, 10), batch(4, 100), batch(3, 1)].iter().map(|b| b.bytes().len()).collect();
    flip(&f, &key, 32 + 70).await;
    flip(&f, &key, 32 + lens[0] + lens[1] + 63).await;
    let found = findings(&f).await;
    assert_eq!(kinds(&found), [(Severity::Error, FindingKind::Batch); 2]);
    assert_eq!(found[0].offsets, Some((10, 12)));
    assert_eq!(found[1].offsets, Some((17, 19)));
    assert!(found[0].to_string().starts_with("error: default/t/0/segment-00000000000000000010.kfs at byte 49"));
}

#[tokio::test]
async fn indexes_are_compared_with_their_segments() {
    let f = log().await;
    let id = f.partition.id().clone();
    f.delete(&id.index_key(0)).await;
    flip(&f, &id.index_key(10), 20).await;
    f.put(&id.index_key(20), f.get(&id.index_key(10)).await.slice(..18)).await;
    f.put(&id.time_index_key(0), TimeIndex::of(5, 5).encode()).await;
    let found = findings(&f).await;
    let warning = |kind| (Severity::Warning, kind);
    let wrong = warning(FindingKind::IndexWrong);
    let expected = [warning(FindingKind::IndexMissing), warning(FindingKind::TimeIndexWrong), wrong, wrong];
    assert_eq!(kinds(&found), expected);
    assert_eq!(found[0].key, id.index_key(0));
    assert_eq!(found[1].key, id.time_index_key(0));
    let quick = f.partition.verify(VerifyOptions::default().records(false)).all().await.unwrap();
    assert_eq!(kinds(&quick), [warning(FindingKind::IndexMissing), wrong, wrong]);
}

#[tokio::test]
async fn the_newest_segment_without_an_index_is_a_flush_under_way_and_no_fault() {
    let f = log().await;
    let id = f.partition.id().clone();
    f.delete(&id.index_key(20)).await;
    let mut verify = f.partition.verify(VerifyOptions::default());
    assert_eq!(kinds(&verify.all().await.unwrap()), [(Severity::Info, FindingKind::IndexMissing)]);
    assert!(verify.progress().is_clean());
    // A part of the log does not tell which segment is the newest.
    let part = f.partition.verify(VerifyOptions::default().offsets(..25)).all().await.unwrap();
    assert_eq!(kinds(&part), [(Severity::Warning, FindingKind::IndexMissing)]);
    f.delete(&id.index_key(10)).await;
    let missing = |severity| (severity, FindingKind::IndexMissing);
    assert_eq!(kinds(&findings(&f).await), [missing(Severity::Warning), missing(Severity::Info)]);
}

#[tokio::test]
async fn holes_leftovers_and_ghosts_are_told_apart() {
    let f = Fixture::new();
    let small: Vec<Batch> = (0..5).map(|i| batch(2, 10 + i)).collect();
    // 0 to 9 merged into one; 4 and 8 are what it replaced; at 6 a writer that slept put others.
    f.put_segment(0, &small, 1).await;
    f.put_segment(4, &small[2..3], 1).await;
    f.put_segment(6, &[batch(2, 99)], 1).await;
    f.put_segment(8, &small[4..], 1).await;
    f.put_segment(15, &[batch(1, 1)], 1).await;
    let found = findings(&f).await;
    assert_eq!(
        kinds(&found),
        [
            (Severity::Info, FindingKind::Leftover),
            (Severity::Error, FindingKind::Ghost),
            (Severity::Info, FindingKind::Leftover),
            (Severity::Warning, FindingKind::Hole),
        ]
    );
    assert_eq!(found.iter().map(|f| f.offsets.unwrap()).collect::<Vec<_>>(), [(4, 5), (6, 7), (8, 9), (10, 14)]);
}

#[tokio::test]
async fn a_segment_that_goes_on_beyond_the_one_it_starts_in_is_no_ghost() {
    let f = Fixture::new();
    let small: Vec<Batch> = (0..5).map(|i| batch(2, 10 + i)).collect();
    // Two merges met: 0 to 5, and 4 to 9. What is in 6 to 9 is nowhere else.
    f.put_segment(0, &small[..3], 1).await;
    f.put_segment(4, &small[2..], 1).await;
    f.put_segment(10, &small[..1], 1).await;
    let mut verify = f.partition.verify(VerifyOptions::default());
    let found = verify.all().await.unwrap();
    assert_eq!(kinds(&found), [(Severity::Info, FindingKind::SegmentsOverlap)]);
    assert_eq!(found[0].offsets, Some((4, 9)));
    assert_eq!(verify.progress().next_offset, Some(12));
    // One that holds others where they meet is an error, and nothing is said of what comes after.
    f.put_segment(4, &[batch(2, 99), batch(4, 1)], 1).await;
    let found = findings(&f).await;
    assert_eq!(kinds(&found), [(Severity::Error, FindingKind::SegmentsOverlap)]);
    assert!(!found[0].message.contains("acknowledged"), "{}", found[0]);
}

#[tokio::test]
async fn kafscales_overlap_and_undecodable_records_are_reported() {
    let first = batch(3, 5);
    let mut builder = SegmentBuilder::new(0, NOW, 1).unwrap();
    builder.push(&first, None).unwrap();
    builder.push(&batch(1, 5), None).unwrap();
    let built = builder.finish().unwrap().chunks.concat();
    // The second batch keeps the client's offset 0, and one record of the first lies about its length.
    let second = 32 + first.bytes().len();
    let mut bytes = built.clone();
    bytes[second..second + 8].fill(0);
    bytes[32 + 61] = 0x7f;
    let crc = crate::format::crc32c(&bytes[32 + 21..second]);
    bytes[32 + 17..32 + 21].copy_from_slice(&crc.to_be_bytes());
    let end = bytes.len() - FOOTER_LEN;
    let crc = crate::format::crc32c(&bytes[32..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_be_bytes());
    bytes[end + 4..end + 12].copy_from_slice(&2_i64.to_be_bytes());
    let report = verify_segment(&SegmentBytes::new("a.kfs", bytes.into()), Some(&Limits::default()));
    let expected = [(Severity::Warning, FindingKind::Overlap), (Severity::Error, FindingKind::Records)];
    assert_eq!(kinds(&report.findings), expected);
    assert_eq!(report.findings[0].position, Some(second as u64));
    assert_eq!(report.findings[1].offsets, Some((0, 2)));
    assert_eq!(report.next_offset, Some(3));
    let whole = verify_segment(&SegmentBytes::new("a.kfs", built.into()), Some(&Limits::default()));
    assert!(whole.findings.is_empty());
    assert_eq!((whole.batches, whole.records, whole.next_offset), (2, 4, Some(4)));
}

/// A segment of one batch with other bytes in it, whose CRCs are right.
fn segment_of(batch: &Batch, edit: impl FnOnce(&mut [u8])) -> SegmentBytes {
    let mut bytes = batch.bytes().to_vec();
    edit(&mut bytes);
    let crc = crate::format::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let batch = Batch::parse(&bytes.into(), 0, crate::format::CrcCheck::Verify).unwrap();
    let mut builder = SegmentBuilder::new(0, NOW, 1).unwrap();
    builder.push(&batch, None).unwrap();
    SegmentBytes::new("a.kfs", builder.finish().unwrap().chunks.concat().into())
}

#[test]
fn a_max_timestamp_that_is_not_the_records_is_named() {
    for (told, same) in [(-1, false), (NOW + 1, false), (NOW + 3, false), (NOW + 2, true)] {
        let bytes = segment_of(&batch(3, 5), |bytes| bytes[35..43].copy_from_slice(&told.to_be_bytes()));
        let found = verify_segment(&bytes, Some(&Limits::default())).findings;
        let expected = if same { vec![] } else { vec![(Severity::Warning, FindingKind::MaxTimestamp)] };
        assert_eq!(kinds(&found), expected, "{told}");
        if let Some(finding) = found.first() {
            assert_eq!((finding.position, finding.offsets), (Some(32 + 35), Some((0, 2))));
            let message = format!("found a max_timestamp of {told}, expected {}, the greatest of its records", NOW + 2);
            assert_eq!(finding.message, message);
        }
    }
}

#[test]
fn records_whose_offsets_do_not_follow_each_other_are_named() {
    // Each record: length, attributes, timestamp delta, offset delta.
    let len = batch(1, 5).bytes().len() - 61;
    let second = 61 + len;
    let bytes = segment_of(&batch(3, 5), |bytes| bytes[second + 3] = 0);
    let found = verify_segment(&bytes, Some(&Limits::default())).findings;
    assert_eq!(kinds(&found), [(Severity::Error, FindingKind::Records)]);
    assert_eq!(found[0].position, Some(32 + second as u64));
    assert!(found[0].message.starts_with("found offset 0 in record 1 of 3, expected more than 0"), "{}", found[0]);
}

#[tokio::test]
async fn a_file_that_is_no_segment_is_one_finding() {
    for bytes in [&b""[..], b"junk", &[0; 200], b"KAFS\x00\x02"] {
        let report = verify_segment(&SegmentBytes::new("f", Bytes::copy_from_slice(bytes)), None);
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!(report.findings[0].severity, Severity::Error);
        assert!(report.segment.is_none());
    }
}

#[tokio::test]
async fn a_broken_log_json_is_a_finding() {
    let f = log().await;
    f.put(&f.partition.id().log_json_key(), "{").await;
    assert_eq!(kinds(&findings(&f).await), [(Severity::Error, FindingKind::LogJson)]);
}

#[tokio::test]
async fn a_segment_that_is_listed_and_can_not_be_read_is_an_error_and_one_that_was_removed_is_not() {
    use crate::testing::{Action, Failure, FaultStore, Op};
    let f = log().await;
    let faults = FaultStore::new(f.store.clone());
    let bucket = crate::Bucket::from_object_store(faults.clone(), crate::BucketOptions::default()).unwrap();
    let partition = bucket.partition_of(f.partition.id().clone());
    for (base, last) in [(0, 9), (10, 19), (20, 20)] {
        let key = f.key(base);
        faults.always(Op::Get, key.as_str(), Action::Fail(Failure::NotFound));
        let mut verify = partition.verify(VerifyOptions::default());
        let found = verify.all().await.unwrap();
        assert_eq!(kinds(&found), [(Severity::Error, FindingKind::Segment)], "{found:?}");
        assert_eq!((found[0].key.as_str(), found[0].offsets.unwrap().0), (key.as_str(), base), "{found:?}");
        assert!(found[0].offsets.unwrap().1 >= last && verify.progress().errors == 1, "{found:?}");
        let plan = partition.plan_repair().await.unwrap();
        assert_eq!(kinds(&plan.beyond_repair), [(Severity::Error, FindingKind::Segment)]);
        faults.clear_rules();
    }
    // Retention removes one while it is read.
    let key = f.key(0);
    let removed = key.clone();
    let store = f.store.clone();
    let mut verify = partition.verify(VerifyOptions::default());
    faults.decide_with(move |request| {
        if request.op == Op::Get && request.key == removed {
            futures_util::future::FutureExt::now_or_never(object_store::ObjectStoreExt::delete(
                &*store,
                &removed.as_str().into(),
            ));
        }
        Action::Pass
    });
    assert_eq!(verify.all().await.unwrap(), []);
}
