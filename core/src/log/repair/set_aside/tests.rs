use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use object_store::{ObjectStoreExt, PutPayload};

use super::*;
use crate::log::fixtures::{Fixture, batch};
use crate::log::verify::VerifyOptions;
use crate::testing::{Action, Failure, FaultStore, Op};
use crate::{Bucket, BucketOptions};

/// A log whose newest segment is broken, and larger than a piece; and its bytes.
async fn log() -> (Fixture, Arc<FaultStore>, Partition, Bytes) {
    let f = Fixture::new();
    f.put_segment(0, &[batch(10, 10)], 1).await;
    f.put_segment(10, &[batch(2, 9 << 20), batch(1, 9 << 20), batch(3, 1)], 1).await;
    let mut bytes = f.get(&f.key(10)).await.to_vec();
    bytes[100] ^= 1;
    f.put(&f.key(10), bytes.clone()).await;
    let faults = FaultStore::new(f.store.clone());
    let bucket = Bucket::from_object_store(faults.clone(), BucketOptions::default()).unwrap();
    let partition = bucket.partition_of(f.partition.id().clone());
    (f, faults, partition, bytes.into())
}

#[tokio::test]
async fn a_large_segment_is_copied_in_parts() {
    let (f, faults, partition, bytes) = log().await;
    let plan = partition.plan_set_aside(10).await.unwrap();
    assert_eq!((plan.next_offset, plan.end_is_known, plan.size), (Some(16), true, bytes.len() as u64));
    partition.set_aside(&plan).await.unwrap();
    assert_eq!(f.get(&plan.kept_as).await, bytes);
    assert_eq!((faults.count_of(Op::Multipart, ".bad"), faults.count_of(Op::Put, ".bad")), (1, 0));
    let most = faults.log().iter().filter_map(|logged| logged.request.size).max();
    assert!(most.is_some_and(|most| most < 64 << 10), "no object is put in one request but the empty batches");
    assert!(partition.verify(VerifyOptions::default()).all().await.unwrap().is_empty());
    assert_eq!(f.cold().partition.latest().await.unwrap(), 16);
}

#[tokio::test]
async fn a_large_segment_is_not_removed_unless_its_copy_is_right() {
    let (f, faults, partition, bytes) = log().await;
    let plan = partition.plan_set_aside(10).await.unwrap();
    let mut other = bytes.to_vec();
    *other.last_mut().unwrap() ^= 1;
    for kept in [Bytes::from(other), bytes.slice(..bytes.len() - 1), Bytes::new()] {
        f.put(&plan.kept_as, kept.clone()).await;
        let error = partition.set_aside(&plan).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&*plan.kept_as)), "{error}");
        assert_eq!((f.get(&plan.kept_as).await, f.get(&plan.key).await), (kept, bytes.clone()));
    }
    assert_eq!(faults.count(Op::Multipart), 0, "what is kept already is replaced by nothing");
    // The copy of an earlier try is right.
    f.put(&plan.kept_as, bytes.clone()).await;
    partition.set_aside(&plan).await.unwrap();
    assert_eq!(f.get(&plan.kept_as).await, bytes);
    assert_ne!(f.get(&plan.key).await, bytes);
    assert_eq!(faults.count(Op::Multipart), 0);
}

#[tokio::test]
async fn a_large_segment_that_changes_while_it_is_copied_is_left_alone() {
    let (f, faults, partition, bytes) = log().await;
    let plan = partition.plan_set_aside(10).await.unwrap();
    let (store, key) = (f.store.clone(), plan.key.clone());
    let other = bytes.slice(..bytes.len() - 1);
    let newer = other.clone();
    faults.decide_with(move |request| {
        if request.op == Op::Get && request.key == key && request.range.as_deref() != Some("0-16777215") {
            let (to, payload) = (key.as_str().into(), PutPayload::from_bytes(newer.clone()));
            store.put(&to, payload).now_or_never().unwrap().unwrap();
        }
        Action::Pass
    });
    let error = partition.set_aside(&plan).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&*plan.key)), "{error}");
    assert!(error.message().contains("changed since the plan"), "{error}");
    assert_eq!(f.get(&plan.key).await, other);
    assert!(f.store.get(&plan.kept_as.as_str().into()).await.is_err(), "no half of it is kept");
}

#[tokio::test]
async fn a_set_aside_does_not_wait_for_a_store_that_is_away() {
    let (f, faults, partition, bytes) = log().await;
    let plan = partition.plan_set_aside(10).await.unwrap();
    faults.always(Op::Get, &*plan.key, Action::Fail(Failure::Unavailable));
    let error = partition.set_aside(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "it must not go on when nobody expects it any more");
    assert_eq!(f.get(&plan.key).await, bytes);
}
