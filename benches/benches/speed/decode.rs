//! Reading: decoding records against one checksum pass over the same bytes and against the
//! `kafka-protocol` crate; fetching and scanning a directory against pread and a checksum pass.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;

use bytes::{Buf, Bytes};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kfs_benches::payload;
use kfs_core::format::{Batch, BatchBuilder, BatchOptions, Codec, CrcCheck, Limits, NewRecord, batches};
use kfs_core::{Bucket, BucketOptions, ReaderOptions, WriterOptions};

/// Bytes decoded in one round: more than the caches hold.
const ROUND: usize = 64 << 20;

/// JSON-like text that compresses three to four times.
fn json_like(n: usize) -> Vec<u8> {
    let noise = payload(64 + n % 64);
    let digit = |i: usize| char::from(b'0' + noise[(i + n) % noise.len()] % 10);
    let id: String = (0..12).map(digit).collect();
    let amount: String = (20..26).map(digit).collect();
    format!("{{\"order\":\"{id}\",\"customer\":\"customer-{}\",\"amount\":{amount},\"currency\":\"EUR\",\"state\":\"paid\"}}", n % 1000)
        .into_bytes()
}

fn batch(count: usize, codec: Codec, value: impl Fn(usize) -> Vec<u8>) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default().with_compression(codec));
    for n in 0..count {
        let value = value(n);
        assert!(builder.push(&NewRecord::new(1_767_225_600_000 + n as i64).value(&value)).expect("small"));
    }
    builder.finish(0).expect("a batch")
}

fn copies(batch: &Batch) -> Vec<Bytes> {
    (0..ROUND / batch.bytes().len()).map(|_| Bytes::copy_from_slice(batch.bytes())).collect()
}

fn decode_ours(all: &[Bytes]) -> i64 {
    let limits = Limits::default();
    let mut sum = 0;
    for bytes in all {
        for batch in batches(bytes, CrcCheck::Verify) {
            let records = batch.expect("whole").records(&limits).expect("decoded");
            for record in &records {
                let record = record.expect("whole");
                sum += record.offset + record.timestamp + record.value.map_or(0, <[u8]>::len) as i64;
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

fn decode(c: &mut Criterion) {
    for (name, size, count) in [("100-byte values", 100, 160), ("1 KiB values", 1 << 10, 16)] {
        let value = payload(size);
        let all = copies(&batch(count, Codec::None, |_| value.clone()));
        let mut group = c.benchmark_group(format!("decode {name}"));
        group.sample_size(10).throughput(Throughput::Elements((all.len() * count) as u64));
        for (name, crc) in
            [("floor: crc-fast", kfs_core::format::crc32c as fn(&[u8]) -> u32), ("crc32c", crc32c::crc32c)]
        {
            group.bench_function(name, |b| {
                b.iter(|| all.iter().fold(0, |sum, batch| sum ^ crc(black_box(batch))));
            });
        }
        group.bench_function("kfs", |b| b.iter(|| decode_ours(black_box(&all))));
        group.bench_function("kafka-protocol", |b| b.iter(|| decode_peer(black_box(&all))));
        group.finish();
    }
    decode_lz4(c);
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

/// The floor is what lz4_flex takes for the very blocks of these frames into a buffer that is made
/// once; its frame decoder into a new vector is what a user would call.
fn decode_lz4(c: &mut Criterion) {
    const COUNT: usize = 1000;
    let one = batch(COUNT, Codec::Lz4, json_like);
    let plain = one.records(&Limits::default()).expect("decoded").bytes().len();
    println!("lz4: {} bytes of records in {} of a batch", plain, one.bytes().len());
    let all = copies(&one);
    let mut group = c.benchmark_group("decode lz4, 100-byte values");
    group.sample_size(10).throughput(Throughput::Elements((all.len() * COUNT) as u64));
    let blocks: Vec<_> = all.iter().map(lz4_blocks).collect();
    group.bench_function("floor: lz4_flex blocks", |b| {
        let mut out = vec![0; plain];
        b.iter(|| {
            for blocks in &blocks {
                let mut at = 0;
                for block in blocks {
                    at += lz4_flex::block::decompress_into(black_box(block), &mut out[at..]).expect("decompressed");
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

fn directory(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let url = format!("file://{}", directory.path().display());
    let bucket = Bucket::open_with(&url, BucketOptions::default()).expect("bucket");
    drop(guard);
    let partition = bucket.partition("bench", 0).expect("name");
    let mut written = 0_u64;
    for (topic, size, total) in [("scan", 16 << 10, 256 << 20), ("fetch", 4 << 10, 32 << 20)] {
        let partition = bucket.partition(topic, 0).expect("name");
        let one = batch(1, Codec::None, |_| payload(size - 80));
        runtime.block_on(async {
            let writer = partition.writer(WriterOptions::default()).await.expect("writer");
            for _ in 0..total / size {
                written += one.bytes().len() as u64;
                drop(writer.append(one.bytes().clone()).await.expect("room"));
            }
            writer.close(None).await.expect("closed");
        });
    }
    drop(partition);
    let scan = bucket.partition("scan", 0).expect("name");
    let mut group = c.benchmark_group("directory");
    group.sample_size(10);
    let maps: Vec<_> = std::fs::read_dir(directory.path().join("default/scan/0"))
        .expect("files")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "kfs"))
        .map(|path| std::fs::read(path).expect("bytes"))
        .collect();
    group.throughput(Throughput::Bytes(maps.iter().map(|m| m.len() as u64).sum()));
    group.bench_function("scan 16 KiB batches, floor: crc32c", |b| {
        b.iter(|| maps.iter().fold(0, |sum, map| sum ^ crc32c::crc32c(black_box(map))));
    });
    group.bench_function("scan 16 KiB batches", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let reader = scan.reader(ReaderOptions::default().fetch_bytes(8 << 20));
                let mut stream = reader.batches(0);
                while let Some(batch) = stream.next().await.expect("read") {
                    black_box(batch);
                }
            });
        });
    });
    let fetch = bucket.partition("fetch", 0).expect("name").reader(ReaderOptions::default());
    let first = std::fs::read_dir(directory.path().join("default/fetch/0"))
        .expect("files")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.extension().is_some_and(|e| e == "kfs"))
        .expect("a segment");
    let file = std::fs::File::open(first).expect("open");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fetch hot 4 KiB, floor: pread", |b| {
        b.iter(|| {
            let mut buffer = vec![0; 4 << 10];
            file.read_exact_at(&mut buffer, 8 << 10).expect("read");
            buffer
        });
    });
    group.bench_function("fetch hot 4 KiB", |b| {
        let mut offset = 0;
        b.iter(|| {
            offset = (offset + 7) % 1000;
            runtime.block_on(fetch.fetch(black_box(offset), 1)).expect("fetched")
        });
    });
    group.finish();
}

criterion_group!(benches, decode, directory);
criterion_main!(benches);
