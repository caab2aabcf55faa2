//! Claims against owners that flush without a pause, on a store whose requests take time.

use super::slow::SlowStore;
use super::*;
use crate::format::ClaimMarker;

const CLAIM_JSON: &str = "default/orders/0/claim.json";

fn elapsed(process: &Process) -> Duration {
    process.bucket.runtime().clock().elapsed()
}

impl World {
    /// A process whose requests take up to 10 ms each way.
    fn slow_process(&self, seed: u64) -> Process {
        self.process_at(seed, Duration::from_millis(10))
    }

    fn process_at(&self, seed: u64, latency: Duration) -> Process {
        let faults = FaultStore::new(Arc::new(SlowStore::new(self.store.clone(), seed, latency)));
        let store = Store::from_object_store_sent_once(faults.clone());
        self.process_over(store, faults, seed, BucketOptions::default())
    }

    async fn marker(&self) -> ClaimMarker {
        ClaimMarker::parse(&self.bytes(CLAIM_JSON).await.unwrap()).unwrap()
    }
}

/// An owner that flushes without a pause until it fails: its flushes, the longest that one took, and its error.
struct Busy(tokio::task::JoinHandle<(i64, Duration, Error)>);

impl Busy {
    fn start(process: &Process, writer: &Writer) -> Self {
        let (clock, writer) = (process.clock.clone(), writer.clone());
        Busy(tokio::spawn(async move {
            let (mut flushes, mut longest) = (0, Duration::ZERO);
            loop {
                let began = crate::runtime::Clock::elapsed(&*clock);
                if let Err(error) = append(&writer, "busy").await {
                    return (flushes, longest, error);
                }
                longest = longest.max(crate::runtime::Clock::elapsed(&*clock) - began);
                flushes += 1;
            }
        }))
    }

    #[track_caller]
    fn is_running(&self) -> bool {
        !self.0.is_finished()
    }

    async fn end(self) -> (i64, Duration, Error) {
        self.0.await.unwrap()
    }
}

async fn sleep(process: &Process, time: Duration) {
    process.bucket.runtime().clock().sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_displaces_an_owner_that_flushes_without_a_pause() {
    for (seed, latency, policy) in [
        (1, 10, OnConflict::Takeover),
        (2, 1, OnConflict::Takeover),
        (3, 10, OnConflict::Fence),
        (4, 100, OnConflict::Takeover),
        (5, 300, OnConflict::Takeover),
    ] {
        let world = World::new();
        let (one, two) = [10, 20].map(|n| world.process_at(n + seed, Duration::from_millis(latency))).into();
        let owner = one.writer(options().on_conflict(policy).name("old")).await;
        let busy = Busy::start(&one, &owner);
        sleep(&one, Duration::from_millis(seed * 777)).await;
        let claimant = two.writer(options().name("new")).await;
        let began = elapsed(&two);
        let claimed = claimant.claim().await.unwrap();
        let took = elapsed(&two) - began;
        let most = Duration::from_millis(2_000 + 16 * latency);
        assert!(took < most, "{took:?} at a latency of {latency} ms");
        let (flushes, _, error) = busy.end().await;
        assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)), "{error:?}");
        assert_eq!(error.winner(), Some("new"));
        assert_eq!(claimed.base, flushes, "the owner acked all that comes before the claim, and nothing after it");
        assert_eq!(append(&claimant, "next").await.unwrap().0, flushes + 1);
        assert_eq!(world.records().await.len() as i64, flushes + 1);
        assert_eq!(world.marker().await.name, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_higher_leader_epoch_displaces_a_busy_owner_without_a_claim() {
    let world = World::new();
    let (one, two) = (world.slow_process(1), world.slow_process(2));
    let owner = one.writer(options().leader_epoch(1)).await;
    let busy = Busy::start(&one, &owner);
    sleep(&one, Duration::from_secs(3)).await;
    let leader = two.writer(options().leader_epoch(5)).await;
    let began = elapsed(&two);
    append(&leader, "x").await.unwrap();
    assert!(elapsed(&two) - began < Duration::from_secs(3), "{:?}", elapsed(&two) - began);
    assert_failed::<()>(Err(busy.end().await.2), ErrorKind::Fenced, Stored::Not);
    assert_eq!(world.marker().await.leader_epoch, 5);
}

#[tokio::test(start_paused = true)]
async fn a_higher_leader_epoch_writes_no_marker_where_nobody_contends() {
    let world = World::new();
    let (one, two) = (world.slow_process(1), world.slow_process(2));
    append(&one.writer(options().leader_epoch(1)).await, "a").await.unwrap();
    append(&two.writer(options().leader_epoch(2)).await, "b").await.unwrap();
    assert_eq!(world.bytes(CLAIM_JSON).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_claimant_that_dies_costs_the_owner_five_seconds_and_no_fence() {
    let world = World::new();
    let (one, two) = (world.slow_process(1), world.slow_process(2));
    let owner = one.writer(options()).await;
    let busy = Busy::start(&one, &owner);
    sleep(&one, Duration::from_secs(3)).await;
    // It writes its marker, and dies before it sends a segment.
    let claimant = two.writer(options()).await;
    two.faults.always(Op::Put, ".kfs", Action::Hang);
    let claim = tokio::spawn(claimant.claim());
    sleep(&one, Duration::from_secs(60)).await;
    assert!(busy.is_running(), "it is no longer the owner");
    claim.abort();
    claimant.close(Some(Duration::ZERO)).await.unwrap_err();
    owner.close(None).await.ok();
    let (flushes, longest, error) = busy.end().await;
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert!(flushes > 1_000, "{flushes}");
    assert!(longest > Duration::from_secs(5) && longest <= Duration::from_secs(6), "it paused for {longest:?}");
    assert_eq!(world.records().await.len() as i64, flushes);
}

#[tokio::test(start_paused = true)]
async fn an_owner_yields_to_each_claim_once() {
    let world = World::new();
    let one = world.slow_process(1);
    let owner = one.writer(options()).await;
    let busy = Busy::start(&one, &owner);
    sleep(&one, Duration::from_secs(2)).await;
    let marker = ClaimMarker::new("0123456789abcdef0123456789abcdef", "gone", None, 0, 0);
    world.put(CLAIM_JSON, marker.encode()).await;
    sleep(&one, Duration::from_secs(8)).await;
    one.faults.clear_log();
    sleep(&one, Duration::from_secs(20)).await;
    assert!(busy.is_running());
    let looks = one.faults.count_of(Op::Get, "claim.json");
    assert!((15..=20).contains(&looks), "budget: 1 GET a second more; it sent {looks} in 20 s");
    assert!(one.segment_puts() > 500, "it yields no more: {} flushes in 20 s", one.segment_puts());
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_marker_and_is_no_claim_costs_nothing() {
    let lower = ClaimMarker::new("0123456789abcdef0123456789abcdef", "", Some(3), 0, 0).encode();
    for junk in [Bytes::new(), "junk".into(), vec![b' '; 5_000_000].into(), lower] {
        let world = World::new();
        let one = world.slow_process(1);
        let owner = one.writer(options().leader_epoch(4)).await;
        world.put(CLAIM_JSON, junk.clone()).await;
        let busy = Busy::start(&one, &owner);
        sleep(&one, Duration::from_secs(10)).await;
        owner.close(None).await.unwrap();
        let longest = busy.end().await.1;
        assert!(longest < Duration::from_secs(1), "it paused for {longest:?} because of {} bytes", junk.len());
        let received = one.requests().bytes_in;
        assert!(received < 100_000, "the marker is read to 4 KiB, and not {received} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_can_not_be_read_or_written_is_no_failure() {
    for action in [Action::Fail(Failure::PermissionDenied), Action::Fail(Failure::Unavailable), Action::Hang] {
        let world = World::new();
        let (one, two) = (world.slow_process(1), world.slow_process(2));
        for process in [&one, &two] {
            process.faults.always(Op::Get, "claim.json", action.clone());
            process.faults.always(Op::Put, "claim.json", action.clone());
        }
        let owner = one.writer(options()).await;
        for _ in 0..100 {
            append(&owner, "x").await.unwrap();
        }
        let claimant = two.writer(options()).await;
        assert_eq!(claimant.claim().await.unwrap().base, 100);
        assert_failed(append(&owner, "y").await, ErrorKind::Fenced, Stored::Not);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_leaves_a_second_between_flushes_never_looks() {
    let world = World::new();
    let one = world.slow_process(1);
    let owner = one.writer(options()).await;
    for _ in 0..20 {
        append(&owner, "x").await.unwrap();
        sleep(&one, Duration::from_millis(1_100)).await;
    }
    assert_eq!(one.faults.count_of(Op::Get, "claim.json"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_settled_before_the_owner_opened_costs_it_nothing() {
    let world = World::new();
    let (one, two) = (world.slow_process(1), world.slow_process(2));
    let claimed = two.writer(options()).await;
    claimed.claim().await.unwrap();
    claimed.close(None).await.unwrap();
    let owner = one.writer(options()).await;
    let busy = Busy::start(&one, &owner);
    sleep(&one, Duration::from_secs(10)).await;
    owner.close(None).await.unwrap();
    let longest = busy.end().await.1;
    assert!(longest < Duration::from_secs(1), "it paused for {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn two_claimants_that_restart_take_longer_and_longer_turns() {
    let world = World::new();
    let mut turns = Vec::new();
    let start = elapsed(&world.slow_process(0));
    let clock = PausedClock::new(0);
    for life in 0..10 {
        // The one that was displaced is started again at once, as a supervisor does, and claims.
        let process = world.slow_process(life);
        process.clock.shift_wall(crate::runtime::Clock::elapsed(&*clock).as_millis() as i64);
        let writer = process.writer(options().name(format!("life-{life}"))).await;
        writer.claim().await.unwrap();
        turns.push((crate::runtime::Clock::elapsed(&*clock) - start).as_secs());
        append(&writer, "x").await.unwrap();
        assert_eq!(world.marker().await.turn, life);
    }
    let waits: Vec<u64> = turns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, expected) in waits.iter().zip([2, 4, 8, 16, 32, 64, 128, 256, 300]) {
        assert!(wait.abs_diff(expected) <= 1, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_against_writers_that_do_not_yield_ends_contended() {
    let world = World::new();
    let process = world.slow_process(1);
    let claimant = process.writer(options()).await;
    super::policies::always_loses(&world, &process);
    let began = elapsed(&process);
    let error = claimant.claim().await.unwrap_err();
    assert!(error.is_contended() && error.stored() == Some(Stored::Not), "{error:?}");
    let took = (elapsed(&process) - began).as_secs();
    assert!((10..=36).contains(&took), "losses within 5 s after the marker do not count: {took} s");
    let markers = process.faults.count_of(Op::Put, "claim.json");
    assert!((2..=6).contains(&markers), "{markers} markers in {took} s");
}

#[tokio::test(start_paused = true)]
async fn what_a_claimant_loses_before_the_owner_can_have_seen_its_marker_does_not_count() {
    let mut tries = 0;
    for seed in 0..4 {
        let world = World::new();
        let (one, two) = (world.slow_process(10 + seed), world.slow_process(20 + seed));
        let owner = one.writer(options()).await;
        let busy = Busy::start(&one, &owner);
        sleep(&one, Duration::from_secs(3)).await;
        let claimant = two.writer(options().most_losses(1)).await;
        claimant.claim().await.unwrap();
        tries += two.segment_puts();
        assert_eq!(busy.end().await.2.kind(), ErrorKind::Fenced);
    }
    assert!(tries > 4, "no slot was lost, so no loss was spared");
}

#[tokio::test(start_paused = true)]
async fn a_claimant_whose_marker_can_not_be_written_pauses_and_ends_contended() {
    for failure in [Failure::Unavailable, Failure::PermissionDenied] {
        let world = World::new();
        let process = world.slow_process(1);
        let claimant = process.writer(options()).await;
        super::policies::always_loses(&world, &process);
        process.faults.always(Op::Put, "claim.json", Action::Fail(failure));
        let began = elapsed(&process);
        let error = claimant.claim().await.unwrap_err();
        assert!(error.is_contended() && error.stored() == Some(Stored::Not), "{error:?}");
        let (took, tries) = ((elapsed(&process) - began).as_secs(), process.segment_puts());
        assert!((25..=64).contains(&took), "it pauses as any loser does: {took} s");
        assert!(tries <= 64, "no loss is spared without a marker: {tries} tries in {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claimant_that_loses_its_marker_is_not_spared_any_more() {
    let world = World::new();
    let process = world.slow_process(1);
    let claimant = process.writer(options()).await;
    super::policies::always_loses(&world, &process);
    // It writes its marker once, and another's takes its place.
    process.faults.on(Op::Put, "claim.json", Action::Pass);
    process.faults.always(Op::Put, "claim.json", Action::Fail(Failure::Unavailable));
    let claim = tokio::spawn(claimant.claim());
    sleep(&process, Duration::from_millis(500)).await;
    world.put(CLAIM_JSON, ClaimMarker::new("0123456789abcdef0123456789abcdef", "other", None, 0, 0).encode()).await;
    let error = claim.await.unwrap().unwrap_err();
    assert!(error.is_contended() && error.stored() == Some(Stored::Not), "{error:?}");
    let tries = process.segment_puts();
    assert!(tries <= 64 + 8, "losses count from the second on in which the marker was gone: {tries} tries");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_yields_says_to_whom() {
    let world = World::new();
    let one = world.slow_process(1);
    let owner = one.writer(options()).await;
    let busy = Busy::start(&one, &owner);
    sleep(&one, Duration::from_secs(2)).await;
    let marker = ClaimMarker::new("0123456789abcdef0123456789abcdef", "broker-2", None, 0, 0);
    world.put(CLAIM_JSON, marker.encode()).await;
    sleep(&one, Duration::from_secs(3)).await;
    let said = owner.status().last_error().map(ToString::to_string).unwrap_or_default();
    assert!(said.contains("another writer (broker-2) claims the partition; waiting up to 5 s"), "{said}");
    sleep(&one, Duration::from_secs(10)).await;
    assert!(owner.status().last_error().is_none() && busy.is_running());
}
