//! What a KafScale broker can serve of a log that was merged for it, by its own rules: the segment with the greatest base
//! offset at or below the one that is asked for, and in it what its index search finds.

use super::*;
use crate::format::{Batch, CrcCheck, Segment, SparseIndex};
use crate::log::fixtures::{batch, kafscale_position};
use crate::log::maintain::MergePolicy;

/// What Kafka's consumers fetch of a partition at most, by default (`max.partition.fetch.bytes`).
const FETCH: u64 = 1 << 20;

impl World {
    async fn bytes(&self, key: &str) -> bytes::Bytes {
        use object_store::ObjectStoreExt;
        self.faults.inner().get(&Path::from(key)).await.unwrap().bytes().await.unwrap()
    }

    /// Segments of these batches in turn, so many batches in each.
    async fn put_all(&self, mut base: i64, batches: &[Batch], in_segment: usize) -> i64 {
        let id = self.partition.id();
        for some in batches.chunks(in_segment) {
            let mut builder = SegmentBuilder::new(base, NOW, 100).unwrap();
            for batch in some {
                builder.push(batch, None).unwrap();
            }
            let built = builder.finish().unwrap();
            self.put(&id.index_key(base), built.index.clone()).await;
            self.put(&id.segment_key(base), bytes::Bytes::from(built.chunks.concat())).await;
            base = built.last_offset + 1;
        }
        base
    }

    /// The offsets below `end` whose batch is not wholly in KafScale's answer.
    async fn unservable(&self, end: i64) -> Vec<i64> {
        let (bases, id, mut missed) = (self.bases().await, self.partition.id(), Vec::new());
        for (at, base) in bases.iter().enumerate() {
            let segment = Segment::parse(&self.bytes(&id.segment_key(*base)).await, CrcCheck::Verify).unwrap();
            let index = SparseIndex::parse(&self.bytes(&id.index_key(*base)).await).unwrap();
            let entries: Vec<_> = index.entries().map(|entry| (entry.offset, entry.position)).collect();
            let until = bases.get(at + 1).map_or(end, |next| *next);
            for offset in *base..until {
                let from = kafscale_position(&entries, offset);
                let served = segment.batches().any(|at| {
                    let holds = at.batch.base_offset() <= offset && offset < at.batch.next_offset();
                    holds && at.position >= from && at.position + at.batch.bytes().len() as u64 <= from + FETCH
                });
                if !served {
                    missed.push(offset);
                }
            }
        }
        missed
    }
}

#[tokio::test]
async fn no_offset_of_a_log_merged_for_kafscale_is_out_of_a_consumers_reach_within_the_grace_and_after() {
    // Records in a batch, bytes of each, batches, and batches in a segment.
    for (records, bytes, count, in_segment) in
        [(10, 1_000, 260, 3), (1, 3_000, 800, 20), (300, 10, 400, 9), (2, 90_000, 14, 1)]
    {
        let world = World::new().await;
        let batches: Vec<_> = (0..count).map(|_| batch(records, bytes)).collect();
        let end = world.put_all(60, &batches, in_segment).await;
        let before = world.bases().await.len();
        world.clock.advance(BOUND);
        let policy = MergePolicy::for_kafscale();
        let report = world.partition.merge(&world.partition.plan_merge(&policy).await.unwrap()).await.unwrap();
        assert!(report.merged > 0 && report.in_grace > 0, "{report}");
        assert_eq!(world.unservable(end).await, [0_i64; 0], "within the grace, {bytes}");
        assert_eq!(world.bases().await.len(), before);
        world.clock.advance(policy.grace + BOUND + Duration::from_secs(1));
        let report = world.partition.merge(&world.partition.plan_merge(&policy).await.unwrap()).await.unwrap();
        assert!(report.leftovers > 0, "{report}");
        assert_eq!(world.unservable(end).await, [0_i64; 0], "after the grace, {bytes}");
        assert!(world.bases().await.len() < before);
    }
}

#[tokio::test]
async fn offsets_of_a_log_merged_by_the_default_policy_are_out_of_a_consumers_reach() {
    let world = World::new().await;
    let batches: Vec<_> = (0..400).map(|_| batch(10, 1_000)).collect();
    let end = world.put_all(60, &batches, 40).await;
    world.clock.advance(BOUND);
    let policy = MergePolicy::default().min_size(0);
    let report = world.partition.merge(&world.partition.plan_merge(&policy).await.unwrap()).await.unwrap();
    assert_eq!(report.merged, 1, "{report}");
    world.clock.advance(policy.grace + BOUND + Duration::from_secs(1));
    world.partition.merge(&world.partition.plan_merge(&policy).await.unwrap()).await.unwrap();
    assert!(world.unservable(end).await.len() > 400, "docs/kafscale.md says why there is a preset");
}
