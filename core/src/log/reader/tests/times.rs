use super::*;
use crate::format::{Limits, SegmentBuilder};
use crate::log::fixtures::{batch_at, changed, spawn, told};
use crate::testing::{Action, FaultStore, Gate, KeyMatcher, Op};

/// One segment for each list of (records, first timestamp), 1 ms apart; dense from 0.
async fn timed(segments: &[Vec<(usize, i64)>], time_index: bool) -> Fixture {
    let f = Fixture::new();
    let mut base = 0;
    for batches in segments {
        base = put_timed(&f, base, batches, time_index).await;
    }
    f
}

async fn put_timed(f: &Fixture, base: i64, batches: &[(usize, i64)], time_index: bool) -> i64 {
    let mut builder = SegmentBuilder::new(base, 0, 10).unwrap();
    if time_index {
        builder = builder.with_time_index(Limits::default());
    }
    for (count, time) in batches {
        builder.push(&batch_at(*count, 10, *time), None).unwrap();
    }
    let built = builder.finish().unwrap();
    let id = f.partition.id();
    f.put(&id.segment_key(base), built.chunks.concat()).await;
    f.put(&id.index_key(base), built.index.clone()).await;
    if let Some(times) = &built.time_index {
        f.put(&id.time_index_key(base), times.encode()).await;
    }
    built.last_offset + 1
}

async fn find(f: &Fixture, timestamp: i64) -> Option<(i64, i64)> {
    f.partition.offset_for_timestamp(timestamp).await.unwrap().map(|found| (found.offset, found.timestamp_ms))
}

#[tokio::test]
async fn the_first_record_at_or_after_a_time_is_found() {
    for time_index in [false, true] {
        let segments =
            vec![vec![(3, 100), (2, 50)], vec![(1, 103)], vec![(2, 1_000), (2, 990), (2, 1_500)], vec![(1, 1_501)]];
        let f = timed(&segments, time_index).await;
        // offset and time of every record, in order
        let all = [100, 101, 102, 50, 51, 103, 1_000, 1_001, 990, 991, 1_500, 1_501, 1_501];
        for timestamp in [0, 50, 52, 100, 101, 102, 103, 104, 995, 1_000, 1_001, 1_002, 1_500, 1_501] {
            let expected = all.iter().position(|t| *t >= timestamp).map(|i| (i as i64, all[i]));
            assert_eq!(find(&f, timestamp).await, expected, "at {timestamp}");
        }
        assert_eq!(find(&f, 1_502).await, None);
        let greatest = f.partition.max_timestamp().await.unwrap().unwrap();
        assert_eq!((greatest.offset, greatest.timestamp_ms, greatest.leader_epoch), (12, 1_501, -1));
    }
}

#[tokio::test]
async fn segments_without_records_are_no_obstacle() {
    let f = Fixture::new();
    let empty = crate::format::BatchBuilder::empty_batch(0, 0, &Default::default()).unwrap();
    let mut base = 0;
    for i in 0..12 {
        base = match i % 4 {
            1 => put_timed(&f, base, &[(2, i * 100)], false).await,
            _ => f.put_segment(base, std::slice::from_ref(&empty), 1).await,
        };
    }
    // 1: offsets 1, 2; 5: 6, 7; 9: 11, 12
    assert_eq!(find(&f, 0).await, Some((1, 100)));
    assert_eq!(find(&f, 102).await, Some((6, 500)));
    assert_eq!(find(&f, 501).await, Some((7, 501)));
    assert_eq!(find(&f, 502).await, Some((11, 900)));
    assert_eq!(find(&f, 902).await, None);
    assert_eq!(f.partition.max_timestamp().await.unwrap().unwrap().offset, 12);
    let none = Fixture::new();
    none.put_segment(0, &[empty], 1).await;
    assert_eq!(find(&none, 0).await, None);
    assert_eq!(none.partition.max_timestamp().await.unwrap(), None);
}

#[tokio::test]
async fn a_log_start_hides_earlier_records_from_times_too() {
    let f = timed(&[vec![(5, 100)], vec![(5, 200)]], false).await;
    f.put(&f.partition.id().log_start_key(3), "").await;
    assert_eq!(find(&f, 0).await, Some((3, 103)));
    f.put(&f.partition.id().log_start_key(7), "").await;
    assert_eq!(find(&f, 0).await, Some((7, 202)));
}

#[tokio::test]
async fn a_search_by_time_begins_again_when_retention_passes_it() {
    for greatest in [false, true] {
        let f = timed(&[vec![(3, 100)], vec![(3, 200)], vec![(3, 300)], vec![(3, 400)]], false).await;
        let faults = FaultStore::new(f.store.clone());
        let slow = Fixture::over(faults.clone());
        slow.partition.refresh().await.unwrap();
        let gate = Gate::new();
        faults.on(Op::Get, KeyMatcher::any(), Action::Hold(gate.clone()));
        let partition = slow.partition.clone();
        let search = spawn(async move {
            if greatest { partition.max_timestamp().await } else { partition.offset_for_timestamp(150).await }
        });
        gate.arrived(1).await;
        // The newest segment stays, whatever retention does. For the greatest time another becomes the newest.
        let kept = if greatest { f.put_segment(12, &[batch_at(3, 10, 500)], 1).await - 3 } else { 9 };
        f.put(&f.partition.id().log_start_key(kept), "").await;
        for base in (0..kept).step_by(3) {
            f.delete(&f.key(base)).await;
        }
        gate.open();
        let found = search.await.unwrap().unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp_ms), if greatest { (14, 502) } else { (9, 400) });
    }
}

#[tokio::test]
async fn a_search_by_time_begins_again_when_merging_passes_it() {
    for greatest in [false, true] {
        let f = timed(&[vec![(3, 100)], vec![(3, 200)], vec![(3, 300)], vec![(3, 400)], vec![(1, 500)]], false).await;
        let faults = FaultStore::new(f.store.clone());
        let slow = Fixture::over(faults.clone());
        slow.partition.refresh().await.unwrap();
        if greatest {
            // The newest segment holds no record, so that those before it are looked at.
            let empty = crate::format::BatchBuilder::empty_batch(0, 0, &Default::default()).unwrap();
            f.put_segment(13, &[empty], 1).await;
        }
        let gate = Gate::new();
        faults.on(
            Op::Get,
            KeyMatcher::containing(if greatest { "012.kfs" } else { "06.kfs" }),
            Action::Hold(gate.clone()),
        );
        let partition = slow.partition.clone();
        let search = spawn(async move {
            if greatest { partition.max_timestamp().await } else { partition.offset_for_timestamp(301).await }
        });
        gate.arrived(1).await;
        put_timed(&f, 0, &[(3, 100), (3, 200), (3, 300), (3, 400), (1, 500)], false).await;
        for base in [3, 6, 9, 12] {
            f.delete(&f.key(base)).await;
        }
        gate.open();
        let found = search.await.unwrap().unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp_ms), if greatest { (12, 500) } else { (7, 301) });
    }
}

#[tokio::test]
async fn a_newest_segment_without_a_readable_end_hides_no_time_before_it() {
    let f = timed(&[vec![(1, 100)], vec![(1, 200)]], false).await;
    let key = f.key(2);
    f.put(&key, "").await;
    assert_eq!(find(&f, 150).await, Some((1, 200)));
    let beyond = f.partition.offset_for_timestamp(300).await.unwrap_err();
    assert_eq!((beyond.kind(), beyond.key()), (crate::error::ErrorKind::Corrupt, Some(&*key)));
}

#[tokio::test]
async fn a_time_is_found_by_2_log_n_gets() {
    for (count, skewed, time_index) in [
        (1, false, false),
        (10, false, false),
        (1_000, false, false),
        (1_000, false, true),
        (1_000, true, false),
        (2_600, true, false),
    ] {
        let f = Fixture::new();
        let mut base = 0;
        for i in 0..count {
            let records = if skewed && i > count / 2 { 200 } else { 1 };
            base = put_timed(&f, base, &[(records, i * 1_000)], time_index).await;
        }
        for segment in [0, count / 7, count / 2, (count / 2 + 1).min(count - 1), count - 1] {
            let cold = f.cold();
            let Some(found) = find(&cold, segment * 1_000).await else {
                panic!("{count} {skewed} {time_index} {segment}")
            };
            assert_eq!(found.1, segment * 1_000);
            let (_, gets) = cold.reads();
            // The newest one's footer, and reading where it was found, are part of locating.
            let allowed = 2.0 * (count as f64).log2() + 3.0;
            assert!(gets as f64 <= allowed, "{count} segments, {segment}: {gets} GETs");
        }
    }
}

#[tokio::test]
async fn refresh_tells_the_range_of_the_log() {
    let f = Fixture::new();
    assert_eq!(f.partition.refresh().await.unwrap_err().kind(), crate::ErrorKind::NotFound);
    f.partition.create(30).await.unwrap();
    let cold = f.cold();
    let range = |watermarks: crate::Watermarks| (watermarks.log_start, watermarks.high_watermark);
    assert_eq!(range(cold.partition.refresh().await.unwrap()), (30, 30));
    let mut base = 30;
    for _ in 0..1_300 {
        base = f.put_segment(base, &[batch(2, 1)], 1).await;
    }
    assert_eq!(range(cold.partition.refresh().await.unwrap()), (30, base));
    let before = cold.reads();
    assert_eq!(range(cold.partition.refresh().await.unwrap()), (30, base));
    assert_eq!(cold.reads(), (before.0 + 2, before.1), "the start and the tail; its end is known");
    base = f.put_segment(base, &[batch(2, 1)], 1).await;
    f.put(&f.partition.id().log_start_key(77), "").await;
    assert_eq!(range(cold.partition.refresh().await.unwrap()), (77, base));
    assert_eq!(cold.reads(), (before.0 + 4, before.1 + 1));
    assert_eq!(cold.partition.earliest().await.unwrap(), 77);
    assert_eq!(cold.partition.latest().await.unwrap(), base);
    assert_eq!(range(cold.partition.watermarks().unwrap()), (77, base));
}

#[tokio::test]
async fn the_greatest_time_is_that_of_a_record_that_is_served() {
    let f = Fixture::new();
    let mut builder = crate::format::BatchBuilder::new(Default::default());
    for time in [900, 100, 300, 200] {
        assert!(builder.push(&crate::format::NewRecord::new(time).value(b"v")).unwrap());
    }
    let batch = builder.finish(0).unwrap();
    f.put_segment(0, &[batch], 1).await;
    f.put(&f.partition.id().log_start_key(1), "").await;
    let greatest = f.partition.max_timestamp().await.unwrap().unwrap();
    assert_eq!((greatest.offset, greatest.timestamp_ms), (2, 300));
}

#[tokio::test]
async fn a_time_index_from_before_a_merge_is_not_believed() {
    let f = timed(&[vec![(2, 100)], vec![(2, 1_000)], vec![(2, 2_000)]], true).await;
    let before = f.get(&f.partition.id().time_index_key(0)).await;
    // Merged, with its index; the time index comes later.
    put_timed(&f, 0, &[(2, 100), (2, 1_000)], true).await;
    f.delete(&f.key(2)).await;
    f.put(&f.partition.id().time_index_key(0), before).await;
    assert_eq!(find(&f, 1_000).await, Some((2, 1_000)));
    f.delete(&f.key(4)).await;
    assert_eq!(f.cold().partition.max_timestamp().await.unwrap().unwrap().timestamp_ms, 1_001);
}

#[tokio::test]
async fn a_greatest_time_learned_beside_what_merging_replaced_is_forgotten_with_it() {
    let times = [100, 200, 300, 1_000, 2_000];
    let f = timed(&times.map(|time| vec![(2, time)]), true).await;
    let before = f.get(&f.partition.id().time_index_key(4)).await;
    // Merged; the time index is not made anew, and what was replaced stays for a grace.
    put_timed(&f, 4, &[(2, 300), (2, 1_000)], true).await;
    f.put(&f.partition.id().time_index_key(4), before).await;
    // The search halves at 4.
    assert_eq!(find(&f, 1_000).await, Some((6, 1_000)));
    f.delete(&f.key(6)).await;
    // The first search after that meets what is gone, the second knows.
    for _ in 0..2 {
        assert_eq!(find(&f, 1_000).await, Some((6, 1_000)));
    }
}

#[tokio::test]
async fn records_are_found_by_time_whatever_the_headers_say_of_it() {
    const SEGMENTS: i64 = 100;
    // Segments of one small batch, and of several that are more than a block.
    for (batches, size) in [(1, 10), (3, 300_000)] {
        for wrong in [Some(-1), Some(5), Some(1_000_000), None] {
            let f = Fixture::new();
            let (mut base, count) = (0, if size > 10 { 8 } else { SEGMENTS });
            for i in 0..count {
                let segment: Vec<_> = (0..batches)
                    .map(|j| {
                        let batch = batch_at(2, size, i * 1_000 + j * 100);
                        told(&batch, wrong.unwrap_or(i * 1_000 + j * 100 + 1))
                    })
                    .collect();
                base = f.put_segment(base, &segment, 1).await;
            }
            for i in [0, count / 2, count - 1] {
                for j in 0..batches {
                    let (at, time) = ((i * batches + j) * 2, i * 1_000 + j * 100);
                    let cold = f.cold();
                    assert_eq!(find(&cold, time).await, Some((at, time)), "{wrong:?}");
                    assert_eq!(find(&cold, time + 1).await, Some((at + 1, time + 1)), "{wrong:?}");
                    // Two searches; a large segment is read in several blocks.
                    let blocks = if batches > 1 { 4.0 } else { 0.0 };
                    let allowed = 2.0 * (2.0 * (count as f64).log2() + 3.0 + blocks);
                    assert!(cold.reads().1 as f64 <= allowed, "{wrong:?}: {:?} of {allowed}", cold.reads());
                }
            }
            let last = (count - 1) * 1_000 + (batches - 1) * 100 + 1;
            assert_eq!(find(&f, last + 1).await, None, "{wrong:?}");
            let greatest = f.partition.max_timestamp().await.unwrap().unwrap();
            assert_eq!((greatest.offset, greatest.timestamp_ms), (base - 1, last), "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_that_a_step_of_reading_cuts_is_found_by_its_records_too() {
    let f = Fixture::new();
    // 90 MiB: what is read at once ends in the third batch.
    let segment: Vec<_> = (0..3).map(|j| told(&batch_at(1, 30 << 20, j * 100), -1)).collect();
    let next = f.put_segment(0, &segment, 1).await;
    f.put_segment(next, &[batch_at(1, 10, 1_000)], 1).await;
    assert_eq!(find(&f, 150).await, Some((2, 200)));
    assert_eq!(find(&f, 201).await, Some((3, 1_000)));
}

#[tokio::test]
async fn records_that_can_not_be_decoded_stop_no_search_beyond_their_time() {
    let f = Fixture::new();
    let broken = changed(&batch_at(2, 10, 100), |bytes| bytes[61] = 0x7f);
    let next = f.put_segment(0, &[broken, batch_at(2, 10, 200)], 1).await;
    f.put_segment(next, &[batch_at(2, 10, 300)], 1).await;
    assert_eq!(find(&f, 200).await, Some((2, 200)));
    assert_eq!(find(&f, 301).await, Some((5, 301)));
    let error = f.partition.offset_for_timestamp(101).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_search_by_time_decompresses_no_more_than_its_reader_allows() {
    let f = Fixture::new();
    let options = crate::format::BatchOptions { compression: "gzip".parse().unwrap(), ..Default::default() };
    let mut builder = crate::format::BatchBuilder::new(options);
    for time in [100, 200] {
        assert!(builder.push(&crate::format::NewRecord::new(time).value(&[0; 100_000])).unwrap());
    }
    let next = f.put_segment(0, &[builder.finish(0).unwrap()], 1).await;
    f.put_segment(next, &[batch_at(1, 10, 1_000)], 1).await;
    let reader = |limit| {
        f.cold().partition.reader_with(ReaderOptions::default().limits(Limits::default().max_decompressed_batch(limit)))
    };
    let found = reader(200_100).offset_for_timestamp(150).await.unwrap();
    assert_eq!(found.map(|found| found.offset), Some(1));
    for error in [
        reader(100_000).offset_for_timestamp(150).await.unwrap_err(),
        reader(100_000).offset_for_timestamp(50).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
        assert!(error.message().contains("more than 100000 bytes"), "{error}");
    }
    // What comes later needs none of it.
    let found = reader(100_000).offset_for_timestamp(201).await.unwrap();
    assert_eq!(found.map(|found| found.offset), Some(2));
    // The greatest is of the newest segment.
    assert_eq!(reader(100_000).max_timestamp().await.unwrap().map(|found| found.offset), Some(2));
}
