use std::sync::Arc;

use crate::error::ErrorKind;
use crate::log::fixtures::{Fixture, NOW, batch};
use crate::log::verify::{FindingKind, VerifyOptions};
use crate::runtime::{Runtime, SystemEntropy};
use crate::testing::{Action, Failure, FaultStore, KeyMatcher, LocalSpawn, Op, PausedClock};
use crate::{Bucket, BucketOptions};

async fn log() -> Fixture {
    let f = Fixture::new();
    for base in [0, 10, 20] {
        f.put_segment(base, &[batch(3, 10), batch(4, 100), batch(3, 1)], 2).await;
    }
    f
}

#[tokio::test]
async fn indexes_are_built_anew_as_they_were() {
    let f = log().await;
    let id = f.partition.id().clone();
    let mut good = Vec::new();
    for base in [0, 10, 20] {
        good.push(f.get(&id.index_key(base)).await);
    }
    f.put(&id.index_key(20), good[2].slice(..20)).await;
    f.delete(&id.index_key(10)).await;
    let plan = f.partition.plan_repair().await.unwrap();
    let planned: Vec<_> = plan.indexes.iter().map(|repair| (repair.key.clone(), repair.finding.kind)).collect();
    let expected = [(id.index_key(10), FindingKind::IndexMissing), (id.index_key(20), FindingKind::IndexWrong)];
    assert_eq!(planned, expected);
    assert!(plan.beyond_repair.is_empty());
    f.reads();
    assert_eq!(f.partition.repair(&plan).await.unwrap(), 2);
    for (base, good) in [0, 10, 20].iter().zip(&good) {
        assert_eq!(f.get(&id.index_key(*base)).await, good);
    }
    assert!(f.partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
    assert!(f.partition.plan_repair().await.unwrap().indexes.is_empty());
}

#[tokio::test]
async fn an_index_whose_segment_changed_since_the_plan_is_left_alone() {
    let f = log().await;
    f.delete(&f.partition.id().index_key(20)).await;
    let plan = f.partition.plan_repair().await.unwrap();
    f.put_segment(20, &[batch(1, 1)], 7).await;
    let index = f.get(&f.partition.id().index_key(20)).await;
    assert_eq!(f.partition.repair(&plan).await.unwrap(), 0);
    assert_eq!(f.get(&f.partition.id().index_key(20)).await, index);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_is_never_answered_ends_repair() {
    let f = log().await;
    f.delete(&f.partition.id().index_key(20)).await;
    let faults = FaultStore::new(f.store.clone());
    faults.always(Op::Put, KeyMatcher::any(), Action::LateAndSilent);
    let runtime = Runtime::new(PausedClock::new(NOW), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
    let bucket = Bucket::from_object_store(faults, BucketOptions::default().runtime(runtime)).unwrap();
    let partition = bucket.partition("t", 0).unwrap();
    let plan = partition.plan_repair().await.unwrap();
    assert_eq!(partition.repair(&plan).await.unwrap_err().kind(), ErrorKind::TimedOut);
    let plan = partition.plan_set_aside(20).await.unwrap();
    assert_eq!(partition.set_aside(&plan).await.unwrap_err().kind(), ErrorKind::TimedOut);
    f.get(&f.key(20)).await;
}

#[tokio::test]
async fn a_broken_newest_segment_is_set_aside_and_its_offsets_are_given_to_nobody() {
    let f = log().await;
    let key = f.key(20);
    let mut bytes = f.get(&key).await.to_vec();
    bytes[40] ^= 1;
    f.put(&key, bytes.clone()).await;
    let error = f.partition.writer().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(f.partition.plan_repair().await.unwrap().beyond_repair.len(), 1);

    let plan = f.partition.plan_set_aside(20).await.unwrap();
    assert_eq!((plan.first_offset, plan.last_offset, plan.is_newest), (20, Some(29), true));
    assert_eq!((plan.next_offset, &plan.kept_as), (Some(30), &format!("{key}.bad")));
    assert!(plan.end_is_known && !plan.was_begun);
    assert_eq!(f.bucket.requests().put, 0, "a plan writes nothing");
    f.partition.set_aside(&plan).await.unwrap();
    assert_eq!(f.get(&plan.kept_as).await, bytes);
    let left = f.partition.segments(..).all().await.unwrap();
    assert_eq!(left.iter().map(|s| s.base).collect::<Vec<_>>(), [0, 10, 20]);
    assert!(f.partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
    assert_eq!(f.partition.set_aside(&plan).await.unwrap_err().kind(), ErrorKind::Conflict);

    let writer = f.partition.writer().await.unwrap();
    let offsets = writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
    assert_eq!(offsets.base, 30);
}

#[tokio::test]
async fn a_newest_segment_without_an_end_is_covered_beyond_all_that_it_can_have_held() {
    let f = log().await;
    let key = f.key(20);
    let whole = f.get(&key).await;
    for broken in [whole.slice(..0), whole.slice(..100), vec![0; whole.len()].into()] {
        f.put(&key, broken).await;
        let plan = f.partition.plan_set_aside(20).await.unwrap();
        assert!(!plan.end_is_known);
        let next = plan.next_offset.unwrap();
        assert!(next >= 21 + (1 << 40), "{next}");
        f.partition.set_aside(&plan).await.unwrap();
        assert!(f.partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
        let writer = f.partition.writer().await.unwrap();
        let offsets = writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
        assert_eq!(offsets.base, next);
        writer.close(None).await.unwrap();
        for gone in [f.key(next), f.partition.id().index_key(next), plan.kept_as] {
            f.delete(&gone).await;
        }
    }
}

#[tokio::test]
async fn a_set_aside_that_was_interrupted_goes_on_where_it_stopped() {
    // What ends it is the first put, of the copy; the second, of the empty batches; the third, of the index.
    for lost in [".kfs.bad", ".kfs", ".index"] {
        for action in [Action::Fail(Failure::Unavailable), Action::ActThenFail(Failure::Unavailable)] {
            let f = log().await;
            let mut bytes = f.get(&f.key(20)).await.to_vec();
            bytes[40] ^= 1;
            f.put(&f.key(20), bytes.clone()).await;
            let faults = FaultStore::new(f.store.clone());
            let runtime = Runtime::new(PausedClock::new(NOW), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
            let bucket = Bucket::from_object_store(faults.clone(), BucketOptions::default().runtime(runtime)).unwrap();
            let partition = bucket.partition("t", 0).unwrap();
            let plan = partition.plan_set_aside(20).await.unwrap();
            faults.on(Op::Put, lost, action);
            partition.set_aside(&plan).await.unwrap_err();
            let again = partition.plan_set_aside(20).await.unwrap();
            partition.set_aside(&again).await.unwrap();
            assert_eq!((again.next_offset, f.get(&plan.kept_as).await), (Some(30), bytes.into()));
            assert!(f.partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_segment_in_the_middle_leaves_a_hole() {
    let f = log().await;
    let reader = f.partition.reader();
    assert_eq!(reader.fetch(10, usize::MAX).await.unwrap().next_offset, 30);
    let plan = f.partition.plan_set_aside(10).await.unwrap();
    assert_eq!((plan.first_offset, plan.last_offset, plan.is_newest), (10, Some(19), false));
    assert_eq!(plan.next_offset, Some(30));
    f.partition.set_aside(&plan).await.unwrap();
    let fetch = reader.fetch(12, 1).await.unwrap();
    assert_eq!(fetch.hole().map(|hole| (hole.from, hole.to)), Some((12, 20)));
    let first = f.partition.plan_set_aside(0).await.unwrap();
    assert_eq!(first.next_offset, Some(30));
    f.partition.set_aside(&first).await.unwrap();
    let only = f.partition.plan_set_aside(20).await.unwrap();
    assert_eq!((only.is_newest, only.next_offset), (true, Some(30)));
}

#[tokio::test]
async fn a_newest_segment_inside_the_one_before_it_is_set_aside_without_a_hole_or_an_offset_given_again() {
    // It begins at 25, in the segment of 20 to 29, and ends in it or beyond it.
    for (records, next) in [(2, 30), (8, 33)] {
        let f = log().await;
        f.put_segment(25, &[batch(records, 1)], 1).await;
        let error = f.partition.writer().await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*f.key(25))));
        let plan = f.partition.plan_set_aside(25).await.unwrap();
        assert_eq!((plan.is_newest, plan.covered_to, plan.next_offset), (true, Some(29), Some(next)));
        f.partition.set_aside(&plan).await.unwrap();
        assert!(f.partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
        let writer = f.partition.writer().await.unwrap();
        let offsets = writer.append_batches(batch(1, 1).bytes().clone()).await.unwrap().durable().await.unwrap();
        assert_eq!(offsets.base, next);
        let reader = f.cold().partition.reader();
        let fetch = reader.fetch(27, usize::MAX).await.unwrap();
        assert!(fetch.hole().is_none() && fetch.next_offset >= 30, "{fetch:?}");
        assert_eq!(f.cold().partition.latest().await.unwrap(), next + 1);
    }
}

#[tokio::test]
async fn nothing_is_removed_unless_its_copy_is_right() {
    let f = log().await;
    let plan = f.partition.plan_set_aside(10).await.unwrap();
    f.put(&plan.kept_as, "something else").await;
    assert_eq!(f.partition.set_aside(&plan).await.unwrap_err().kind(), ErrorKind::Conflict);
    f.get(&plan.key).await;
    f.delete(&plan.kept_as).await;
    // Changed since the plan.
    f.put_segment(10, &[batch(10, 1)], 2).await;
    assert_eq!(f.partition.set_aside(&plan).await.unwrap_err().kind(), ErrorKind::Conflict);
    f.get(&plan.key).await;
    let plan = f.partition.plan_set_aside(10).await.unwrap();
    let writer = f.partition.writer().await.unwrap();
    assert_eq!(f.partition.set_aside(&plan).await.unwrap_err().kind(), ErrorKind::Conflict);
    writer.close(None).await.unwrap();
    f.partition.set_aside(&plan).await.unwrap();
    assert_eq!(f.partition.plan_set_aside(10).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_larger_than_a_segment_can_be_planned_to_be_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap();
    let store = crate::store::Store::open(url.as_str(), &crate::store::StoreOptions::default()).unwrap();
    let bucket = Bucket::from_store(store.clone(), BucketOptions::default()).unwrap();
    let partition = bucket.partition("orders", 0).unwrap();
    let keys = [0, 7].map(|base| partition.id().segment_key(base));
    for key in &keys {
        let path = dir.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Sparse: it takes no room on the disk.
        std::fs::File::create(path).unwrap().set_len(3 << 30).unwrap();
    }
    let before = store.requests();
    let newest = partition.plan_set_aside(7).await.unwrap();
    assert_eq!((newest.size, newest.is_newest, newest.end_is_known), (3 << 30, true, false));
    assert!(newest.next_offset.unwrap() > 7 + (1 << 40));
    let read = store.requests().since(&before).bytes_in;
    assert!(read < 40 << 20, "no more is read than tells where it ends: {read} bytes");
    let other = partition.plan_set_aside(0).await.unwrap();
    assert_eq!((other.size, other.is_newest, other.last_offset), (3 << 30, false, Some(6)));
}
