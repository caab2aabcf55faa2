//! The fake of Google Cloud Storage passes object_store's own suite, and does what the other tests lean on.
//!
//! The suite has 19 functions. All pass, `get_opts` only where the bucket keeps old generations: it reads one.

use std::sync::atomic::{AtomicBool, Ordering};

use kfs_tests::FakeGcs;
use kfs_tests::fake_http::Answer;
use object_store::integration::{self as suite, MarkerHttpConnector};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, UpdateVersion};

/// A test of object_store's suite, on a server of its own.
macro_rules! suite {
    ($($name:ident($client:ident) $call:expr;)*) => { mod of_the_suite { use super::*; $(
        #[tokio::test]
        async fn $name() {
            let server = FakeGcs::start();
            server.keep_generations();
            let client = server.client_builder().with_http_connector(MarkerHttpConnector::default());
            let $client = client.build().unwrap();
            $call.await;
        }
    )* } };
}

suite! {
    put_get_delete_list(c) suite::put_get_delete_list(&c);
    put_get_attributes(c) suite::put_get_attributes(&c);
    get_opts(c) suite::get_opts(&c);
    put_opts(c) suite::put_opts(&c, true);
    stream_get(c) suite::stream_get(&c);
    list_uses_directories_correctly(c) suite::list_uses_directories_correctly(&c);
    list_with_delimiter(c) suite::list_with_delimiter(&c);
    rename_and_copy(c) suite::rename_and_copy(&c);
    copy_if_not_exists(c) suite::copy_if_not_exists(&c);
    copy_rename_nonexistent_object(c) suite::copy_rename_nonexistent_object(&c);
    multipart(c) suite::multipart(&c, &c);
    multipart_with_opts(c) suite::multipart_with_opts(&c, &c);
    multipart_put_part_out_of_order(c) suite::multipart_put_part_out_of_order(&c, &c);
    multipart_race_condition(c) suite::multipart_race_condition(&c, true);
    multipart_out_of_order(c) suite::multipart_out_of_order(&c);
    list_paginated(c) suite::list_paginated(&c, &c);
    list_with_offset_exclusivity(c) suite::list_with_offset_exclusivity(&c);
    response_extensions(c) suite::response_extensions(&c, true);
}

#[tokio::test]
async fn a_missing_object_and_a_missing_bucket_are_not_found() {
    let server = FakeGcs::start();
    let missing = suite::get_nonexistent_object(&server.client(), None).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    let elsewhere = server.client_builder().with_bucket_name("another").build().unwrap();
    server.put("a", b"x");
    let missing = suite::get_nonexistent_object(&elsewhere, Some(Path::from("a"))).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn another_token_is_refused() {
    let server = FakeGcs::start();
    let client = server.client_builder().with_bearer_token("another").build().unwrap();
    let refused = client.put(&Path::from("a"), PutPayload::from_static(b"x")).await;
    assert!(matches!(refused, Err(Error::Unauthenticated { .. })), "{refused:?}");
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn of_writers_that_race_for_an_object_one_wins() {
    let server = FakeGcs::start();
    for round in 0..20 {
        let key = Path::from(format!("race/{round}"));
        let tries = (0..8).map(|_| {
            let (client, key) = (server.client(), key.clone());
            async move { client.put_opts(&key, "x".into(), PutMode::Create.into()).await.is_ok() }
        });
        let won = futures_util::future::join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
    }
}

#[tokio::test]
async fn an_object_written_again_with_the_same_bytes_keeps_its_etag_and_gets_another_generation() {
    let server = FakeGcs::start();
    let (client, key) = (server.client(), Path::from("a"));
    let first = client.put(&key, "x".into()).await.unwrap();
    let second = client.put(&key, "x".into()).await.unwrap();
    assert_eq!(first.e_tag, second.e_tag);
    assert_ne!(first.version, second.version);
    let stale = client.put_opts(&key, "y".into(), PutMode::Update(UpdateVersion::from(first)).into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
}

#[tokio::test]
async fn a_fault_comes_before_the_server_acts_after_it_or_within_its_answer() {
    let server = FakeGcs::start();
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = server.client_builder().with_retry(retry).build().unwrap();
    let create = async |key: &str| client.put_opts(&Path::from(key), "0123456789".into(), PutMode::Create.into()).await;

    server.script(|_, _| Some(Answer::error(503, "ServiceUnavailable")));
    create("before").await.unwrap_err();
    assert!(server.keys().is_empty());

    server.script(|_, serve| {
        serve();
        None
    });
    create("after").await.unwrap_err();
    assert_eq!(server.keys(), [b"after"]);

    let cut = AtomicBool::new(false);
    server.script(move |request, serve| {
        let answer = serve();
        let first = request.method == "GET" && !cut.swap(true, Ordering::Relaxed);
        Some(Answer { cut: first.then_some(4), ..answer })
    });
    let got = client.get(&Path::from("after")).await.unwrap();
    got.bytes().await.unwrap_err();

    server.serve_truly();
    let got = client.get(&Path::from("after")).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "0123456789");
}
