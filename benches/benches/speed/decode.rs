//! Decoding records, against one checksum pass over the same bytes and against the `kafka-protocol`
//! crate.

use std::hint::black_box;
use std::io::Read;

use bytes::{Buf, Bytes};
use criterion::{Criterion, Throughput};
use kfs_benches::{batch, payload, size};
use kfs_core::format::{Batch, Codec, CrcCheck, Limits, batches, crc32c};

/// Bytes decoded in one round: more than the caches hold.
fn round() -> usize {
    size(64 << 20, 1 << 20)
}

/// JSON-like text that compresses three to four times.
pub(crate) fn json_like(n: usize) -> Vec<u8> {
    let noise = payload(64 + n % 64);
    let digit = |i: usize| char::from(b'0' + noise[(i + n) % noise.len()] % 10);
    let id: String = (0..12).map(digit).collect();
    let amount: String = (20..26).map(digit).collect();
    format!("{{\"order\":\"{id}\",\"customer\":\"customer-{}\",\"amount\":{amount},\"currency\":\"EUR\",\"state\":\"paid\"}}", n % 1000)
        .into_bytes()
}

pub(crate) fn copies(batch: &Batch) -> Vec<Bytes> {
    (0..round() / batch.bytes().len()).map(|_| Bytes::copy_from_slice(batch.bytes())).collect()
}

pub(crate) fn decode_ours(all: &[Bytes]) -> i64 {
    let limits = Limits::default();
    let mut sum = 0;
    for bytes in all {
        for batch in batches(bytes, CrcCheck::Verify) {
            let records = batch.expect("whole").records(&limits).expect("decoded");
            for record in &records {
                let record = record.expect("whole");
                sum += record.offset + record.timestamp_ms + record.value.map_or(0, <[u8]>::len) as i64;
                sum += record.key.map_or(0, <[u8]>::len) as i64 + record.headers().len() as i64;
            }
        }
    }
    sum
}

fn decode_peer(all: &[Bytes]) -> i64 {
    let mut sum = 0;
    for bytes in all {
        let set = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes.clone()).expect("decoded");
        for record in &set.records {
            sum += record.offset + record.timestamp + record.value.as_ref().map_or(0, Bytes::len) as i64;
            sum += record.key.as_ref().map_or(0, Bytes::len) as i64 + record.headers.len() as i64;
        }
    }
    sum
}

pub(crate) fn small(c: &mut Criterion, row: &str) {
    plain(c, row, 100, 160);
}

pub(crate) fn large(c: &mut Criterion, row: &str) {
    plain(c, row, 1 << 10, 16);
}

fn plain(c: &mut Criterion, row: &str, size: usize, count: usize) {
    let value = payload(size);
    let all = copies(&batch(count, Codec::None, |_| value.clone()));
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Elements((all.len() * count) as u64));
    group.bench_function("floor: CRC pass", |b| {
        b.iter(|| all.iter().fold(0, |sum, batch| sum ^ crc32c(black_box(batch))));
    });
    group.bench_function("kfs", |b| b.iter(|| decode_ours(black_box(&all))));
    group.bench_function("kafka-protocol", |b| b.iter(|| decode_peer(black_box(&all))));
    group.finish();
}

/// The blocks of a batch's LZ4 frame, as `compress` writes it: a header of 7 bytes, then blocks, each
/// after its length.
fn lz4_blocks(batch: &Bytes) -> Vec<Bytes> {
    let mut rest = batch.slice(61 + 7..);
    let mut blocks = Vec::new();
    loop {
        let len = rest.split_to(4).get_u32_le() as usize;
        if len == 0 {
            return blocks;
        }
        blocks.push(rest.split_to(len));
    }
}

/// Not inlined: alone the decoder is compiled to faster code, and the floor is the least.
#[inline(never)]
fn lz4_block(block: &[u8], out: &mut [u8]) -> usize {
    lz4_flex::block::decompress_into(block, out).expect("decompressed")
}

/// The floor is what lz4_flex takes for the very blocks of these frames into a buffer that is made
/// once; its frame decoder into a new vector is what a user would call.
pub(crate) fn lz4(c: &mut Criterion, row: &str) {
    const COUNT: usize = 1000;
    let one = batch(COUNT, Codec::Lz4, json_like);
    let plain = one.records(&Limits::default()).expect("decoded").bytes().len();
    println!("lz4: {} bytes of records in {} of a batch", plain, one.bytes().len());
    let all = copies(&one);
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Elements((all.len() * COUNT) as u64));
    let blocks: Vec<_> = all.iter().map(lz4_blocks).collect();
    group.bench_function("floor: lz4_flex blocks", |b| {
        let mut out = vec![0; plain];
        b.iter(|| {
            for blocks in &blocks {
                let mut at = 0;
                for block in blocks {
                    at += lz4_block(black_box(block), &mut out[at..]);
                }
                assert_eq!(black_box(at), plain);
            }
        });
    });
    group.bench_function("lz4_flex frames", |b| {
        b.iter(|| {
            for batch in &all {
                let mut out = Vec::new();
                let mut decoder = lz4_flex::frame::FrameDecoder::new(black_box(&batch[61..]));
                assert_eq!(decoder.read_to_end(&mut out).expect("decompressed"), plain);
                black_box(out);
            }
        });
    });
    group.bench_function("kfs", |b| b.iter(|| decode_ours(black_box(&all))));
    group.finish();
}
