//! What a bucket keeps in memory of its segments, within bounds that all partitions share: blocks of
//! segments, and sparse indexes.
//!
//! A cache knows keys and versions, and nothing of the partition that asks: the reader that misses something brings
//! the request with which it is read.

mod block;
mod block_cache;
mod index_cache;
mod shared_gets;

pub(crate) use self::block::{BatchStart, Block, BlockCheck, Soundness};
pub(crate) use self::block_cache::{BlockCache, SegmentBlocks};
pub(crate) use self::index_cache::IndexCache;
