//! The bucket's block cache: segment bytes in fixed blocks, by key and version, bounded over all
//! partitions.
//!
//! quick_cache decides what stays (a Clock-PRO): a block that comes in has to be used again before it
//! displaces one that was. Reading on where one stood is no use again, so a backfill in small steps
//! passes through the part for newcomers and leaves the rest alone.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::block::{Block, BlockCheck};
use super::shared_gets::{Claim, SharedGets};
use crate::error::Result;
use crate::format::{MAX_SEGMENT_LEN, PartitionId};
use crate::observer::Observer;
use crate::recorder::CacheKind;
use crate::store::Version;

/// The part of the bytes for blocks that were used again.
const HOT: f64 = 0.75;
/// Bytes of one shard at least: many blocks must fit into one for it to tell the good from the bad.
const SHARD_BYTES: u64 = 64 << 20;
const MAX_SHARDS: u64 = 16;
/// Up to this many bytes are copied when they come in: they may be a corner of a client's larger buffer.
const COPIED: usize = 64 << 10;
/// A block's bytes beside its payload: these, and about a thirtieth for what is known of its batches.
const BLOCK_BYTES: u64 = 512;

/// Blocks of one version of a segment.
#[derive(Clone, Copy)]
pub(crate) struct SegmentBlocks<'a> {
    pub(crate) id: &'a PartitionId,
    pub(crate) base: i64,
    pub(crate) version: &'a Version,
    /// Bytes of a block.
    pub(crate) block: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BlockKey {
    bucket: u32,
    id: PartitionId,
    base: i64,
    /// Readers may differ in the size of their blocks.
    block: u64,
    number: u64,
}

impl SegmentBlocks<'_> {
    fn key(&self, bucket: u32, number: u64) -> BlockKey {
        BlockKey { bucket, id: self.id.clone(), base: self.base, block: self.block, number }
    }

    /// Cuts bytes of this version that begin where block `first` does.
    ///
    /// A slice would keep all that came with it, so each of several blocks is copied once, into bytes of
    /// its own: the bound counts what is really held. And only of bytes of its own can a block tell
    /// whether chunks of it are held.
    pub(crate) fn cut(&self, version: &Version, first: u64, bytes: Bytes, check: BlockCheck) -> Vec<Arc<Block>> {
        let new = |number: u64, bytes: Bytes| {
            let at = number.saturating_mul(self.block);
            Arc::new(Block::new(self.base, version.clone(), at, bytes, check))
        };
        if bytes.len() > COPIED && bytes.len() as u64 <= self.block && bytes.is_unique() {
            return vec![new(first, bytes)];
        }
        let size = usize::try_from(self.block).unwrap_or(usize::MAX).max(1);
        if bytes.is_empty() {
            return vec![new(first, bytes)];
        }
        (first..).zip(bytes.chunks(size)).map(|(number, part)| new(number, part.to_vec().into())).collect()
    }
}

#[derive(Clone, Debug)]
struct BlockWeight;

impl Weighter<BlockKey, Arc<Block>> for BlockWeight {
    fn weight(&self, _: &BlockKey, block: &Arc<Block>) -> u64 {
        let bytes = block.bytes().len() as u64;
        bytes.saturating_add(bytes / 32).saturating_add(BLOCK_BYTES)
    }
}

/// A block that a fetch works on, or of which a chunk is held, is not evicted: that would free nothing.
/// So chunks count until they are released.
#[derive(Clone, Debug)]
struct Lent;

impl Lifecycle<BlockKey, Arc<Block>> for Lent {
    type RequestState = Vec<Arc<Block>>;

    fn is_pinned(&self, _: &BlockKey, block: &Arc<Block>) -> bool {
        Arc::strong_count(block) > 1 || block.is_lent()
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, _: BlockKey, block: Arc<Block>) {
        // Freed when the cache's lock is not held any more.
        evicted.push(block);
    }
}

/// The same in every run, so that a simulation evicts the same.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// The cache.
pub(crate) struct BlockCache {
    cache: Arc<Cache<BlockKey, Arc<Block>, BlockWeight, Hasher, Lent>>,
    limit: u64,
    gets: Arc<BlockGets>,
    /// Several buckets may share the memory.
    bucket: u32,
    observer: Observer,
}

/// What a GET under way brings.
struct BlockRun {
    version: Version,
    block: u64,
    numbers: Range<u64>,
}

impl BlockRun {
    fn brings(&self, of: &SegmentBlocks<'_>, number: u64) -> bool {
        self.block == of.block && self.numbers.contains(&number) && self.version.same_as(of.version)
    }
}

type BlockGets = SharedGets<(u32, PartitionId, i64), BlockRun, Vec<Arc<Block>>>;
type BlockClaim<'a> = Claim<'a, Arc<Block>, (u32, PartitionId, i64), BlockRun, Vec<Arc<Block>>>;

impl BlockCache {
    /// A cache of at most this many bytes.
    pub(crate) fn new(bytes: usize, observer: Observer) -> Self {
        let limit = u64::try_from(bytes).unwrap_or(u64::MAX);
        let shards = (limit / SHARD_BYTES).clamp(1, MAX_SHARDS);
        let items = usize::try_from(limit / (256 << 10)).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        // Both capacities are given, which is all that can be missing.
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .hot_allocation(HOT)
            .estimated_items_capacity(items)
            .weight_capacity(limit)
            .build();
        let cache = match options {
            Ok(options) => Cache::with_options(options, BlockWeight, Hasher::default(), Lent),
            Err(_) => Cache::with(items, limit, BlockWeight, Hasher::default(), Lent),
        };
        BlockCache { cache: Arc::new(cache), limit, gets: Arc::default(), bucket: 0, observer }
    }

    /// The same memory for another bucket, which finds nothing there of the others.
    pub(crate) fn of_bucket(&self, bucket: u32, observer: Observer) -> Self {
        BlockCache { cache: self.cache.clone(), limit: self.limit, gets: self.gets.clone(), bucket, observer }
    }

    /// Bytes that it may hold.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held, about.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// A block that is held, to be read from a position on. It counts as used again if that was given
    /// before.
    pub(crate) fn find(
        &self,
        of: &SegmentBlocks<'_>,
        number: u64,
        from: impl FnOnce(&Block) -> u64,
    ) -> Option<Arc<Block>> {
        let key = of.key(self.bucket, number);
        let block = self.cache.peek(&key).filter(|block| block.is(of.base, of.version))?;
        if block.was_served(from(&block)) {
            self.cache.get(&key);
        }
        Some(block)
    }

    fn holds(&self, of: &SegmentBlocks<'_>, number: u64) -> bool {
        self.cache.peek(&of.key(self.bucket, number)).is_some_and(|block| block.is(of.base, of.version))
    }

    /// Takes in blocks, the first with this number. What finds no room because all is lent stays outside.
    pub(crate) fn put(&self, of: &SegmentBlocks<'_>, first: u64, blocks: &[Arc<Block>]) {
        let mut evicted = Vec::new();
        for (number, block) in (first..).zip(blocks) {
            let key = of.key(self.bucket, number);
            self.cache.insert_with_lifecycle(key.clone(), block.clone(), &mut evicted);
            if self.cache.weight() > self.limit {
                self.cache.remove(&key);
            }
        }
        self.observer.blocks_evicted(evicted.len());
    }

    /// Lets go of all blocks of a segment.
    pub(crate) fn forget(&self, of: &SegmentBlocks<'_>) {
        for number in 0..of.version.size().min(MAX_SEGMENT_LEN).div_ceil(of.block.max(1)) {
            self.cache.remove(&of.key(self.bucket, number));
        }
    }

    /// The wanted blocks, to be read from position `from` on: those that are held, and what a GET brings,
    /// this one's or another's under way. A GET asks for a run of missing blocks, up to number `until`;
    /// `get` is given the range and gives all of it.
    ///
    /// # Errors
    /// What the GET answers. Every caller that waits for it gets the error; later callers ask again.
    pub(crate) async fn load<F>(
        &self,
        of: &SegmentBlocks<'_>,
        from: u64,
        wanted: Range<u64>,
        until: u64,
        check: BlockCheck,
        get: impl Fn(Range<u64>) -> F,
    ) -> Result<Vec<Arc<Block>>>
    where
        F: Future<Output = Result<(Version, Bytes)>>,
    {
        let mut got: Vec<Arc<Block>> = Vec::new();
        let take = |got: &mut Vec<_>, first: u64, blocks: Vec<Arc<Block>>| {
            let next = wanted.start.saturating_add(got.len() as u64);
            let from = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
            got.extend(blocks.into_iter().skip(from));
        };
        loop {
            let next = wanted.start.saturating_add(got.len() as u64);
            if next >= wanted.end {
                return Ok(got);
            }
            match self.claim(of, next, from, until.max(wanted.end)) {
                (Claim::Held(block), _) => {
                    self.observer.cache_used(CacheKind::Blocks, 1, 0);
                    got.push(block);
                }
                // If its loader is gone, the next turn claims it.
                (Claim::Wait(landing), _) => {
                    self.observer.cache_used(CacheKind::Blocks, 0, 1);
                    if let Ok(landed) = landing.await {
                        let blocks = landed?;
                        let first = blocks.first().map_or(next, |block| block.at() / of.block.max(1));
                        take(&mut got, first, blocks);
                    }
                }
                (Claim::Load(permit), run) => {
                    self.observer.cache_used(CacheKind::Blocks, 0, 1);
                    let end = run.end.saturating_mul(of.block).min(of.version.size());
                    let result = get(run.start.saturating_mul(of.block)..end).await;
                    let result = result.map(|(version, bytes)| of.cut(&version, run.start, bytes, check));
                    if let Ok(blocks) = &result {
                        self.put(of, run.start, blocks);
                    }
                    let blocks = permit.land(result)?;
                    take(&mut got, run.start, blocks);
                }
            }
        }
    }

    /// What to do about a block, and how far a GET for it reaches: to the next block that is held or on its
    /// way.
    fn claim(&self, of: &SegmentBlocks<'_>, number: u64, from: u64, until: u64) -> (BlockClaim<'_>, Range<u64>) {
        let mut run = number..number;
        // What is asked may be any number, and the loop below runs under the lock that all GETs of the bucket need.
        let blocks = of.version.size().min(MAX_SEGMENT_LEN).div_ceil(of.block.max(1));
        let until = until.min(blocks);
        let claim = self.gets.claim(
            (self.bucket, of.id.clone(), of.base),
            || self.find(of, number, |block| from.max(block.at())),
            |get| get.brings(of, number),
            |gets| {
                let mut end = number + 1;
                while end < until && !gets.iter().any(|get| get.brings.brings(of, end)) && !self.holds(of, end) {
                    end += 1;
                }
                run.end = end;
                BlockRun { version: of.version.clone(), block: of.block, numbers: run.clone() }
            },
        );
        (claim, run)
    }
}
