//! Answers that no real server here gives, from fakes of S3 and of Google Cloud Storage: refusals before and after the
//! server acted, and successes whose bodies hold an error.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use kfs_core::format::NewRecord;
use kfs_core::store::{PART_BYTES, Store, StoreOptions};
use kfs_core::{Bucket, BucketOptions, ErrorKind, RetryPolicy};
use kfs_tests::contest::read_partition;
use kfs_tests::fake_http::{Answer, Request};
use kfs_tests::{FakeGcs, FakeS3};

type Script = Box<dyn FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send>;

/// A fake server of one kind.
enum Fake {
    S3(FakeS3),
    Gcs(FakeGcs),
}

impl Fake {
    fn each() -> [Fake; 2] {
        [Fake::S3(FakeS3::start()), Fake::Gcs(FakeGcs::start())]
    }

    fn script(&self, script: Script) {
        match self {
            Fake::S3(server) => server.script(script),
            Fake::Gcs(server) => server.script(script),
        }
    }

    fn serve_truly(&self) {
        match self {
            Fake::S3(server) => server.serve_truly(),
            Fake::Gcs(server) => server.serve_truly(),
        }
    }

    fn options(&self) -> StoreOptions {
        match self {
            Fake::S3(server) => server.store_options(),
            Fake::Gcs(server) => server.store_options(),
        }
    }

    fn url(&self) -> &'static str {
        match self {
            Fake::S3(_) => "s3://kfs-test/p",
            Fake::Gcs(_) => "gs://kfs-test/p",
        }
    }

    fn store(&self) -> Store {
        Store::open(self.url(), &self.options()).expect("store")
    }
}

/// What a server refuses for a while.
fn refusals() -> [(&'static str, Answer); 5] {
    [
        ("503", Answer::error(503, "SlowDown")),
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
                let bucket = Bucket::open_with(fake.url(), options).expect("bucket");
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
