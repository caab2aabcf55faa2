//! The request budget of docs/design.md, on every kind of store.
//!
//! The clock stands still until a test moves it, so that no request is due to time alone.

use std::sync::Arc;
use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::runtime::Runtime;
use kfs_core::store::{Identity, Replaced, RequestCounts};
use kfs_core::{Bucket, BucketOptions, ErrorKind, OnConflict, Partition, ReaderOptions, Writer, WriterOptions};
use kfs_tests::{LocalSpawn, ManualClock, SeededEntropy, TestBucket, each_bucket};

/// Processes on one store.
struct World {
    store: TestBucket,
    clock: Arc<ManualClock>,
}

/// PUTs, GETs with HEADs, and LISTs.
type Spent = [u64; 3];

impl World {
    fn of(store: TestBucket) -> Self {
        // Stores compare the time of claims with that of objects.
        let now = Runtime::current_or_own().expect("in a runtime").clock().wall_ms();
        World { store, clock: ManualClock::new(now) }
    }

    fn process(&self, seed: u64) -> Bucket {
        let runtime = Runtime::new(self.clock.clone(), Arc::new(SeededEntropy::new(seed)), Arc::new(LocalSpawn));
        let options = BucketOptions::default().runtime(runtime);
        Bucket::from_store(self.store.store("budgets"), options).expect("bucket")
    }

    /// What a process spends on this.
    async fn spent<T>(&self, process: &Bucket, what: &str, work: impl Future<Output = T>) -> (Spent, T) {
        let before = process.requests();
        let done = work.await;
        let spent = process.requests().since(&before);
        assert_eq!(spent.delete, 0, "{}: {what}", self.store.name);
        (counts(&spent), done)
    }
}

fn counts(spent: &RequestCounts) -> Spent {
    [spent.put, spent.get, spent.list]
}

/// Two kinds of store take GETs more.
#[derive(Clone, Copy, Default)]
struct More {
    /// In a directory: looks whether `log.json` is still there, before a try and before an ack. They cost next to nothing.
    confirmations: u64,
    /// On Azure, which has no ranges from the end: HEADs for the size, before the end of a segment is read.
    sizes: u64,
}

const APPEND: More = More { confirmations: 2, sizes: 0 };
const LAST_BYTES: More = More { confirmations: 0, sizes: 1 };

impl World {
    /// Does the work, and holds what it spent against a row of the budget.
    async fn costs<T>(
        &self,
        process: &Bucket,
        what: &str,
        [put, get, list]: Spent,
        more: More,
        work: impl Future<Output = T>,
    ) -> T {
        self.store.asked();
        let (spent, done) = self.spent(process, what, work).await;
        if let Some(asked) = self.store.asked().filter(|_| put > 0) {
            // What only reads may be beside requests that a dropped reader has left.
            assert_eq!(spent.iter().sum::<u64>(), asked, "{}: {what}: what the server was asked", self.store.name);
        }
        let more = match self.store.name {
            "directory" => more.confirmations,
            "azure" => more.sizes,
            _ => 0,
        };
        assert_eq!(spent, [put, get + more, list], "{}: {what}: PUTs, GETs, LISTs", self.store.name);
        done
    }
}

fn partition(process: &Bucket, topic: &str) -> Partition {
    process.partition(topic, 0).expect("name")
}

async fn open(process: &Bucket, topic: &str, options: WriterOptions) -> Writer {
    partition(process, topic).writer_with(options).await.expect("writer")
}

async fn append(writer: &Writer, timestamp: i64) -> i64 {
    let record = NewRecord::new(timestamp).value(b"value");
    writer.append(&[record]).await.expect("admitted").durable().await.expect("durable").base
}

#[tokio::test]
async fn appends_stay_within_the_request_budget_on_every_store() {
    for store in each_bucket() {
        let world = World::of(store);
        let one = world.process(1);
        let opening = open(&one, "t", WriterOptions::default());
        let writer = world.costs(&one, "open an empty log", [0, 0, 1], More::default(), opening).await;
        world.costs(&one, "first append ever", [3, 0, 0], APPEND, append(&writer, 0)).await;
        world.costs(&one, "append", [2, 0, 0], APPEND, append(&writer, 0)).await;
        let many = async {
            let mut waiting = Vec::new();
            for n in 0..10 {
                waiting.push(writer.append(&[NewRecord::new(n).value(b"v")]).await.expect("admitted"));
            }
            for append in waiting {
                append.durable().await.expect("durable");
            }
        };
        world.costs(&one, "ten waiters of one flush", [2, 0, 0], APPEND, many).await;
        let idle = async {
            for _ in 0..24 {
                world.clock.advance(Duration::from_secs(3600));
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
        };
        world.costs(&one, "idle writer", [0, 0, 0], More::default(), idle).await;
        world.costs(&one, "append after the bound", [2, 0, 1], APPEND, append(&writer, 0)).await;
        if world.store.name != "directory" {
            let mut confirmed = 0;
            for _ in 0..6 {
                world.clock.advance(Duration::from_secs(20));
                let ([put, get, list], _) = world.spent(&one, "append all the time", append(&writer, 0)).await;
                assert_eq!((put, list), (2, 0), "{}: append all the time", world.store.name);
                confirmed += get;
            }
            assert!((1..=2).contains(&confirmed), "{}: 1 HEAD in a minute: {confirmed}", world.store.name);
        }
        writer.close(None).await.expect("closed");
        let timed = open(&one, "timed", WriterOptions::default().time_index(true)).await;
        append(&timed, 0).await;
        world.costs(&one, "append with a time index", [3, 0, 0], APPEND, append(&timed, 0)).await;
    }
}

#[tokio::test]
async fn openings_claims_and_lost_slots_stay_within_the_request_budget_on_every_store() {
    for store in each_bucket() {
        let world = World::of(store);
        let (one, two, three) = (world.process(1), world.process(2), world.process(3));
        let options = WriterOptions::default;
        let first = open(&one, "t", options()).await;
        append(&first, 0).await;
        let opening = open(&two, "t", options());
        let second = world.costs(&two, "open on one segment", [0, 2, 1], More::default(), opening).await;
        append(&second, 0).await;
        let lost = async { first.append(&[NewRecord::new(0)]).await.expect("admitted").durable().await };
        let more = More { confirmations: 1, sizes: 1 };
        let lost = world.costs(&one, "lost slot", [2, 1, 0], more, lost).await;
        assert_eq!(lost.expect_err("fenced").kind(), ErrorKind::Fenced);
        for _ in 0..5 {
            append(&second, 0).await;
        }
        let opening = open(&three, "t", options());
        let third = world.costs(&three, "open on several segments", [0, 3, 1], LAST_BYTES, opening).await;
        world.costs(&three, "claim", [3, 1, 0], APPEND, third.claim()).await.expect("claimed");

        let rebase = || options().on_conflict(OnConflict::Rebase);
        let (one_of_two, other) = (open(&one, "r", rebase()).await, open(&two, "r", rebase()).await);
        append(&one_of_two, 0).await;
        append(&other, 0).await;
        // The lost slot and its own; the end of the lost one, and it and its index to follow it.
        let more = More { confirmations: 3, sizes: 1 };
        world.costs(&one, "lost slot that is followed", [4, 3, 0], more, append(&one_of_two, 0)).await;
    }
}

#[tokio::test]
async fn reads_stay_within_the_request_budget_on_every_store() {
    const SEGMENTS: u64 = 20;
    for store in each_bucket() {
        let world = World::of(store);
        let writer = open(&world.process(1), "t", WriterOptions::default()).await;
        for n in 0..20 {
            append(&writer, 1000 + n).await;
        }
        let none = More::default();
        let two = world.process(2);
        let reader = partition(&two, "t").reader();
        let fetched = world.costs(&two, "first fetch", [0, 1, 1], none, reader.fetch(10, 1)).await;
        assert_eq!(fetched.expect("fetched").next_offset, 11);
        world.costs(&two, "fetch of held bytes", [0, 0, 0], none, reader.fetch(10, 1)).await.expect("fetched");

        let three = world.process(3);
        let scan = async {
            let mut records = partition(&three, "t").reader().records(0);
            let mut count = 0;
            while records.next().await.expect("read").is_some() {
                count += 1;
            }
            count
        };
        // And whether anything follows the newest.
        let count = world.costs(&three, "scan", [0, SEGMENTS + 1, 1], none, scan).await;
        assert_eq!(count, SEGMENTS);

        let four = world.process(4);
        let four_reads = partition(&four, "t");
        world.costs(&four, "refresh", [0, 1, 1], LAST_BYTES, four_reads.refresh()).await.expect("refreshed");
        let search = four_reads.offset_for_timestamp(1007);
        let ([put, get, list], found) = world.spent(&four, "offset for a timestamp", search).await;
        assert_eq!(found.expect("searched").expect("found").offset, 7);
        // A refresh with its HEAD, and 2 log2 N.
        let most = 2 + 2 * u64::from(SEGMENTS.ilog2() + 1);
        assert!(put == 0 && list <= 2 && get <= most, "{}: {get} GETs, {list} LISTs", world.store.name);

        follows(&world, &writer).await;
    }
}

/// A follower with nothing new, and a reader of what another process appended.
async fn follows(world: &World, writer: &Writer) {
    const POLLS: u64 = 30;
    let second = Duration::from_secs(1);
    let process = world.process(5);
    let options = ReaderOptions::default().poll_min(second).poll_max(second);
    let mut follower = partition(&process, "t").reader_with(options).follow_records(19);
    assert_eq!(follower.next().await.expect("read").expect("a record").offset(), 19);
    let none = More::default();
    let polls = async {
        let mut next = std::pin::pin!(follower.next());
        let mut asleep = async || {
            tokio::select! {
                biased;
                record = &mut next => panic!("{record:?}"),
                () = world.clock.slept(1) => {}
            }
        };
        for _ in 0..POLLS {
            asleep().await;
            world.clock.advance(second);
        }
        asleep().await;
    };
    world.costs(&process, "follow, nothing new", [0, POLLS + 1, 0], none, polls).await;
    drop(follower);
    let other = world.process(6);
    let reader = partition(&other, "t").reader();
    assert_eq!(reader.fetch(19, 1).await.expect("fetched").next_offset, 20);
    // It asks for `log.json` while it does not know the writer, which a directory never tells.
    let unnamed = More { confirmations: 1, sizes: 0 };
    for (offset, gets, more) in [(20, 2, none), (21, 1, unnamed), (22, 1, unnamed)] {
        append(writer, 2000).await;
        let fetch = reader.fetch(offset, 1);
        let fetched = world.costs(&other, "what another process appended", [0, gets, 0], more, fetch).await;
        assert_eq!(fetched.expect("fetched").next_offset, offset + 1);
    }
}

#[tokio::test]
async fn a_conditional_replace_stays_within_the_request_budget_on_every_store() {
    for store in each_bucket() {
        let world = World::of(store);
        let one = world.process(1);
        let (store, nobody) = (one.store().clone(), Identity::none());
        let old = store.put("t/a", "old".into()).await.expect("put");
        let replace = || store.replace_if("t/a", "new".into(), &nobody, &old);
        let replaced = world.costs(&one, "replace", [1, 0, 0], More::default(), replace()).await;
        assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
        let replaced = world.costs(&one, "replace what changed", [1, 1, 0], More::default(), replace()).await;
        assert!(matches!(replaced, Replaced::Changed), "{replaced:?}");
    }
}
