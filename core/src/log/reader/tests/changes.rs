//! A log that is appended to, merged and retained by others while readers read it, from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::testing::Prng;

struct World {
    f: Fixture,
    seed: u64,
    rng: Prng,
    /// Every batch ever appended, by base offset.
    batches: BTreeMap<i64, Batch>,
    /// Segments that are there: base, and one past the last offset.
    segments: BTreeMap<i64, i64>,
    log_start: i64,
    end: i64,
}

impl World {
    fn below(&mut self, n: u64) -> i64 {
        (self.rng.next_u64() % n) as i64
    }

    async fn append(&mut self) {
        let count = 1 + self.below(6);
        let mut batches = Vec::new();
        for _ in 0..count {
            let (records, size) = (1 + self.below(4) as usize, self.below(900) as usize);
            batches.push(batch(records, size));
        }
        let base = self.end;
        for batch in &batches {
            let at = batch.with_base_offset(self.end, None).unwrap();
            self.end = at.next_offset();
            self.batches.insert(at.base_offset(), at);
        }
        self.f.put_segment(base, &batches, 3).await;
        self.segments.insert(base, self.end);
    }

    /// Makes one segment of several; those it replaces stay.
    async fn merge(&mut self) {
        let bases: Vec<i64> = self.segments.keys().copied().collect();
        if bases.len() < 4 {
            return;
        }
        let from = self.below(bases.len() as u64 - 3) as usize;
        let to = (from + 1 + self.below(4) as usize).min(bases.len() - 2);
        let end = self.segments[&bases[to]].max(self.segments[&bases[from]]);
        let merged: Vec<Batch> = self.batches.range(bases[from]..end).map(|(_, b)| b.clone()).collect();
        self.f.put_segment(bases[from], &merged, 5).await;
        self.segments.insert(bases[from], end);
    }

    /// Takes away what merging left.
    async fn sweep(&mut self) {
        let mut covered = 0;
        for (base, end) in self.segments.clone() {
            if base < covered && end <= covered {
                self.remove(base).await;
            }
            covered = covered.max(end);
        }
    }

    async fn retain(&mut self) {
        let span = (self.end - self.log_start) as u64;
        self.log_start += self.below(span / 2 + 1);
        self.f.put(&self.f.partition.id().log_start_key(self.log_start), "").await;
        let newest = *self.segments.keys().next_back().unwrap();
        for (base, end) in self.segments.clone() {
            if end > self.log_start || base == newest {
                break;
            }
            self.remove(base).await;
        }
    }

    async fn remove(&mut self, base: i64) {
        self.segments.remove(&base);
        self.f.delete(&self.f.key(base)).await;
        self.f.delete(&self.f.partition.id().index_key(base)).await;
    }

    async fn fetch(&mut self, reader: &Reader) {
        let low = (self.log_start - 5).max(0);
        let offset = low + self.below((self.end + 2 - low) as u64);
        let max = self.below(5_000) as usize;
        let at = format!("seed {}: at {offset} of {} to {}", self.seed, self.log_start, self.end);
        match reader.fetch(offset, max).await {
            Ok(fetch) => {
                assert_eq!(fetch.hole(), None, "{at}");
                let mut next = offset;
                for batch in fetch.batches() {
                    let batch = batch.unwrap();
                    assert!(batch == self.batches[&batch.base_offset()], "{at}");
                    assert!(batch.base_offset() <= next && batch.next_offset() > next, "{at}");
                    next = batch.next_offset();
                }
                assert_eq!(fetch.next_offset, next, "{at}");
                assert!(!fetch.is_empty() || offset == self.end || offset < self.log_start, "{at}");
                assert!(fetch.high_watermark <= self.end, "{at}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfRange, "{at}: {error}");
                assert!(offset < self.log_start || offset > self.end, "{at}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn readers_of_a_changing_log_see_only_what_was_appended_and_all_of_it() {
    for seed in 0..100 {
        let mut world = World {
            f: Fixture::new(),
            seed,
            rng: Prng::new(seed),
            batches: BTreeMap::new(),
            segments: BTreeMap::new(),
            log_start: 0,
            end: 0,
        };
        world.append().await;
        let processes = [world.f.cold(), world.f.cold()];
        let readers = [
            processes[0].partition.reader(),
            processes[0].partition.reader_with(small_blocks()),
            processes[1].partition.reader_with(small_blocks()),
        ];
        for _ in 0..120 {
            match world.below(20) {
                0..6 => world.append().await,
                6 => world.merge().await,
                7 => {
                    // The grace: by then nobody believes a 404 any more.
                    processes.iter().for_each(|p| p.clock.advance(Duration::from_secs(900)));
                    world.sweep().await;
                }
                8 if world.below(3) == 0 => world.retain().await,
                9 => processes.iter().for_each(|p| p.clock.advance(Duration::from_secs(61))),
                _ => {
                    let reader = readers[world.below(3) as usize].clone();
                    world.fetch(&reader).await;
                }
            }
        }
        assert!(processes.iter().all(|p| p.bucket.requests().put == 0), "invariant 5, seed {seed}");
    }
}
