//! Writers that compete for slots: how soon each gets on, and what that costs.

use super::*;

/// Every request of the process takes this long before the store acts.
fn slow(process: &Process, latency: Duration) {
    process.faults.decide_with(move |_| {
        let gate = Gate::new();
        let opens = gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(latency).await;
            opens.open();
        });
        Action::Hold(gate)
    });
}

fn whole_reads(process: &Process) -> usize {
    let log = process.faults.log();
    log.iter()
        .filter(|e| e.request.op == Op::Get && e.request.key.ends_with(".kfs") && e.request.range.is_none())
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_behind_finds_the_tail_by_one_listing() {
    for (on_conflict, behind, listings) in [(OnConflict::Takeover, 100, 1), (OnConflict::Rebase, 1_000, 4)] {
        let world = World::new();
        let (one, two) = (world.process(1), world.process(2));
        let old = one.writer(options()).await;
        append(&old, "0").await.unwrap();
        let new = two.writer(policy(on_conflict)).await;
        for _ in 0..behind {
            append(&old, "x").await.unwrap();
        }
        old.close(None).await.unwrap();
        let before = two.requests();
        two.faults.clear_log();
        assert_eq!(append(&new, "mine").await.unwrap().0, behind + 1);
        let sent = two.requests().since(&before);
        // Two lost slots and its own; of each lost slot its end, of what is followed all and its index.
        assert_eq!((sent.put, sent.get), (6, 6), "{on_conflict:?}: {sent:?}");
        assert!(sent.list <= listings, "{on_conflict:?}: {sent:?}");
        assert_eq!(whole_reads(&two), 2, "the slot that was followed, and the newest");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lost_slot_tells_whose_it_is_and_its_records_are_not_read() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let old = one.writer(options()).await;
    append(&old, "a").await.unwrap();
    let new = two.writer(options().name("new")).await;
    append(&new, &"large".repeat(100_000)).await.unwrap();
    let before = one.requests();
    let error = append(&old, "b").await.unwrap_err();
    assert_eq!((error.kind(), error.winner()), (ErrorKind::Fenced, Some("new")));
    let sent = one.requests().since(&before);
    assert_eq!((sent.get, sent.bytes_in), (1, 16), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_jumps_to_the_tail_is_fenced_by_a_higher_leader_epoch_there() {
    for on_conflict in [OnConflict::Takeover, OnConflict::Rebase] {
        let world = World::new();
        let (one, two) = (world.process(1), world.process(2));
        let slept = one.writer(policy(on_conflict).leader_epoch(4)).await;
        let equal = two.writer(options().leader_epoch(4)).await;
        for _ in 0..5 {
            append(&equal, "x").await.unwrap();
        }
        let leader = world.process(3).writer(options().leader_epoch(5).name("leader")).await;
        append(&leader, "y").await.unwrap();
        let error = append(&slept, "z").await.unwrap_err();
        assert_eq!((error.kind(), error.stored()), (ErrorKind::Fenced, Some(Stored::Not)), "{error:?}");
        assert_eq!(error.winner(), Some("leader"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_from_an_owner_that_never_pauses_is_contended_within_half_a_minute() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let owner = one.writer(options()).await;
    append(&owner, "first").await.unwrap();
    let new = two.writer(options()).await;
    append(&owner, "second").await.unwrap();
    slow(&one, Duration::from_millis(10));
    slow(&two, Duration::from_millis(10));
    let busy = tokio::spawn(async move { while append(&owner, "busy").await.is_ok() {} });
    let clock = two.bucket.runtime().clock().clone();
    let began = clock.elapsed();
    let error = append(&new, "mine").await.unwrap_err();
    busy.abort();
    let took = clock.elapsed() - began;
    assert!(error.is_contended(), "{error:?}");
    assert!((Duration::from_secs(20)..Duration::from_secs(35)).contains(&took), "{took:?}");
    assert!(two.segment_puts() <= 64, "{} tries", two.segment_puts());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_shares_a_partition_gets_on_beside_one_that_never_pauses() {
    for seed in 0..10 {
        let world = World::new();
        let (one, two) = (world.process(100 + seed), world.process(seed));
        let a = one.writer(policy(OnConflict::Rebase)).await;
        append(&a, "first").await.unwrap();
        let b = two.writer(policy(OnConflict::Rebase)).await;
        // From here on only a rest of the busy one lets the other in: it knows each next slot first.
        append(&a, "second").await.unwrap();
        slow(&one, Duration::from_millis(10));
        slow(&two, Duration::from_millis(10));
        let busy = tokio::spawn(async move { while append(&a, "busy").await.is_ok() {} });
        let clock = two.bucket.runtime().clock().clone();
        let began = clock.elapsed();
        for n in 0..20 {
            append(&b, &format!("mine-{n}")).await.unwrap();
        }
        let took = clock.elapsed() - began;
        busy.abort();
        assert!(took < Duration::from_secs(120), "seed {seed}: {took:?} for 20 appends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_writer_that_is_alone_under_rebase_rests_little() {
    let process = World::new().process(1);
    let writer = process.writer(policy(OnConflict::Rebase)).await;
    append(&writer, "first").await.unwrap();
    slow(&process, Duration::from_millis(10));
    let clock = process.bucket.runtime().clock().clone();
    let (began, before) = (clock.elapsed(), process.requests());
    for _ in 0..160 {
        append(&writer, "x").await.unwrap();
    }
    let took = clock.elapsed() - began;
    assert!(took < Duration::from_millis(160 * 13), "{took:?} for 160 flights of 10 ms");
    assert_eq!(process.requests().since(&before).total(), 320, "budget: 1 PUT .kfs + 1 PUT .index");
}

/// Writers of one kind in processes of their own, each with one append at a time. Gives the most tries of one commit,
/// and the requests of each commit on average.
async fn compete(writers: u64, appends: usize) -> (usize, f64) {
    let world = World::new();
    let (mut running, mut processes) = (Vec::new(), Vec::new());
    for number in 0..writers {
        let process = world.process(number);
        let writer = process.writer(policy(OnConflict::Rebase)).await;
        slow(&process, Duration::from_millis(10));
        let faults = process.faults.clone();
        processes.push(process);
        running.push(tokio::spawn(async move {
            let mut most = 0;
            for n in 0..appends {
                faults.clear_log();
                append(&writer, &format!("{number}-{n}")).await.unwrap();
                most = most.max(faults.count_of(Op::Put, ".kfs"));
            }
            most
        }));
    }
    let mut most = 0;
    for one in running {
        most = most.max(one.await.unwrap());
    }
    let requests: u64 = processes.iter().map(|p| p.requests().total()).sum();
    let commits = world.keys().await.iter().filter(|k| k.ends_with(".kfs")).count();
    assert_eq!(commits, usize::try_from(writers).unwrap() * appends);
    #[allow(clippy::cast_precision_loss, reason = "thousands")]
    let each = requests as f64 / commits as f64;
    println!("{writers} writers of {appends} appends: at most {most} tries, {each:.2} requests a commit");
    (most, each)
}

#[tokio::test(start_paused = true)]
async fn eight_equal_rebase_writers_get_on_within_64_tries_and_six_requests_a_commit() {
    let (tries, requests) = compete(8, 150).await;
    assert!(tries <= 64 && requests <= 6.0, "{tries} tries, {requests} requests");
}

#[tokio::test(start_paused = true)]
#[ignore = "takes ten seconds: the listings of a store in memory are slow"]
async fn eight_equal_rebase_writers_of_a_thousand_appends_get_on() {
    let (tries, requests) = compete(8, 1_000).await;
    assert!(tries <= 64 && requests <= 6.0, "{tries} tries, {requests} requests");
}
