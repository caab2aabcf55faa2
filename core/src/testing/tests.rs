use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::*;
use crate::runtime::{Clock, Entropy, Runtime};

fn store() -> (Arc<FaultStore>, Arc<InMemory>) {
    let inner = Arc::new(InMemory::new());
    (FaultStore::new(inner.clone()), inner)
}

async fn create(store: &FaultStore, key: &str) -> object_store::Result<object_store::PutResult> {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata("kfsid".into()), "me".into());
    let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
    store.put_opts(&Path::from(key), PutPayload::from(key.to_owned()), options).await
}

async fn there(inner: &InMemory, key: &str) -> bool {
    inner.head(&Path::from(key)).await.is_ok()
}

#[tokio::test]
async fn rules_apply_once_each_in_order_and_only_to_their_keys() {
    let (faults, inner) = store();
    faults.on(Op::Put, ".kfs", Action::Pass);
    faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    create(&faults, "p/a.kfs").await.unwrap();
    create(&faults, "p/a.index").await.unwrap();
    assert!(matches!(create(&faults, "p/b.kfs").await, Err(Error::Generic { .. })));
    create(&faults, "p/c.kfs").await.unwrap();
    assert!(!there(&inner, "p/b.kfs").await);
    assert_eq!((faults.unused(), faults.count(Op::Put), faults.count_of(Op::Put, ".kfs")), (0, 4, 3));
    let outcomes: Vec<_> = faults.log().into_iter().map(|e| e.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::NotApplied, Outcome::Done]);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_object_and_a_conflict_may_keep_nothing() {
    let (faults, inner) = store();
    faults.on(Op::Put, "a", Action::ActThenFail(Failure::Unavailable));
    faults.on(Op::Put, "b", Action::Conflict);
    assert!(matches!(create(&faults, "a").await, Err(Error::Generic { .. })));
    assert!(matches!(create(&faults, "b").await, Err(Error::AlreadyExists { .. })));
    assert!(there(&inner, "a").await && !there(&inner, "b").await);
    assert!(matches!(create(&faults, "a").await, Err(Error::AlreadyExists { .. })));
    let outcomes: Vec<_> = faults.log().into_iter().map(|e| e.outcome).collect();
    assert_eq!(outcomes, [Outcome::ReplyLost, Outcome::NotApplied, Outcome::AlreadyExists]);
}

#[tokio::test]
async fn a_held_request_acts_when_its_gate_opens() {
    let (faults, inner) = store();
    let (before, after) = (Gate::new(), Gate::new());
    faults.on(Op::Put, "a", Action::Hold(before.clone()));
    faults.on(Op::Put, "b", Action::ActThenHold(after.clone()));
    let test = async {
        before.arrived(1).await;
        after.arrived(1).await;
        assert!(!there(&inner, "a").await && there(&inner, "b").await);
        before.open();
        after.open();
    };
    let (a, b, ()) = futures_util::join!(create(&faults, "a"), create(&faults, "b"), test);
    a.unwrap();
    b.unwrap();
    assert_eq!(before.arrivals(), 1);
}

#[tokio::test]
async fn a_late_request_fails_now_and_is_applied_when_the_test_says() {
    let (faults, inner) = store();
    faults.on(Op::Put, "a", Action::Late(Failure::Unavailable));
    faults.on(Op::Put, "b", Action::LateAndSilent);
    assert!(create(&faults, "a").await.is_err());
    assert!(futures_util::poll!(Box::pin(create(&faults, "b"))).is_pending());
    assert!(!there(&inner, "a").await);
    let landed = faults.land_late().await;
    assert_eq!(
        landed.iter().map(|(key, answer)| (key.as_str(), answer.is_ok())).collect::<Vec<_>>(),
        [("a", true), ("b", true)]
    );
    assert!(there(&inner, "a").await && there(&inner, "b").await);
}

#[tokio::test]
async fn metadata_is_dropped_on_the_way_in_or_out() {
    let (faults, _) = store();
    faults.on(Op::Put, "a", Action::DropMetadata);
    create(&faults, "a").await.unwrap();
    create(&faults, "b").await.unwrap();
    let attributes = |key: &'static str| {
        let faults = faults.clone();
        async move { faults.get(&Path::from(key)).await.unwrap().attributes.len() }
    };
    assert_eq!((attributes("a").await, attributes("b").await), (0, 1));
    faults.on(Op::Get, "b", Action::DropMetadata);
    assert_eq!(attributes("b").await, 0);
}

#[tokio::test]
async fn a_get_is_changed_or_breaks_off() {
    let (faults, _) = store();
    create(&faults, "abc").await.unwrap();
    faults.on(Op::Get, "abc", Action::change(|bytes| bytes.slice(..1)));
    faults.on(Op::Get, "abc", Action::BreakAfter(2));
    let key = Path::from("abc");
    assert_eq!(faults.get(&key).await.unwrap().bytes().await.unwrap(), "a");
    let parts: Vec<_> = faults.get(&key).await.unwrap().into_stream().collect().await;
    assert_eq!(parts[0].as_ref().unwrap(), &Bytes::from("ab"));
    assert!(parts[1].is_err());
    faults.on(Op::Get, "abc", Action::BreakAfter(3));
    assert_eq!(faults.get(&key).await.unwrap().bytes().await.unwrap(), "abc", "what is short is not cut");
    faults.get_range(&key, 1..3).await.unwrap();
    assert_eq!(faults.log().last().unwrap().request.range.as_deref(), Some("1-2"));
}

#[tokio::test]
async fn listings_and_deletes_meet_rules_too() {
    let (faults, inner) = store();
    for key in ["p/a", "p/b", "p/c"] {
        create(&faults, key).await.unwrap();
    }
    faults.on(Op::List, "p", Action::BreakAfter(2));
    let entries: Vec<_> = faults.list(Some(&Path::from("p"))).collect().await;
    assert_eq!(entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    faults.on(Op::List, "p/a", Action::BreakAfter(1));
    let entries: Vec<_> = faults.list_with_offset(Some(&Path::from("p")), &Path::from("p/a")).collect().await;
    assert_eq!(entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false], "the cut is after the offset");
    faults.on(Op::List, "p/a", Action::BreakAfter(2));
    let entries: Vec<_> = faults.list_with_offset(Some(&Path::from("p")), &Path::from("p/a")).collect().await;
    assert_eq!(entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true], "what is short is not cut");
    faults.on(Op::List, KeyMatcher::any(), Action::Fail(Failure::PermissionDenied));
    assert!(faults.list_with_delimiter(None).await.is_err());
    assert_eq!(faults.list_with_offset(None, &Path::from("p/b")).try_collect::<Vec<_>>().await.unwrap().len(), 1);

    faults.on(Op::Delete, "b", Action::Fail(Failure::PermissionDenied));
    assert!(faults.delete(&Path::from("p/b")).await.is_err());
    faults.delete(&Path::from("p/a")).await.unwrap();
    assert!(there(&inner, "p/b").await && !there(&inner, "p/a").await);
}

#[tokio::test]
async fn a_store_goes_down_and_comes_back_and_a_function_decides_the_rest() {
    let (faults, _) = store();
    faults.set_down(Some(Failure::Unavailable));
    assert!(create(&faults, "a").await.is_err());
    faults.set_down(None);
    faults.decide_with(|request| if request.create { Action::Conflict } else { Action::Pass });
    assert!(matches!(create(&faults, "a").await, Err(Error::AlreadyExists { .. })));
    faults.always(Op::Put, "a", Action::Fail(Failure::PermissionDenied));
    assert!(matches!(create(&faults, "a").await, Err(Error::PermissionDenied { .. })));
    faults.clear_rules();
    create(&faults, "a").await.unwrap();
    faults.clear_log();
    assert_eq!(faults.log().len(), 0);
}

#[tokio::test]
async fn a_manual_clock_wakes_sleepers_in_order_and_not_before() {
    let clock = ManualClock::new(1_000);
    let runtime = Runtime::new(clock.clone(), Arc::new(SeededEntropy::new(0)), Arc::new(LocalSpawn));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sleeper = |name: &'static str, ms: u64| {
        let (sleep, order) = (clock.sleep(Duration::from_millis(ms)), order.clone());
        runtime.run(async move {
            sleep.await;
            order.lock().unwrap().push(name);
            Ok(())
        })
    };
    let tasks = [sleeper("later", 20), sleeper("sooner", 10)];
    clock.slept(2).await;
    assert_eq!(clock.sleepers(), [Duration::from_millis(10), Duration::from_millis(20)]);
    clock.advance(Duration::from_millis(9));
    tokio::task::yield_now().await;
    assert!(order.lock().unwrap().is_empty());
    assert!(clock.advance_to_next());
    clock.until(|sleepers| sleepers.len() == 1).await;
    assert_eq!((clock.wall_ms(), clock.elapsed()), (1_010, Duration::from_millis(10)));
    clock.set_wall_ms(5);
    clock.advance(Duration::from_secs(3600));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["sooner", "later"]);
    assert_eq!(clock.wall_ms(), 3_600_005);
    assert!(!clock.advance_to_next());
}

#[tokio::test]
async fn a_dropped_sleeper_is_forgotten() {
    let clock = ManualClock::new(0);
    let sleep = clock.sleep(Duration::from_secs(1));
    assert_eq!(clock.sleepers().len(), 1);
    drop(sleep);
    assert!(clock.sleepers().is_empty());
    clock.sleep(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_runs_by_itself_and_can_be_skewed() {
    let clock = PausedClock::new(1_000);
    clock.sleep(Duration::from_secs(7200)).await;
    assert_eq!((clock.wall_ms(), clock.elapsed()), (7_201_000, Duration::from_secs(7200)));
    clock.suspend(Duration::from_secs(1));
    clock.shift_wall(-2_000);
    assert_eq!((clock.wall_ms(), clock.elapsed()), (7_200_000, Duration::from_secs(7201)));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    // The reference's first outputs for seed 1234567.
    let mut prng = Prng::new(1_234_567);
    assert_eq!([prng.next_u64(), prng.next_u64()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    assert!((0..1000).all(|_| prng.below(7) < 7));
    assert_eq!(prng.below(0), 0);
    let (mut a, mut b) = ([0; 21], [0; 21]);
    SeededEntropy::new(3).fill(&mut a).unwrap();
    SeededEntropy::new(3).fill(&mut b).unwrap();
    assert_eq!(a, b);
    assert_ne!(a, [0; 21]);
}
