//! Must hold: a copy of a topic with three partitions, from any store to any other, that is killed five times goes on where it
//! stopped: no segment that is finished is copied again, and both sides have the same bytes at the end.
//!
//! `KFS_COPY_BYTES` (default 24 MiB; the nightly run takes 1 GiB) says how large the topic is, and `KFS_KILL_SEED` changes the
//! moments of the kills.

#![cfg(all(unix, feature = "aws", feature = "azure", feature = "gcp"))]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{Killed, Random, finish, kfs};
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord};
use kfs_core::store::{ReadRange, Store};
use kfs_core::{Bucket, BucketOptions, WriterOptions};
use kfs_tests::{TestBucket, each_bucket};

const PARTITIONS: u64 = 3;
const KILLS: usize = 5;
/// Segments of a partition, about.
const SEGMENTS: u64 = 24;
const BATCH_BYTES: usize = 64 << 10;

fn number_from(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A topic of so many bytes, in values that no two batches share.
async fn fill(store: Store, bytes: u64, random: &mut Random) {
    let bucket = Bucket::from_store(store, BucketOptions::default()).expect("a bucket");
    let segment = usize::try_from(bytes / PARTITIONS / SEGMENTS).expect("a size").max(2 * BATCH_BYTES);
    for number in 0..PARTITIONS {
        let partition = bucket.partition("t", number as i32).expect("a name");
        let options = WriterOptions::default().segment_bytes(segment);
        let writer = partition.writer_with(options).await.expect("a writer");
        for _ in 0..bytes / PARTITIONS / BATCH_BYTES as u64 {
            let mut value = random.next().to_le_bytes().repeat(BATCH_BYTES / 8);
            value.truncate(BATCH_BYTES - 100);
            let mut batch = BatchBuilder::new(BatchOptions::default());
            batch.push(&NewRecord::new(1_767_225_600_000).value(&value)).expect("a record");
            let batch = batch.finish(0).expect("a batch");
            // It waits where the buffer is full.
            drop(writer.append_batches(batch.bytes().clone()).await.expect("room"));
        }
        writer.close(None).await.expect("a log");
    }
}

/// The keys of all objects of the topic's logs.
async fn keys(store: &Store) -> BTreeSet<String> {
    let (mut keys, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let page = store.list_page("default/t/", after.as_deref(), 1_000).await.expect("a listing");
        after = page.objects.last().map(|object| object.key.clone()).or(after);
        keys.extend(page.objects.into_iter().map(|object| object.key));
        if page.complete {
            return keys;
        }
    }
}

fn segments(keys: &BTreeSet<String>) -> BTreeSet<String> {
    keys.iter().filter(|key| key.ends_with(".kfs")).cloned().collect()
}

/// The key of a segment that a line of the log says was put.
fn put_segment(line: &str) -> Option<String> {
    let (_, key) = line.split_once("request=\"put\"")?.1.split_once("key=")?;
    let key = key.split_whitespace().next()?;
    key.ends_with(".kfs").then(|| key.to_owned())
}

/// Runs the command, and kills it so many requests after it has put so many segments. The segments that it put, and whether it
/// ended before.
fn killed_after(mut command: Command, segments: usize, requests: usize) -> (BTreeSet<String>, bool) {
    let child = command.arg("-vvv").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("run kfs");
    let mut child = Killed(child);
    // It has a line for each request.
    let mut log = BufReader::new(child.0.stderr.take().expect("its stderr")).lines().map(|line| line.expect("text"));
    let mut put = BTreeSet::new();
    while put.len() < segments {
        let Some(line) = log.next() else { return (put, true) };
        put.extend(put_segment(&line));
    }
    put.extend(log.by_ref().take(requests).filter_map(|line| put_segment(&line)));
    (put, log.next().is_none())
}

/// Copies the topic with kills, and compares both sides.
async fn copy(from: (&TestBucket, &str), to: (&TestBucket, &str), random: &mut Random) {
    let name = format!("{} to {}", from.0.name, to.0.name);
    let [source, target] =
        [from, to].map(|(bucket, prefix)| (bucket.store(prefix), bucket.url(prefix).expect("a URL")));
    let command = |arguments: &[&str]| {
        let mut command = kfs();
        command.args(arguments).envs(from.0.environment().iter().chain(to.0.environment()).map(|(k, v)| (*k, v)));
        command
    };
    let arguments = ["copy", "t", "--bucket", &source.1, "--into", &target.1];
    let all = segments(&keys(&source.0).await);
    let mut finished = BTreeSet::new();
    for _ in 0..KILLS {
        // All of them come no further than three quarters.
        let most = (all.len() / 8) as u64;
        let (put, ended) = killed_after(command(&arguments), random.below(most) as usize, random.below(8) as usize);
        assert!(!ended, "{name}: the copy ended before it was killed");
        assert_eq!(put.intersection(&finished).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}: copied again");
        finished = segments(&keys(&target.0).await);
    }
    assert!(finished.len() < all.len() && !finished.is_empty(), "{name}: {} of {}", finished.len(), all.len());
    let (put, ended) = killed_after(command(&arguments), usize::MAX, 0);
    assert!(ended && put.is_disjoint(&finished), "{name}: copied again");

    let names = keys(&source.0).await;
    assert_eq!(segments(&keys(&target.0).await), all, "{name}");
    for key in names.iter().filter(|key| key.contains("/segment-")) {
        let [one, two] = [&source.0, &target.0].map(|store| store.get(key, ReadRange::Whole, None));
        let (one, two) = (one.await.expect("an object").bytes, two.await.expect("a copy").bytes);
        assert!(one == two, "{name}: {key}");
    }
    for (_, url) in [&source, &target] {
        for number in 0..PARTITIONS {
            finish(command(&["verify", &format!("t/{number}"), "--bucket", url]), b"").ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_five_times_copies_no_finished_segment_again() {
    let (bytes, seed) = (number_from("KFS_COPY_BYTES", 24 << 20), number_from("KFS_KILL_SEED", 1));
    println!("KFS_KILL_SEED={seed}");
    let mut random = Random(seed);
    // Round about, so that each store is read and written. No other process can open memory.
    let stores: Vec<_> = each_bucket().into_iter().filter(|bucket| bucket.url("a").is_some()).collect();
    fill(stores[0].store("a"), bytes, &mut random).await;
    let mut from = (&stores[0], "a");
    for to in stores.iter().skip(1).chain(stores.first()) {
        copy(from, (to, "b"), &mut random).await;
        from = (to, "b");
    }
}
