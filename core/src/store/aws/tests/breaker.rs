//! What reaches a server that is away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::recorder::BreakerState;

#[tokio::test]
async fn no_request_reaches_a_server_while_the_breaker_is_open_and_other_servers_are_asked() {
    let (received, good) = (AtomicUsize::new(0), |_: &Request| object("hello"));
    let away = |_: &Request| {
        received.fetch_add(1, Ordering::Relaxed);
        reply(503, "<Error><Code>ServiceUnavailable</Code><Message>words</Message></Error>")
    };
    let gets = async |up: &str| {
        let up = Store::open("s3://logs/some/prefix", &options(up)).unwrap();
        let work = async |down: &str| {
            let settings = options(down).config("breaker_failures", "4").config("breaker_pause", "1h");
            let down = Store::open("s3://logs/some/prefix", &settings).unwrap();
            while down.breaker().unwrap().state == BreakerState::Closed {
                drop(down.create("k", PutPayload::from_static(b"v"), &Identity::none()).await);
            }
            let before = received.load(Ordering::Relaxed);
            assert_eq!(before, 4);
            for _ in 0..20 {
                let error = down.get("k", ReadRange::Whole, None).await.unwrap_err();
                assert!(error.message().contains("has not been asked for"), "{error}");
                no_secret(&error);
                assert_eq!(up.get("k", ReadRange::Whole, None).await.unwrap().bytes, "hello");
            }
            let created = down.create("k", PutPayload::from_static(b"v"), &Identity::none()).await;
            assert!(matches!(created, Created::Refused(_)), "{created:?}");
            assert_eq!(received.load(Ordering::Relaxed), before);
        };
        served(away, work).await.0
    };
    let ((), asked) = served(good, gets).await;
    assert_eq!(asked.len(), 20);
}

#[tokio::test]
async fn answers_that_the_server_is_there_never_open_the_breaker() {
    for status in [400, 403, 404, 409, 412, 429] {
        let settings = |endpoint: &str| options(endpoint).config("breaker_failures", "2");
        let work = async |endpoint: &str| {
            let store = Store::open("s3://logs/some/prefix", &settings(endpoint)).unwrap();
            for _ in 0..5 {
                drop(store.create("k", PutPayload::from_static(b"v"), &Identity::none()).await);
            }
            store.breaker().unwrap()
        };
        let (breaker, _) = served(|_| reply(status, ""), work).await;
        assert_eq!((breaker.state, breaker.failures), (BreakerState::Closed, 0), "{status}");
    }
}
