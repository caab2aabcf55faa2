//! Calls that are tried again, on a store that a caller brings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::PutPayload;
use object_store::memory::InMemory;

use crate::ErrorKind;
use crate::observer::Observer;
use crate::recorder::{BucketEvent, Recorder};
use crate::runtime::{Clock, Runtime, SystemEntropy};
use crate::store::{Created, Identity, ReadRange, Replaced, Store};
use crate::testing::{Action, Failure, FaultStore, LocalSpawn, Op, PausedClock};

const LIMIT: Duration = Duration::from_secs(300);

/// A store that tries again by tokio's paused time.
fn world() -> (Arc<FaultStore>, Store, Arc<PausedClock>) {
    let (faults, clock) = (FaultStore::new(Arc::new(InMemory::new())), PausedClock::new(0));
    let runtime = Runtime::new(clock.clone(), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
    let store = Store::from_object_store_sent_once(faults.clone()).with_retries(3, LIMIT).unwrap();
    (faults, store.waiting_on(&runtime), clock)
}

/// Remembers the retries that it is told of.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(&'static str, u32, Duration, String)>>);

impl Recorder for Told {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::Retry { partition: None, doing, failures, pause, error } = event {
            self.0.lock().unwrap().push((doing, *failures, *pause, error.to_string()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_wait_is_told_with_its_cause() {
    let (faults, store, clock) = world();
    let told = Arc::new(Told::default());
    let store = store.observed(Observer::new(clock.clone(), Some(told.clone()), str::to_string));
    faults.on(Op::Put, "a", Action::ActThenFail(Failure::TimedOut));
    faults.on(Op::Put, "a", Action::Fail(Failure::SlowDown(Duration::from_secs(20))));
    store.put("a", PutPayload::from_static(b"hello")).await.unwrap();
    let waited = clock.elapsed();
    let told = told.0.lock().unwrap();
    let [(first, 1, pause, cause), (second, 2, longer, slow)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*first, *second), ("writing an object", "writing an object"));
    assert!(cause.contains("TimedOut") && slow.contains("slow down"), "{told:?}");
    // tokio rounds each pause up to a millisecond.
    let rounded = waited - (*pause + *longer);
    assert!(rounded < Duration::from_millis(3), "{waited:?} {told:?}");
    assert!(*longer >= Duration::from_millis(20_100), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_time_and_names_the_last_failure() {
    let (faults, store, clock) = world();
    faults.on(Op::Get, "a", Action::Fail(Failure::Unavailable));
    faults.always(Op::Get, "a", Action::Hang);
    let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
    assert_eq!((clock.elapsed(), error.kind(), error.key()), (LIMIT, ErrorKind::TimedOut, Some("a")));
    for part in
        ["reading an object took longer than the operation_timeout, which is 300s", "Unavailable", "tried 2 times"]
    {
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_and_a_replace_that_take_too_long_are_not_known() {
    let (faults, store, _clock) = world();
    let version = store.put("a", PutPayload::new()).await.unwrap();
    faults.always(Op::Put, "", Action::Hang);
    let created = store.create("b", PutPayload::new(), &Identity::none()).await;
    assert!(matches!(&created, Created::Unknown(late) if late.kind() == ErrorKind::TimedOut), "{created:?}");
    let replaced = store.replace_if("a", PutPayload::new(), &Identity::none(), &version).await;
    assert!(matches!(&replaced, Replaced::Unknown(late) if late.kind() == ErrorKind::TimedOut), "{replaced:?}");
    assert_eq!(faults.count(Op::Put), 3);
}

#[tokio::test(start_paused = true)]
async fn each_page_of_a_listing_and_each_piece_of_a_stream_is_tried_again() {
    use futures_util::TryStreamExt;

    let (faults, store, _clock) = world();
    let size = 20 << 20;
    store.put("d/a", vec![7; size].into()).await.unwrap();
    faults.on(Op::List, "", Action::Fail(Failure::Unavailable));
    assert_eq!(store.list("d").try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let stream = store.get_stream("d/a", ReadRange::Whole).await.unwrap();
    faults.on(Op::Get, "a", Action::Fail(Failure::Unavailable));
    faults.on(Op::Get, "a", Action::BreakAfter(5));
    let read: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(read.concat().len(), size);
}

#[tokio::test(start_paused = true)]
async fn a_failed_fsync_is_not_tried_again() {
    let (faults, store, _clock) = world();
    faults.always(Op::Put, "a", Action::Fail(Failure::SyncFailed { visible: true }));
    store.put("a", PutPayload::new()).await.unwrap_err();
    assert_eq!(faults.count(Op::Put), 1);
}

#[tokio::test]
async fn a_store_that_a_caller_brings_is_asked_once_unless_the_caller_says_otherwise() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    faults.always(Op::Get, "a", Action::Fail(Failure::Unavailable));
    let store = Store::from_object_store(faults.clone());
    store.get("a", ReadRange::Whole, None).await.unwrap_err();
    assert_eq!(faults.count(Op::Get), 1);
    let refused = |retries, limit| store.clone().with_retries(retries, limit).unwrap_err().kind();
    assert_eq!(refused(21, LIMIT), ErrorKind::InvalidInput);
    assert_eq!(refused(3, Duration::ZERO), ErrorKind::InvalidInput);
    assert_eq!(refused(3, Duration::MAX), ErrorKind::InvalidInput);
}
