//! Another tool, which writes wrong indexes beside segments that are not the newest: a reader must survive
//! an index that is stale or belongs to other bytes (format.md), and repair mends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kfs_core::format::{CrcCheck, Segment, TimeIndex};
use kfs_core::testing::Prng;

use crate::world::World;

/// Writes wrong indexes now and then until all is over.
pub(crate) async fn vandalism(world: &Arc<World>, over: &AtomicBool, mut prng: Prng) {
    let (mut seen, mut longest) = (0, 2_000);
    while !over.load(Ordering::Relaxed) {
        let bases = older(world);
        // Busy where the log is.
        longest = if bases.len() > seen { 2_000 } else { (longest * 2).min(3_600_000) };
        seen = bases.len();
        world.sleep(Duration::from_millis(prng.below(longest))).await;
        if !bases.is_empty() {
            deface(world, bases[prng.below(bases.len() as u64) as usize]);
        }
    }
}

/// Writes wrong indexes wherever it can, and takes its time indexes away, which repair leaves as they are.
pub(crate) fn deface_all(world: &World) {
    for base in older(world) {
        deface(world, base);
        let key = world.oracle().id.time_index_key(base);
        if world.store.peek(&key).is_some_and(|object| object.bytes == wrong_times(base)) {
            world.store.remove(&key);
        }
    }
}

/// A time index as a merge leaves it that was interrupted: of the first record alone.
fn wrong_times(base: i64) -> Bytes {
    TimeIndex::of(1, base).encode()
}

/// All slots that were ever won, but the newest.
fn older(world: &World) -> Vec<i64> {
    let mut bases: Vec<i64> = world.oracle().slots().map(|(base, _)| base).collect();
    bases.pop();
    bases
}

fn deface(world: &World, base: i64) {
    let id = world.oracle().id.clone();
    let segment = world.store.peek(&id.segment_key(base));
    if let Some(wrong) = segment.and_then(|segment| wrong_index(&segment.bytes)) {
        world.note(format_args!("a vandal writes the index of {base}"));
        world.store.plant(&id.index_key(base), wrong);
        world.store.plant(&id.time_index_key(base), wrong_times(base));
        world.oracle().vandalised(base);
    }
}

/// An index that can be parsed, whose entries stand at the batches after their own; `None` for a segment
/// of one batch.
fn wrong_index(segment: &Bytes) -> Option<Bytes> {
    let mut index = Segment::parse(segment, CrcCheck::AlreadyChecked).ok()?.index(1).encode().to_vec();
    let entries = index.get(16..)?.to_vec();
    if entries.len() < 24 {
        return None;
    }
    // An entry is an offset of 8 bytes and a position of 4.
    for (entry, next) in index[16..].chunks_exact_mut(12).zip(entries.chunks_exact(12).skip(1)) {
        entry[8..].copy_from_slice(&next[8..]);
    }
    // No batch follows the last one.
    let count = i32::try_from(entries.len() / 12 - 1).ok()?;
    index[6..10].copy_from_slice(&count.to_be_bytes());
    index.truncate(index.len() - 12);
    Some(index.into())
}
