//! Answers that no real server here gives, from fakes of S3 and of Google Cloud Storage and from a server in front of
//! azurite: refusals before and after the server acted, successes whose bodies hold an error, answers without an ETag, and
//! listings that are cut.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use kfs_core::format::NewRecord;
use kfs_core::store::{PART_BYTES, Store, StoreOptions};
use kfs_core::{Bucket, BucketOptions, ErrorKind, RetryPolicy, VerifyOptions};
use kfs_tests::contest::read_partition;
use kfs_tests::fake_http::{Answer, Request};
use kfs_tests::{AzureInjector, FakeGcs, FakeS3};

type Script = Box<dyn FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send>;

/// A fake server of one kind.
enum Fake {
    S3(FakeS3),
    Gcs(FakeGcs),
    Azure(AzureInjector),
}

impl Fake {
    /// One of each kind. Azurite is left out where it is not installed.
    fn each() -> Vec<Fake> {
        let fakes = [Fake::S3(FakeS3::start()), Fake::Gcs(FakeGcs::start())];
        fakes.into_iter().chain(AzureInjector::start().map(Fake::Azure)).collect()
    }

    fn script(&self, script: Script) {
        match self {
            Fake::S3(server) => server.script(script),
            Fake::Gcs(server) => server.script(script),
            Fake::Azure(server) => server.script(script),
        }
    }

    fn serve_truly(&self) {
        match self {
            Fake::S3(server) => server.serve_truly(),
            Fake::Gcs(server) => server.serve_truly(),
            Fake::Azure(server) => server.serve_truly(),
        }
    }

    fn options(&self) -> StoreOptions {
        match self {
            Fake::S3(server) => server.store_options(),
            Fake::Gcs(server) => server.store_options(),
            Fake::Azure(server) => server.store_options(),
        }
    }

    fn url(&self) -> String {
        match self {
            Fake::S3(_) => "s3://kfs-test/p".into(),
            Fake::Gcs(_) => "gs://kfs-test/p".into(),
            Fake::Azure(server) => server.url("p"),
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.url(), &self.options()).expect("store")
    }

    /// How many requests it got since the last call.
    fn asked(&self) -> usize {
        match self {
            Fake::S3(server) => server.requests().len(),
            Fake::Gcs(server) => server.requests().len(),
            Fake::Azure(server) => server.requests().len(),
        }
    }
}

/// What a server refuses for a while.
fn refusals() -> [(&'static str, Answer); 6] {
    [
        ("503", Answer::error(503, "SlowDown")),
        ("503 of Azure", Answer::error(503, "ServerBusy")),
        ("429 with Retry-After", Answer::error(429, "TooManyRequests").with("Retry-After", "0")),
        ("500", Answer::error(500, "InternalError")),
        // It keeps nothing, or the object is there: the code does not say.
        ("409", Answer::error(409, "ConditionalRequestConflict")),
        ("no answer", Answer::default()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_refused_before_or_after_the_server_acted_is_acked_once() {
    for fake in Fake::each() {
        for (topic, acts) in [("before", false), ("after", true)] {
            for (partition, (name, refusal)) in (0..).zip(refusals()) {
                let retry = RetryPolicy::default().first_pause(Duration::from_millis(5));
                let options = BucketOptions::default().store(fake.options()).retry(retry);
                let bucket = Bucket::open_with(&fake.url(), options).expect("bucket");
                let partition = bucket.partition(topic, partition).expect("name");
                let writer = partition.writer().await.expect("writer");
                // Each kind of object that an append puts, the first time ever and later.
                for n in 0..3 {
                    let mut left = std::collections::HashMap::<Vec<u8>, u32>::new();
                    let refusal = refusal.clone();
                    fake.script(Box::new(move |request, serve| {
                        let refused = left.entry(request.key.clone()).or_default();
                        if request.method != "PUT" || *refused == 2 {
                            return Some(serve());
                        }
                        *refused += 1;
                        if acts {
                            serve();
                        }
                        Some(refusal.clone()).filter(|refusal| refusal.status != 0)
                    }));
                    let value = format!("value {n}");
                    let append = writer.append(&[NewRecord::new(n).value(value.as_bytes())]).await.expect("admitted");
                    let acked =
                        append.durable().await.unwrap_or_else(|e| panic!("{} {topic} {name}: {e:?}", fake.url()));
                    assert_eq!(acked.base, n, "{} {topic} {name}", fake.url());
                }
                fake.serve_truly();
                writer.close(None).await.expect("closed");
                let records = read_partition(&fake.store(), &partition.id().prefix()).await;
                let expected: Vec<_> = (0..3).map(|n| (n, format!("value {n}"))).collect();
                assert_eq!(records, expected, "{} {topic} {name}", fake.url());
            }
        }
    }
}

#[tokio::test]
async fn a_success_whose_body_holds_an_error_is_a_failure() {
    // object_store itself knows the first two, of S3.
    for code in ["InternalError", "SlowDown", "AccessDenied"] {
        // Azure tells of a copy in a header.
        for fake in [Fake::S3(FakeS3::start()), Fake::Gcs(FakeGcs::start())] {
            let store = fake.store();
            store.put("a", "body".into()).await.expect("put");
            fake.script(Box::new(move |request, serve| {
                let copies =
                    ["x-amz-copy-source", "x-goog-copy-source"].iter().any(|h| request.headers.contains_key(*h));
                let completes = request.method == "POST" && request.query.contains_key("uploadId");
                let failed = Answer { status: 200, ..Answer::error(200, code) };
                Some(if copies || completes { failed } else { serve() })
            }));
            let copied = store.copy("a", "b").await.expect_err("the body says so");
            let pieces = (0..=PART_BYTES >> 20).map(|_| Ok(Bytes::from(vec![0; 1 << 20])));
            let written = store.put_stream("c", stream::iter(pieces)).await.expect_err("the body says so");
            for error in [copied, written] {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert!(format!("{error:#}").contains(code), "{error:#}");
            }
            fake.serve_truly();
            for key in ["b", "c"] {
                assert!(!store.exists(key).await.expect("asked"), "{key}");
            }
        }
    }
}

/// A pause that the store asks for is waited by the log, and by the storage interface.
#[tokio::test]
async fn a_pause_that_each_store_asks_for_is_told_and_waited() {
    for fake in Fake::each() {
        let store = fake.store();
        store.put("a", "body".into()).await.expect("put");
        for status in [429, 503] {
            let mut refused = false;
            fake.script(Box::new(move |_, serve| match std::mem::replace(&mut refused, true) {
                false => Some(Answer::error(status, "ServerBusy").with("Retry-After", "1")),
                true => Some(serve()),
            }));
            assert!(store.exists("a").await.expect("asked again"), "{}", fake.url());
            fake.script(Box::new(move |_, _| Some(Answer::error(status, "ServerBusy").with("Retry-After", "3600"))));
            let error = store.exists("a").await.expect_err("it asks for an hour");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)), "{} {error:?}", fake.url());
        }
        fake.serve_truly();
    }
}

#[tokio::test]
async fn a_refusal_of_each_store_is_not_tried_again() {
    for fake in Fake::each() {
        let store = fake.store();
        store.put("a", "body".into()).await.expect("put");
        for (status, code, kind) in
            [(403, "AccessDenied", ErrorKind::PermissionDenied), (400, "InvalidArgument", ErrorKind::InvalidInput)]
        {
            fake.script(Box::new(move |_, _| Some(Answer::error(status, code))));
            fake.asked();
            let body = || "body".into();
            let errors = [
                store.get("a", kfs_core::store::ReadRange::Whole, None).await.expect_err("refused"),
                store.head("a").await.expect_err("refused"),
                store.put("a", body()).await.expect_err("refused"),
                store.delete("a").await.expect_err("refused"),
                store.list_page("", None, 10).await.expect_err("refused"),
            ];
            for error in &errors {
                assert_eq!((error.kind(), error.retry_after()), (kind, None), "{} {error:?}", fake.url());
            }
            // A put or a delete may look at what is there.
            assert_eq!(fake.asked(), errors.len(), "{} {status}", fake.url());
        }
    }
}

#[tokio::test]
async fn a_put_without_an_e_tag_is_no_success_and_a_read_without_one_is_refused_or_told_by_its_time() {
    for fake in Fake::each() {
        let store = fake.store();
        fake.script(Box::new(|request, serve| {
            let mut answer = serve();
            if request.method == "PUT" {
                answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
            }
            Some(answer)
        }));
        let error = store.put("a", "body".into()).await.expect_err("no ETag");
        assert!(format!("{error:?}").contains("ETag"), "{} {error:?}", fake.url());
        fake.script(Box::new(|request, serve| {
            let mut answer = serve();
            if request.method == "GET" && !request.query.contains_key("prefix") {
                answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
            }
            Some(answer)
        }));
        let read = match store.get("a", kfs_core::store::ReadRange::Whole, None).await {
            Ok(read) => read,
            // object_store's clients for some stores need one.
            Err(error) => {
                assert!(format!("{error:?}").contains("ETag"), "{} {error:?}", fake.url());
                continue;
            }
        };
        // A version without one is told by its size and time.
        let version = &read.info.version;
        assert_eq!((version.e_tag(), &read.bytes[..]), (None, &b"body"[..]), "{}", fake.url());
        let again = store.get("a", kfs_core::store::ReadRange::Whole, Some(version)).await;
        assert_eq!(again.expect("the same").bytes, read.bytes, "{}", fake.url());
        fake.serve_truly();
    }
}

#[tokio::test]
async fn a_listing_that_is_cut_is_asked_for_again_and_never_taken_for_whole() {
    for fake in Fake::each() {
        let store = fake.store();
        for number in 0..5 {
            store.put(&format!("k{number}"), "body".into()).await.expect("put");
        }
        let is_list = |request: &Request| {
            request.query.contains_key("list-type") || request.query.get("comp").is_some_and(|comp| comp == "list")
        };
        for cuts in [2, 100] {
            let mut left = cuts;
            fake.script(Box::new(move |request, serve| {
                let mut answer = serve();
                if is_list(request) && left > 0 {
                    left -= 1;
                    // A whole answer of HTTP, whose XML ends within an entry.
                    answer.body.truncate(answer.body.len() * 2 / 3);
                }
                Some(answer)
            }));
            let listed = store.list_page("k", None, 10).await;
            match cuts {
                2 => assert_eq!(listed.expect("asked again").objects.len(), 5, "{}", fake.url()),
                _ => {
                    let error = listed.expect_err("always cut");
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{} {error:?}", fake.url());
                }
            }
        }
        fake.serve_truly();
    }
}

#[tokio::test]
async fn errors_of_logs_name_keys_without_the_prefix_of_the_buckets_url() {
    const URL: &str = "s3://kfs-test/deep/prefix";
    let server = FakeS3::start();
    let open = || Bucket::open_with(URL, BucketOptions::default().store(server.store_options())).expect("bucket");
    let bucket = open();
    let writer = bucket.partition("t", 0).expect("name").writer().await.expect("writer");
    let append = async || writer.append(&[NewRecord::new(0).value(b"one")]).await.expect("admitted");
    append().await.durable().await.expect("stored");
    server.script(|_, _| Some(Answer::error(403, "AccessDenied")));
    // A commit goes on being tried while somebody wants it.
    let _given_up = append().await;
    let committed = writer.close(Some(Duration::from_millis(300))).await.expect_err("refused");
    let other = open();
    let partition = other.partition("t", 0).expect("name");
    let read = partition.reader().fetch(0, 1).await.expect_err("refused");
    let refreshed = partition.refresh().await.expect_err("refused");
    let verified = partition.verify(VerifyOptions::default()).next().await.expect_err("refused");
    let checked = other.store().preflight(other.runtime(), &Default::default()).await.expect("a report");
    let checked = checked.failure().expect("refused");
    for (name, error) in
        [("commit", committed), ("read", read), ("refresh", refreshed), ("verify", verified), ("check", checked)]
    {
        let shown = format!("{error:#}");
        assert!(shown.contains("AccessDenied") && !shown.contains("[deep/prefix"), "{name}: {shown}");
        let keys = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |cause| cause.source());
        let keys: Vec<_> = keys.filter_map(|cause| cause.downcast_ref::<kfs_core::Error>()?.key()).collect();
        assert!(keys.iter().all(|key| !key.starts_with("deep/")), "{name}: {keys:?}");
    }
}
