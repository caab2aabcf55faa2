//! Reading a directory whose files are in the page cache: a batch against pread of its bytes, a scan
//! against a checksum pass over the mapped segments.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use criterion::{Criterion, Throughput};
use kfs_benches::{batch, payload, size};
use kfs_core::format::{Batch, Codec, crc32c};
use kfs_core::{Bucket, BucketOptions, Partition, ReaderOptions};
use memmap2::Mmap;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A directory with one partition of equal batches.
struct Filled {
    directory: TempDir,
    runtime: Runtime,
    partition: Partition,
}

impl Filled {
    fn new(batch: &Batch, batches: usize) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let guard = runtime.enter();
        let url = format!("file://{}", directory.path().display());
        let bucket = Bucket::open_with(&url, BucketOptions::default()).expect("bucket");
        drop(guard);
        let partition = bucket.partition("bench", 0).expect("name");
        runtime.block_on(async {
            let writer = partition.writer().await.expect("writer");
            for _ in 0..batches {
                drop(writer.append_batches(batch.bytes().clone()).await.expect("room"));
            }
            writer.close(None).await.expect("closed");
        });
        Filled { directory, runtime, partition }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory.path().join("default/bench/0")).expect("files");
        let paths = entries.map(|entry| entry.expect("entry").path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "kfs")).collect()
    }
}

pub(crate) fn fetch(c: &mut Criterion, row: &str) {
    let one = batch(1, Codec::None, |_| payload((4 << 10) - 80));
    let filled = Filled::new(&one, size(8 << 10, 1 << 10));
    let reader = filled.partition.reader();
    let file = File::open(filled.segments().first().expect("a segment")).expect("open");
    let mut group = c.benchmark_group(row);
    group.bench_function("floor: pread", |b| {
        b.iter(|| {
            let mut buffer = vec![0; 4 << 10];
            file.read_exact_at(&mut buffer, 8 << 10).expect("read");
            buffer
        });
    });
    group.bench_function("kfs", |b| {
        let mut offset = 0;
        b.iter(|| {
            offset = (offset + 7) % 1000;
            filled.runtime.block_on(reader.fetch(black_box(offset), 1)).expect("fetched")
        });
    });
    group.finish();
}

pub(crate) fn scan(c: &mut Criterion, row: &str) {
    let one = batch(1, Codec::None, |_| payload((16 << 10) - 80));
    let filled = Filled::new(&one, size(16 << 10, 1 << 10));
    let maps: Vec<_> = filled.segments().iter().map(map).collect();
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Bytes(maps.iter().map(|map| map.len() as u64).sum()));
    group.bench_function("floor: CRC pass", |b| {
        b.iter(|| maps.iter().fold(0, |sum, map| sum ^ crc32c(black_box(map))));
    });
    group.bench_function("kfs", |b| {
        b.iter(|| {
            filled.runtime.block_on(async {
                let reader = filled.partition.reader_with(ReaderOptions::default().fetch_bytes(8 << 20));
                let mut stream = reader.batches(0);
                while let Some(batch) = stream.next().await.expect("read") {
                    black_box(batch);
                }
            });
        });
    });
    group.finish();
}

#[allow(unsafe_code, reason = "nobody changes the file")]
fn map(path: &PathBuf) -> Mmap {
    // SAFETY: the file is in a directory of our own, and is not changed any more.
    unsafe { Mmap::map(&File::open(path).expect("open")).expect("mapped") }
}
