//! A copy of a topic from one directory into another, against `cp` of the same files. The two take turns, for a disk's mood
//! changes from second to second; so criterion, which measures one after the other, is not used.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use criterion::Criterion;
use futures_util::future::join_all;
use kfs_benches::{batch, figures, payload, size};
use kfs_core::format::Codec;
use kfs_core::{Bucket, CopyOptions};
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 3;

/// Runs it over a fresh directory of this name. The bytes that it wrote there each second, in 10^6.
#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn rate(into: &Path, bytes: usize, act: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    act();
    let rate = bytes as f64 / begun.elapsed().as_secs_f64() / 1e6;
    std::fs::remove_dir_all(into).expect("removed");
    rate
}

fn open(runtime: &Runtime, directory: &Path) -> Bucket {
    let _guard = runtime.enter();
    Bucket::open(&format!("file://{}", directory.display())).expect("bucket")
}

fn fill(runtime: &Runtime, bucket: &Bucket, bytes: usize) {
    let one = batch(1, Codec::None, |_| payload((256 << 10) - 80));
    runtime.block_on(async {
        for number in 0..PARTITIONS {
            let writer = bucket.partition("bench", number).expect("name").writer().await.expect("writer");
            for _ in 0..bytes / PARTITIONS as usize / one.bytes().len() {
                drop(writer.append_batches(one.bytes().clone()).await.expect("room"));
            }
            writer.close(None).await.expect("closed");
        }
    });
}

async fn copy(from: &Bucket, to: &Bucket) {
    let copies = from.partitions("bench").await.expect("partitions").into_iter().map(|source| async move {
        let target = to.partition_of(source.id().clone());
        let plan = source.plan_copy(&target, &CopyOptions::default()).await.expect("a plan");
        source.copy(&target, &plan).await.expect("a copy")
    });
    join_all(copies).await;
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn directories(_: &mut Criterion, row: &str) {
    let directory = tempfile::tempdir().expect("directory");
    let [from, ours, floor] = ["from", "kfs", "cp"].map(|name| directory.path().join(name));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let (bytes, source) = (size(1 << 30, 6 << 20), open(&runtime, &from));
    fill(&runtime, &source, bytes);
    let (mut copied, mut by_cp) = (Vec::new(), Vec::new());
    for _ in 0..size(5, 1) {
        copied.push(rate(&ours, bytes, || runtime.block_on(copy(&source, &open(&runtime, &ours)))));
        by_cp.push(rate(&floor, bytes, || {
            let ended = Command::new("cp").arg("-r").args([&from, &floor]).status().expect("run cp");
            assert!(ended.success(), "{ended}");
        }));
    }
    figures::keep(row, "kfs", median(copied));
    figures::keep(row, "floor: cp -r, which syncs nothing", median(by_cp));
}
