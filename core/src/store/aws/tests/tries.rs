//! Calls of the storage interface are tried again, and those of a log are not.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::store::http::scripted::{NoPauses, waiting_by};
use crate::{Bucket, BucketOptions, Result};

/// Every call of the interface that is tried again, by its name, with the requests of one try.
const CALLS: [(&str, usize); 8] =
    [("put", 1), ("get", 1), ("get_stream", 1), ("head", 1), ("exists", 1), ("list", 1), ("delete", 1), ("copy", 2)];

async fn call(store: &Store, name: &str) -> Result<()> {
    match name {
        "put" => store.put("t/a", PutPayload::from_static(b"hello")).await.map(drop),
        "get" => store.get("t/a", ReadRange::Whole, None).await.map(drop),
        "get_stream" => store.get_stream("t/a", ReadRange::Whole).await.map(drop),
        "head" => store.head("t/a").await.map(drop),
        "exists" => store.exists("t/a").await.map(drop),
        "list" => store.list_page("t/", None, 10).await.map(drop),
        "delete" => store.delete("t/a").await,
        _ => store.copy("t/a", "t/b").await,
    }
}

#[tokio::test]
async fn a_call_is_tried_three_times_more_with_growing_pauses_and_the_error_says_so() {
    for (name, requests_of_a_try) in CALLS {
        let clock = Arc::new(NoPauses::default());
        let work = async |store: Store| {
            let store = waiting_by(&clock, store);
            (call(&store, name).await.unwrap_err(), store.requests())
        };
        let ((error, counts), requests) = with(|_| reply(503, "<Error><Code>SlowDown</Code></Error>"), work).await;
        assert_eq!(requests.len(), 4 * requests_of_a_try, "{name}: {error}");
        assert_eq!(counts.total(), requests.len() as u64, "{name}: each try is counted");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        // The answer to a HEAD has no body.
        let cause = if matches!(name, "head" | "exists") { "503" } else { "SlowDown" };
        assert!(error.message().contains(cause) && error.message().ends_with("(tried 4 times)"), "{name}: {error}");
        let pauses = clock.0.lock().unwrap().clone();
        assert_eq!(pauses.len(), 3, "{name}: {pauses:?}");
        for (pause, full) in pauses.iter().zip([100, 200, 400].map(Duration::from_millis)) {
            assert!(*pause >= full / 2 && *pause <= full, "{name}: {pauses:?}");
        }
    }
}

#[tokio::test]
async fn a_pause_that_the_store_asks_for_is_waited_before_the_next_try() {
    for (name, requests_of_a_try) in CALLS {
        let clock = Arc::new(NoPauses::default());
        let slow_down = Some((429, vec![("Retry-After", "7".to_string())], String::new()));
        let work = async |store: Store| call(&waiting_by(&clock, store), name).await.unwrap_err();
        let (error, requests) = with(|_| slow_down.clone(), work).await;
        // A copy that fails asks for its source, and takes the pause from the copy itself.
        assert_eq!(
            (error.retry_after(), requests.len()),
            (Some(Duration::from_secs(7)), 4 * requests_of_a_try),
            "{name}"
        );
        let pauses = clock.0.lock().unwrap().clone();
        assert!(pauses.iter().all(|pause| (7.0..7.5).contains(&pause.as_secs_f64())), "{name}: {pauses:?}");
    }
}

#[tokio::test]
async fn a_pause_that_is_longer_than_the_call_may_take_ends_it_at_once() {
    let slow_down = Some((503, vec![("Retry-After", "86400".to_string())], String::new()));
    let (error, requests) = with(|_| slow_down.clone(), async |store| call(&store, "get").await.unwrap_err()).await;
    assert_eq!((error.retry_after(), requests.len()), (Some(Duration::from_secs(86400)), 1), "{error}");
}

#[tokio::test]
async fn a_put_a_copy_and_a_delete_whose_reply_was_lost_are_sent_again() {
    for name in ["put", "copy", "delete"] {
        let mut lost = false;
        let script = |request: &Request| match &request.line {
            line if line.starts_with("HEAD") => object("hello"),
            _ if !std::mem::replace(&mut lost, true) => None,
            // It was deleted by the first try.
            line if line.starts_with("DELETE") => reply(404, "<Error><Code>NoSuchKey</Code></Error>"),
            line if line.starts_with("PUT") && name == "copy" => {
                reply(200, "<CopyObjectResult><ETag>\"abc\"</ETag></CopyObjectResult>")
            }
            _ => object(""),
        };
        let (done, requests) = with(script, async |store| call(&store, name).await).await;
        done.unwrap();
        assert_eq!(requests.iter().filter(|request| !request.line.starts_with("HEAD")).count(), 2, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_no_try_can_change_is_not_asked_for_again() {
    for (name, requests_of_a_try) in CALLS {
        for (status, body) in [(403, ""), (400, "<Error><Code>InvalidArgument</Code></Error>"), (501, "")] {
            let (error, requests) =
                with(|_| reply(status, body), async |store| call(&store, name).await.unwrap_err()).await;
            assert!(!error.is_retriable(), "{name}: {status}: {error}");
            assert_eq!(requests.len(), requests_of_a_try, "{name}: {status}: {error}");
        }
    }
}

#[tokio::test]
async fn creates_and_replaces_are_sent_once() {
    let work = async |store: Store| {
        let created = store.create("t/a", PutPayload::new(), &Identity::none()).await;
        let version = Version::new(Some("abc"), 5, None);
        let replaced = store.replace_if("t/a", PutPayload::new(), &Identity::none(), &version).await;
        assert!(matches!(created, Created::Unknown(_)), "{created:?}");
        assert!(matches!(replaced, crate::store::Replaced::Unknown(_)), "{replaced:?}");
    };
    let ((), requests) = with(|_| reply(503, ""), work).await;
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_log_sends_each_request_once_and_its_bucket_gives_a_store_that_tries_again() {
    // The breaker would keep requests from being sent.
    let work = async |endpoint: &str| {
        let store = Store::open("s3://logs", &options(endpoint).config("AWS_BREAKER_FAILURES", "0")).unwrap();
        let bucket = Bucket::from_store(store, BucketOptions::default()).unwrap();
        let sent = async |store: &Store| {
            let before = store.requests();
            for (name, _) in CALLS {
                call(store, name).await.unwrap_err();
            }
            store.requests().since(&before).total()
        };
        let calls = impatient(bucket.store().clone());
        (sent(&bucket.0.reads).await, sent(&bucket.0.commits).await, sent(&calls).await)
    };
    let (sent, _) = served(|_| reply(503, ""), work).await;
    assert_eq!(sent, (9, 9, 36));
}

#[tokio::test]
async fn the_number_of_tries_is_a_setting() {
    for (retries, expected) in [("0", 1), ("1", 2), ("20", 21)] {
        let work = async |endpoint: &str| {
            let options = options(endpoint).config("AWS_RETRIES", retries).config("AWS_BREAKER_FAILURES", "0");
            let store = impatient(Store::open("s3://logs", &options).unwrap());
            call(&store, "get").await.unwrap_err()
        };
        let (error, requests) = served(|_| reply(503, ""), work).await;
        assert_eq!((requests.len(), error.message().contains("tried")), (expected, expected > 1), "{error}");
    }
}

#[test]
fn numbers_of_tries_and_times_that_make_no_sense_are_refused() {
    for (name, value, why) in [
        ("AWS_RETRIES", "21", "AWS_RETRIES is too large: at most 20 is allowed"),
        ("AWS_RETRIES", "4294967296", "AWS_RETRIES is too large: at most 20 is allowed"),
        ("AWS_RETRIES", "-1", "AWS_RETRIES can't be used"),
        ("AWS_OPERATION_TIMEOUT", "0s", "AWS_OPERATION_TIMEOUT is not usable"),
        ("AWS_OPERATION_TIMEOUT", "25h", "AWS_OPERATION_TIMEOUT is not usable"),
        ("AWS_READ_TIMEOUT", "0s", "AWS_READ_TIMEOUT is not usable: more than 0 and at most 24 hours are allowed"),
        ("AWS_CONNECT_TIMEOUT", "0s", "AWS_CONNECT_TIMEOUT is not usable"),
        ("connect_timeout", "25h", "connect_timeout is not usable"),
        ("AWS_POOL_IDLE_TIMEOUT", "0s", "AWS_POOL_IDLE_TIMEOUT is not usable"),
        ("AWS_HTTP2_KEEP_ALIVE_INTERVAL", "0s", "AWS_HTTP2_KEEP_ALIVE_INTERVAL is not usable"),
        ("replica_wait", "0s", "replica_wait is not usable"),
        ("replica_wait", "99999999h", "replica_wait is not usable"),
    ] {
        let error = Store::open("s3://logs", &options("http://127.0.0.1:1").config(name, value)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(why), "{error}");
    }
}
