use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::*;
use crate::error::ErrorKind;
use crate::format::{Batch, SegmentBuilder};
use crate::log::fixtures::{Fixture, NOW, batch};
use crate::log::pieces::PIECE_BYTES;
use crate::log::verify::{Finding, FindingKind, Severity, VerifyOptions, VerifyProgress};
use crate::testing::{Action, FaultStore, KeyMatcher, Op};
use crate::{Bucket, BucketOptions, Partition};

/// Batches of some 41 MiB, of which two are larger than a piece.
fn large() -> Vec<Batch> {
    vec![batch(1, 5), batch(2, 9 << 20), batch(1, 5 << 20), batch(1, 18 << 20), batch(3, 1)]
}

fn segment(base: i64, batches: &[Batch]) -> Bytes {
    let mut builder = SegmentBuilder::new(base, NOW, 1).unwrap();
    for batch in batches {
        builder.push(batch, None).unwrap();
    }
    builder.finish().unwrap().chunks.concat().into()
}

/// The partition of a fixture, as another process sees it whose requests are watched.
fn watched(f: &Fixture) -> (Arc<FaultStore>, Partition) {
    let faults = FaultStore::new(f.store.clone());
    let bucket = Bucket::from_object_store(faults.clone(), BucketOptions::default()).unwrap();
    (faults, bucket.partition_of(f.partition.id().clone()))
}

async fn verified(partition: &Partition) -> (Vec<Finding>, VerifyProgress) {
    let mut verify = partition.verify(VerifyOptions::default());
    (verify.all().await.unwrap(), verify.progress())
}

fn kinds(findings: &[Finding]) -> Vec<(Severity, FindingKind)> {
    findings.iter().map(|f| (f.severity, f.kind)).collect()
}

/// The ranges that were asked for of an object. The end of the newest segment tells a listing which offsets it holds.
fn ranges(faults: &FaultStore, key: &str) -> Vec<String> {
    let gets = faults.log().into_iter().map(|logged| logged.request).filter(|r| r.op == Op::Get && r.key == key);
    gets.map(|request| request.range.unwrap_or_default()).filter(|range| range != "-16").collect()
}

#[tokio::test]
async fn a_segment_costs_a_get_a_piece_and_a_larger_one_than_that_one_of_its_footer() {
    let f = Fixture::new();
    let next = f.put_segment(0, &[batch(3, 10)], 1).await;
    let last = f.put_segment(next, &large(), 1).await;
    let (faults, partition) = watched(&f);
    let (small, whole) = (f.key(0), f.key(next));
    let size = f.get(&whole).await.len() as u64;
    assert!(size > 2 * PIECE_BYTES && size < 3 * PIECE_BYTES);
    let pieces = [
        "0-16777215".to_owned(),
        format!("{}-{}", size - 16, size - 1),
        "16777216-33554431".to_owned(),
        format!("33554432-{}", size - 1),
    ];
    let (found, progress) = verified(&partition).await;
    assert_eq!(found, []);
    assert_eq!((progress.batches, progress.records, progress.next_offset), (6, 11, Some(last)));
    assert_eq!(ranges(&faults, &small), ["0-16777215"]);
    assert_eq!(ranges(&faults, &whole), pieces);
    faults.clear_log();
    assert!(partition.plan_repair().await.unwrap().indexes.is_empty());
    assert_eq!(ranges(&faults, &small), ["0-16777215"]);
    assert_eq!(ranges(&faults, &whole), pieces);
}

#[tokio::test]
async fn what_is_wrong_in_a_large_segment_is_named_wherever_it_lies() {
    let f = Fixture::new();
    let batches = large();
    f.put_segment(0, &batches, 1).await;
    let good = f.get(&f.key(0)).await;
    let starts: Vec<usize> =
        batches.iter().scan(32, |at, batch| Some(std::mem::replace(at, *at + batch.bytes().len()))).collect();
    // In each batch, and in the middle of the one that is larger than a piece.
    let places = starts.iter().enumerate().map(|(i, start)| (i, start + 70)).chain([(3, starts[3] + (17 << 20))]);
    for (i, at) in places {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        f.put(&f.key(0), bytes).await;
        let (found, progress) = verified(&f.cold().partition).await;
        assert_eq!(kinds(&found), [(Severity::Error, FindingKind::Batch)], "batch {i}: {found:?}");
        assert_eq!(found[0].position, Some(starts[i] as u64 + 17));
        assert_eq!((progress.batches, progress.errors), (4, 1));
    }
}

#[tokio::test]
async fn the_index_of_a_large_segment_is_built_again() {
    let f = Fixture::new();
    let key = f.partition.id().index_key(0);
    f.put_segment(0, &large(), crate::format::DEFAULT_INDEX_INTERVAL).await;
    let good = f.get(&key).await;
    f.delete(&key).await;
    let plan = f.partition.plan_repair().await.unwrap();
    assert_eq!(plan.indexes.iter().map(|index| (&index.key, &index.bytes)).collect::<Vec<_>>(), [(&key, &good)]);
    assert_eq!(f.partition.repair(&plan).await.unwrap(), 1);
    assert_eq!(verified(&f.partition).await.0, []);
}

/// Bytes that are counted for as long as somebody holds them.
struct Counted {
    bytes: Bytes,
    held: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len() as u64, Ordering::SeqCst);
    }
}

/// Counts the bytes that the process got of segments and still holds: the most at a time.
fn most_held(faults: &FaultStore) -> Arc<AtomicU64> {
    let (held, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let told = most.clone();
    let count = Action::change(move |bytes| {
        let now = held.fetch_add(bytes.len() as u64, Ordering::SeqCst) + bytes.len() as u64;
        most.fetch_max(now, Ordering::SeqCst);
        Bytes::from_owner(Counted { bytes, held: held.clone() })
    });
    faults.always(Op::Get, KeyMatcher::containing(".kfs"), count);
    told
}

#[tokio::test]
async fn of_the_segments_no_more_is_held_than_the_piece_that_is_checked_and_the_next_one() {
    let f = Fixture::new();
    let mut next = 0;
    for _ in 0..2 {
        next = f.put_segment(next, &large(), 1).await;
    }
    // Its batches are in the one before it too, which is read again.
    f.put_segment(next - 4, &large()[3..], 1).await;
    let (faults, partition) = watched(&f);
    let most = most_held(&faults);
    let (found, _) = verified(&partition).await;
    assert_eq!(kinds(&found), [(Severity::Info, FindingKind::Leftover)]);
    assert_eq!(most.swap(0, Ordering::SeqCst), 2 * PIECE_BYTES);
    partition.plan_repair().await.unwrap();
    assert_eq!(most.swap(0, Ordering::SeqCst), 2 * PIECE_BYTES);
    let mut broken = f.get(&f.key(0)).await.to_vec();
    broken[50] ^= 1;
    f.put(&f.key(0), broken.clone()).await;
    let plan = partition.plan_set_aside(0).await.unwrap();
    partition.set_aside(&plan).await.unwrap();
    assert_eq!(f.get(&plan.kept_as).await, broken);
    assert_eq!(most.swap(0, Ordering::SeqCst), 2 * PIECE_BYTES);
}

/// Replaces an object whenever its second piece is asked for, by these versions in their order.
fn replace_between_pieces(faults: &FaultStore, store: &Arc<dyn ObjectStore>, key: &str, versions: Vec<Bytes>) {
    let (store, key, next) = (store.clone(), key.to_owned(), AtomicUsize::new(0));
    faults.decide_with(move |request| {
        if request.op == Op::Get
            && request.key == key
            && request.range.as_deref() == Some("16777216-33554431")
            && let Some(bytes) = versions.get(next.fetch_add(1, Ordering::SeqCst))
        {
            let (to, payload) = (key.as_str().into(), PutPayload::from_bytes(bytes.clone()));
            store.put(&to, payload).now_or_never().unwrap().unwrap();
        }
        Action::Pass
    });
}

#[tokio::test]
async fn a_segment_that_is_replaced_between_two_pieces_is_looked_at_again() {
    let f = Fixture::new();
    f.put_segment(0, &large(), 1).await;
    let (faults, partition) = watched(&f);
    let mut others = large();
    others[1] = batch(2, 8 << 20);
    let mut broken = segment(0, &others).to_vec();
    broken[32 + 70] ^= 1;
    // A size that is the same hides nothing, and neither does one that is not.
    for (version, expected) in [(segment(0, &large()), None), (broken.into(), Some(FindingKind::Batch))] {
        faults.clear_rules();
        replace_between_pieces(&faults, &f.store, &f.key(0), vec![version.clone()]);
        let (found, progress) = verified(&partition).await;
        let found: Vec<_> =
            found.into_iter().map(|finding| finding.kind).filter(|kind| *kind != FindingKind::IndexWrong).collect();
        assert_eq!(found, Vec::from_iter(expected), "what is right in either version is not mixed");
        assert_eq!((progress.segments, progress.bytes), (1, version.len() as u64));
        replace_between_pieces(&faults, &f.store, &f.key(0), vec![version]);
        let plan = partition.plan_repair().await.unwrap();
        assert_eq!(plan.beyond_repair.iter().map(|finding| finding.kind).collect::<Vec<_>>(), Vec::from_iter(expected));
    }
    faults.clear_rules();
    replace_between_pieces(&faults, &f.store, &f.key(0), vec![segment(0, &large()); LOOKS]);
    let error = partition.verify(VerifyOptions::default()).all().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some(&*f.key(0))), "{error}");
    assert!(error.message().contains("replaced while it was read, 8 times"), "{error}");
}

#[tokio::test]
async fn a_segment_that_is_removed_between_two_pieces_was_no_fault() {
    let f = Fixture::new();
    let next = f.put_segment(0, &large(), 1).await;
    f.put_segment(next, &[batch(3, 10)], 1).await;
    let (faults, partition) = watched(&f);
    let (store, key) = (f.store.clone(), f.key(0));
    faults.decide_with(move |request| {
        if request.op == Op::Get && request.key == key && request.range.as_deref() == Some("16777216-33554431") {
            store.delete(&key.as_str().into()).now_or_never();
        }
        Action::Pass
    });
    let (found, progress) = verified(&partition).await;
    assert_eq!((found, progress.segments), (vec![], 1));
}

#[tokio::test]
async fn large_segments_that_overlap_are_compared() {
    let f = Fixture::new();
    let batches = large();
    f.put_segment(0, &batches, 1).await;
    let mut others = batches.clone();
    others[3] = crate::log::fixtures::changed(&batches[3], |bytes| *bytes.last_mut().unwrap() ^= 1);
    let leftover = (Severity::Info, FindingKind::Leftover);
    let ghost = (Severity::Error, FindingKind::Ghost);
    let overlaps = |severity| (severity, FindingKind::SegmentsOverlap);
    for (rest, more, expected) in [
        (&batches[2..], None, leftover),
        (&others[2..], None, ghost),
        (&batches[2..], Some(batch(1, 1)), overlaps(Severity::Info)),
        (&others[2..], Some(batch(1, 1)), overlaps(Severity::Error)),
    ] {
        let rest: Vec<Batch> = rest.iter().cloned().chain(more).collect();
        f.put_segment(3, &rest, 1).await;
        let options = VerifyOptions::default().records(false);
        let found = f.cold().partition.verify(options).all().await.unwrap();
        assert_eq!(kinds(&found), [expected], "{found:?}");
    }
}

#[tokio::test]
async fn a_large_segment_that_is_replaced_before_it_is_compared_is_named_and_nothing_else_is_said_of_it() {
    let f = Fixture::new();
    f.put_segment(0, &large(), 1).await;
    f.put_segment(3, &large()[2..], 1).await;
    let (faults, partition) = watched(&f);
    let (store, key) = (f.store.clone(), f.key(0));
    faults.decide_with(move |request| {
        // It was checked, and is read once more from its first batch on.
        if request.op == Op::Get && request.key == key && request.range.as_deref() == Some("32-16777247") {
            let (to, payload) = (key.as_str().into(), PutPayload::from_static(b"other"));
            store.put(&to, payload).now_or_never().unwrap().unwrap();
        }
        Action::Pass
    });
    let (found, _) = verified(&partition).await;
    assert_eq!(kinds(&found), [(Severity::Info, FindingKind::SegmentsOverlap)]);
    assert!(found[0].message.contains("so verify again"), "{}", found[0]);
}
