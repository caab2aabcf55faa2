//! A store that is away, and its breaker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use object_store::memory::InMemory;

use crate::ErrorKind;
use crate::recorder::BreakerState;
use crate::store::{BreakerOptions, Created, Identity, ReadRange, Replaced, Store, StoreOptions};
use crate::testing::{Action, Failure, FaultStore, KeyMatcher, ManualClock, Op};

const SECOND: Duration = Duration::from_secs(1);

/// A store that opens its breaker after three failures.
fn gated() -> (Arc<FaultStore>, Arc<ManualClock>, Store) {
    let (faults, clock) = (FaultStore::new(Arc::new(InMemory::new())), ManualClock::new(0));
    let breaker = BreakerOptions::default().failures(3);
    let options = StoreOptions::default().clock(clock.clone()).breaker(breaker);
    let store = Store::from_object_store_with(faults.clone(), &options);
    (faults, clock, store)
}

async fn open_breaker(faults: &FaultStore, store: &Store) {
    faults.set_down(Some(Failure::Unavailable));
    for _ in 0..3 {
        store.head("k").await.unwrap_err();
    }
    assert_eq!(store.breaker().unwrap().state, BreakerState::Open);
    faults.clear_log();
}

#[tokio::test]
async fn nothing_reaches_a_store_whose_breaker_is_open_and_the_error_says_why() {
    let (faults, clock, store) = gated();
    open_breaker(&faults, &store).await;
    clock.advance(SECOND / 5);
    let refused = store.get("k", ReadRange::Whole, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    for part in ["has not been asked for 200.0ms", "3 requests in a row failed", "asked again in 800.0ms", "injected"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let last = std::error::Error::source(&refused).unwrap().to_string();
    assert!(last.contains("injected: Unavailable"), "{last}");

    store.put("k", "v".into()).await.unwrap_err();
    store.delete("k").await.unwrap_err();
    store.copy("k", "l").await.unwrap_err();
    store.list_page("", None, 1).await.unwrap_err();
    store.list_dirs("").await.unwrap_err();
    let identity = Identity::none();
    assert!(matches!(store.create("k", "v".into(), &identity).await, Created::Refused(_)), "nothing was sent");
    faults.set_down(None);
    let version = Store::from_object_store(faults.clone()).put("other", "v".into()).await.unwrap();
    faults.clear_log();
    assert!(matches!(store.replace_if("other", "w".into(), &identity, &version).await, Replaced::Refused(_)));
    assert_eq!(faults.log().len(), 0);
    assert_eq!(store.requests().put, 0, "what is not sent is not counted");
}

#[tokio::test]
async fn one_request_is_let_through_after_the_pause_and_its_answer_closes_the_breaker() {
    let (faults, clock, store) = gated();
    open_breaker(&faults, &store).await;
    for pause in [1, 2, 4] {
        clock.advance(SECOND * pause);
        for _ in 0..5 {
            store.head("k").await.unwrap_err();
        }
        assert_eq!(faults.log().len(), 1, "after {pause} s");
        faults.clear_log();
    }
    faults.set_down(None);
    clock.advance(SECOND * 5);
    assert_eq!(store.head("k").await.unwrap_err().kind(), ErrorKind::NotFound, "404 is an answer");
    assert_eq!(store.breaker().unwrap().state, BreakerState::Closed);
    store.put("k", "v".into()).await.unwrap();
}

#[tokio::test]
async fn refusals_of_the_store_do_not_open_its_breaker() {
    let (faults, _, store) = gated();
    for failure in [Failure::NotFound, Failure::PermissionDenied, Failure::Precondition, Failure::AlreadyExists] {
        faults.set_down(Some(failure));
        for _ in 0..5 {
            store.head("k").await.unwrap_err();
        }
        assert_eq!(store.breaker().unwrap().failures, 0, "{failure:?}");
    }
}

#[tokio::test]
async fn a_probe_whose_caller_gives_up_leaves_its_place_to_the_next_request() {
    let (faults, clock, store) = gated();
    open_breaker(&faults, &store).await;
    faults.set_down(None);
    faults.always(Op::Get, KeyMatcher::any(), Action::Hang);
    clock.advance(SECOND);
    for _ in 0..3 {
        let mut probe = Box::pin(store.get("k", ReadRange::Whole, None));
        assert!((&mut probe).now_or_never().is_none());
        assert_eq!(store.breaker().unwrap().state, BreakerState::HalfOpen);
        let refused = store.delete("k").await.unwrap_err();
        assert!(refused.message().contains("one request is asking it now"), "{refused}");
    }
    faults.clear_rules();
    store.delete("k").await.unwrap();
    assert_eq!(store.breaker().unwrap().state, BreakerState::Closed);
}

#[tokio::test]
async fn requests_that_are_given_up_without_an_answer_open_the_breaker() {
    let (faults, clock, store) = gated();
    faults.always(Op::Put, KeyMatcher::any(), Action::Hang);
    for _ in 0..3 {
        let mut silent = Box::pin(store.put("k", "v".into()));
        assert!((&mut silent).now_or_never().is_none());
        clock.advance(SECOND * 10);
    }
    let status = store.breaker().unwrap();
    assert_eq!((status.state, status.error.unwrap().kind()), (BreakerState::Open, ErrorKind::TimedOut));
}

#[tokio::test]
async fn a_breaker_that_is_open_leaves_other_stores_and_the_check_of_a_bucket_alone() {
    let (faults, _, down) = gated();
    let (_, _, up) = gated();
    up.put("k", "v".into()).await.unwrap();
    open_breaker(&faults, &down).await;
    down.head("k").await.unwrap_err();
    assert_eq!(up.get("k", ReadRange::Whole, None).await.unwrap().bytes, "v");

    let runtime = crate::runtime::Runtime::current_or_own().unwrap();
    down.preflight(&runtime, &Default::default()).await.unwrap();
    assert!(!faults.log().is_empty(), "the check asks the store itself");
    faults.set_down(None);
    assert!(down.preflight(&runtime, &Default::default()).await.unwrap().failure().is_none());
}

#[test]
fn only_stores_in_a_cloud_have_a_breaker_by_default_and_options_are_checked() {
    let memory = Store::open("memory:", &StoreOptions::default()).unwrap();
    assert!(memory.breaker().is_none());
    let gated = StoreOptions::default().breaker(BreakerOptions::default());
    assert_eq!(Store::open("memory:", &gated).unwrap().breaker().unwrap().state, BreakerState::Closed);
    let off = StoreOptions::default().breaker(BreakerOptions::default().failures(0));
    assert!(Store::open("memory:", &off).unwrap().breaker().is_none());
    for pause in [Duration::ZERO, SECOND * 3601] {
        let wrong = StoreOptions::default().breaker(BreakerOptions::default().pause(pause));
        let error = Store::open("memory:", &wrong).unwrap_err();
        assert!(error.message().contains("1ms to 1h"), "{error}");
    }
}

#[cfg(feature = "aws")]
#[test]
fn the_settings_of_a_cloud_store_say_when_its_breaker_opens() {
    let open = |settings: &[(&str, &str)]| {
        let options = StoreOptions { environment: false, ..StoreOptions::default() };
        let options = options.config("aws_access_key_id", "k").config("aws_secret_access_key", "a-secret-of-a-test");
        let options = settings.iter().fold(options, |options, (name, value)| options.config(*name, *value));
        Store::open("s3://bucket?region=us-east-1", &options)
    };
    assert_eq!(open(&[]).unwrap().breaker().unwrap().state, BreakerState::Closed);
    assert!(open(&[("breaker_failures", "0")]).unwrap().breaker().is_none());
    assert!(open(&[("AWS_BREAKER_PAUSE", "250ms")]).unwrap().breaker().is_some());
    for (name, value) in [("breaker_pause", "0s"), ("breaker_pause", "2h"), ("breaker_failures", "4294967296")] {
        let error = open(&[(name, value)]).unwrap_err();
        assert!(error.message().starts_with(name), "{error}");
    }
}
