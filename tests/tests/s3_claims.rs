//! Claims on a real S3 server, against owners that flush without a pause.
//!
//! `KFS_CLAIM_TRIALS` chooses how many trials; how long each claim took is printed.

#![allow(clippy::disallowed_methods, reason = "the tests' own tasks are no part of the library")]

use kfs_core::format::NewRecord;
use kfs_core::runtime::{Clock, SystemClock};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, Partition, Stored, Writer, WriterOptions};
use kfs_tests::S3Server;
use tokio::sync::mpsc;

/// Acks of an owner before anybody asks for its partition.
const WARM: i64 = 200;

fn trials() -> i32 {
    std::env::var("KFS_CLAIM_TRIALS").map_or(2, |text| text.parse().expect("a number"))
}

fn partition(server: &S3Server, number: i32) -> Partition {
    let options = BucketOptions::default().store(server.store_options());
    let bucket = Bucket::open_with(&server.url("claims"), options).expect("bucket");
    bucket.partition("contest", number).expect("name")
}

async fn append(writer: &Writer, value: &str) -> Result<i64, Error> {
    let record = NewRecord::new(1).value(value.as_bytes());
    Ok(writer.append(&[record]).await?.durable().await?.base)
}

/// Appends without a pause until it fails; tells each offset that was acked.
async fn flush_without_a_pause(owner: Writer, acked: mpsc::UnboundedSender<i64>) -> Error {
    loop {
        match append(&owner, "busy").await {
            Ok(offset) => acked.send(offset).expect("the test listens"),
            Err(error) => return error,
        }
    }
}

/// A newcomer displaces a busy owner: `displace` gives the first offset that is its own.
async fn displaced<F: Future<Output = i64>>(
    what: &str,
    owner_epoch: Option<i32>,
    epoch: Option<i32>,
    displace: impl Fn(Writer) -> F,
) {
    let Some(server) = S3Server::start() else { return };
    let with = |name: &str, epoch: Option<i32>| {
        let options = WriterOptions::default().name(name);
        epoch.map_or(options.clone(), |epoch| options.leader_epoch(epoch))
    };
    for trial in 0..trials() {
        let owner = partition(&server, trial).writer_with(with("old", owner_epoch)).await.expect("writer");
        let (send, mut acked) = mpsc::unbounded_channel();
        let busy = tokio::spawn(flush_without_a_pause(owner, send));
        while acked.recv().await.expect("the owner goes on") < WARM {}

        let newcomer = partition(&server, trial).writer_with(with("new", epoch)).await.expect("writer");
        let began = SystemClock.elapsed();
        let first = displace(newcomer).await;
        println!("{what}, trial {trial}: {:?}", SystemClock.elapsed() - began);

        let error = busy.await.expect("no panic");
        assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)), "{error:?}");
        assert_eq!(error.winner(), Some("new"));
        let mut last = WARM;
        while let Some(offset) = acked.recv().await {
            last = offset;
        }
        assert_eq!(last + 1, first, "the owner acked all that comes before, and nothing after it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_displaces_an_owner_that_flushes_without_a_pause() {
    let claim = |writer: Writer| async move { writer.claim().await.expect("claimed").base };
    displaced("claim", None, None, claim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_leader_epoch_displaces_an_owner_that_flushes_without_a_pause() {
    let take = |writer: Writer| async move { append(&writer, "new").await.expect("durable") };
    displaced("leader epoch", Some(1), Some(5), take).await;
}
