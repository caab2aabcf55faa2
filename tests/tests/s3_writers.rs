//! The commit protocol on a real S3 server: takeover, fences, claims, and processes that contend.

use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, OnConflict, Stored, Writer, WriterOptions};
use kfs_tests::S3Server;
use kfs_tests::contest::{Contender, check, contest, read_log, writer_process};

#[test]
fn contender() {
    writer_process();
}

fn bucket(server: &S3Server, prefix: &str) -> Bucket {
    let options = BucketOptions::default().store(server.store_options());
    Bucket::open_with(&server.url(prefix), options).expect("bucket")
}

async fn append(writer: &Writer, value: &str) -> Result<i64, Error> {
    let record = NewRecord::new(1).value(value.as_bytes());
    Ok(writer.append(&[record]).await?.durable().await?.base)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_append_take_over_fence_and_claim() {
    let Some(server) = S3Server::start() else { return };
    let (one, two) = (bucket(&server, "log"), bucket(&server, "log"));
    let open = |bucket: &Bucket, options: WriterOptions| {
        let partition = bucket.partition("contest", 0).expect("name");
        async move { partition.writer_with(options).await.expect("writer") }
    };
    let first = open(&one, WriterOptions::default().start_offset(10).name("first")).await;
    let before = one.requests();
    assert_eq!(append(&first, "first-0").await.expect("durable"), 10);
    assert_eq!(one.requests().since(&before).put, 3);
    let before = one.requests();
    assert_eq!(append(&first, "first-1").await.expect("durable"), 11);
    assert_eq!(one.requests().since(&before).total(), 2, "budget: 1 PUT .kfs + 1 PUT .index");

    // A new owner claims; the old one is fenced, and knows by whom.
    let before = two.requests();
    let second = open(&two, WriterOptions::default().name("second")).await;
    assert_eq!(
        two.requests().since(&before).total(),
        4,
        "budget: 1 LIST, the newest segment, its index, the footer before it"
    );
    assert_eq!(second.claim().await.expect("claimed").base, 12);
    let error = append(&first, "first-2").await.expect_err("fenced");
    assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)));
    assert_eq!(error.winner(), Some("second"));
    assert_eq!(append(&second, "second-0").await.expect("durable"), 13);

    // A writer with an older epoch can't take it back; one that only fences loses its first slot.
    let third = open(&one, WriterOptions::default().leader_epoch(3)).await;
    assert_eq!(append(&third, "third-0").await.expect("durable"), 14);
    let old = two.partition("contest", 0).expect("name");
    second.close(Some(Duration::from_secs(10))).await.expect("closed");
    let refused = old.writer_with(WriterOptions::default().leader_epoch(2)).await.expect_err("an older epoch");
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    let careful = open(&two, WriterOptions::default().on_conflict(OnConflict::Fence)).await;
    assert_eq!(append(&third, "third-1").await.expect("durable"), 15);
    assert_eq!(append(&careful, "careful-0").await.expect_err("fenced").kind(), ErrorKind::Fenced);

    let log = read_log(&server.url("log"), &server.store_options()).await;
    let expected = ["first-0", "first-1", "second-0", "third-0", "third-1"];
    assert_eq!(log.keys().collect::<Vec<_>>(), expected);
}

#[test]
fn processes_that_contend_keep_what_was_acked() {
    let Some(server) = S3Server::start() else { return };
    let environment = server.environment();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    for policy in ["takeover", "fence", "rebase"] {
        let url = server.url(policy);
        let contenders = ["one", "two"].map(|name| Contender { name, policy, start_offset: None, appends: 40 });
        let stories = contest(&url, "contender", &contenders, &environment);
        let log = runtime.block_on(read_log(&url, &server.store_options()));
        check(&stories, &log);
        assert!(stories.iter().any(|s| !s.acked.is_empty()), "{policy}: {stories:?}");
        if policy == "rebase" {
            assert_eq!(log.len(), 80);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_comes_back_loses_no_append() {
    let Some(mut server) = S3Server::start() else { return };
    let bucket = bucket(&server, "restart");
    let writer = bucket.partition("contest", 0).expect("name").writer().await.expect("writer");
    append(&writer, "before").await.expect("durable");
    server.kill();
    let pending = writer.append(&[NewRecord::new(1).value(b"while it was away")]).await.expect("buffered");
    let waiting = pending.durable();
    server.restart();
    assert_eq!(waiting.await.expect("durable").base, 1);
    writer.close(None).await.expect("closed");
    assert_eq!(read_log(&server.url("restart"), &server.store_options()).await.len(), 2);
}
