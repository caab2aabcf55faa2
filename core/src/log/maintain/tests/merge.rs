//! Merging small segments, and removing what that leaves.

use super::*;
use crate::format::{CrcCheck, Segment, SparseIndex, TimeIndex};
use crate::log::maintain::{MergePlan, MergePolicy, MergeReport};
use crate::testing::Gate;

const GRACE: Duration = Duration::from_secs(15 * 60);

/// A target of 4 KiB: the six segments of [`World::new`] have about 750 bytes each.
fn policy() -> MergePolicy {
    MergePolicy::default().target_size(4 << 10).grace(GRACE).index_interval(20)
}

/// A log whose segments are old enough.
async fn old() -> World {
    let world = World::new().await;
    world.clock.advance(BOUND);
    world
}

impl World {
    async fn plan_merge(&self) -> MergePlan {
        self.partition.plan_merge(&policy()).await.unwrap()
    }

    async fn merge(&self) -> Result<MergeReport> {
        let plan = self.partition.plan_merge(&policy()).await?;
        self.partition.merge(&plan).await
    }

    async fn object(&self, key: &str) -> bytes::Bytes {
        use object_store::ObjectStoreExt;
        self.faults.inner().get(&Path::from(key)).await.unwrap().bytes().await.unwrap()
    }

    async fn segment(&self, base: i64) -> Segment {
        let bytes = self.object(&self.partition.id().segment_key(base)).await;
        Segment::parse(&bytes, CrcCheck::Verify).unwrap()
    }

    /// The bytes of all batches from the first offset on, as a reader that never saw the log before gets them.
    async fn content(&self) -> Vec<u8> {
        let other = self.other();
        let end = other.partition.refresh().await.unwrap().high_watermark;
        let (reader, mut offset, mut bytes) = (other.partition.reader(), 0, Vec::new());
        while offset < end {
            let fetched = reader.fetch(offset, 1 << 20).await.unwrap();
            offset = fetched.next_offset;
            bytes.extend(fetched.chunks.concat());
        }
        bytes
    }
}

fn batches(segments: &[Segment]) -> Vec<u8> {
    segments.iter().flat_map(|segment| segment.batches().flat_map(|at| at.batch.bytes().to_vec())).collect()
}

#[tokio::test]
async fn small_neighbours_become_one_segment_and_the_others_go_after_the_grace() {
    let world = old().await;
    let plan = world.plan_merge().await;
    assert_eq!((plan.segments, plan.merged, plan.waiting, plan.leftovers), (5, 1, 0, 0));
    assert_eq!(plan.to_string(), format!("t/0: 5 segments with {} bytes are merged into 1", plan.bytes));
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50], "a plan writes nothing");
    let mut before = Vec::new();
    for base in (0..50).step_by(10) {
        before.push(world.segment(base).await);
    }
    let content = world.content().await;

    let report = world.partition.merge(&plan).await.unwrap();
    assert_eq!((report.segments, report.merged, report.in_grace), (5, 1, 4), "{report}");
    let merged = world.segment(0).await;
    assert_eq!((merged.base_offset(), merged.next_offset()), (0, 50));
    assert_eq!(report.bytes, merged.bytes().len() as u64);
    assert_eq!(batches(std::slice::from_ref(&merged)), batches(&before), "batches and their bytes stay as they are");
    let id = world.partition.id();
    let index = world.object(&id.index_key(0)).await;
    assert_eq!(index, merged.index(20).encode());
    let times = TimeIndex::parse(&world.object(&id.time_index_key(0)).await).unwrap();
    assert_eq!(times, merged.time_range(&Default::default()).unwrap().unwrap());
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50], "readers may need the others");
    assert_eq!(world.content().await, content);

    // The age of the merged segment counts.
    world.clock.advance(GRACE + BOUND);
    let plan = world.plan_merge().await;
    assert_eq!((plan.segments, plan.leftovers, plan.in_grace), (0, 0, 4));
    assert!(plan.to_string().ends_with("and may be removed in 0 h 0 min"), "{plan}");
    assert_eq!(world.partition.merge(&plan).await.unwrap().leftovers, 0);
    world.clock.advance(Duration::from_millis(1));
    let plan = world.plan_merge().await;
    assert_eq!((plan.segments, plan.leftovers, plan.in_grace), (0, 4, 0));
    let report = world.partition.merge(&plan).await.unwrap();
    assert_eq!((report.leftovers, report.leftover_bytes, report.in_grace), (4, plan.leftover_bytes, 0));
    assert_eq!(world.bases().await, [0, 50]);
    assert_eq!(world.content().await, content);
    let deleted = |r: &&crate::testing::LoggedRequest| r.request.op == Op::Delete && r.request.key.ends_with(".kfs");
    let log = world.faults.log();
    let deleted: Vec<_> = log.iter().filter(deleted).map(|r| r.request.key.clone()).collect();
    assert!(deleted.is_sorted() && deleted.len() == 4, "strictly from the oldest up: {deleted:?}");
    let plan = world.plan_merge().await;
    assert!(plan.is_empty(), "what was merged is not small: {plan}");
    assert_eq!(plan.to_string(), "t/0: no segments are merged");
}

#[tokio::test]
async fn young_segments_and_the_newest_stay_as_they_are() {
    let world = World::new().await;
    world.clock.advance(BOUND - Duration::from_secs(1));
    assert!(world.plan_merge().await.is_empty());
    world.put_segment(60, 10).await;
    world.clock.advance(Duration::from_secs(1));
    let report = world.merge().await.unwrap();
    assert_eq!((report.segments, report.merged), (5, 1), "a sixth does not fit into 4 KiB");
    assert_eq!(world.segment(50).await.next_offset(), 60);
}

#[tokio::test]
async fn no_merge_crosses_a_hole() {
    let world = World::new().await;
    for suffix in ["kfs", "index"] {
        use object_store::ObjectStoreExt;
        let key = format!("{PREFIX}segment-{:020}.{suffix}", 20);
        world.faults.inner().delete(&Path::from(key)).await.unwrap();
    }
    world.clock.advance(BOUND);
    let report = world.merge().await.unwrap();
    assert_eq!((report.segments, report.merged), (4, 2), "{report}");
    assert_eq!((world.segment(0).await.next_offset(), world.segment(30).await.next_offset()), (20, 50));
}

#[tokio::test]
async fn too_little_waits_for_more_and_a_policy_may_take_it_all_the_same() {
    let world = old().await;
    let large = policy().target_size(64 << 10);
    let plan = world.partition.plan_merge(&large).await.unwrap();
    assert!(plan.is_empty() && plan.waiting == 5, "{plan}");
    assert!(plan.to_string().ends_with("no segments are merged; 5 small segments wait for more to be merged with"));
    let plan = world.partition.plan_merge(&large.min_size(0)).await.unwrap();
    assert_eq!((plan.segments, plan.waiting), (5, 0));
    let unindexed = MergePlan { policy: plan.policy.clone().time_index(false), ..plan };
    world.partition.merge(&unindexed).await.unwrap();
    assert_eq!(world.segment(0).await.next_offset(), 50);
    assert!(!world.names().await.iter().any(|name| name.ends_with(".kfst")), "none was asked for");
}

#[tokio::test]
async fn a_reply_that_is_lost_is_looked_after_and_no_segment_is_merged_twice() {
    for (action, what) in [
        (Action::ActThenFail(Failure::Unavailable), "it acted, and the reply was lost"),
        (Action::Fail(Failure::Unavailable), "it did not act"),
        (Action::ActThenFail(Failure::Precondition), "it acted, and answers that the segment changed"),
        (Action::Fail(Failure::Precondition), "it answers that the segment changed, and it did not"),
    ] {
        let world = old().await;
        let content = world.content().await;
        world.faults.on(Op::Put, "segment-00000000000000000000.kfs", action);
        let report = through(&world, world.merge()).await.unwrap();
        assert_eq!((report.segments, report.merged, report.put_off), (5, 1, 0), "{what}");
        assert_eq!(world.faults.unused(), 0, "{what}");
        let merged = world.segment(0).await;
        assert_eq!(world.object(&world.partition.id().index_key(0)).await, merged.index(20).encode(), "{what}");
        assert_eq!(world.content().await, content, "{what}");
    }
}

#[tokio::test]
async fn a_store_without_metadata_tells_its_own_work_by_the_bytes() {
    let world = old().await;
    world.faults.always(Op::Get, KeyMatcher::containing("segment-"), Action::DropMetadata);
    world.faults.always(Op::Head, KeyMatcher::containing("segment-"), Action::DropMetadata);
    world.faults.on(Op::Put, "segment-00000000000000000000.kfs", Action::ActThenFail(Failure::Unavailable));
    let report = through(&world, world.merge()).await.unwrap();
    assert_eq!((report.merged, report.put_off), (1, 0));
}

#[tokio::test]
async fn of_two_merges_at_a_time_the_second_gives_way() {
    let world = old().await;
    let gate = Gate::new();
    world.faults.on(Op::Put, "segment-00000000000000000000.kfs", Action::Hold(gate.clone()));
    let other = world.other();
    let second = async {
        gate.arrived(1).await;
        let policy = policy().index_interval(7);
        let plan = other.partition.plan_merge(&policy).await.unwrap();
        assert_eq!(other.partition.merge(&plan).await.unwrap().merged, 1);
        gate.open();
    };
    let (first, ()) = futures_util::join!(world.merge(), second);
    let first = first.unwrap();
    assert_eq!((first.merged, first.put_off), (0, 1));
    assert!(first.to_string().contains("are left to a later call"), "{first}");
    let index = world.object(&world.partition.id().index_key(0)).await;
    assert_eq!(SparseIndex::parse(&index).unwrap().interval(), 7, "what stands beside it is of the one that is there");
}

#[tokio::test]
async fn a_merge_that_slept_after_its_listing_puts_nothing() {
    let world = old().await;
    let gate = Gate::new();
    world.faults.on(Op::Get, "segment-00000000000000000040.kfs", Action::Hold(gate.clone()));
    let sleep = async {
        gate.arrived(1).await;
        world.clock.advance(BOUND + Duration::from_millis(1));
        gate.open();
    };
    let (report, ()) = futures_util::join!(world.merge(), sleep);
    let report = report.unwrap();
    assert_eq!((report.merged, report.put_off), (0, 1), "{report}");
    assert_eq!(world.segment(0).await.next_offset(), 10);
    assert_eq!(world.merge().await.unwrap().merged, 1, "a later call does it");
}

#[tokio::test]
async fn a_maintainer_that_slept_before_a_delete_looks_again() {
    let world = old().await;
    world.merge().await.unwrap();
    world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
    let gate = Gate::new();
    // It sleeps while the merged segment is looked at: the log is made again meanwhile.
    let head = "segment-00000000000000000000.kfs";
    world.faults.on(Op::Head, head, Action::ActThenHold(gate.clone()));
    let sleep = async {
        gate.arrived(1).await;
        world.clock.advance(BOUND + Duration::from_millis(1));
        world.put_segment(0, 10).await;
        gate.open();
    };
    let (report, ()) = futures_util::join!(world.merge(), sleep);
    assert_eq!(report.unwrap().leftovers, 0);
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50]);
    assert_eq!(world.content().await.len(), batches(&[world.segment(0).await]).len() * 6);
}

#[tokio::test]
async fn a_call_that_ended_between_a_segment_and_its_index_is_finished_by_the_next() {
    for (key, what) in [("index", "the index"), ("kfst", "the time index")] {
        let world = old().await;
        let key = format!("segment-00000000000000000000.{key}");
        world.faults.on(Op::Put, &*key, Action::Fail(Failure::PermissionDenied));
        assert_eq!(world.merge().await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{what}");
        let merged = world.segment(0).await;
        assert_eq!(merged.next_offset(), 50, "{what}");
        let plan = world.plan_merge().await;
        assert_eq!((plan.unfinished, plan.segments, plan.in_grace), (1, 0, 4), "{what}");
        assert!(plan.to_string().contains("the indexes of 1 merge that ended early are written"), "{plan}");
        world.partition.merge(&plan).await.unwrap();
        let interval = SparseIndex::parse(&world.object(&world.partition.id().index_key(0)).await).unwrap().interval();
        assert_eq!(world.object(&world.partition.id().index_key(0)).await, merged.index(interval).encode(), "{what}");
        assert!(world.plan_merge().await.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn clearing_that_was_interrupted_is_finished_by_the_next_call() {
    for deleted in ["10.kfs", "20.kfs", "40.kfs", "10.index", "40.index"] {
        let world = old().await;
        let content = world.content().await;
        world.merge().await.unwrap();
        world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
        let key = format!("segment-000000000000000000{deleted}");
        world.faults.on(Op::Delete, &*key, Action::Fail(Failure::PermissionDenied));
        assert_eq!(world.merge().await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{deleted}");
        assert_eq!(world.content().await, content, "{deleted}");
        world.merge().await.unwrap();
        assert_eq!(world.bases().await, [0, 50], "{deleted}");
        assert_eq!(world.content().await, content, "{deleted}");
    }
}

#[tokio::test]
async fn a_broken_segment_is_told_and_stays_and_what_is_around_it_is_merged() {
    let world = old().await;
    let id = world.partition.id();
    let mut bytes = world.object(&id.segment_key(20)).await.to_vec();
    bytes[100] ^= 1;
    world.put(&id.segment_key(20), bytes::Bytes::from(bytes.clone())).await;
    world.clock.advance(BOUND);
    let report = world.merge().await.unwrap();
    assert_eq!((report.segments, report.merged, report.broken.len()), (4, 2, 1), "{report}");
    assert_eq!(report.broken[0].kind(), ErrorKind::Corrupt);
    assert!(report.to_string().contains("1 segment can't be read, the first: corrupt"), "{report}");
    assert_eq!(world.object(&id.segment_key(20)).await, bytes);
}

#[tokio::test]
async fn what_a_merge_left_stays_while_the_merged_segment_is_broken() {
    let world = old().await;
    world.merge().await.unwrap();
    let id = world.partition.id();
    let mut bytes = world.object(&id.segment_key(0)).await.to_vec();
    bytes[2000] ^= 1;
    world.put(&id.segment_key(0), bytes::Bytes::from(bytes)).await;
    world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
    let report = world.merge().await.unwrap();
    assert_eq!((report.leftovers, report.broken.len()), (0, 1), "{report}");
    assert_eq!(world.bases().await, [0, 10, 20, 30, 40, 50]);
}

#[tokio::test]
async fn the_index_of_a_merged_segment_is_right_before_the_others_go() {
    let world = old().await;
    world.merge().await.unwrap();
    let id = world.partition.id();
    world.put(&id.index_key(0), world.segment(10).await.index(20).encode()).await;
    world.put(&id.time_index_key(0), bytes::Bytes::from_static(b"wrong")).await;
    world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
    world.merge().await.unwrap();
    let merged = world.segment(0).await;
    assert_eq!(world.object(&id.index_key(0)).await, merged.index(20).encode());
    assert!(TimeIndex::parse(&world.object(&id.time_index_key(0)).await).is_ok());
    assert_eq!(world.bases().await, [0, 50]);
}

#[tokio::test]
async fn a_segment_that_reaches_beyond_a_merged_one_is_no_leftover_and_is_never_merged() {
    let world = old().await;
    world.merge().await.unwrap();
    // Somebody's segment from 45 on reaches beyond 50.
    world.put_segment(45, 10).await;
    world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
    let report = world.merge().await.unwrap();
    assert_eq!(report.leftovers, 4, "{report}");
    assert_eq!(world.bases().await, [0, 45, 50]);
    assert_eq!(world.segment(45).await.next_offset(), 55);
    let all = world.partition.plan_merge(&policy().target_size(1 << 20).min_size(0)).await.unwrap();
    let report = world.partition.merge(&all).await.unwrap();
    assert_eq!(report.merged, 0, "{report}");
}

#[tokio::test]
async fn the_requests_of_a_merge_are_those_that_the_documentation_says() {
    let world = old().await;
    let plan = world.plan_merge().await;
    let before = world.bucket.requests();
    world.partition.merge(&plan).await.unwrap();
    let merge = world.bucket.requests().since(&before);
    // The clock, the segment and its two indexes; each segment that is merged, the clock and the version at the end.
    assert_eq!((merge.put, merge.get, merge.delete), (1 + 3, 5 + 1 + 1, 1), "{merge:?}");
    world.clock.advance(GRACE + BOUND + Duration::from_secs(1));
    let plan = world.plan_merge().await;
    let before = world.bucket.requests();
    world.partition.merge(&plan).await.unwrap();
    let clear = world.bucket.requests().since(&before);
    // The clock; the footer, the segment with its indexes, its version and the clock; each segment with its index.
    assert_eq!((clear.put, clear.get, clear.delete), (1, 1 + 3 + 1 + 1, 4 * 2 + 1), "{clear:?}");
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    for (bad, told) in [
        (policy().target_size(4095), "target_size is 4095 bytes, 4096 to 1073741824 are allowed"),
        (policy().target_size((1 << 30) + 1), "target_size is 1073741825 bytes, 4096 to 1073741824 are allowed"),
        (policy().min_size(4097), "min_size is 4097 bytes, which is more than the target_size of 4096"),
        (policy().grace(GRACE - Duration::from_secs(1)), "grace is 899s, at least 15 minutes are allowed"),
        (policy().index_interval(0), "index_interval is 0, at least 1 is allowed"),
    ] {
        let error = world.partition.plan_merge(&bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.message(), format!("the merge policy's {told}"));
    }
}
