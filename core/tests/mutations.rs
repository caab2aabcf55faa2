//! Invariant 7: 1,000 random mutations of every vector, each a clear error or a correct read, within
//! bounded memory.
//!
//! CRCs find nearly every mutation at once. So each mutated segment is read as a caller would and
//! then once more with CRCs switched off, which leads the mutation into every parser behind them.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use common::{Vector, vectors, write_jsonl};
use kfs_core::format::{CrcCheck, Limits, Malformed, Segment, SparseIndex, batches};

/// Counts the bytes that a thread has allocated and not yet freed, and the most there were.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // Fails only while a thread ends.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: all is passed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` had allocated at once.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (result, (MOST.get() - before) as usize)
}

/// xorshift64*, for mutations that a seed repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

const MUTATIONS: usize = 1000;
/// What one mutated read may decompress: enough for every batch of the vectors.
const LIMIT: usize = 4 << 20;
/// Beyond what a segment's batches decompress to: the codecs' own state and the text of an error.
const SLACK: usize = 1 << 20;

/// Changes bytes in one of the ways in which storage and software damage them.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len());
        let other = random.below(out.len());
        let len = random.below(64).min(out.len() - at).min(out.len() - other);
        match random.below(9) {
            0 => out.truncate(at),
            1 => out[at] ^= 1 << random.below(8),
            2 => out[at] = random.next() as u8,
            3 => out[at..at + len].fill([0, 0xff, 0x80, 0x7f][random.below(4)]),
            4 => out.copy_within(other..other + len, at),
            5 => drop(out.drain(at..at + len)),
            6 => {
                let copied = out[other..other + len].to_vec();
                drop(out.splice(at..at, copied));
            }
            7 => out.extend_from_within(other..other + len),
            // Lengths, counts and offsets stand in the first bytes of a batch and of a segment.
            _ => {
                let number = [0, 1, -1, i32::MAX, i32::MIN, random.next() as i32][random.below(6)];
                for (i, byte) in number.to_be_bytes().into_iter().enumerate() {
                    if let Some(target) = out.get_mut(random.below(2) * 32 + at % 64 + i) {
                        *target = byte;
                    }
                }
            }
        }
        if out.is_empty() {
            break;
        }
    }
    out
}

fn jsonl(segment: &Segment, limits: &Limits) -> Result<String, Malformed> {
    let mut text = String::new();
    for at in segment.batches() {
        write_jsonl(&at, limits, &mut text)?;
    }
    Ok(text)
}

/// Reads all records without keeping them; how many there were.
fn read_all(bytes: &Bytes, limits: &Limits) -> usize {
    let mut count = 0;
    for batch in batches(bytes, CrcCheck::AlreadyChecked) {
        let Ok(records) = batch.and_then(|batch| batch.records(limits)) else { continue };
        count += records.iter().map_while(Result::ok).map(|record| record.headers().count() + 1).sum::<usize>();
    }
    count
}

/// One mutated segment: as a caller reads it, and past the CRCs.
fn check_segment(vector: &Vector, original: &str, mutated: Vec<u8>, deep: bool) {
    let limits = Limits::default().max_decompressed_batch(LIMIT);
    let (name, len) = (&vector.name, mutated.len());
    let bytes = Bytes::from(mutated);
    let verified = Segment::parse(&bytes, CrcCheck::Verify);
    match &verified {
        // The creation time is not protected; everything else that reads is what was written.
        Ok(segment) => {
            assert_eq!(bytes[..20], vector.segment[..20], "{name}");
            assert_eq!(bytes[28..], vector.segment[28..], "{name}");
            assert!(!deep || jsonl(segment, &limits).unwrap() == original, "{name}");
        }
        Err(error) => {
            assert!(error.position() <= len as u64, "{name}: {error} of {len} bytes");
            assert!(!error.found().is_empty() && !error.expected().is_empty(), "{name}: {error}");
        }
    }
    if !deep {
        return;
    }
    if let Ok(segment) = Segment::parse(&bytes, CrcCheck::AlreadyChecked) {
        let _ = segment.index(100);
        let _ = segment.time_range(&limits);
        segment.batches().for_each(drop);
    }
    read_all(&bytes.slice(32.min(len)..), &limits);
}

fn mutate_vector(vector: &Vector, mutations: usize, deep: bool, seed: u64) {
    let mut random = Random(seed);
    let limits = Limits::default().max_decompressed_batch(LIMIT);
    let original = if deep { jsonl(&vector.parsed(), &limits).unwrap() } else { String::new() };
    for i in 0..mutations {
        let mutated = mutate(&vector.segment, &mut random);
        let (len, text) = (mutated.len(), original.len());
        let ((), most) = peak(|| check_segment(vector, &original, mutated, deep));
        let allowed = 2 * len + 2 * text + 4 * LIMIT + SLACK;
        assert!(most <= allowed, "{}, mutation {i} of seed {seed}: {most} bytes, allowed {allowed}", vector.name);
    }
}

#[test]
fn mutated_segments_are_an_error_or_read_right() {
    let vectors = vectors();
    // Two threads share the work; a thread counts its own allocations.
    std::thread::scope(|scope| {
        let vectors = &vectors;
        for part in 0..2 {
            scope.spawn(move || {
                for (i, vector) in vectors.iter().enumerate().filter(|(i, _)| i % 2 == part) {
                    // Each megabyte takes a while to copy: the largest are read deeply less often.
                    let small = vector.segment.len() < 256 << 10;
                    let deep = if small { MUTATIONS } else { 20 };
                    mutate_vector(vector, deep, true, 1 + i as u64);
                    mutate_vector(vector, MUTATIONS - deep, false, 1_000_000 + i as u64);
                }
            });
        }
    });
}

#[test]
fn mutated_batches_read_with_crcs_switched_off_neither_panic_nor_grow() {
    let limits = Limits::default().max_decompressed_batch(LIMIT);
    for (i, vector) in vectors().iter().enumerate() {
        let mut random = Random(77 + i as u64);
        let batches: Vec<Bytes> = vector.parsed().batches().map(|at| at.batch.bytes().clone()).collect();
        for _ in 0..MUTATIONS {
            let batch = &batches[random.below(batches.len())];
            if batch.len() > 64 << 10 {
                continue;
            }
            // Past the header, so that the header's checks don't end most of them.
            let at = 61.min(batch.len());
            let mut mutated = batch[..at].to_vec();
            mutated.extend_from_slice(&mutate(if batch.len() > at { &batch[at..] } else { b"x" }, &mut random));
            let length = (mutated.len() as i32 - 12).to_be_bytes();
            mutated[8..12].copy_from_slice(&length);
            let (len, bytes) = (mutated.len(), Bytes::from(mutated));
            let (_, most) = peak(|| read_all(&bytes, &limits));
            assert!(most <= len + 4 * LIMIT + SLACK, "{}: {most} bytes", vector.name);
        }
    }
}

#[test]
fn mutated_indexes_are_an_error_or_in_order() {
    for (i, vector) in vectors().iter().enumerate() {
        let mut random = Random(9 + i as u64);
        for _ in 0..MUTATIONS {
            let mutated = mutate(&vector.index, &mut random);
            let (_, most) = peak(|| match SparseIndex::parse(&mutated) {
                Ok(index) => {
                    let entries: Vec<_> = index.entries().collect();
                    assert!(entries.windows(2).all(|w| w[0].offset < w[1].offset && w[0].position < w[1].position));
                    let offset = random.next() as i64;
                    assert_eq!(index.find(offset).is_none(), index.is_empty());
                    let _ = index.next_after(random.next());
                }
                Err(error) => assert!(error.position() <= mutated.len() as u64, "{}: {error}", vector.name),
            });
            assert!(most <= 4 * mutated.len() + 4096, "{}: {most} bytes", vector.name);
        }
    }
}
