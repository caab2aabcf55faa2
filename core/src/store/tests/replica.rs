//! Reads of data, which a copy of the store may answer, and reads of truth.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};

use crate::ErrorKind;
use crate::observer::Observer;
use crate::recorder::{BucketEvent, Recorder, ReplicaOutcome};
use crate::store::replica::{PAUSE, WAIT};
use crate::store::{ReadRange, Store, Version};
use crate::testing::{Action, Failure, FaultStore, KeyMatcher, ManualClock, Op};

/// What became of each read of data.
#[derive(Debug, Default)]
struct Outcomes(Mutex<Vec<ReplicaOutcome>>);

impl Recorder for Outcomes {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::ReplicaRead { outcome } = event {
            self.0.lock().unwrap().push(*outcome);
        }
    }
}

struct Pair {
    store: Store,
    primary: Arc<FaultStore>,
    replica: Arc<FaultStore>,
    clock: Arc<ManualClock>,
    outcomes: Arc<Outcomes>,
}

impl Pair {
    fn new() -> Self {
        let primary = FaultStore::new(Arc::new(InMemory::new()));
        let replica = FaultStore::new(Arc::new(InMemory::new()));
        let store = Store::from_object_store_sent_once(primary.clone()).with_replica(replica.clone());
        let (clock, outcomes) = (ManualClock::new(0), Arc::new(Outcomes::default()));
        let observer = Observer::new(clock.clone(), Some(outcomes.clone()), str::to_string);
        Pair { store: store.observed(observer), primary, replica, clock, outcomes }
    }

    /// An object that both have, in the same version.
    async fn put(&self, key: &str, text: &'static str) -> Version {
        let version = self.store.put(key, PutPayload::from_static(text.as_bytes())).await.unwrap();
        self.replica.inner().put(&key.into(), PutPayload::from_static(text.as_bytes())).await.unwrap();
        version
    }

    /// What became of the reads since the last call.
    fn outcomes(&self) -> Vec<ReplicaOutcome> {
        std::mem::take(&mut self.outcomes.0.lock().unwrap())
    }

    /// Reads of data, and how many requests went to the copy and to the store.
    async fn data(&self, key: &str, version: Option<&Version>) -> (crate::Result<Vec<u8>>, usize, usize) {
        let before = (self.replica.log().len(), self.primary.log().len());
        let read = self.store.reader().get_data(key, ReadRange::Whole, version).await;
        let asked = (self.replica.log().len() - before.0, self.primary.log().len() - before.1);
        (read.map(|fetched| fetched.bytes.to_vec()), asked.0, asked.1)
    }
}

#[tokio::test]
async fn a_copy_answers_reads_of_data_and_the_store_what_the_copy_lacks() {
    let pair = Pair::new();
    // The same ETag on both: InMemory counts its writes.
    let version = pair.store.put("a", PutPayload::from_static(b"one")).await.unwrap();
    pair.replica.inner().put(&"a".into(), PutPayload::from_static(b"one")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("a", Some(&version)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"one".to_vec(), 1, 0));
    // The copy has an older version.
    let newer = pair.store.put("a", PutPayload::from_static(b"two")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("a", Some(&newer)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"two".to_vec(), 1, 1));
    // An object that the copy does not have yet.
    let other = pair.store.put("b", PutPayload::from_static(b"three")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("b", Some(&other)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"three".to_vec(), 1, 1));
    // The copy is away.
    pair.replica.set_down(Some(Failure::Unavailable));
    let (read, ..) = pair.data("a", Some(&newer)).await;
    assert_eq!(read.unwrap(), b"two");
    // What neither has is told by the store.
    let (read, ..) = pair.data("none", None).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
    pair.primary.set_down(Some(Failure::PermissionDenied));
    let (read, ..) = pair.data("a", Some(&newer)).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn no_read_of_truth_asks_the_copy() {
    let pair = Pair::new();
    pair.replica.inner().put(&"t/a".into(), PutPayload::from_static(b"old")).await.unwrap();
    pair.replica.inner().put(&"t/gone".into(), PutPayload::from_static(b"old")).await.unwrap();
    let version = pair.store.put("t/a", PutPayload::from_static(b"new")).await.unwrap();
    let reader = pair.store.reader();
    assert_eq!(reader.get("t/a", ReadRange::Whole, None).await.unwrap().bytes, "new");
    assert_eq!(reader.get("t/a", ReadRange::Range(0..1), Some(&version)).await.unwrap().bytes, "n");
    assert!(reader.head("t/a").await.unwrap().info.version.same_as(&version));
    assert_eq!(reader.head("t/gone").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(reader.list_page("t/", None, 10).await.unwrap().objects.len(), 1);
    assert_eq!(reader.list_dirs("").await.unwrap(), ["t"]);
    assert!(pair.replica.log().is_empty());
}

#[tokio::test]
async fn a_replica_that_hangs_is_waited_for_no_longer_than_its_limit() {
    let pair = Pair::new();
    let version = pair.put("a", "one").await;
    pair.replica.always(Op::Get, KeyMatcher::any(), Action::Hang);
    let passing = async {
        while pair.clock.sleepers().is_empty() {
            tokio::task::yield_now().await;
        }
        pair.clock.advance(WAIT - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert_eq!(pair.primary.count(Op::Get), 0, "the limit has not passed");
        pair.clock.advance(Duration::from_millis(1));
    };
    let ((read, of_copy, of_store), ()) = tokio::join!(pair.data("a", Some(&version)), passing);
    assert_eq!((read.unwrap(), of_copy, of_store), (b"one".to_vec(), 1, 1));
    assert_eq!(pair.outcomes(), [ReplicaOutcome::TimedOut]);
}

#[tokio::test]
async fn a_replica_that_keeps_failing_is_left_alone_and_asked_again_later() {
    use ReplicaOutcome::{Answered, Failed, NotAsked};
    let pair = Pair::new();
    let version = pair.put("a", "one").await;
    let read = || async {
        let (read, of_copy, _) = pair.data("a", Some(&version)).await;
        assert_eq!(read.unwrap(), b"one");
        of_copy
    };
    pair.replica.set_down(Some(Failure::Unavailable));
    for asked in [1, 1, 1, 0, 0] {
        assert_eq!(read().await, asked);
    }
    assert_eq!(pair.outcomes(), [Failed, Failed, Failed, NotAsked, NotAsked]);
    // One read asks again after the pause. While the replica fails, the next pause begins.
    pair.clock.advance(PAUSE);
    assert_eq!((read().await, read().await), (1, 0));
    pair.replica.set_down(None);
    assert_eq!(read().await, 0);
    pair.clock.advance(PAUSE);
    assert_eq!((read().await, read().await), (1, 1));
    assert_eq!(pair.outcomes(), [Failed, NotAsked, NotAsked, Answered, Answered]);
    // Failures count in a row only.
    for down in [Some(Failure::Unavailable), Some(Failure::Unavailable), None].into_iter().cycle().take(9) {
        pair.replica.set_down(down);
        assert_eq!(read().await, 1);
    }
}

#[tokio::test]
async fn a_replica_that_lags_is_asked_at_every_read_and_one_with_other_versions_is_not() {
    use ReplicaOutcome::{Missing, NotAsked, OtherVersion};
    let pair = Pair::new();
    let late = pair.store.put("late", PutPayload::from_static(b"late")).await.unwrap();
    for _ in 0..5 {
        assert_eq!(pair.data("late", Some(&late)).await.1, 1);
    }
    assert_eq!(pair.outcomes(), [Missing; 5]);
    // The replica counts its writes for itself, so that its ETag is another one.
    let newer = pair.put("a", "one").await;
    for asked in [1, 1, 1, 0] {
        let (read, of_copy, of_store) = pair.data("a", Some(&newer)).await;
        assert_eq!((read.unwrap(), of_copy, of_store), (b"one".to_vec(), asked, 1));
    }
    assert_eq!(pair.outcomes(), [OtherVersion, OtherVersion, OtherVersion, NotAsked]);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_replica_that_fails_is_told_once_an_hour() {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    let told = Rc::new(Cell::new(0));
    let count = told.clone();
    crate::testing::subscriber::listen(move |line| {
        let is_warning = line.starts_with("WARN kfs::store") && line.contains("the replica is of no use");
        count.set(count.get() + u32::from(is_warning));
    });
    let pair = Pair::new();
    let version = pair.put("a", "one").await;
    pair.replica.set_down(Some(Failure::PermissionDenied));
    let read = async || {
        assert_eq!(pair.data("a", Some(&version)).await.0.unwrap(), b"one");
        told.get()
    };
    assert_eq!([read().await, read().await], [1, 1]);
    // After the third failure in a row it is not asked for a while.
    pair.clock.advance(Duration::from_secs(3599));
    assert_eq!([read().await, read().await], [1, 1]);
    pair.clock.advance(PAUSE);
    assert_eq!([read().await, read().await], [2, 2]);
}
