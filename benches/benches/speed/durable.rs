//! One durable append to a directory, against the same files written by hand with the same calls.
//! The two take turns, for a disk's mood changes from second to second; so criterion, which measures
//! one after the other, is not used.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use criterion::Criterion;
use kfs_benches::{batch, figures, payload, size};
use kfs_core::Bucket;
use kfs_core::format::Codec;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// What one put takes: a nameless file written, fsynced and named, and the name fsynced.
fn put(directory: &Path, name: &str, bytes: &[u8]) -> rustix::io::Result<()> {
    let open = |flags| rustix::fs::open(directory, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666));
    let file: OwnedFd = open(OFlags::TMPFILE | OFlags::RDWR)?;
    rustix::io::write(&file, bytes)?;
    rustix::fs::fsync(&file)?;
    let proc = format!("/proc/self/fd/{}", file.as_raw_fd());
    let directory = open(OFlags::DIRECTORY | OFlags::RDONLY)?;
    rustix::fs::linkat(CWD, &proc, &directory, name, AtFlags::SYMLINK_FOLLOW)?;
    rustix::fs::fsync(&directory)
}

/// A thread that puts the index while the caller puts the segment, as the library does.
fn indexer(directory: &Path, index: Vec<u8>) -> (Sender<String>, Receiver<()>) {
    let (names, to_do) = channel::<String>();
    let (done, is_done) = channel();
    let directory = directory.to_owned();
    std::thread::Builder::new()
        .spawn(move || {
            for name in to_do {
                put(&directory, &name, &index).expect("put");
                done.send(()).expect("somebody waits");
            }
        })
        .expect("a thread");
    (names, is_done)
}

fn sizes(directory: &Path) -> (usize, usize) {
    let size = |extension: &str| {
        let entries = std::fs::read_dir(directory).expect("files").flatten().map(|entry| entry.path());
        let mut of_kind = entries.filter(|path| path.extension().is_some_and(|e| e == extension));
        of_kind.next().and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len() as usize)
    };
    (size("kfs"), size("index"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn micros(act: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    act();
    begun.elapsed().as_secs_f64() * 1e6
}

pub(crate) fn append(_: &mut Criterion, row: &str) {
    let directory = tempfile::tempdir().expect("directory");
    let by_hand = directory.path().join("by-hand");
    std::fs::create_dir(&by_hand).expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let bucket = Bucket::open(&format!("file://{}/log", directory.path().display())).expect("bucket");
    drop(guard);
    let one = batch(1, Codec::None, |_| payload(1 << 10));
    let writer = runtime.block_on(async {
        let partition = bucket.partition("bench", 0).expect("name");
        partition.writer().await.expect("writer")
    });
    let append = || {
        let durable = async { writer.append_batches(one.bytes().clone()).await?.durable().await };
        runtime.block_on(durable).expect("durable");
    };
    append();
    let (segment, index) = sizes(&directory.path().join("log/default/bench/0"));
    assert!(segment > one.bytes().len() && index > 0, "{segment} and {index} bytes");
    let segment = payload(segment);
    let (names, is_done) = indexer(&by_hand, payload(index));
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let put_both = |n: usize| {
        names.send(format!("{n}.index")).expect("the thread lives");
        put(&by_hand, &format!("{n}.kfs"), &segment).expect("put");
        is_done.recv().expect("the thread lives");
    };
    for n in 0..size(1000, 2) {
        // Neither always comes after the other.
        if n % 2 == 0 {
            ours.push(micros(append));
        }
        floor.push(micros(|| put_both(n)));
        if n % 2 == 1 {
            ours.push(micros(append));
        }
    }
    runtime.block_on(writer.close(None)).expect("closed");
    figures::keep(row, "kfs", median(ours));
    figures::keep(row, "floor: the same calls by hand", median(floor));
}
