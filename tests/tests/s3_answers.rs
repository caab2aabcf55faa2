//! Answers that no S3 store should give: what is taken for one, what is asked for after it, and what is said of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::object_store::PutPayload;
use kfs_core::store::{Created, Identity, ListPage, ReadRange, Store};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind};
use kfs_tests::FakeS3;
use kfs_tests::fake_http::{Answer, Request};

fn store(server: &FakeS3) -> Store {
    // As a log has it: each request is sent once.
    let options = server.store_options().config("AWS_RETRIES", "0");
    Store::open("s3://logs/p", &options).expect("store")
}

fn key(n: usize) -> String {
    format!("default/t/0/segment-{n:020}.kfs")
}

/// Lists all keys as a log does: it asks again after a failure that may pass.
async fn list_all(store: &Store, failures: &mut Vec<Error>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        match store.list_page("default/t/0/", keys.last().map(String::as_str), 1000).await {
            Ok(ListPage { objects, complete, .. }) => {
                keys.extend(objects.into_iter().map(|object| object.key));
                if complete {
                    return keys;
                }
            }
            Err(error) => {
                assert!(error.is_retriable() && failures.len() < 20, "{error}");
                failures.push(error);
            }
        }
    }
}

fn sizes(server: &FakeS3) -> Vec<usize> {
    server.requests().iter().filter(|request| request.is_list()).map(Request::max_keys).collect()
}

#[tokio::test]
async fn after_a_page_that_did_not_arrive_whole_smaller_pages_are_asked_for_and_larger_ones_again() {
    let server = FakeS3::start();
    let expected: Vec<String> = (0..3000).map(key).collect();
    for key in &expected {
        server.put(format!("p/{key}"), b"x");
    }
    let store = store(&server);
    assert_eq!(list_all(&store, &mut Vec::new()).await, expected);
    assert_eq!(sizes(&server), [1000, 1000, 1000], "no failure, no more requests than before");
    // More than 40 KiB of an answer are cut.
    server.script(|_, serve| {
        let answer = serve();
        let cut = Some(40_000).filter(|cut| answer.body.len() > *cut);
        Some(Answer { cut, ..answer })
    });
    let mut failures = Vec::new();
    assert_eq!(list_all(&store, &mut failures).await, expected);
    assert!((3..15).contains(&failures.len()), "{}", failures.len());
    let asked = sizes(&server);
    assert!(asked.len() < 120 && asked.contains(&125), "{asked:?}");
    server.serve_truly();
    for _ in 0..3 {
        assert_eq!(list_all(&store, &mut Vec::new()).await, expected);
    }
    assert_eq!(sizes(&server).last(), Some(&1000));
}

#[tokio::test]
async fn names_are_listed_in_smaller_pages_after_one_that_did_not_arrive_whole() {
    let server = FakeS3::start();
    let expected: Vec<String> = (1000..2500).map(|n| format!("topic-{n}")).collect();
    for topic in &expected {
        server.put(format!("p/default/{topic}/0/log.json"), b"x");
    }
    server.script(|_, serve| {
        let answer = serve();
        let cut = Some(20_000).filter(|cut| answer.body.len() > *cut);
        Some(Answer { cut, ..answer })
    });
    let store = store(&server);
    for _ in 0..5 {
        if let Ok(names) = store.list_dirs("default").await {
            assert_eq!(names, expected);
            return;
        }
    }
    panic!("no names: {:?}", sizes(&server));
}

#[tokio::test]
async fn junk_between_the_keys_costs_no_request_for_each() {
    let server = FakeS3::start();
    for n in 0..3000 {
        server.put(format!("p/default/t/0//{n:05}"), b"x");
    }
    server.put(format!("p/{}", key(0)), b"x");
    let store = store(&server);
    let page = store.list_page("default/t/0/", None, 1).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| &object.key).collect::<Vec<_>>(), [&key(0)]);
    assert!(sizes(&server).len() <= 14);
}

/// Every kind of request, and how it failed.
async fn every_request(store: &Store) -> Vec<(&'static str, Error)> {
    let create = async || match store.create("a", PutPayload::from_static(b"x"), &Identity::none()).await {
        Created::Unknown(error) => error,
        other => panic!("{other:?}"),
    };
    vec![
        ("list", store.list_page("t/", None, 5).await.unwrap_err()),
        ("names", store.list_dirs("t").await.unwrap_err()),
        ("create", create().await),
        ("overwrite", store.put("a", PutPayload::from_static(b"x")).await.unwrap_err()),
        ("get", store.get("a", ReadRange::Whole, None).await.unwrap_err()),
        ("range", store.get("a", ReadRange::Range(0..2), None).await.unwrap_err()),
        ("head", store.head("a").await.unwrap_err()),
        ("delete", store.delete("a").await.unwrap_err()),
    ]
}

#[tokio::test]
async fn a_web_page_in_place_of_an_answer_is_named_by_every_request() {
    for status in [200, 404] {
        let server = FakeS3::start();
        server.script(move |_, _| Some(Answer { status, ..Answer::page() }));
        for (request, error) in every_request(&store(&server)).await {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{request}: {error}");
            let message = error.message();
            assert!(message.contains("is not that of an S3 store"), "{request}: {message}");
            assert!(message.contains("Content-Type text/html; charset=utf-8"), "{request}: {message}");
            assert!(message.contains("<!DOCTYPE html>") || request == "head", "{request}: {message}");
            assert!(error.hint().is_some_and(|hint| hint.contains("AWS_ENDPOINT_URL")), "{request}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_listing_that_is_none_says_what_was_found_without_control_characters() {
    for (body, kind, found) in [
        ("{\"ok\": 1}\u{1b}[2J", ErrorKind::InvalidInput, "begins with \"{\\\"ok\\\": 1}\\u{1b}[2J\""),
        ("<ListBucketResult><Name>", ErrorKind::Unavailable, "ends too early"),
        ("", ErrorKind::Unavailable, "no Content-Type and no body"),
        (
            "<Error><Code>SlowDown</Code><Message>busy</Message></Error>",
            ErrorKind::Unavailable,
            "with an error: SlowDown: busy",
        ),
        (
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            ErrorKind::Unsupported,
            "no NextContinuationToken",
        ),
    ] {
        let server = FakeS3::start();
        server.script(move |_, _| Some(Answer::new(200, body)));
        let store = store(&server);
        for error in [store.list_page("t/", None, 5).await.unwrap_err(), store.list_dirs("t").await.unwrap_err()] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(found), "{error}");
            assert!(!error.message().contains(|c: char| c.is_control()), "{error}");
        }
    }
}

#[tokio::test]
async fn objects_of_html_in_an_s3_store_can_be_read() {
    let server = FakeS3::start();
    server.put("p/a.html", b"<html></html>");
    server.script(|_, serve| Some(serve().with("Content-Type", "text/html")));
    assert_eq!(&store(&server).get("a.html", ReadRange::Whole, None).await.unwrap().bytes[..], b"<html></html>");
}

#[tokio::test]
async fn an_append_is_not_acked_by_an_answer_that_no_s3_store_gives() {
    let page: fn() -> Answer = Answer::page;
    let json: fn() -> Answer = || Answer::new(200, "{\"ok\": true}").with("ETag", "W/\"c-8\"");
    let no_e_tag: fn() -> Answer = || Answer::new(200, "");
    for (answer, said) in
        [(page, "is not that of an S3 store"), (json, "is not that of an S3 store"), (no_e_tag, "ETag")]
    {
        let server = FakeS3::start();
        server.script(move |request, serve| Some(if request.method == "PUT" { answer() } else { serve() }));
        let bucket = Bucket::open_with("s3://logs", BucketOptions::default().store(server.store_options())).unwrap();
        let writer = bucket.partition("t", 0).unwrap().writer().await.unwrap();
        let append = writer.append(&[NewRecord::new(0).value(b"x")]).await.unwrap();
        writer.close(Some(Duration::from_millis(500))).await.unwrap_err();
        let error = append.durable().await.unwrap_err();
        assert!(format!("{error:#}").contains(said), "{error:#}");
        assert_eq!(server.keys().len(), 0);
    }
}

#[tokio::test]
async fn a_put_that_was_answered_without_an_etag_is_looked_up_before_it_is_acked() {
    let server = FakeS3::start();
    server.script(|request, serve| {
        let mut answer = serve();
        // A create; what is overwritten has an ETag.
        if request.headers.contains_key("if-none-match") {
            answer.headers.retain(|(name, _)| name != "ETag");
        }
        Some(answer)
    });
    let bucket = Bucket::open_with("s3://logs", BucketOptions::default().store(server.store_options())).unwrap();
    let writer = bucket.partition("t", 0).unwrap().writer().await.unwrap();
    writer.append(&[NewRecord::new(0).value(b"x")]).await.unwrap().durable().await.unwrap();
    let segment = "default/t/0/segment-00000000000000000000.kfs";
    let asked = server.requests().into_iter().filter(|request| request.key() == segment);
    let asked: Vec<String> = asked.map(|request| request.method).collect();
    assert!(asked.iter().any(|method| method == "GET"), "{asked:?}");
}

#[tokio::test]
async fn what_a_server_echoes_of_our_credentials_in_a_good_answer_is_removed() {
    let server = FakeS3::start();
    server.put("p/a", b"x");
    let token = "FwoGZXIvYXdzEJr//////////wEaDKx+Session/Token==";
    let seen: Arc<Mutex<String>> = Arc::default();
    let signature = seen.clone();
    server.script(move |request, serve| {
        let authorization = request.headers["authorization"].clone();
        *signature.lock().unwrap() = authorization.split("Signature=").nth(1).unwrap().to_string();
        let echo = format!("{} fake-access-key-id {authorization}", request.headers["x-amz-security-token"]);
        Some(match request.key() {
            "p/metadata" => Answer::new(200, "x")
                .with("ETag", "\"a\"")
                .with("Last-Modified", "Fri, 21 Nov 2025 07:00:00 GMT")
                .with("x-amz-meta-kfsname", &echo)
                .with("x-amz-meta-kfsid", &echo),
            "p/time" => Answer::new(200, "x").with("ETag", "\"a\"").with("Last-Modified", &echo),
            _ if request.is_list() && request.query["prefix"] == "p/xml/" => Answer::new(200, echo),
            _ if request.is_list() => {
                let keys: String = ["b", "a"].iter().map(|name| {
                    format!(
                        "<Contents><Key>p/order/{name}-fake-secret-key/0123</Key><LastModified>2025-11-21T07:00:00.000Z\
                         </LastModified><ETag>e</ETag><Size>1</Size></Contents>"
                    )
                }).collect();
                Answer::new(200, format!("<ListBucketResult>{keys}</ListBucketResult>"))
            }
            _ => serve(),
        })
    });
    let options = server.store_options().config("AWS_SESSION_TOKEN", token);
    let store = Store::open("s3://logs/p", &options).unwrap();
    let identity = store.get("metadata", ReadRange::Whole, None).await.unwrap().identity;
    let mut shown = vec![format!("{identity:?}")];
    shown.push(format!("{:?}", store.get("time", ReadRange::Whole, None).await.unwrap_err()));
    shown.push(format!("{:?}", store.list_page("xml/", None, 5).await.unwrap_err()));
    shown.push(format!("{:?}", store.list_page("order/", None, 5).await.unwrap_err()));
    shown.push(store.redact(&format!("a topic {token}")));
    for shown in shown {
        for secret in ["FwoGZXIvYXdzEJr", "Session/Token", "fake-access-key-id", "fake-secret-key"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("[removed]"), "{shown}");
    }
}
