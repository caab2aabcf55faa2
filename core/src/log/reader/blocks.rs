//! The bucket's block cache: segment bytes in fixed blocks, by key and version, bounded over all
//! partitions.
//!
//! quick_cache decides what stays (a Clock-PRO): a block that comes in has to be used again before it
//! displaces one that was. Reading on where one stood is no use again, so a backfill in small steps
//! passes through the part for newcomers and leaves the rest alone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Shared;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use tokio::sync::oneshot;

use super::block::{Block, Check};
use crate::error::Result;
use crate::format::PartitionId;
use crate::store::Version;

/// The part of the bytes for blocks that were used again.
const HOT: f64 = 0.75;
/// Bytes of one shard at least: many blocks must fit into one for it to tell the good from the bad.
const SHARD_BYTES: u64 = 64 << 20;
const MAX_SHARDS: u64 = 16;
/// Up to so many bytes are copied when they come in: they may be a corner of a client's larger buffer.
const COPIED: usize = 64 << 10;
/// A block's bytes beside its payload: these, and about a thirtieth for what is known of its batches.
const BLOCK_BYTES: u64 = 512;

/// Blocks of one version of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) id: &'a PartitionId,
    pub(crate) base: i64,
    pub(crate) version: &'a Version,
    /// Bytes of a block.
    pub(crate) block: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    id: PartitionId,
    base: i64,
    /// Readers may differ in the size of their blocks.
    block: u64,
    number: u64,
}

impl Of<'_> {
    fn key(&self, number: u64) -> Key {
        Key { id: self.id.clone(), base: self.base, block: self.block, number }
    }

    /// Cuts bytes of this version that begin where block `first` does.
    ///
    /// A slice would keep all that came with it, so each of several blocks is copied once, into bytes of
    /// its own: the bound counts what is really held. And only of bytes of its own can a block tell
    /// whether chunks of it are held.
    pub(crate) fn cut(&self, version: &Version, first: u64, bytes: Bytes, check: Check) -> Vec<Arc<Block>> {
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
struct Weight;

impl Weighter<Key, Arc<Block>> for Weight {
    fn weight(&self, _: &Key, block: &Arc<Block>) -> u64 {
        let bytes = block.bytes().len() as u64;
        bytes.saturating_add(bytes / 32).saturating_add(BLOCK_BYTES)
    }
}

/// A block that a fetch works on, or of which a chunk is held, is not evicted: that would free nothing.
/// So chunks count until they are released.
#[derive(Clone, Debug)]
struct Lent;

impl Lifecycle<Key, Arc<Block>> for Lent {
    type RequestState = Vec<Arc<Block>>;

    fn is_pinned(&self, _: &Key, block: &Arc<Block>) -> bool {
        Arc::strong_count(block) > 1 || block.is_lent()
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, _: Key, block: Arc<Block>) {
        // Freed when the cache's lock is not held any more.
        evicted.push(block);
    }
}

/// The same in every run, so that a simulation evicts the same.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// The cache.
pub(crate) struct Blocks {
    cache: Cache<Key, Arc<Block>, Weight, Hasher, Lent>,
    limit: u64,
    flights: Mutex<HashMap<(PartitionId, i64), Vec<Flight>>>,
}

/// A GET under way.
struct Flight {
    version: Version,
    block: u64,
    run: Range<u64>,
    landed: Shared<oneshot::Receiver<Result<Vec<Arc<Block>>>>>,
}

impl Flight {
    fn brings(&self, of: &Of<'_>, number: u64) -> bool {
        self.block == of.block && self.run.contains(&number) && self.version.same_as(of.version)
    }
}

/// What is to be done about a block.
enum Claim<'a> {
    Held(Arc<Block>),
    /// Another GET brings it.
    Wait(Shared<oneshot::Receiver<Result<Vec<Arc<Block>>>>>),
    Load(Loading<'a>),
}

impl Blocks {
    /// A cache of at most so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
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
            Ok(options) => Cache::with_options(options, Weight, Hasher::default(), Lent),
            Err(_) => Cache::with(items, limit, Weight, Hasher::default(), Lent),
        };
        Blocks { cache, limit, flights: Mutex::default() }
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
    pub(crate) fn find(&self, of: &Of<'_>, number: u64, from: impl FnOnce(&Block) -> u64) -> Option<Arc<Block>> {
        let key = of.key(number);
        let block = self.cache.peek(&key).filter(|block| block.is(of.base, of.version))?;
        if block.was_served(from(&block)) {
            self.cache.get(&key);
        }
        Some(block)
    }

    fn holds(&self, of: &Of<'_>, number: u64) -> bool {
        self.cache.peek(&of.key(number)).is_some_and(|block| block.is(of.base, of.version))
    }

    /// Takes in blocks, the first with this number. What finds no room because all is lent stays outside.
    pub(crate) fn put(&self, of: &Of<'_>, first: u64, blocks: &[Arc<Block>]) {
        for (number, block) in (first..).zip(blocks) {
            let key = of.key(number);
            self.cache.insert(key.clone(), block.clone());
            if self.cache.weight() > self.limit {
                self.cache.remove(&key);
            }
        }
    }

    /// The wanted blocks, to be read from position `from` on: those that are held, and what a GET brings,
    /// this one's or another's under way. A GET asks for a run of missing blocks, up to number `until`;
    /// `get` is given the range and gives all of it.
    ///
    /// # Errors
    /// What the GET answers. All who wait for it are told; nobody later is.
    pub(crate) async fn load<F>(
        &self,
        of: &Of<'_>,
        from: u64,
        wanted: Range<u64>,
        until: u64,
        check: Check,
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
                Claim::Held(block) => got.push(block),
                // Whose loader is gone is claimed anew.
                Claim::Wait(landed) => {
                    if let Ok(landed) = landed.await {
                        let blocks = landed?;
                        let first = blocks.first().map_or(next, |block| block.at() / of.block.max(1));
                        take(&mut got, first, blocks);
                    }
                }
                Claim::Load(loading) => {
                    let run = loading.run.clone();
                    let end = run.end.saturating_mul(of.block).min(of.version.size());
                    let result = get(run.start.saturating_mul(of.block)..end).await;
                    let result = result.map(|(version, bytes)| of.cut(&version, run.start, bytes, check));
                    if let Ok(blocks) = &result {
                        self.put(of, run.start, blocks);
                    }
                    let blocks = loading.land(result)?;
                    take(&mut got, run.start, blocks);
                }
            }
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<(PartitionId, i64), Vec<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, of: &Of<'_>, number: u64, from: u64, until: u64) -> Claim<'_> {
        let mut flights = self.flights();
        // What landed is put into the cache before its flight ends, so one of the two is seen.
        if let Some(block) = self.find(of, number, |block| from.max(block.at())) {
            return Claim::Held(block);
        }
        let key = (of.id.clone(), of.base);
        let under_way = flights.entry(key.clone()).or_default();
        if let Some(flight) = under_way.iter().find(|flight| flight.brings(of, number)) {
            return Claim::Wait(flight.landed.clone());
        }
        let mut end = number.saturating_add(1);
        while end < until && !under_way.iter().any(|flight| flight.brings(of, end)) && !self.holds(of, end) {
            end = end.saturating_add(1);
        }
        let (send, landed) = oneshot::channel();
        let run = number..end;
        let flight = Flight { version: of.version.clone(), block: of.block, run: run.clone(), landed: landed.shared() };
        under_way.push(flight);
        Claim::Load(Loading { blocks: self, key, version: of.version.clone(), block: of.block, run, send: Some(send) })
    }
}

/// The right to load a run of blocks. When it is dropped, those who wait look anew.
struct Loading<'a> {
    blocks: &'a Blocks,
    key: (PartitionId, i64),
    version: Version,
    block: u64,
    run: Range<u64>,
    send: Option<oneshot::Sender<Result<Vec<Arc<Block>>>>>,
}

impl Loading<'_> {
    /// Ends the flight and tells those who wait.
    fn land(mut self, result: Result<Vec<Arc<Block>>>) -> Result<Vec<Arc<Block>>> {
        self.end();
        if let Some(send) = self.send.take() {
            let _ = send.send(result.clone());
        }
        result
    }

    fn end(&self) {
        let mut flights = self.blocks.flights();
        if let Some(under_way) = flights.get_mut(&self.key) {
            let of = Of { id: &self.key.0, base: self.key.1, version: &self.version, block: self.block };
            under_way.retain(|flight| !flight.brings(&of, self.run.start));
            if under_way.is_empty() {
                flights.remove(&self.key);
            }
        }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if self.send.is_some() {
            self.end();
        }
    }
}
