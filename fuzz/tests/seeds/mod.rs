//! Seeds taken out of the vectors, and a mutator that gives the same inputs every time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use kfs_core::format::{
    BATCH_HEADER_LEN, BatchBuilder, BatchOptions, ClaimMarker, Codec, CrcCheck, Limits, LogIdentity, Segment,
};

/// Larger ones are left to the other test: thousands of mutants are made.
const LARGEST: usize = 16 * 1024;
/// Of each vector's batches.
const BATCHES: usize = 8;

pub type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// By target.
pub fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    from_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors"), &mut seeds);
    for key in ["default/orders/0/segment-00000000000000000000.kfs", "ns/a.b_c-d/2147483647/log.json"] {
        add(&mut seeds, "key", key.as_bytes());
    }
    for key in ["t/1", "default/t/7/segment-09223372036854775806.index", "n/t/0/log-start-00000000000000000042"] {
        add(&mut seeds, "key", key.as_bytes());
    }
    for start in [0, i64::MAX - 1] {
        let identity = LogIdentity::new("0123456789abcdef0123456789abcdef", start, 1_767_225_600_000).unwrap();
        add(&mut seeds, "log_json", &identity.encode());
    }
    for name in ["", "broker \"1\""] {
        let marker = ClaimMarker::new("0123456789abcdef0123456789abcdef", name, Some(4), 2, 1_767_225_600_000);
        add(&mut seeds, "claim_json", &marker.encode());
    }
    found(&mut seeds);
    seeds
}

/// What fuzzing has found.
fn found(seeds: &mut Seeds) {
    // An offset delta of six bytes: it was read, and the peer read five of them.
    let record = [0x16, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0];
    let empty = BatchBuilder::empty_batch(0, 0, &BatchOptions::default()).unwrap();
    let mut batch = [&empty.bytes()[..], &record].concat();
    batch[60] = 1;
    add(seeds, "differential", &batch);
}

fn add(seeds: &mut Seeds, target: &'static str, bytes: &[u8]) {
    if bytes.len() <= LARGEST {
        seeds.entry(target).or_default().push(bytes.to_vec());
    }
}

fn from_folder(folder: &Path, seeds: &mut Seeds) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            from_folder(&path, seeds);
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("index") => add(seeds, "index", &fs::read(&path).unwrap()),
            Some("kfs") => from_segment(fs::read(&path).unwrap().into(), seeds),
            _ => {}
        }
    }
}

fn from_segment(bytes: Bytes, seeds: &mut Seeds) {
    add(seeds, "segment", &bytes);
    let segment = Segment::parse(&bytes, CrcCheck::Verify).unwrap();
    if bytes.len() < 1 << 20
        && let Some(range) = segment.time_range(&Limits::default()).unwrap()
    {
        add(seeds, "time_index", &range.encode());
    }
    for at in segment.batches().take(BATCHES) {
        let (header, batch) = (at.batch.header(), at.batch.bytes());
        let records = &batch[BATCH_HEADER_LEN..];
        add(seeds, "batch", batch);
        add(seeds, "differential", batch);
        let codec = header.attributes.codec().unwrap();
        let count = header.record_count.min(255) as u8;
        add(seeds, "record", &[&[codec as u8, count], records].concat());
        if codec != Codec::None {
            add(seeds, codec.name(), records);
        }
    }
}

/// SplitMix64.
pub struct Prng(pub u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// What breaks lengths, counts and integers of variable length.
const TELLING: [&[u8]; 10] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    &[0; 8],
];

/// A seed with one to four changes.
pub fn mutated(seeds: &[Vec<u8>], prng: &mut Prng) -> Vec<u8> {
    let mut bytes = seeds[prng.below(seeds.len())].clone();
    for _ in 0..=prng.below(4) {
        // Half of them near the start, where the headers are.
        let near = if prng.below(2) == 0 { bytes.len().min(96) } else { bytes.len() };
        let at = prng.below(near);
        let end = (at + prng.below(24)).min(bytes.len());
        match prng.below(8) {
            0..=2 if at < bytes.len() => bytes[at] ^= 1 << prng.below(8),
            3 if at < bytes.len() => bytes[at] = prng.next() as u8,
            4 => {
                let telling = TELLING[prng.below(TELLING.len())];
                let end = if prng.below(2) == 0 { at } else { (at + telling.len()).min(bytes.len()) };
                bytes.splice(at..end, telling.iter().copied());
            }
            5 => drop(bytes.drain(at..end)),
            6 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            7 if prng.below(2) == 0 => bytes.truncate(at),
            _ => {
                let other = &seeds[prng.below(seeds.len())];
                let from = prng.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}
