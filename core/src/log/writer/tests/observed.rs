//! What a recorder, and a subscriber of the crate `tracing`, are told, and that they may look at the log while they are.

use std::sync::{Mutex, Weak};

use super::*;
use crate::recorder::{BucketEvent, CacheKind, Recorder, RequestKind, RequestOutcome};
use crate::testing::KeyMatcher;

/// What a caller's code does while it is told of an event: it asks for whatever takes a lock of a writer, of a partition or
/// of the bucket. It keeps what it was told.
#[derive(Debug, Default)]
struct Nosy {
    bucket: Mutex<Option<Weak<crate::log::state::BucketInner>>>,
    writers: Mutex<Vec<Writer>>,
    told: Mutex<Vec<String>>,
    /// It panics at each event.
    panics: bool,
}

impl Nosy {
    fn takes(self: &Arc<Self>, process: &Process) {
        *self.bucket.lock().unwrap() = Some(Arc::downgrade(&process.bucket.0));
    }

    async fn opens(self: &Arc<Self>, process: &Process, options: WriterOptions) -> Writer {
        let writer = process.writer(options).await;
        self.writers.lock().unwrap().push(writer.clone());
        writer
    }

    /// Locks all that there is.
    fn look(&self) {
        let writers = self.writers.lock().unwrap().clone();
        for writer in writers {
            drop((writer.status(), writer.failure()));
        }
        let bucket = self.bucket.lock().unwrap().as_ref().and_then(Weak::upgrade);
        if let Some(bucket) = bucket.map(Bucket) {
            drop((bucket.trouble(), bucket.buffered_bytes()));
            let partition = bucket.partition("orders", 0).unwrap();
            partition.state().with_catalog(|catalog| catalog.newest());
            drop((partition.state().live_writers(), partition.watermarks()));
        }
    }

    fn hear(&self, event: String) {
        self.look();
        let is_made = event.starts_with("NEW request request=\"put\"");
        self.told.lock().unwrap().push(event);
        // A span whose making panics is none: that of a PUT is made, so that the panics of its other events are met, too.
        assert!(!self.panics || is_made, "a caller's panic");
    }

    #[track_caller]
    fn assert_told(&self, wanted: &[&str]) {
        let told = self.told.lock().unwrap();
        for wanted in wanted {
            assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}: {told:#?}");
        }
    }

    fn count(&self, wanted: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|told| told.starts_with(wanted)).count()
    }
}

impl Recorder for Nosy {
    fn record(&self, event: &BucketEvent<'_>) {
        self.hear(format!("{event:?}"));
    }
}

/// Runs appends and flushes that meet all that can happen to them. `one` is watched, `two` is its rival.
async fn run_a_life(world: &World, one: &Process, two: &Process, nosy: &Arc<Nosy>) {
    // The first slot is lost before the first commit: a takeover goes on after it.
    let rival = two.writer(options()).await;
    let writer = nosy.opens(one, options()).await;
    append(&rival, "rival's").await.unwrap();
    assert_eq!(append(&writer, "ours").await.unwrap(), (1, 1));
    // A retry that is over soon, and one that lasts.
    one.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    append(&writer, "again").await.unwrap();
    for _ in 0..10 {
        one.faults.on(Op::Put, ".index", Action::Fail(Failure::Unavailable));
    }
    append(&writer, "at last").await.unwrap();
    // An append that waits for room.
    let large = batch(&[&"x".repeat(4_000)]);
    one.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let first = writer.append_batches(large.clone()).await.unwrap();
    let second = writer.append_batches(large.clone()).await.unwrap();
    let all = futures_util::future::join(first.durable(), second.durable()).await;
    all.0.unwrap();
    all.1.unwrap();
    // A look at the tail of a writer that slept, and an index that an opening mends.
    one.clock.sleep_for(Duration::from_secs(3_600)).await;
    append(&writer, "awake").await.unwrap();
    writer.close(None).await.unwrap();
    world.delete(&index_key(6)).await;
    // Closed with nothing in it, and with something.
    let writer = nosy.opens(one, options().flush_interval(Duration::from_secs(3_600))).await;
    drop(writer.append_batches(batch(&["last words"])).await.unwrap());
    writer.close(None).await.unwrap();
    nosy.opens(one, options()).await.close(None).await.unwrap();
    // Fenced.
    let writer = nosy.opens(one, options()).await;
    append(&writer, "mine").await.unwrap();
    world.put_segment(writer.core().state().watermarks.get().unwrap().high_watermark, "another's").await;
    append(&writer, "lost").await.unwrap_err();
    // Given up.
    let writer = nosy.opens(one, options()).await;
    one.faults.always(Op::Put, ".kfs", Action::Hang);
    drop(writer.append_batches(batch(&["never"])).await.unwrap());
    writer.close(Some(Duration::from_secs(1))).await.unwrap_err();
    one.faults.clear_rules();
    drop(rival);
}

impl PausedClock {
    async fn sleep_for(&self, time: Duration) {
        crate::runtime::Clock::sleep(self, time).await;
    }
}

/// A process that tells its events.
fn watched(world: &World, nosy: &Arc<Nosy>) -> Process {
    let options = BucketOptions::default().buffer_bytes(10_000).recorder(nosy.clone());
    let process = world.process_with(1, options);
    nosy.takes(&process);
    process
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_look_at_the_writer_in_every_event() {
    let (world, nosy) = (World::new(), Arc::new(Nosy::default()));
    let (one, two) = (watched(&world, &nosy), world.process(2));
    run_a_life(&world, &one, &two, &nosy).await;
    nosy.assert_told(&[
        "WriterOpened",
        "WriterEnded",
        "Append",
        "Buffered",
        "Flush {",
        "FlushFailed",
        "SlotLost",
        "Retry",
    ]);
    assert_eq!(nosy.count("WriterOpened"), 5);
    assert_eq!(nosy.count("WriterEnded"), 5);
    let told = nosy.told.lock().unwrap();
    let ends: Vec<_> = told.iter().filter(|told| told.starts_with("WriterEnded")).collect();
    assert!(ends.iter().all(|end| end.contains("open_writers: 0")), "{ends:#?}");
    assert_eq!(ends.iter().filter(|end| end.contains("error: None")).count(), 3, "{ends:#?}");
    assert!(ends[3].contains("Error(fenced") && ends[4].contains("Error(closed"), "{ends:#?}");
    let waited = |told: &&String| told.starts_with("Append") && !told.contains("waited: 0ns");
    assert_eq!(told.iter().filter(waited).count(), 1, "one append waited for room");
    let last = told.iter().rfind(|told| told.starts_with("Buffered")).unwrap();
    assert_eq!(last, "Buffered { bytes: 0 }");
}

#[tokio::test(start_paused = true)]
async fn figures_of_appends_and_flushes_add_up() {
    #[derive(Debug, Default)]
    struct Sums(Mutex<[u64; 6]>);
    impl Recorder for Sums {
        fn record(&self, event: &BucketEvent<'_>) {
            let mut sums = self.0.lock().unwrap();
            let [appends, appended, given, flushes, flushed, tries] = &mut *sums;
            match event {
                BucketEvent::Append { records, bytes, .. } => {
                    *appends += 1;
                    *appended += records;
                    *given += *bytes as u64;
                }
                BucketEvent::Flush { records, tries: sent, base_offset, .. } => {
                    assert_eq!(*base_offset, i64::try_from(*flushed).unwrap());
                    *flushes += 1;
                    *flushed += records;
                    *tries += u64::from(*sent);
                }
                _ => {}
            }
        }
    }
    let (world, sums) = (World::new(), Arc::new(Sums::default()));
    let process = world.process_with(1, BucketOptions::default().recorder(sums.clone()));
    let writer = process.writer(options()).await;
    process.faults.on(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
    let three = batch(&["a", "b", "c"]);
    writer.append_batches(three.clone()).await.unwrap().durable().await.unwrap();
    let one = record("d");
    writer.append(std::slice::from_ref(&one)).await.unwrap().durable().await.unwrap();
    writer.try_append(&[one]).unwrap().durable().await.unwrap();
    writer.try_append_batches(three.clone()).unwrap().durable().await.unwrap();
    let given = 2 * (three.len() + NewRecord::encoded_bounds(&[record("d")])) as u64;
    assert_eq!(*sums.0.lock().unwrap(), [4, 8, given, 4, 8, 5]);
}

/// Adds up what is told of requests and caches.
#[derive(Debug, Default)]
struct Requests {
    counts: Mutex<RequestCounts>,
    outcomes: Mutex<Vec<(RequestKind, RequestOutcome)>>,
    hits_and_misses: Mutex<[(u64, u64); 2]>,
}

impl Recorder for Requests {
    fn record(&self, event: &BucketEvent<'_>) {
        let mut counts = self.counts.lock().unwrap();
        match event {
            BucketEvent::Request { kind, outcome, requests, bytes_out, bytes_in, .. } => {
                match kind {
                    RequestKind::Put => counts.put += requests,
                    RequestKind::Get => counts.get += requests,
                    RequestKind::List => counts.list += requests,
                    RequestKind::Delete => counts.delete += requests,
                }
                counts.bytes_out += bytes_out;
                counts.bytes_in += bytes_in;
                counts.done += u64::from(*outcome == RequestOutcome::Done);
                self.outcomes.lock().unwrap().push((*kind, *outcome));
            }
            BucketEvent::Cache { cache, hits, misses, .. } => {
                let mut sums = self.hits_and_misses.lock().unwrap();
                let sum = &mut sums[usize::from(*cache == CacheKind::Indexes)];
                *sum = (sum.0 + hits, sum.1 + misses);
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_recorder_are_those_that_the_store_counts() {
    let (world, requests) = (World::new(), Arc::new(Requests::default()));
    let options = BucketOptions::default().buffer_bytes(10_000).recorder(requests.clone());
    let one = world.process_with(1, options);
    run_a_life(&world, &one, &world.process(2), &Arc::default()).await;
    one.faults.on(Op::List, KeyMatcher::any(), Action::BreakAfter(0));
    one.bucket.topics().await.unwrap();
    one.bucket.partitions("orders").await.unwrap();
    let mut records = one.partition().reader().records(0);
    while records.next().await.unwrap().is_some() {}
    let plan = one.partition().plan_set_aside(9).await.unwrap();
    one.partition().set_aside(&plan).await.unwrap();
    assert_eq!(*requests.counts.lock().unwrap(), one.bucket.requests());
    assert!(one.bucket.requests().delete > 0 && one.bucket.requests().bytes_in > 0);
    let outcomes = requests.outcomes.lock().unwrap();
    for wanted in [
        (RequestKind::Put, RequestOutcome::Done),
        (RequestKind::Put, RequestOutcome::Failed(ErrorKind::Conflict)),
        (RequestKind::Put, RequestOutcome::Failed(ErrorKind::Unavailable)),
        (RequestKind::Put, RequestOutcome::GivenUp),
        (RequestKind::Get, RequestOutcome::Done),
        (RequestKind::Get, RequestOutcome::Failed(ErrorKind::NotFound)),
        (RequestKind::List, RequestOutcome::Done),
        (RequestKind::Delete, RequestOutcome::Done),
    ] {
        assert!(outcomes.contains(&wanted), "{wanted:?}: {outcomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cache_holds_is_a_hit_and_what_is_read_is_a_miss() {
    let (world, requests) = (World::new(), Arc::new(Requests::default()));
    let process = world.process_with(1, BucketOptions::default().recorder(requests.clone()));
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let reader = process.partition().reader();
    for (hits, misses) in [(0, 1), (1, 1), (2, 1)] {
        assert!(!reader.fetch(0, 1_000).await.unwrap().is_empty());
        assert_eq!(requests.hits_and_misses.lock().unwrap()[0], (hits, misses));
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_panics_harms_nobody() {
    let (world, nosy) = (World::new(), Arc::new(Nosy { panics: true, ..Nosy::default() }));
    let (one, two) = (watched(&world, &nosy), world.process(2));
    run_a_life(&world, &one, &two, &nosy).await;
    nosy.assert_told(&["WriterEnded", "Append", "Flush {", "FlushFailed", "SlotLost", "Retry"]);
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_is_told_as_a_retry_each_time() {
    let (world, nosy) = (World::new(), Arc::new(Nosy::default()));
    let process = watched(&world, &nosy);
    let writer = nosy.opens(&process, options()).await;
    for _ in 0..4 {
        process.faults.on(Op::Put, KeyMatcher::containing(".kfs"), Action::Fail(Failure::PermissionDenied));
    }
    append(&writer, "a").await.unwrap();
    let told = nosy.told.lock().unwrap();
    let retries: Vec<_> = told.iter().filter(|told| told.starts_with("Retry")).collect();
    assert_eq!(retries.len(), 4, "{told:#?}");
    assert!(retries[3].contains("failures: 4") && retries[3].contains("injected: PermissionDenied"), "{retries:#?}");
}

#[cfg(feature = "tracing")]
mod subscriber {
    use tracing::Level;

    use super::*;
    use crate::testing::subscriber;

    /// From here to the end of the test, on its thread.
    fn listen(nosy: &Arc<Nosy>) {
        let nosy = nosy.clone();
        subscriber::listen(move |line| nosy.hear(line));
    }

    async fn a_life(panics: bool) -> Arc<Nosy> {
        let (world, nosy) = (World::new(), Arc::new(Nosy { panics, ..Nosy::default() }));
        listen(&nosy);
        let one = world.process_with(1, BucketOptions::default().buffer_bytes(10_000));
        nosy.takes(&one);
        run_a_life(&world, &one, &world.process(2), &nosy).await;
        nosy
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_may_look_at_the_writer_in_every_event() {
        let nosy = a_life(false).await;
        nosy.assert_told(&[
            "INFO kfs::store message=opened a bucket",
            "INFO kfs::writer message=opened a writer partition=orders/0 policy=Takeover next_offset=0",
            "INFO kfs::writer message=closed a writer",
            "WARN kfs::writer message=a writer was fenced",
            "WARN kfs::writer message=a writer was given up",
            "DEBUG kfs::writer message=flushed",
            "DEBUG kfs::writer message=a flush failed",
            "DEBUG kfs::writer message=lost a slot",
            "DEBUG kfs::writer message=looking at the end of the log",
            "DEBUG kfs::store message=failed, and is tried again",
            "WARN kfs::store message=failed, and is tried again",
            "INFO kfs::store message=the store answers again",
            "INFO kfs::writer message=wrote an index that was missing or wrong",
            "DEBUG kfs::reader message=listed",
        ]);
        let lasting = "WARN kfs::store message=failed";
        assert_eq!(nosy.count(lasting), 1, "a failure that lasts is told once above debug");
        let told = nosy.told.lock().unwrap();
        let requests: Vec<_> = told.iter().filter(|told| told.contains("message=a request ended")).collect();
        let within = |told: &&&String| told.contains(" in request request=");
        assert!(!requests.is_empty() && requests.iter().filter(within).count() == requests.len(), "{requests:#?}");
        let told = told.join("\n");
        assert!(told.contains("NEW request request=\"put\" partition=orders/0 key=default/orders/0/"), "{told}");
        assert!(told.contains("NEW request request=\"list\" partition=orders/0 key=default/orders/0/"), "{told}");
        assert!(!told.contains("last words"), "no record is in an event: {told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_that_panics_harms_nobody() {
        let told = ["WARN kfs::writer message=a writer was fenced", "NEW request", "ENTERED", "LEFT", "CLOSED"];
        a_life(true).await.assert_told(&told);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_tells_a_few_lines_above_debug_however_often_it_flushes() {
        let (world, nosy) = (World::new(), Arc::new(Nosy::default()));
        listen(&nosy);
        let process = world.process(1);
        let writer = process.writer(options()).await;
        for _ in 0..100 {
            append(&writer, "x").await.unwrap();
        }
        writer.close(None).await.unwrap();
        let told = nosy.told.lock().unwrap();
        let levels = [Level::INFO, Level::WARN, Level::ERROR].map(|level| level.to_string());
        let above: Vec<_> = told.iter().filter(|told| levels.iter().any(|level| told.starts_with(level))).collect();
        assert_eq!(above.len(), 3, "bucket, opened, closed: {above:#?}");
    }
}
