//! The manifest for KafScale's SQL processor, read as that reads it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::format::{Batch, CrcCheck, Limits, Segment, TimeIndex};
use crate::log::fixtures::changed;
use crate::log::maintain::{KafscaleManifestOptions, KafscaleManifestReport, MergePolicy};
use crate::testing::Gate;

const KEY: &str = "default/manifest.json";
const GRACE: Duration = Duration::from_secs(15 * 60);

/// A segment as the SQL processor holds it.
#[derive(Clone, Debug, Default)]
struct SqlSegment {
    key: String,
    size: u64,
    offsets: (Option<i64>, Option<i64>),
    times: (Option<i64>, Option<i64>),
}

/// What a query asks for: from the first to the last of a range, each of which may be left out.
type Asked = (Option<i64>, Option<i64>);

/// Whether a segment may hold what is asked for. What is not known leaves nothing out.
fn may_hold((least, greatest): (Option<i64>, Option<i64>), (from, to): Asked) -> bool {
    !(greatest.zip(from).is_some_and(|(greatest, from)| greatest < from)
        || least.zip(to).is_some_and(|(least, to)| least > to))
}

/// A log of six segments of ten records each. Those of segment `n` have the timestamps from `NOW + 1000 n` on.
async fn world() -> World {
    let world = World::new().await;
    for base in (0..60).step_by(10) {
        world.put_times(base, 10).await;
    }
    world.clock.advance(BOUND);
    world
}

impl World {
    /// A segment whose records have timestamps that rise with their offsets.
    async fn put_times(&self, base: i64, records: i64) {
        let batches = (base..base + records).map(|offset| timed(NOW + 100 * offset));
        self.put_batches(base, &batches.collect::<Vec<_>>()).await;
    }

    async fn put_batches(&self, base: i64, batches: &[Batch]) {
        let mut builder = SegmentBuilder::new(base, NOW, 5).unwrap();
        batches.iter().for_each(|batch| builder.push(batch, None).unwrap());
        let built = builder.finish().unwrap();
        let id = self.partition.id();
        self.put(&id.index_key(base), built.index.clone()).await;
        self.put(&id.segment_key(base), bytes::Bytes::from(built.chunks.concat())).await;
    }

    async fn put_kfst(&self, base: i64, times: TimeIndex) {
        self.put(&self.partition.id().time_index_key(base), times.encode()).await;
    }

    async fn stored(&self, key: &str) -> Option<bytes::Bytes> {
        use object_store::ObjectStoreExt;
        self.faults.inner().get(&Path::from(key)).await.ok()?.bytes().await.ok()
    }

    async fn write_manifest_with(&self, options: KafscaleManifestOptions) -> Result<KafscaleManifestReport> {
        let plan = self.bucket.plan_kafscale_manifest(&options).await?;
        self.bucket.write_kafscale_manifest(&plan).await
    }

    async fn write_manifest(&self) -> KafscaleManifestReport {
        self.write_manifest_with(KafscaleManifestOptions::default()).await.unwrap()
    }

    /// The segments that the manifest names. Entries without one of the two keys are none.
    async fn manifest(&self) -> Vec<SqlSegment> {
        let document: Value = serde_json::from_slice(&self.stored(KEY).await.unwrap()).unwrap();
        let mut segments = Vec::new();
        for entry in document.as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap().trim_start_matches('/').to_owned();
            assert!(text("index_key").ends_with(".index") && entry["partition"].is_i64(), "{entry}");
            let key = text("segment_key");
            let key = if key.starts_with("default/") { key } else { format!("default/{key}") };
            let number = |name: &str| entry[name].as_i64();
            let (offsets, times) = (["min_offset", "max_offset"], ["min_ts", "max_ts"]);
            let [offsets, times] = [offsets, times].map(|[least, greatest]| (number(least), number(greatest)));
            segments.push(SqlSegment { key, size: entry["size_bytes"].as_u64().unwrap(), offsets, times });
        }
        segments
    }

    /// The segments that a listing shows: those with an index. The last offset comes from the next key.
    async fn listing(&self) -> Vec<SqlSegment> {
        let bases = self.bases().await;
        let mut segments = Vec::new();
        for (at, base) in bases.iter().enumerate() {
            let offsets = (Some(*base), bases.get(at + 1).map(|next| next - 1));
            let key = self.partition.id().segment_key(*base);
            segments.push(SqlSegment { key, offsets, ..SqlSegment::default() });
        }
        segments
    }

    /// How often a query gets each offset, and how many segments it reads. A segment that is gone fails the query.
    async fn query(&self, segments: &[SqlSegment], offsets: Asked, times: Asked) -> (BTreeMap<i64, usize>, usize) {
        let (mut found, mut read) = (BTreeMap::new(), 0);
        for segment in segments.iter().filter(|s| may_hold(s.offsets, offsets) && may_hold(s.times, times)) {
            let bytes = self.stored(&segment.key).await.unwrap_or_else(|| panic!("{} is gone", segment.key));
            read += 1;
            for at in Segment::parse(&bytes, CrcCheck::Verify).unwrap().batches() {
                // The producer's time, whoever set the record's.
                let header = at.batch.header();
                for record in &at.batch.records(&Limits::default()).unwrap() {
                    let record = record.unwrap();
                    let time = if header.attributes.is_log_append_time() {
                        header.base_timestamp
                    } else {
                        record.timestamp_ms
                    };
                    let range = |(from, to): Asked| from.unwrap_or(i64::MIN)..=to.unwrap_or(i64::MAX);
                    if range(offsets).contains(&record.offset) && range(times).contains(&time) {
                        *found.entry(record.offset).or_insert(0) += 1;
                    }
                }
            }
        }
        (found, read)
    }

    async fn merge_all(&self) {
        let policy = MergePolicy::default().target_size(4 << 10).grace(GRACE);
        let plan = self.partition.plan_merge(&policy).await.unwrap();
        self.partition.merge(&plan).await.unwrap();
    }
}

fn timed(timestamp: i64) -> Batch {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.push(&NewRecord::new(timestamp).value(b"v")).unwrap();
    batch.finish(0).unwrap()
}

fn once(offsets: std::ops::Range<i64>) -> BTreeMap<i64, usize> {
    offsets.map(|offset| (offset, 1)).collect()
}

const ALL: Asked = (None, None);

fn keys(segments: &[SqlSegment]) -> Vec<i64> {
    let base = |s: &SqlSegment| s.key.strip_prefix("default/t/0/segment-").unwrap()[..20].parse().unwrap();
    segments.iter().map(base).collect()
}

#[tokio::test]
async fn the_sql_processor_leaves_out_by_offset_and_time_what_can_not_match() {
    let world = world().await;
    let plan = world.bucket.plan_kafscale_manifest(&KafscaleManifestOptions::default()).await.unwrap();
    assert_eq!((plan.partitions, plan.segments, plan.known), (1, 6, 0));
    let told = format!("{KEY}: 6 segments of 1 partition, of which 6 with {} bytes are new to it", plan.new_bytes);
    assert_eq!(plan.to_string(), told);
    assert_eq!(world.stored(KEY).await, None, "a plan writes nothing");
    let report = world.bucket.write_kafscale_manifest(&plan).await.unwrap();
    let length = world.stored(KEY).await.unwrap().len();
    assert_eq!(report.to_string(), format!("{KEY}: 6 segments of 1 partition, in {length} bytes"));

    let segments = world.manifest().await;
    assert_eq!(keys(&segments), [0, 10, 20, 30, 40, 50], "the newest too");
    for segment in &segments {
        assert_eq!(segment.size, world.stored(&segment.key).await.unwrap().len() as u64, "{}", segment.key);
    }
    assert_eq!(world.query(&segments, ALL, ALL).await, (once(0..60), 6));
    assert_eq!(world.query(&segments, (Some(19), Some(30)), ALL).await, (once(19..31), 3));
    assert_eq!(world.query(&segments, (Some(59), None), ALL).await, (once(59..60), 1));
    let times = (Some(NOW + 3_000), Some(NOW + 3_999));
    assert_eq!(world.query(&segments, ALL, times).await, (once(30..40), 1));
    assert_eq!(world.query(&segments, ALL, (None, Some(NOW - 1))).await, (once(0..0), 0));
}

#[tokio::test]
async fn each_record_is_there_once_within_the_grace_of_a_merge_and_after_it() {
    let world = world().await;
    world.write_manifest().await;
    world.merge_all().await;
    let (twice, _) = world.query(&world.listing().await, ALL, ALL).await;
    assert_eq!(twice[&10], 2, "a listing shows what was merged, and what it became");
    let (twice, _) = world.query(&world.manifest().await, ALL, ALL).await;
    assert_eq!(twice[&10], 2, "so does a manifest from before the merge");

    let before = world.bucket.requests();
    let report = world.write_manifest().await;
    assert_eq!((report.segments, report.kept, report.leftovers), (2, 1, 4));
    assert!(report.to_string().contains("; 4 segments are in merged ones and not named"), "{report}");
    let sent = world.bucket.requests().since(&before);
    // Plan and call read the manifest; of the merged segment the time index and the footer.
    assert_eq!(sent.get, 2 + 2);
    let within = world.manifest().await;
    assert_eq!(keys(&within), [0, 50]);
    assert_eq!(world.query(&within, ALL, ALL).await, (once(0..60), 2));
    assert_eq!(world.query(&within, (Some(49), Some(49)), ALL).await, (once(49..50), 1));
    assert_eq!(world.query(&within, ALL, (Some(NOW + 5_000), None)).await, (once(50..60), 1));

    // Again within the grace: 16 bytes of each segment that merging left tell that it is one.
    let (before, manifest) = (world.bucket.requests(), world.stored(KEY).await.unwrap().len() as u64);
    assert_eq!(world.write_manifest().await.leftovers, 4);
    let sent = world.bucket.requests().since(&before);
    let footers = 1 + 4;
    assert_eq!(sent.get, 2 + footers, "also of the merged one, because others depend on where it ends");
    assert_eq!(sent.bytes_in, 2 * manifest + footers * 16);

    world.clock.advance(GRACE + BOUND + Duration::from_millis(1));
    world.merge_all().await;
    assert_eq!(world.bases().await, [0, 50]);
    assert_eq!(world.query(&within, ALL, ALL).await, (once(0..60), 2), "what it names is still there");
    world.write_manifest().await;
    assert_eq!(world.query(&world.manifest().await, ALL, ALL).await, (once(0..60), 2));
}

#[tokio::test]
async fn what_merging_left_is_known_without_the_times_of_objects() {
    let world = world().await;
    // A copy of a bucket, all of whose objects are of one time.
    world.put_times(0, 30).await;
    for base in (10..60).step_by(10) {
        world.put_times(base, 10).await;
    }
    let report = world.write_manifest().await;
    assert_eq!((report.segments, report.leftovers), (4, 2));
    assert_eq!(world.query(&world.manifest().await, ALL, ALL).await, (once(0..60), 4));
    // One that begins inside another and reaches beyond it may alone hold what lies beyond.
    world.put_times(20, 15).await;
    world.write_manifest().await;
    assert_eq!(keys(&world.manifest().await), [0, 20, 30, 40, 50]);
}

#[tokio::test]
async fn a_second_call_costs_requests_only_for_what_is_new() {
    let world = world().await;
    let before = world.bucket.requests();
    let options = KafscaleManifestOptions::default().partitions([world.partition.id().clone()]);
    let plan = world.bucket.plan_kafscale_manifest(&options).await.unwrap();
    let RequestCounts { put, get, list, delete, .. } = world.bucket.requests().since(&before);
    assert_eq!((put, get, list, delete), (0, 1, 1, 0));
    let before = world.bucket.requests();
    world.bucket.write_kafscale_manifest(&plan).await.unwrap();
    let RequestCounts { put, get, list, delete, .. } = world.bucket.requests().since(&before);
    assert_eq!((put, get, list, delete), (1, 1 + 6, 1, 0));

    world.put_times(60, 10).await;
    let before = world.bucket.requests();
    let report = world.bucket.write_kafscale_manifest(&plan).await.unwrap();
    let RequestCounts { put, get, list, delete, .. } = world.bucket.requests().since(&before);
    assert_eq!((put, get, list, delete), (1, 1 + 1, 1, 0));
    assert_eq!((report.segments, report.kept), (7, 6));
    let plan = world.bucket.plan_kafscale_manifest(&options).await.unwrap();
    assert!(plan.to_string().ends_with("7 segments of 1 partition, all of which it has already"), "{plan}");
}

#[tokio::test]
async fn a_manifest_by_others_or_a_broken_one_is_not_believed() {
    let world = world().await;
    world.write_manifest().await;
    world.merge_all().await;
    world.write_manifest().await;
    let own = String::from_utf8(world.stored(KEY).await.unwrap().to_vec()).unwrap();
    // KafScale takes the last offset of the merged segment from the next key.
    let theirs = own.replace(",\"by\":\"libkfs\"", "").replace("\"max_offset\":49", "\"max_offset\":9");
    let early = own.replace("\"max_offset\":49", "\"max_offset\":8");
    for other in [theirs, own[..own.len() - 9].to_owned(), "{}".to_owned(), String::new(), early] {
        world.put(KEY, bytes::Bytes::from(other.clone())).await;
        let report = world.write_manifest().await;
        assert_eq!(report.leftovers, 4, "{other}");
        assert_eq!(world.query(&world.manifest().await, ALL, ALL).await, (once(0..60), 2), "{other}");
    }
}

#[tokio::test]
async fn what_lies_below_the_log_start_is_left_out_before_it_is_removed_too() {
    let world = world().await;
    world.put(&format!("{PREFIX}{}", mark(25)), PutPayload::new()).await;
    let report = world.write_manifest().await;
    assert_eq!((report.segments, report.below), (4, 2));
    assert!(report.to_string().contains("; 2 segments lie below the log start and not named"), "{report}");
    assert_eq!(keys(&world.manifest().await), [20, 30, 40, 50]);

    // What retention is about to remove: a query with this manifest goes on while it does.
    let id = world.partition.id().clone();
    let options = KafscaleManifestOptions::default().log_starts([(id, 40)]);
    assert_eq!(world.write_manifest_with(options).await.unwrap().below, 4);
    let segments = world.manifest().await;
    world.set(40).await.unwrap();
    assert_eq!(world.query(&segments, ALL, ALL).await, (once(40..60), 2));
}

#[tokio::test]
async fn a_segment_without_an_index_or_with_broken_bytes_is_told_and_left_out() {
    let world = world().await;
    use object_store::ObjectStoreExt;
    let id = world.partition.id();
    world.faults.inner().delete(&Path::from(id.index_key(50))).await.unwrap();
    let mut bytes = world.stored(&id.segment_key(20)).await.unwrap().to_vec();
    bytes[100] ^= 1;
    world.put(&id.segment_key(20), bytes::Bytes::from(bytes)).await;
    world.put(&id.segment_key(30), bytes::Bytes::from_static(b"no segment")).await;
    let report = world.write_manifest().await;
    assert_eq!((report.segments, report.unindexed, report.broken.len()), (3, 1, 2), "{report}");
    assert_eq!(report.broken[0].key(), Some(&*id.segment_key(20)));
    let said = report.to_string();
    assert!(said.contains("; 1 segment has no index and is not named: `kfs repair` makes indexes"), "{said}");
    assert!(said.contains("; 2 segments can't be read and are not named, the first:"), "{said}");
    assert_eq!(keys(&world.manifest().await), [0, 10, 40]);
}

#[tokio::test]
async fn a_time_index_is_used_where_it_fits_its_segment_and_is_not_older() {
    let world = world().await;
    let times = |from: i64, to: i64| {
        let mut times = TimeIndex::of(1, from);
        times.add(2, to);
        times
    };
    // Older than the segment, of another range, one that fits, of the newest segment, and none.
    world.put_kfst(0, times(0, 9)).await;
    world.clock.advance(Duration::from_secs(1));
    world.put_times(0, 10).await;
    world.put_kfst(10, times(10, 18)).await;
    world.put_kfst(20, times(20, 29)).await;
    world.put_kfst(50, times(50, 59)).await;
    world.put(&world.partition.id().time_index_key(40), bytes::Bytes::from(vec![0; 41])).await;
    let before = world.bucket.requests();
    let options = KafscaleManifestOptions::default().partitions([world.partition.id().clone()]);
    world.write_manifest_with(options).await.unwrap();
    let sent = world.bucket.requests().since(&before);
    let believed: Vec<bool> = world.manifest().await.iter().map(|s| s.times == (Some(1), Some(2))).collect();
    assert_eq!(believed, [false, false, true, false, false, true]);
    // The manifest twice. A time index of another range and that of the newest take the footer; what does not help, all
    // of the segment.
    assert_eq!(sent.get, 2 + 1 + (1 + 1 + 1) + 1 + 1 + 2 + (1 + 1));
}

#[tokio::test]
async fn times_that_the_sql_processor_sees_otherwise_leave_nothing_out() {
    let world = world().await;
    let mut appended = BatchBuilder::new(BatchOptions::default());
    appended.push(&NewRecord::new(NOW + 60_000).value(b"v")).unwrap();
    let at_append = changed(&appended.finish(0).unwrap(), |bytes| {
        bytes[22] |= 8;
        bytes[35..43].copy_from_slice(&(NOW + 90_000).to_be_bytes());
    });
    world.put_batches(60, &[timed(NOW), at_append]).await;
    let empty = changed(&timed(NOW), |bytes| bytes[57..61].copy_from_slice(&0_i32.to_be_bytes()));
    let empty = Batch::parse(&cut(&empty), 0, CrcCheck::Verify).unwrap();
    world.put_batches(62, &[empty]).await;
    world.write_manifest().await;
    let segments = world.manifest().await;
    assert_eq!(keys(&segments)[6..], [60, 62]);
    assert_eq!((segments[6].times, segments[7].times), ((None, None), (None, None)));
    assert_eq!((segments[6].offsets, segments[7].offsets), ((Some(60), Some(61)), (Some(62), Some(62))));
    let late = world.query(&segments, ALL, (Some(NOW + 60_000), Some(NOW + 60_000))).await;
    assert_eq!(late, (once(61..62), 2));
    assert_eq!(world.write_manifest().await.kept, 8, "what can't be told is known, too");
}

/// The batch without its record.
fn cut(batch: &Batch) -> bytes::Bytes {
    let mut bytes = batch.bytes()[..61].to_vec();
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    let crc = crate::format::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[tokio::test]
async fn all_partitions_are_named_or_those_that_are_asked_for() {
    let world = world().await;
    for key in ["default/u/1/log.json", "default/lfs/0/object", "default/v/x/segment-00000000000000000000.kfs"] {
        world.put(key, bytes::Bytes::from_static(b"x")).await;
    }
    let segment = world.stored(&world.partition.id().segment_key(0)).await.unwrap();
    for key in
        ["default/default/3/segment-00000000000000000000.kfs", "default/default/3/segment-00000000000000000000.index"]
    {
        world.put(key, segment.clone()).await;
    }
    let report = world.write_manifest().await;
    assert_eq!((report.partitions, report.segments), (3, 7), "one of them is empty, and others are none");
    let segments = world.manifest().await;
    assert_eq!(segments[0].key, "default/default/3/segment-00000000000000000000.kfs");
    let (found, _) = world.query(&segments, (None, Some(9)), ALL).await;
    assert_eq!(found, (0..10).map(|offset| (offset, 2)).collect(), "of both topics");

    let named = |topic: &str| [world.bucket.partition(topic, 0).unwrap().id().clone()];
    let options = KafscaleManifestOptions::default();
    world.write_manifest_with(options.clone().partitions(named("t"))).await.unwrap();
    assert_eq!(world.manifest().await.len(), 6);
    let missing = world.write_manifest_with(options.clone().partitions(named("w"))).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let other = crate::format::Namespace::new("other").unwrap();
    let other = crate::format::PartitionId::parse("t/0", other).unwrap();
    let refused = world.write_manifest_with(options.partitions([other])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    assert_eq!(world.manifest().await.len(), 6, "the manifest that was there stays");
}

#[tokio::test]
async fn a_segment_that_is_merged_or_removed_meanwhile_is_named_as_it_is_or_not_at_all() {
    let world = world().await;
    let gate = Gate::new();
    for base in (0..60).step_by(10) {
        world.faults.on(Op::Get, world.partition.id().segment_key(base), Action::Hold(gate.clone()));
    }
    let change = async {
        // All were listed as they were before.
        gate.arrived(6).await;
        world.put_times(0, 20).await;
        use object_store::ObjectStoreExt;
        world.faults.inner().delete(&Path::from(world.partition.id().segment_key(30))).await.unwrap();
        gate.open();
    };
    let (report, ()) = futures_util::join!(world.write_manifest(), change);
    assert!(report.broken.is_empty(), "{report}");
    let segments = world.manifest().await;
    assert_eq!(keys(&segments), [0, 20, 40, 50]);
    assert_eq!(segments[0].offsets, (Some(0), Some(19)));
}

#[tokio::test]
async fn a_put_that_fails_is_sent_again_or_leaves_the_manifest_that_was_there() {
    let world = world().await;
    world.faults.on(Op::Put, KEY, Action::ActThenFail(Failure::Unavailable));
    through(&world, world.write_manifest()).await;
    let first = world.stored(KEY).await;
    world.put_times(60, 10).await;
    world.faults.on(Op::Put, KEY, Action::Fail(Failure::PermissionDenied));
    let error = world.write_manifest_with(KafscaleManifestOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(world.stored(KEY).await, first);
}
