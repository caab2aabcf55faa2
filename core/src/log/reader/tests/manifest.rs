//! Reading a log that has a manifest: a right one saves requests, and a wrong one changes nothing but their number.

use super::*;
use crate::error::ErrorKind;
use crate::format::LogIdentity;
use crate::log::BucketOptions;

/// Segments of the logs here, with two records each.
const SEGMENTS: i64 = 2_400;

async fn put_log_json(f: &Fixture, id: char) {
    let identity = LogIdentity::new(id.to_string().repeat(32), 0, 0).unwrap();
    f.put(&f.partition.id().log_json_key(), identity.encode()).await;
}

async fn put(f: &Fixture, numbers: std::ops::Range<i64>, size: usize) {
    let batch = batch(2, size);
    for number in numbers {
        f.put_segment(number * 2, std::slice::from_ref(&batch), 1).await;
    }
}

async fn remove(f: &Fixture, numbers: std::ops::Range<i64>) {
    for number in numbers {
        f.delete(&f.key(number * 2)).await;
        f.delete(&f.partition.id().index_key(number * 2)).await;
    }
}

/// Puts one segment in place of so many, and removes those after it unless they are left for their grace.
async fn merge(f: &Fixture, numbers: std::ops::Range<i64>, leave: bool) {
    let batches: Vec<_> = numbers.clone().map(|_| batch(2, 10)).collect();
    f.put_segment(numbers.start * 2, &batches, 10).await;
    if !leave {
        remove(f, numbers.start + 1..numbers.end).await;
    }
}

/// Another process writes the manifest.
async fn write(f: &Fixture) -> Bytes {
    let other = f.cold().partition;
    other.write_manifest(&other.plan_manifest().await.unwrap()).await.unwrap();
    f.get(&other.id().log_manifest_key()).await
}

/// A log with a manifest that is right.
async fn log() -> Fixture {
    let f = Fixture::new();
    put_log_json(&f, 'a').await;
    put(&f, 0..SEGMENTS, 10).await;
    write(&f).await;
    f
}

/// What cold processes read, and how many requests each needs: the range, and a fetch at each offset.
async fn read(f: &Fixture, offsets: &[i64]) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let cold = f.cold();
    let range = cold.partition.refresh().await.map(|range| (range.log_start, range.high_watermark));
    let (lists, gets) = cold.reads();
    all.push((format!("{range:?}"), lists + gets));
    for offset in offsets {
        let cold = f.cold();
        let read = match cold.partition.reader().fetch(*offset, 1).await {
            Ok(fetch) => format!("{} {:?} {:?}", fetch.next_offset, fetch.chunks.concat(), fetch.hole()),
            Err(error) => format!("{error:?}"),
        };
        let (lists, gets) = cold.reads();
        all.push((read, lists + gets));
    }
    // One process that goes all over the log is misled once.
    let cold = f.cold();
    for offset in offsets {
        let _read = cold.partition.reader().fetch(*offset, 1).await;
    }
    let (lists, gets) = cold.reads();
    all.push(("one process".into(), lists + gets));
    all
}

/// Offsets all over the log, and beyond its end.
const OFFSETS: [i64; 13] = [0, 1, 1_500, 2_001, 2_400, 3_001, 3_400, 4_797, 4_798, 4_799, 4_800, 5_500, 9_000];

/// Reads with this manifest and without one: the same, by at most two requests more.
async fn changes_nothing(f: &Fixture, name: &str, manifest: &Bytes) {
    let key = f.partition.id().log_manifest_key();
    f.delete(&key).await;
    let without = read(f, &OFFSETS).await;
    f.put(&key, manifest.clone()).await;
    are_as(&read(f, &OFFSETS).await, &without, name);
}

fn are_as(with: &[(String, u64)], without: &[(String, u64)], name: &str) {
    for (at, (with, without)) in with.iter().zip(without).enumerate() {
        assert_eq!(with.0, without.0, "{name}, {at}");
        assert!(with.1 <= without.1 + 2, "{name}, {at}: {} requests, {} without", with.1, without.1);
    }
}

#[tokio::test]
async fn any_offset_of_100_000_segments_is_read_after_one_listing_and_the_manifest() {
    let f = Fixture::new();
    put_log_json(&f, 'a').await;
    f.put_names(0..100_000).await;
    for base in [777, 50_777, 99_777, 99_999] {
        f.put_segment(base, &[batch(1, 1)], 1).await;
    }
    write(&f).await;
    for (offset, cost) in [(50_777, (1, 2)), (99_777, (1, 2)), (99_999, (2, 2))] {
        let cold = f.cold();
        let fetch = cold.partition.reader().fetch(offset, 1).await.unwrap();
        assert_eq!((fetch.next_offset, fetch.batches().count()), (offset + 1, 1));
        assert_eq!(cold.reads(), cost, "at {offset}: the listings, and the GETs of the manifest and of the segment");
    }
    let cold = f.cold();
    assert_eq!(cold.partition.refresh().await.unwrap().high_watermark, 100_000);
    assert_eq!(cold.reads(), (2, 2), "and the footer");
    // All that is known already is held: any other place is one GET.
    cold.partition.reader().fetch(50_777, 1).await.unwrap();
    assert_eq!(cold.reads(), (2, 3));
}

#[tokio::test]
async fn a_manifest_that_is_right_changes_nothing() {
    let f = log().await;
    let manifest = f.get(&f.partition.id().log_manifest_key()).await;
    changes_nothing(&f, "right", &manifest).await;
    let model = batch(2, 10);
    let reader = f.partition.reader();
    // Going on from there is a scan as any other.
    let mut offset = 3_000;
    while offset < SEGMENTS * 2 {
        let fetch = reader.fetch(offset, 1).await.unwrap();
        assert_eq!(fetch.chunks.concat(), model.with_base_offset(offset, None).unwrap().bytes()[..]);
        offset = fetch.next_offset;
    }
    let (lists, gets) = f.reads();
    assert_eq!(gets, 1 + 900, "each segment once");
    assert!(lists <= 4, "{lists}");
}

#[tokio::test]
async fn a_fetch_that_goes_on_lists_what_follows_because_more_will_be_read() {
    let f = log().await;
    let cold = f.cold();
    let reader = cold.partition.reader();
    for (offset, cost) in [(3_000, (1, 2)), (2_000, (1, 3)), (2_002, (2, 4))] {
        assert_eq!(reader.fetch(offset, 1).await.unwrap().next_offset, offset + 2);
        assert_eq!(cold.reads(), cost, "at {offset}");
    }
}

#[tokio::test]
async fn a_named_segment_that_cannot_be_read_just_now_is_listed_and_the_manifest_is_asked_again_later() {
    use crate::testing::{Action, Failure, FaultStore, Op};
    let f = log().await;
    let faults = FaultStore::new(f.store.clone());
    let cold = Fixture::over(faults.clone());
    let reader = cold.partition.reader();
    faults.on(Op::Get, f.key(3_000), Action::Fail(Failure::Unavailable));
    for (offset, cost) in [(3_000, (2, 3)), (1_000, (2, 4))] {
        assert_eq!(reader.fetch(offset, 1).await.unwrap().next_offset, offset + 2);
        assert_eq!(cold.reads(), cost, "at {offset}: the manifest, the read that failed, and the segments");
    }
}

#[tokio::test]
async fn a_manifest_that_is_stale_changes_nothing() {
    let f = log().await;
    let manifest = f.get(&f.partition.id().log_manifest_key()).await;
    put(&f, SEGMENTS..SEGMENTS + 300, 10).await;
    changes_nothing(&f, "appended", &manifest).await;
    put(&f, SEGMENTS + 300..SEGMENTS + 2_000, 10).await;
    changes_nothing(&f, "much appended", &manifest).await;
    merge(&f, 1_450..1_500, true).await;
    merge(&f, 500..1_000, true).await;
    changes_nothing(&f, "merged, with leftovers", &manifest).await;
    merge(&f, 1_450..1_500, false).await;
    merge(&f, 500..1_000, false).await;
    merge(&f, 1_800..2_399, false).await;
    changes_nothing(&f, "merged", &manifest).await;
    f.put(&f.partition.id().log_start_key(1_801), Bytes::new()).await;
    remove(&f, 0..500).await;
    changes_nothing(&f, "retained", &manifest).await;
    merge(&f, 1_000..1_450, false).await;
    merge(&f, 1_500..1_800, false).await;
    changes_nothing(&f, "merged more", &manifest).await;
    remove(&f, 0..SEGMENTS + 100).await;
    changes_nothing(&f, "all that it names is gone", &manifest).await;
}

#[tokio::test]
async fn a_manifest_of_a_log_that_was_longer_or_another_changes_nothing() {
    let f = log().await;
    let manifest = f.get(&f.partition.id().log_manifest_key()).await;
    remove(&f, 1_300..SEGMENTS).await;
    changes_nothing(&f, "the newest are gone", &manifest).await;
    remove(&f, 0..SEGMENTS).await;
    changes_nothing(&f, "all are gone", &manifest).await;
    for segments in [1_300, 3_000] {
        put_log_json(&f, 'b').await;
        put(&f, 0..segments, 11).await;
        changes_nothing(&f, "another log", &manifest).await;
        // KafScale writes no log.json.
        f.delete(&f.partition.id().log_json_key()).await;
        changes_nothing(&f, "no log.json", &manifest).await;
        put_log_json(&f, 'a').await;
        changes_nothing(&f, "the same log.json again", &manifest).await;
        remove(&f, 0..segments).await;
    }
}

#[tokio::test]
async fn a_manifest_that_is_broken_changes_nothing() {
    let f = log().await;
    let key = f.partition.id().log_manifest_key();
    let manifest = f.get(&key).await;
    f.delete(&key).await;
    let offsets = [3_001, 4_798, 9_000];
    let without = read(&f, &offsets).await;
    let changed = |at: usize, bytes: &[u8], right: bool| {
        let mut all = manifest.to_vec();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        let end = all.len() - 4;
        if right {
            let crc = crate::format::crc32c(&all[..end]);
            all[end..].copy_from_slice(&crc.to_be_bytes());
        }
        Bytes::from(all)
    };
    let large = Bytes::from(vec![0; BucketOptions::default().cache_bytes / 8 + 1]);
    for (name, broken) in [
        ("cut", manifest.slice(..manifest.len() - 1_000)),
        ("a flipped bit", changed(40_000, &[manifest[40_000] ^ 1], false)),
        ("a later version", changed(4, &[0, 2], true)),
        ("a count beyond the end", changed(24, &[0xff; 4], true)),
        ("text beyond the end", changed(28, &[0xff; 4], true)),
        ("noise", Bytes::from(vec![0x5a; manifest.len()])),
        ("too large", large),
        ("empty", Bytes::new()),
        // The CRC is right, and what it names is not: other bases, no ETags, a wrong dense part.
        ("wrong bases", changed(48 + 24 * 1_500, &3_001_i64.to_be_bytes(), true)),
        ("wrong times", changed(48 + 24 * 1_500 + 8, &[1; 8], true)),
        ("wrong sizes", changed(48 + 24 * 1_500 + 16, &[1; 4], true)),
        ("dense from nowhere", changed(16, &[0x7f; 8], true)),
    ] {
        f.put(&key, broken).await;
        are_as(&read(&f, &offsets).await, &without, name);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_segment_is_said_as_without_a_manifest() {
    let f = log().await;
    flip(&f, &f.key(3_100), 60).await;
    flip(&f, &f.key(3_200), 40).await;
    let manifest = write(&f).await;
    let key = f.partition.id().log_manifest_key();
    // Holes that the manifest does not show. One follows a broken segment.
    remove(&f, 1_501..1_502).await;
    remove(&f, 1_551..1_552).await;
    let offsets = [3_000, 3_002, 3_003, 3_100, 3_101, 3_103, 3_200];
    let with = read(&f, &offsets).await;
    f.delete(&key).await;
    are_as(&with, &read(&f, &offsets).await, "broken");
    f.put(&key, manifest).await;
    let options = ReaderOptions::default().on_corrupt(OnCorrupt::Skip);
    let fetch = f.cold().partition.reader_with(options).fetch(3_100, 1).await.unwrap();
    assert_eq!((fetch.next_offset, fetch.skipped().len()), (3_106, 1));
}

#[tokio::test]
async fn a_large_segment_is_listed_before_it_is_read_in_parts() {
    let f = Fixture::new();
    f.put_names((0..1_500).map(|i| i * 1_000)).await;
    let many: Vec<_> = (0..40).map(|_| batch(1, 4_000)).collect();
    f.put_segment(1_400_000, &many, 1).await;
    write(&f).await;
    let cold = f.cold();
    let reader = cold.partition.reader_with(small_blocks());
    let fetch = reader.fetch(1_400_030, 1).await.unwrap();
    assert_eq!((fetch.next_offset, cold.reads()), (1_400_031, (2, 3)), "the manifest, the index and a part");
    // Beyond the block that is held, and in the middle of a batch that needs more.
    for offset in [1_400_031, 1_400_010] {
        assert_eq!(reader.fetch(offset, 1).await.unwrap().next_offset, offset + 1);
    }
    // It was replaced since, and so was its index: that costs no more than to search for it.
    f.put_segment(1_400_000, &many[1..], 1).await;
    let cold = f.cold();
    assert_eq!(cold.partition.reader_with(small_blocks()).fetch(1_400_030, 1).await.unwrap().next_offset, 1_400_031);
    assert_eq!(cold.reads(), (2, 3));
    // Its index is wrong: it is made again.
    f.put(&f.partition.id().index_key(1_400_000), Bytes::from_static(b"no index")).await;
    let cold = f.cold();
    let fetch = cold.partition.reader_with(small_blocks()).fetch(1_400_030, 1).await.unwrap();
    assert_eq!(fetch.next_offset, 1_400_031);
}

#[tokio::test]
async fn a_reader_of_a_log_that_was_made_again_is_told_and_not_led_on_by_the_old_manifest() {
    let f = log().await;
    let reader = f.partition.reader();
    assert_eq!(reader.fetch(3_000, 1).await.unwrap().next_offset, 3_002);
    f.clock.advance(std::time::Duration::from_secs(1));
    remove(&f, 0..SEGMENTS).await;
    put_log_json(&f, 'b').await;
    put(&f, 0..SEGMENTS, 20).await;
    let error = reader.fetch(4_000, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("deleted and made again"), "{error}");
    let fetch = reader.fetch(4_000, 1).await.unwrap();
    let new = batch(2, 20).with_base_offset(4_000, None).unwrap();
    assert_eq!(fetch.chunks.concat(), new.bytes()[..]);
}

#[tokio::test]
async fn a_store_that_does_not_give_the_manifest_is_no_obstacle() {
    use crate::testing::{Action, Failure, FaultStore, Op};
    let f = log().await;
    for failure in [Failure::PermissionDenied, Failure::Unavailable] {
        let faults = FaultStore::new(f.store.clone());
        faults.on(Op::Get, "log.manifest", Action::Fail(failure));
        let cold = Fixture::over(faults.clone());
        assert_eq!(cold.partition.reader().fetch(3_000, 1).await.unwrap().next_offset, 3_002);
        assert_eq!(faults.unused(), 0, "it was asked");
    }
}
