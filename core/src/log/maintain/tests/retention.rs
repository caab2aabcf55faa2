//! What a policy's limits remove.

use super::*;
use crate::log::maintain::{LogStartPlan, RetentionLimit, RetentionPolicy};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A log of six segments of ten records each, whose records are of six days, and whose newest is of today. All were
/// modified now.
async fn of_six_days() -> World {
    let world = World::new().await;
    for (days, base) in (0..6).rev().zip((0..60).step_by(10)) {
        world.put_segment_of(base, 10, NOW - days * 86_400_000).await;
    }
    world
}

async fn plan(world: &World, policy: RetentionPolicy) -> LogStartPlan {
    world.partition.plan_retention(&policy).await.unwrap()
}

/// Where the plan lets the log start, and by which limit.
async fn starts(world: &World, policy: RetentionPolicy) -> (i64, Option<RetentionLimit>) {
    let plan = plan(world, policy).await;
    (plan.new_log_start, plan.limit)
}

fn policy() -> RetentionPolicy {
    RetentionPolicy::default()
}

#[tokio::test]
async fn segments_go_whose_records_are_all_older_than_the_limit() {
    let world = of_six_days().await;
    let second = Duration::from_secs(1);
    for (age, start) in [(6 * DAY, 0), (5 * DAY, 0), (5 * DAY - second, 10), (3 * DAY - second, 30), (second, 50)] {
        let limit = (start > 0).then_some(RetentionLimit::Age);
        assert_eq!(starts(&world, policy().max_age(age)).await, (start, limit), "{age:?}");
    }
    // The newest segment stays however old it is.
    world.clock.advance(30 * DAY);
    assert_eq!(starts(&world, policy().max_age(DAY)).await.0, 50);
    let plan = plan(&world, policy().max_age(Duration::ZERO)).await;
    assert!(plan.to_string().contains("from 0 to 50 by the limit of age, and 5 segments with"), "{plan}");
    let report = world.partition.set_log_start(&plan).await.unwrap();
    assert_eq!((report.log_start, report.segments), (50, 5));
    assert_eq!((world.bases().await, world.earliest().await), (vec![50], 50));
}

#[tokio::test]
async fn a_segment_that_is_not_too_old_protects_all_that_follow() {
    let world = of_six_days().await;
    world.put_segment_of(10, 10, NOW).await;
    assert_eq!(starts(&world, policy().max_age(DAY)).await.0, 10);
}

#[tokio::test]
async fn where_records_have_no_timestamp_the_stores_time_counts() {
    let world = World::new().await;
    for base in (0..60).step_by(10) {
        world.put_segment_of(base, 10, -1).await;
        world.clock.advance(DAY);
    }
    // They were modified six to one days ago.
    assert_eq!(starts(&world, policy().max_age(4 * DAY)).await, (20, Some(RetentionLimit::Age)));
}

#[tokio::test]
async fn a_time_index_may_keep_a_segment_and_removes_none() {
    use crate::format::TimeIndex;
    let world = of_six_days().await;
    let id = world.partition.id().clone();
    let index = |last: i64, ms: i64| {
        let mut index = TimeIndex::of(ms, last - 9);
        index.max_offset = last;
        PutPayload::from(index.encode().to_vec())
    };
    let read = || {
        let of_segment = |key: &String| key.ends_with("0.kfs");
        let log = world.faults.log();
        let keys = log.iter().filter(|r| r.request.op == Op::Get).map(|r| r.request.key.clone());
        keys.filter(of_segment).count()
    };
    let age = 4 * DAY - Duration::from_secs(1);
    let before = read();
    // It says that the records are of today, and the segment's are of two days ago.
    world.put(&id.time_index_key(0), index(9, NOW)).await;
    assert_eq!(starts(&world, policy().max_age(age)).await.0, 0);
    assert_eq!(read() - before, 1, "only the newest segment's end was read");
    // It says that they are of nine days ago, so the records are read.
    world.put(&id.time_index_key(0), index(9, NOW - 9 * 86_400_000)).await;
    assert_eq!(starts(&world, policy().max_age(5 * DAY)).await.0, 0);
    // One from before a merge ends too early.
    world.put(&id.time_index_key(0), index(4, NOW)).await;
    assert_eq!(starts(&world, policy().max_age(age)).await.0, 20);
}

#[tokio::test]
async fn the_oldest_go_while_the_others_have_enough_bytes() {
    let world = of_six_days().await;
    let sizes: Vec<u64> = {
        let all = world.bucket.store().list_page(PREFIX, None, 100).await.unwrap().objects;
        all.iter().filter(|object| object.key.ends_with(".kfs")).map(|object| object.size).collect()
    };
    let last = |n: usize| sizes.iter().rev().take(n).sum::<u64>();
    for (max, start) in [
        (last(6) + 1, 0),
        (last(6), 0),
        (last(5) + 1, 0),
        (last(5), 10),
        (last(2) + 1, 30),
        (last(2), 40),
        (1, 50),
        (0, 50),
    ] {
        let limit = (start > 0).then_some(RetentionLimit::Bytes);
        assert_eq!(starts(&world, policy().max_bytes(max)).await, (start, limit), "{max}");
    }
    // What lies below the log start waits for its removal, and does not count.
    world.set(20).await.unwrap();
    assert_eq!(world.bases().await.len(), 6, "all are younger than the bound");
    assert_eq!(starts(&world, policy().max_bytes(last(4))).await, (20, None));
    assert_eq!(starts(&world, policy().max_bytes(last(3))).await, (30, Some(RetentionLimit::Bytes)));
}

#[tokio::test]
async fn of_several_limits_the_one_counts_that_removes_most() {
    let world = of_six_days().await;
    let age = 4 * DAY - Duration::from_secs(1);
    for (policy, expected) in [
        (policy().max_age(age).max_bytes(u64::MAX), (20, Some(RetentionLimit::Age))),
        (policy().max_age(age).max_bytes(1), (50, Some(RetentionLimit::Bytes))),
        (policy().max_age(age).start_offset(35), (35, Some(RetentionLimit::Offset))),
        (policy().max_age(age).start_offset(20), (20, Some(RetentionLimit::Age))),
        (policy().start_offset(99), (60, Some(RetentionLimit::Offset))),
        (policy(), (0, None)),
    ] {
        assert_eq!(starts(&world, policy.clone()).await, expected, "{policy:?}");
    }
    let plan = plan(&world, policy().start_offset(35)).await;
    assert_eq!((plan.segments, plan.high_watermark), (3, 60), "{plan}");
    let wrong = world.partition.plan_retention(&policy().start_offset(-1)).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    let missing = world.bucket.partition("u", 0).unwrap().plan_retention(&policy()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_clock_that_is_wrong_keeps_anything_from_being_too_old() {
    let world = of_six_days().await;
    // A machine whose clock is six minutes ahead, on the same store.
    let own = ManualClock::new(NOW + 360_000);
    let other = World::over(world.faults.inner().clone(), own, 2);
    let error = other.partition.plan_retention(&policy().max_age(DAY)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("differ by 360 s"), "{error}");
    // The other limits ask no clock.
    assert_eq!(starts(&other, policy().start_offset(20)).await.0, 20);
}

#[tokio::test]
async fn a_segment_whose_age_can_not_be_read_ends_the_plan_and_one_that_went_does_not() {
    let world = of_six_days().await;
    let key = world.partition.id().segment_key(10);
    world.faults.on(Op::Get, key.as_str(), Action::Fail(Failure::NotFound));
    assert_eq!(starts(&world, policy().max_age(3 * DAY)).await.0, 20, "it is looked at again");
    assert_eq!(world.faults.unused(), 0);
    world.put(&key, bytes::Bytes::from_static(&[7; 4096])).await;
    let error = world.other().partition.plan_retention(&policy().max_age(3 * DAY)).await.unwrap_err();
    assert!(!error.is_retriable() && error.key() == Some(key.as_str()), "{error}");
}

#[tokio::test]
async fn the_requests_of_a_plan_grow_with_what_goes() {
    let world = of_six_days().await;
    let before = world.bucket.requests();
    plan(&world, policy().max_age(4 * DAY - Duration::from_secs(1))).await;
    let RequestCounts { put, get, list, delete, .. } = world.bucket.requests().since(&before);
    // The clock; its time, the newest segment's end, one time index that is not there, and three segments.
    assert_eq!((put, get, delete), (1, 1 + 1 + 1 + 3, 1));
    assert_eq!(list, 2);
    let before = world.bucket.requests();
    plan(&world, policy().start_offset(35)).await;
    let RequestCounts { put, list, .. } = world.bucket.requests().since(&before);
    assert_eq!((put, list), (0, 2));
}
