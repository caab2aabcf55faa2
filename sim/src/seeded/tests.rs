use kfs_core::testing::{LocalSpawn, PausedClock, SeededEntropy};
use object_store::PutMode;
use object_store::memory::InMemory;

use super::*;

fn seeded(seed: u64, faults: Faults) -> (Arc<SeededStore>, Arc<InMemory>, Runtime) {
    let runtime = Runtime::new(PausedClock::new(0), Arc::new(SeededEntropy::new(0)), Arc::new(LocalSpawn));
    let inner = Arc::new(InMemory::new());
    (SeededStore::new(inner.clone(), runtime.clone(), seed, faults), inner, runtime)
}

async fn put(store: &SeededStore, key: &str) -> Result<PutResult> {
    let payload = PutPayload::from_static(b"0123456789");
    store.put_opts(&key.into(), payload, PutMode::Create.into()).await
}

async fn there(inner: &InMemory, key: &str) -> bool {
    inner.head(&key.into()).await.is_ok()
}

/// What became of 200 requests.
async fn story(seed: u64) -> Vec<String> {
    let (store, _, runtime) = seeded(seed, Faults::stormy().spell(20).page(3));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let clock = runtime.clock().clone();
    store.observe(move |event| tell.lock().unwrap().push(format!("{:?} {event:?}", clock.elapsed())));
    for n in 0..100 {
        let key = format!("p/{}", n % 20);
        let limit = Duration::from_secs(30);
        let _ = runtime.timeout(limit, put(&store, &key)).await;
        let _ = runtime.timeout(limit, store.get(&key.as_str().into())).await;
    }
    runtime.clock().sleep(Duration::from_secs(3600)).await;
    let told = told.lock().unwrap().clone();
    assert!(told.len() > 300, "{}", told.len());
    told
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_story() {
    let first = story(7).await;
    assert_eq!(first, story(7).await);
    assert_ne!(first, story(8).await);
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_what_it_says() {
    let certain = Faults::none();
    let (store, inner, _) = seeded(1, certain.clone().fail(1000));
    assert!(put(&store, "a").await.is_err() && !there(&inner, "a").await);
    store.set_faults(certain.clone().lose_reply(1000));
    assert!(put(&store, "a").await.is_err() && there(&inner, "a").await);
    store.set_faults(certain.clone().conflict(1000));
    assert!(matches!(put(&store, "b").await, Err(object_store::Error::AlreadyExists { .. })));
    assert!(!there(&inner, "b").await);
    let update = PutMode::Update(object_store::UpdateVersion { e_tag: Some("\"0\"".into()), version: None });
    let met = store.put_opts(&"a".into(), PutPayload::new(), update.into()).await;
    assert!(matches!(met, Err(object_store::Error::AlreadyExists { .. })), "a replace meets it too");
    store.set_faults(certain.clone().twice(1000));
    assert!(matches!(put(&store, "c").await, Err(object_store::Error::AlreadyExists { .. })));
    assert!(there(&inner, "c").await);
    store.set_faults(certain.clone().deny(1000));
    assert!(matches!(put(&store, "d").await, Err(object_store::Error::PermissionDenied { .. })));
    store.set_faults(certain.clone().cut(1000));
    let cut = store.get(&"a".into()).await.unwrap().into_stream().collect::<Vec<_>>().await;
    let length: usize = cut.iter().flatten().map(Bytes::len).sum();
    assert!(length < 10, "{length}");
    store.set_faults(certain);
    assert_eq!(store.get(&"a".into()).await.unwrap().bytes().await.unwrap(), "0123456789");
}

#[tokio::test(start_paused = true)]
async fn a_late_put_lands_and_not_later_than_it_may() {
    let latest = Duration::from_secs(3600);
    for seed in 0..20 {
        let (store, inner, runtime) = seeded(seed, Faults::none().late(1000).latest(latest));
        let answered = runtime.timeout(Duration::from_secs(30), put(&store, "a")).await;
        assert!(answered.is_none_or(|answer| answer.is_err()));
        runtime.clock().sleep(latest).await;
        assert!(there(&inner, "a").await, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_read_in_pages_and_may_stop() {
    let (store, _, _) = seeded(1, Faults::none().page(3));
    for n in 10..20 {
        put(&store, &format!("p/{n}")).await.unwrap();
    }
    let requests = Arc::new(Mutex::new(0));
    let count = requests.clone();
    store.observe(move |event| *count.lock().unwrap() += usize::from(matches!(event.moment, Moment::Sent)));
    let listed: Vec<_> = store.list(Some(&"p".into())).try_collect().await.unwrap();
    assert_eq!(listed.len(), 10);
    assert_eq!(*requests.lock().unwrap(), 4);
    store.set_faults(Faults::none().page(3).stop_listing(1000));
    let listed: Vec<_> = store.list(Some(&"p".into())).collect().await;
    assert_eq!(listed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_is_not_heard_and_what_it_sent_lands() {
    let (store, inner, runtime) = seeded(1, Faults::none().latency(Duration::from_secs(1)));
    let (asked, patience) = (store.clone(), Duration::from_secs(60));
    let watched = Arc::downgrade(&store);
    store.observe(move |event| {
        if event.id == 1 && matches!(event.moment, Moment::Sent) {
            watched.upgrade().unwrap().cut_off();
        }
    });
    let sent = runtime.run(async move {
        let _ = put(&asked, "a").await;
        Ok(())
    });
    drop(sent);
    tokio::task::yield_now().await;
    assert!(runtime.timeout(patience, put(&store, "b")).await.is_none());
    assert!(runtime.timeout(patience, put(&store, "c")).await.is_none());
    assert!(there(&inner, "a").await && !there(&inner, "b").await && !there(&inner, "c").await);
}

#[tokio::test(start_paused = true)]
async fn what_a_suspended_machine_has_sent_arrives_when_it_runs_again() {
    let (store, inner, runtime) = seeded(1, Faults::none().latency(Duration::from_millis(50)));
    let sender = store.clone();
    let sent = runtime.run(async move {
        let _ = put(&sender, "a").await;
        Ok(())
    });
    tokio::task::yield_now().await;
    store.stall(Duration::from_secs(3600));
    runtime.clock().sleep(Duration::from_secs(3599)).await;
    assert!(!there(&inner, "a").await);
    sent.await.unwrap();
    assert!(there(&inner, "a").await);
}
