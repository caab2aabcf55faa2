use futures_util::future::join;

use crate::error::ErrorKind;
use crate::format::MAX_SEGMENT_LEN;
use crate::log::ScanBudget;
use crate::log::fixtures::{Fixture, batch};
use crate::log::segments::SegmentInfo;
use crate::store::Version;
use crate::testing::{Action, FaultStore, Gate, Op};

fn shape(segments: &[SegmentInfo]) -> Vec<(i64, Option<i64>)> {
    segments.iter().map(|s| (s.base, s.last)).collect()
}

#[tokio::test]
async fn segments_are_listed_with_their_offsets_and_sidecars() {
    let f = Fixture::new();
    for base in [0, 5, 10, 20] {
        f.put_segment(base, &[batch(5, 5)], 1).await;
    }
    let id = f.partition.id().clone();
    f.delete(&id.index_key(5)).await;
    f.put(&id.time_index_key(10), "x").await;
    f.put(&id.index_key(15), "a leftover").await;
    f.put(&format!("{}segment-1.kfs", id.prefix()), "x").await;
    let all = f.partition.segments(..).all().await.unwrap();
    assert_eq!(shape(&all), [(0, Some(4)), (5, Some(9)), (10, Some(19)), (20, Some(24))]);
    assert_eq!(all.iter().map(|s| s.index_size.is_some()).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(all.iter().map(|s| s.time_index_size).collect::<Vec<_>>(), [None, None, Some(1), None]);
    assert_eq!(all[0].key, id.segment_key(0));
    assert_eq!(all[0].size, f.get(&id.segment_key(0)).await.len() as u64);
    assert_eq!(f.reads(), (1, 1), "one listing, and the newest one's footer");

    for (range, bases) in [(0..5, vec![0]), (4..6, vec![0, 5]), (5..6, vec![5]), (17..20, vec![10]), (24..99, vec![20])]
    {
        let found = f.partition.segments(range.clone()).all().await.unwrap();
        assert_eq!(found.iter().map(|s| s.base).collect::<Vec<_>>(), bases, "{range:?}");
    }
    assert!(f.partition.segments(25..).all().await.unwrap().is_empty());
    assert!(f.bucket.partition("none", 0).unwrap().segments(..).all().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_segments_come_in_pages_of_500() {
    let f = Fixture::new();
    f.put_names((0..1_800).map(|i| i * 10)).await;
    f.put_segment(18_000, &[batch(5, 5)], 1).await;
    let mut segments = f.partition.segments(..);
    let (mut pages, mut all) = (0, Vec::new());
    while let Some(page) = segments.next_page().await.unwrap() {
        pages += 1;
        all.extend(page);
    }
    assert_eq!(pages, 4);
    assert_eq!(all.len(), 1_801);
    assert!(all.windows(2).all(|w| w[0].last == Some(w[1].base - 1) && w[0].index_size == Some(1)));
    assert_eq!(f.reads(), (4, 1));
    let tail = f.partition.segments(17_985..).all().await.unwrap();
    assert_eq!(shape(&tail), [(17_980, Some(17_989)), (17_990, Some(17_999)), (18_000, Some(18_004))]);
}

#[tokio::test]
async fn one_segment_is_read_by_itself_and_checked() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5), batch(3, 1)], 1).await;
    let handle = f.partition.segment(0);
    let segment = handle.read().await.unwrap();
    assert_eq!(segment.batches().count(), 2);
    assert_eq!(handle.index().await.unwrap().unwrap(), segment.index(1));
    assert!(handle.time_index().await.unwrap().is_none());
    assert_eq!(f.partition.segment(8).read().await.unwrap_err().kind(), ErrorKind::NotFound);
    let bytes = f.get(&f.key(0)).await;
    f.put(&f.key(8), bytes.clone()).await;
    let error = f.partition.segment(8).read().await.unwrap_err();
    assert_eq!((error.kind(), error.position()), (ErrorKind::Corrupt, Some(8)));
    assert_eq!(f.partition.segment(8).bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_newest_segment_that_is_broken_has_no_last_offset() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    f.put(&f.key(5), "junk").await;
    let all = f.partition.segments(..).all().await.unwrap();
    assert_eq!(shape(&all), [(0, Some(4)), (5, None)]);
}

/// A segment of 20 batches with one record of 300,000 bytes each: several blocks.
async fn put_large(f: &Fixture) -> SegmentInfo {
    f.put_segment(0, &vec![batch(1, 300_000); 20], 1).await;
    f.partition.segments(..).all().await.unwrap().remove(0)
}

#[tokio::test]
async fn a_range_of_offsets_of_a_segment_is_read_through_the_block_cache() {
    let f = Fixture::new();
    let info = put_large(&f).await;
    let handle = f.partition.segment_of(&info);
    assert!(handle.version().is_some_and(|version| version.same_as(&info.version)));
    let before = f.reads();
    let fetch = handle.fetch(7..=9, 1 << 20).await.unwrap();
    let bases: Vec<i64> = fetch.batches().map(|batch| batch.unwrap().header().base_offset).collect();
    assert_eq!((bases, fetch.next_offset, fetch.is_last), (vec![7, 8, 9], 10, true));
    let gets = f.reads().1 - before.1;
    assert!(gets <= 3, "an index and the blocks, in {gets} GETs");
    let again = f.reads();
    let small = handle.fetch(8.., 1).await.unwrap();
    assert_eq!((small.batches().count(), small.next_offset, small.is_last), (1, 9, false));
    // Another handle, and a reader, find the same blocks.
    let reader = f.partition.reader();
    assert_eq!(reader.fetch(8, 1).await.unwrap().chunks, small.chunks);
    let other = f.partition.segment_of(&info).fetch(8..9, 1).await.unwrap();
    assert_eq!((other.chunks, other.is_last), (small.chunks, true));
    assert_eq!(f.reads().1, again.1);

    let (mut offset, mut batches) = (0, 0);
    loop {
        let fetch = handle.fetch(offset.., 1 << 20).await.unwrap();
        batches += fetch.batches().count();
        offset = fetch.next_offset;
        if fetch.is_last {
            break;
        }
    }
    assert_eq!((offset, batches), (20, 20));
    let none = handle.fetch(20.., 1 << 20).await.unwrap();
    assert!(none.is_empty() && none.is_last);
    assert!(handle.fetch(5..5, 1 << 20).await.unwrap().is_empty());
    let whole = f.partition.segment(0).fetch(.., usize::MAX).await.unwrap();
    assert_eq!((whole.batches().count(), whole.is_last), (20, true));
}

#[tokio::test]
async fn bytes_of_a_segment_are_read_through_the_block_cache() {
    let f = Fixture::new();
    let info = put_large(&f).await;
    let (handle, all) = (f.partition.segment_of(&info), f.get(&info.key).await);
    let range = 1_000_000..2_500_000;
    assert_eq!(handle.range(range.clone()).await.unwrap(), all.slice(1_000_000..2_500_000));
    let before = f.reads();
    assert_eq!(handle.range(range).await.unwrap().len(), 1_500_000);
    assert_eq!(f.reads(), before, "they are in the cache");
    assert!(handle.range(5..5).await.unwrap().is_empty());
    assert_eq!(handle.range(0..info.size).await.unwrap(), all);
    let beyond = handle.range(0..info.size + 1).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::InvalidInput);
    // What was read as bytes is checked when batches are read of it.
    assert_eq!(handle.fetch(.., 1).await.unwrap().batches().count(), 1);
}

#[tokio::test]
async fn a_listed_segment_that_was_replaced_says_so_and_its_bytes_never_mix() {
    let f = Fixture::new();
    let info = put_large(&f).await;
    let handle = f.partition.segment_of(&info);
    assert_eq!(handle.fetch(..1, 1).await.unwrap().bytes(), batch(1, 300_000).bytes().len());
    f.put_segment(0, &vec![batch(2, 300_000); 20], 1).await;
    // The end of the old version is not in the cache.
    for error in [
        handle.fetch(19.., 1).await.map(drop).unwrap_err(),
        handle.range(5_000_000..5_000_001).await.map(drop).unwrap_err(),
        handle.bytes().await.map(drop).unwrap_err(),
        handle.read().await.map(drop).unwrap_err(),
        handle.identity().await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&*info.key)), "{error:?}");
        assert!(error.hint().is_some());
    }
    assert_eq!(f.partition.segment(0).fetch(38.., usize::MAX).await.unwrap().next_offset, 40);
    f.delete(&info.key).await;
    assert_eq!(handle.bytes().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(f.partition.segment(0).fetch(.., 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_cached_of_a_listed_version_is_read_after_it_was_replaced() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(3, 10)], 1).await;
    let info = f.partition.segments(..).all().await.unwrap().remove(0);
    let handle = f.partition.segment_of(&info);
    let before = handle.fetch(.., 1000).await.unwrap();
    f.put_segment(0, &[batch(5, 10)], 1).await;
    let requests = f.reads();
    assert_eq!(handle.fetch(.., 1000).await.unwrap().chunks, before.chunks);
    assert_eq!(f.reads(), requests);
    // A handle of whichever version there is reads the other one, and displaces what is cached.
    assert_eq!(f.partition.segment(0).fetch(.., 1000).await.unwrap().next_offset, 5);
    assert_eq!(handle.fetch(.., 1000).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn the_sidecars_of_a_listed_segment_that_was_replaced_or_removed_are_a_conflict() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(3, 10)], 1).await;
    let info = f.partition.segments(..).all().await.unwrap().remove(0);
    let handle = f.partition.segment_of(&info);
    let before = f.reads();
    assert_eq!(handle.index().await.unwrap().unwrap(), handle.read().await.unwrap().index(1));
    assert!(handle.time_index().await.unwrap().is_none());
    assert_eq!(f.reads().1 - before.1, 5, "each sidecar and its segment's version, and all of the segment");
    let conflict = async || {
        for error in [handle.index().await.map(drop).unwrap_err(), handle.time_index().await.map(drop).unwrap_err()] {
            assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&*info.key)), "{error:?}");
        }
    };
    f.put_segment(0, &[batch(5, 10)], 1).await;
    conflict().await;
    assert!(f.partition.segment(0).index().await.unwrap().is_some(), "whichever there is");
    f.delete(&info.key).await;
    conflict().await;
    f.delete(&f.partition.id().index_key(0)).await;
    conflict().await;
}

#[tokio::test]
async fn a_sidecar_that_comes_after_its_segment_was_replaced_is_a_conflict() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(3, 10)], 1).await;
    let faults = FaultStore::new(f.store.clone());
    let slow = Fixture::over(faults.clone());
    let info = slow.partition.segments(..).all().await.unwrap().remove(0);
    let gate = Gate::new();
    faults.on(Op::Get, ".index", Action::Hold(gate.clone()));
    let replace = async {
        gate.arrived(1).await;
        f.put_segment(0, &[batch(5, 10)], 1).await;
        gate.open();
    };
    let handle = slow.partition.segment_of(&info);
    let (index, ()) = join(handle.index(), replace).await;
    assert_eq!(index.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_batch_of_a_segment_is_checked_as_a_reader_checks_it() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5), batch(3, 50), batch(2, 5)], 1).await;
    let mut bytes = f.get(&f.key(0)).await.to_vec();
    let second = crate::format::HEADER_LEN + batch(5, 5).bytes().len();
    bytes[second + 100] ^= 1;
    f.put(&f.key(0), bytes).await;
    let info = f.partition.segments(..).all().await.unwrap().remove(0);
    let handle = f.partition.segment_of(&info);
    let sound = handle.fetch(.., usize::MAX).await.unwrap();
    assert_eq!((sound.next_offset, sound.is_last), (5, false), "what is sound before it is given");
    let broken = handle.fetch(5.., usize::MAX).await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Corrupt);
    assert_eq!((broken.offsets(), broken.next_readable_offset()), (Some((5, 7)), Some(8)));
    let by_reader = f.partition.reader().fetch(5, 9).await.unwrap_err();
    assert_eq!(broken.to_string(), by_reader.to_string());
    assert_eq!(handle.fetch(8.., usize::MAX).await.unwrap().next_offset, 10);
}

#[tokio::test]
async fn scans_of_many_segments_hold_no_more_than_their_budget() {
    let f = Fixture::new();
    for base in 0..8 {
        f.put_segment(base, &[batch(1, 30_000)], 1).await;
    }
    let budget = crate::ScanBudget::new(100 << 10);
    let infos = f.partition.segments(..).all().await.unwrap();
    let scans = infos.iter().map(|info| {
        let (handle, budget) = (f.partition.segment_of(info), budget.clone());
        crate::log::fixtures::spawn(async move { handle.fetch_within(&budget, .., 1 << 20).await.unwrap() })
    });
    let mut held = Vec::new();
    for (number, scan) in scans.collect::<Vec<_>>().into_iter().enumerate() {
        if number >= 3 {
            tokio::task::yield_now().await;
            assert!(!scan.is_finished(), "three take all of it");
            drop(held.remove(0));
        }
        held.push(scan.await.unwrap());
    }
    assert!(budget.free() < 31 << 10);
    drop(held);
    assert_eq!(budget.free(), budget.limit());
    let handle = f.partition.segment_of(&infos[0]);
    assert!(handle.fetch_within(&budget, 9.., 1 << 20).await.unwrap().is_empty());
    f.delete(&infos[1].key).await;
    assert!(f.partition.segment_of(&infos[1]).fetch_within(&budget, .., 1 << 20).await.is_ok(), "it is in the cache");
    assert_eq!(budget.free(), budget.limit());
}

#[tokio::test]
async fn a_segment_that_was_not_listed_takes_no_more_of_a_budget_than_it_has_bytes() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(1, 30_000)], 1).await;
    let budget = crate::ScanBudget::new(100 << 10);
    let others = budget.acquire(60 << 10).await;
    let (handle, of) = (f.partition.segment(0), budget.clone());
    let fetch = crate::log::fixtures::spawn(async move { handle.fetch_within(&of, .., usize::MAX).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(fetch.is_finished(), "40 KiB are free, and the segment has 30");
    let fetch = fetch.await.unwrap().unwrap();
    assert_eq!((fetch.next_offset, fetch.is_last), (1, true));
    assert_eq!(f.reads(), (0, 1), "one GET tells its size and brings its bytes");
    assert!((9 << 10..=10 << 10).contains(&budget.free()), "{}", budget.free());
    let small = f.partition.segment(0).fetch_within(&budget, .., 1000).await.unwrap();
    assert_eq!(small.next_offset, 1, "fewer bytes may be wanted than it has");
    drop((others, fetch, small));
    let missing = f.partition.segment(7).fetch_within(&budget, .., usize::MAX).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(budget.free(), budget.limit());
}

#[tokio::test]
async fn a_size_that_no_segment_can_have_is_refused_before_anything_is_read() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let mut listed = f.partition.segments(..).all().await.unwrap().remove(0);
    let before = f.reads();
    for size in [MAX_SEGMENT_LEN + 1, u64::MAX] {
        listed.version = Version::new(listed.version.e_tag(), size, listed.version.modified_ms());
        let handle = f.partition.segment_of(&listed);
        let budget = ScanBudget::new(1 << 20);
        let errors = [
            handle.range(size - 10..size).await.map(drop).unwrap_err(),
            handle.range(0..10).await.map(drop).unwrap_err(),
            handle.fetch(.., usize::MAX).await.map(drop).unwrap_err(),
            handle.fetch_within(&budget, .., usize::MAX).await.map(drop).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&*listed.key)), "{text}");
            assert!(text.contains(&size.to_string()) && text.contains(&MAX_SEGMENT_LEN.to_string()), "{text}");
        }
    }
    assert_eq!(f.reads(), before);
}
