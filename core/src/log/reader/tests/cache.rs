//! What is held between fetches, and what that spares.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join_all, poll_immediate};
use futures_util::{FutureExt, pin_mut};

use super::*;
use crate::BucketOptions;
use crate::error::{Error, ErrorKind};
use crate::format::MAX_SEGMENT_LEN;
use crate::log::cache::{BatchStart, BlockCache, BlockCheck, SegmentBlocks};
use crate::log::fixtures::spawn;
use crate::log::reader::span::BlockSpan;
use crate::observer::Observer;
use crate::testing::{Action, FaultStore, Gate, KeyMatcher, Op};

const BLOCK: u64 = 4096;

/// A log of segments of 16 batches of about 1 KB each, in partition 0, and a small cache.
async fn many_segments(f: &Fixture, segments: usize) -> Model {
    let mut model = Model::default();
    let batches: Vec<_> = (0..16).map(|_| batch(1, 1_000)).collect();
    for _ in 0..segments {
        model.append(f, &batches, 3).await;
    }
    model
}

/// A process with a cache of so many blocks of 4 KiB.
fn process(f: &Fixture, blocks: usize) -> Fixture {
    Fixture::with(f.store.clone(), BucketOptions::default().cache_bytes(2 * blocks * 5_000))
}

async fn read_on(reader: &Reader, from: i64, to: i64, max_bytes: usize) {
    let mut offset = from;
    while offset < to {
        offset = reader.fetch(offset, max_bytes).await.unwrap().next_offset;
    }
}

#[tokio::test]
async fn all_readers_of_a_bucket_share_what_is_held() {
    let (f, model) = log().await;
    for options in [ReaderOptions::default(), small_blocks()] {
        let cold = f.cold();
        let reader = cold.partition.reader_with(options.clone());
        read_on(&reader, 0, model.end(), 10_000).await;
        let before = cold.reads();
        for at in (0..model.end()).rev() {
            let reader = cold.bucket.partition("t", 0).unwrap().reader_with(options.clone());
            model.check(&reader.fetch(at, 300).await.unwrap(), at, 300);
        }
        // Of each segment of many blocks the index is read once.
        assert!(cold.reads().1 <= before.1 + 4, "{before:?} {:?}", cold.reads());
        let before = cold.reads();
        for at in 0..model.end() {
            let reader = cold.bucket.partition("t", 0).unwrap().reader_with(options.clone());
            model.check(&reader.fetch(at, 300).await.unwrap(), at, 300);
        }
        assert_eq!(cold.reads(), before);
    }
}

#[tokio::test]
async fn readers_who_want_the_same_cold_block_send_one_get() {
    let f = Fixture::new();
    let model = many_segments(&f, 2).await;
    // Of a segment of five blocks the index is read too.
    for (block, gets) in [(1 << 20, 1), (8 << 10, 1), (4 << 10, 2)] {
        let faults = FaultStore::new(f.store.clone());
        let cold = Fixture::over(faults.clone());
        // All know where the segments are.
        cold.partition.refresh().await.unwrap();
        let before = cold.reads();
        let gate = Gate::new();
        faults.always(Op::Get, KeyMatcher::any(), Action::Hold(gate.clone()));
        let fetches: Vec<_> = (0..20)
            .map(|i| {
                let reader =
                    cold.bucket.partition("t", 0).unwrap().reader_with(ReaderOptions::default().block_bytes(block));
                spawn(async move { reader.fetch(1 + i % 2, 1).await.unwrap() })
            })
            .collect();
        gate.arrived(1).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.open();
        for (i, fetch) in join_all(fetches).await.into_iter().enumerate() {
            let at = 1 + i as i64 % 2;
            model.check(&fetch.unwrap(), at, 1);
        }
        assert_eq!(cold.reads(), (before.0, before.1 + gets), "blocks of {block} bytes");
    }
}

fn version(size: usize, e_tag: &str) -> Version {
    Version::new(Some(e_tag), size as u64, None)
}

#[tokio::test]
async fn a_loader_that_goes_leaves_its_place_to_the_next_and_a_failure_is_not_held() {
    let f = Fixture::new();
    let blocks = BlockCache::new(1 << 20, Observer::default());
    let bytes = vec![7; 6_000];
    let v1 = version(bytes.len(), "v1");
    let of = SegmentBlocks { id: f.partition.id(), base: 0, version: &v1, block: BLOCK };
    let never = |_| std::future::pending::<Result<(Version, Bytes)>>();
    let load = |_| async { Ok((version(6_000, "v1"), Bytes::from(vec![7; 6_000]))) };
    let fail = |_| async { Err(Error::new(ErrorKind::Unavailable, "away")) };

    let first = blocks.load(&of, 0, 0..2, 2, BlockCheck::Header, never);
    let mut first = Box::pin(first);
    assert!(poll_immediate(&mut first).await.is_none());
    let second = blocks.load(&of, 0, 1..2, 2, BlockCheck::Header, fail);
    pin_mut!(second);
    assert!(poll_immediate(&mut second).await.is_none(), "the first one's GET brings it");
    drop(first);
    assert_eq!(second.await.unwrap_err().kind(), ErrorKind::Unavailable, "it asks by itself, and is told");

    let loaded = blocks.load(&of, 0, 0..2, 2, BlockCheck::Header, load).await.unwrap();
    assert_eq!(loaded.iter().map(|block| block.bytes().len()).collect::<Vec<_>>(), [4096, 1904]);
    assert_eq!(blocks.load(&of, 0, 0..2, 2, BlockCheck::Header, never).now_or_never().unwrap().unwrap().len(), 2);
}

#[tokio::test]
async fn all_who_wait_for_a_get_are_told_that_it_failed_and_nobody_later_is() {
    let f = Fixture::new();
    let blocks = BlockCache::new(1 << 20, Observer::default());
    let v1 = version(6_000, "v1");
    let of = SegmentBlocks { id: f.partition.id(), base: 0, version: &v1, block: BLOCK };
    let gets = AtomicUsize::new(0);
    let fail = |_| async {
        gets.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err(Error::new(ErrorKind::Unavailable, "away"))
    };
    let all = join_all((0..20).map(|_| blocks.load(&of, 0, 0..2, 2, BlockCheck::Header, fail))).await;
    assert!(all.into_iter().all(|loaded| loaded.unwrap_err().kind() == ErrorKind::Unavailable));
    assert_eq!(gets.into_inner(), 1);
    let load = |_| async { Ok((version(6_000, "v1"), Bytes::from(vec![7; 6_000]))) };
    assert_eq!(blocks.load(&of, 0, 0..2, 2, BlockCheck::Header, load).await.unwrap().len(), 2);
    assert_eq!(blocks.bytes(), 6_000 + 4_096 / 32 + 1_904 / 32 + 2 * 512);
}

#[tokio::test]
async fn a_get_asks_for_no_more_blocks_than_a_segment_can_have() {
    let f = Fixture::new();
    let blocks = BlockCache::new(1 << 20, Observer::default());
    let lie = version(1 << 40, "v1");
    let of = SegmentBlocks { id: f.partition.id(), base: 0, version: &lie, block: 1 << 20 };
    let fail = |range: std::ops::Range<u64>| async move {
        assert!(range.end <= MAX_SEGMENT_LEN + 1, "{range:?}");
        Err(Error::new(ErrorKind::Unavailable, "away"))
    };
    let loaded = blocks.load(&of, 0, 0..1, u64::MAX, BlockCheck::Header, fail).await;
    assert_eq!(loaded.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn bytes_of_another_version_are_never_served() {
    let f = Fixture::new();
    let blocks = BlockCache::new(1 << 20, Observer::default());
    let (v1, v2) = (version(8_192, "v1"), version(8_192, "v2"));
    let old = SegmentBlocks { id: f.partition.id(), base: 0, version: &v1, block: BLOCK };
    let new = SegmentBlocks { version: &v2, ..old };
    let give = |of: &Version, byte: u8| {
        let of = of.clone();
        move |range: std::ops::Range<u64>| {
            let bytes = Bytes::from(vec![byte; (range.end - range.start) as usize]);
            let of = of.clone();
            async move { Ok((of, bytes)) }
        }
    };
    blocks.load(&old, 0, 0..1, 1, BlockCheck::Header, give(&v1, 1)).await.unwrap();
    let loaded = blocks.load(&new, 0, 0..2, 2, BlockCheck::Header, give(&v2, 2)).await.unwrap();
    assert!(loaded.iter().all(|block| block.bytes().iter().all(|byte| *byte == 2)));
    assert!(blocks.find(&old, 0, |_| 0).is_none() && blocks.find(&new, 0, |_| 0).is_some());
    // A GET of the old version under way is nothing for who wants the new one.
    let slow_old = blocks.load(&old, 0, 0..1, 1, BlockCheck::Header, |_| std::future::pending());
    pin_mut!(slow_old);
    assert!(poll_immediate(&mut slow_old).await.is_none());
    let third = SegmentBlocks { version: &version(8_192, "v3"), ..old };
    let loaded = blocks.load(&third, 0, 0..1, 1, BlockCheck::Header, give(third.version, 3)).await.unwrap();
    assert_eq!(loaded[0].bytes()[0], 3);
    // A span of both ends where they meet.
    let first = loaded[0].clone();
    let second = blocks.find(&new, 1, |_| 0).unwrap();
    let span = BlockSpan::new(first, vec![second], BatchStart::first(0));
    assert_eq!(span.end(), BLOCK);
}

#[tokio::test]
async fn a_backfill_leaves_the_tail_what_it_uses_again_and_again() {
    let f = Fixture::new();
    let model = many_segments(&f, 200).await;
    let tail = model.end() - 20;
    for (tail_first, max_bytes) in [(true, 1), (true, 100_000), (false, 1), (false, 5_000)] {
        // 200 segments of 5 blocks, and room for 100 blocks.
        let cold = process(&f, 100);
        let follow = async || {
            for reader in [0; 3].map(|_| cold.partition.reader_with(small_blocks())) {
                read_on(&reader, tail, model.end(), 3_000).await;
            }
        };
        let backfill = cold.partition.reader_with(small_blocks());
        if !tail_first {
            read_on(&backfill, 0, tail / 2, max_bytes).await;
        }
        follow().await;
        read_on(&backfill, if tail_first { 0 } else { tail / 2 }, tail / 4 * 3, max_bytes).await;
        follow().await;
        read_on(&backfill, tail / 4 * 3, tail - 32, max_bytes).await;
        let before = cold.reads();
        follow().await;
        assert_eq!(cold.reads(), before, "tail first: {tail_first}, {max_bytes} bytes");
    }
}

#[tokio::test]
async fn the_bytes_held_stay_within_the_bound_over_all_partitions() {
    let f = Fixture::new();
    let mut models = Vec::new();
    for number in 0..3 {
        let part = Fixture { partition: f.bucket.partition("t", number).unwrap(), ..f.cold() };
        models.push(many_segments(&part, 40).await);
    }
    for blocks in [0, 1, 3, 10, 64] {
        for options in [small_blocks(), ReaderOptions::default(), small_blocks().crc_check(CrcCheck::AlreadyChecked)] {
            let cold = process(&f, blocks);
            let held = || cold.bucket.0.blocks.bytes();
            for (number, model) in models.iter().enumerate() {
                let reader = cold.bucket.partition("t", number as i32).unwrap().reader_with(options.clone());
                let mut chunks = Vec::new();
                for at in (0..model.end()).step_by(7) {
                    let fetch = reader.fetch(at, 9_000).await.unwrap();
                    model.check_part(&fetch, at, 9_000);
                    chunks.extend(fetch.chunks);
                    assert!(held() <= cold.bucket.0.blocks.limit(), "{} of {blocks} blocks", held());
                }
            }
            assert!(held() > 0 || blocks < 10, "{blocks}");
        }
    }
}

#[tokio::test]
async fn chunks_count_until_they_are_released() {
    let f = Fixture::new();
    let blocks = BlockCache::new(10 * 5_000, Observer::default());
    let size = 10 * BLOCK as usize;
    let v1 = version(size, "v1");
    let of = |base| SegmentBlocks { id: f.partition.id(), base, version: &v1, block: BLOCK };
    let load = async |base, numbers: std::ops::Range<u64>| {
        let give = |range: std::ops::Range<u64>| {
            let bytes = vec![1; (range.end - range.start) as usize];
            async { Ok((version(size, "v1"), Bytes::from(bytes))) }
        };
        blocks.load(&of(base), 0, numbers.clone(), numbers.end, BlockCheck::Header, give).await.unwrap()
    };
    let held = |base| (0..10).filter(|number| blocks.find(&of(base), *number, |_| 0).is_some()).collect::<Vec<_>>();
    let chunk = load(0, 0..10).await[3].bytes().slice(7..9);
    assert_eq!(held(0), (0..10).collect::<Vec<_>>());
    let churn = async |bases: std::ops::Range<i64>| {
        for base in bases {
            for block in load(base, 0..1).await {
                block.set_served(u64::MAX);
            }
            // Used again, so it displaces who was not.
            assert!(blocks.find(&of(base), 0, |_| 0).is_some());
            assert!(blocks.bytes() <= blocks.limit());
        }
    };
    churn(1..50).await;
    assert_eq!(held(0), [3], "to let go of it would free nothing");
    drop(chunk);
    churn(50..100).await;
    assert!(held(0).is_empty());
    // Where all is lent there is no room; who asked has the blocks all the same.
    let all = load(200, 0..10).await;
    assert_eq!((all.len(), load(201, 0..10).await.len()), (10, 10));
    assert!(blocks.bytes() <= blocks.limit());
}

#[tokio::test]
async fn a_bucket_without_a_cache_reads_all_the_same() {
    let (f, model) = log().await;
    for options in [ReaderOptions::default(), small_blocks()] {
        let reader = process(&f, 0).partition.reader_with(options);
        for at in 0..model.end() {
            for max in [0, 5_000] {
                model.check_part(&reader.fetch(at, max).await.unwrap(), at, max);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_reads_ahead_and_a_fetch_here_and_there_does_not() {
    let f = Fixture::new();
    let mut model = Model::default();
    let many: Vec<_> = (0..600).map(|_| batch(1, 1_000)).collect();
    model.append(&f, &many, 3).await;
    let blocks = f.get(&f.key(0)).await.len() as u64 / BLOCK + 1;
    let cold = Fixture::with(f.store.clone(), BucketOptions::default().cache_bytes(2 << 20));
    let reader = cold.partition.reader_with(small_blocks().fetch_bytes(1_000));
    let mut stream = reader.batches(0);
    while let Some(batch) = stream.next().await.unwrap() {
        assert!(batch == model.batches[batch.base_offset() as usize]);
    }
    let (lists, gets) = cold.reads();
    // The next block, and 1, 2, 4 ahead, up to an eighth of the cache: 32.
    let asked: u64 = [1, 2, 3, 5, 9, 17, 33, 33, 33, 33].iter().sum();
    assert!(asked >= blocks && blocks > asked - 33);
    assert_eq!((lists, gets), (1, 10 + 1), "and the next key");
    assert_eq!(cold.bucket.requests().bytes_in, f.get(&f.key(0)).await.len() as u64);
    let cold = f.cold();
    let reader = cold.partition.reader_with(small_blocks());
    for at in [500, 20, 300, 100, 400] {
        model.check(&reader.fetch(at, 1).await.unwrap(), at, 1);
    }
    let (_, gets) = cold.reads();
    assert_eq!(gets, 1 + 5);
    assert!(cold.bucket.requests().bytes_in <= 5 * 2 * BLOCK + 5_000);
}

#[tokio::test]
async fn a_cold_fetch_from_a_segment_of_few_blocks_is_one_get_without_the_index() {
    let f = Fixture::new();
    let model = many_segments(&f, 1).await;
    for (block, gets) in [(20_000, 1), (4_500, 1), (4_096, 2)] {
        let cold = f.cold();
        let reader = cold.partition.reader_with(ReaderOptions::default().block_bytes(block));
        model.check(&reader.fetch(11, 1).await.unwrap(), 11, 1);
        assert_eq!(cold.reads(), (1, gets), "blocks of {block} bytes");
    }
}
