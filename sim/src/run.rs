//! One simulation from its seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kfs_core::format::{Batch, BatchBuilder, BatchOptions, Namespace, NewRecord, PartitionId, SegmentBuilder, Topic};
use kfs_core::runtime::{Clock, Spawn};
use kfs_core::store::Store;
use kfs_core::testing::Prng;
use kfs_core::{OnConflict, WriterOptions};
use tokio::sync::oneshot;

use crate::app::App;
use crate::broken::broken_end;
use crate::config::Config;
use crate::displace::displacement;
use crate::host::Host;
use crate::maintain::Maintainer;
use crate::oracle::{Content, brief, value};
use crate::process::WorldSpawn;
use crate::reading::Reading;
use crate::seeded::Faults;
use crate::vandal::{deface_all, vandalism};
use crate::world::World;

/// How a simulation ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What was found wrong.
    pub violation: Option<String>,
    /// Hash of the trace.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// The trace, where it was kept.
    pub trace: String,
    /// Requests that were sent.
    pub requests: u64,
    /// Creates of segments and indexes that were sent a second time.
    pub hedges: u64,
    /// Appends begun, acked, failed as not stored, failed as perhaps stored.
    pub appends: [usize; 4],
    /// Segments that landed where the log had long passed.
    pub ghosts: usize,
    /// Segments that were ever in the log.
    pub segments: usize,
}

impl Report {
    /// The command that runs this seed again and prints what happens.
    pub fn replay(&self) -> String {
        format!("cargo run -p kfs-sim -- --seed {} --trace", self.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [appends, acked, not, perhaps] = self.appends;
        match &self.violation {
            Some(violation) => write!(f, "seed {}: VIOLATION: {violation}", self.seed)?,
            None => write!(f, "seed {}: good", self.seed)?,
        }
        write!(
            f,
            "; {appends} appends, {acked} acked, {not} not stored, {perhaps} perhaps; {} requests, trace of {} lines \
             with hash {:016x}",
            self.requests, self.lines, self.hash
        )
    }
}

/// Runs the simulation of a seed; with `keep_trace` the report has the trace.
pub fn run(seed: u64, keep_trace: bool) -> Report {
    run_beside(seed, keep_trace, None)
}

/// Runs the simulation of a seed with a real, empty store beside its own. Each request that acts on the one is sent to the
/// other, too, and an answer of the real store that is not the expected one is a violation. So all that the oracle holds
/// of the simulation's store holds of the real one.
pub fn run_on(seed: u64, store: Store) -> Report {
    run_beside(seed, false, Some(store))
}

fn run_beside(seed: u64, keep_trace: bool, real: Option<Store>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let report = runtime.block_on(async {
        let id = PartitionId::new(Namespace::default(), Topic::new("t").expect("a good name"), 0).expect("a good name");
        let world = World::new(Config::draw(seed), id, keep_trace, real);
        world.note(format_args!("{:?}", world.config));
        tokio::select! {
            biased;
            () = world.failed() => {}
            () = live(&world) => {}
        }
        report(&world)
    });
    // Tasks that still wait are dropped here, and say nothing any more.
    drop(runtime);
    report
}

fn report(world: &World) -> Report {
    let (hash, lines) = world.trace.hash();
    let oracle = world.oracle();
    Report {
        seed: world.config.seed,
        violation: world.violation(),
        hash,
        lines,
        trace: world.trace.text(),
        requests: world.requests(),
        hedges: world.hedges.load(Ordering::Relaxed),
        appends: oracle.counts(),
        ghosts: oracle.ghosts(),
        segments: oracle.slots().count(),
    }
}

async fn live(world: &Arc<World>) {
    let mut prng = Prng::new(world.config.seed);
    let markers = world.config.strange_markers.then(|| Prng::new(world.config.seed ^ 0x636c_6169_6d73));
    world.store.strange_markers(markers);
    plant(world, &mut prng);
    let spawn = WorldSpawn::new({
        let world = Arc::downgrade(world);
        move |panic| {
            if let Some(world) = world.upgrade() {
                world.fail(format!("the simulation itself panicked: {panic}"));
            }
        }
    });
    let mut ends = Vec::new();
    for place in 0..world.config.processes + world.config.readers {
        let (world, mut prng) = (world.clone(), prng.fork());
        ends.push(start(&spawn, async move {
            for life in 0..world.config.lives {
                lifetime(&world, place * 100 + life as usize, &mut prng).await;
                world.sleep(Duration::from_millis(prng.below(20_000))).await;
            }
        }));
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut beside = Vec::new();
    if world.config.merges || world.config.retains {
        let (world, over, prng) = (world.clone(), over.clone(), prng.fork());
        beside.push(start(&spawn, async move { maintenance(&world, &over, prng).await }));
    }
    if world.config.vandal {
        let (world, over, prng) = (world.clone(), over.clone(), prng.fork());
        beside.push(start(&spawn, async move { vandalism(&world, &over, prng).await }));
    }
    for ended in ends {
        let _ = ended.await;
    }
    over.store(true, Ordering::Relaxed);
    for ended in beside {
        let _ = ended.await;
    }
    // Whatever is still on its way lands.
    world.sleep(world.config.grace + Duration::from_secs(3_600)).await;
    world.store.strange_markers(None);
    displacement(world, &mut prng).await;
    epilogue(world, &mut prng).await;
}

/// Starts something that belongs to no process; what is returned ends when it does.
fn start(spawn: &Arc<WorldSpawn>, work: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel::<()>();
    spawn.spawn(Box::pin(async move {
        work.await;
        drop(done);
    }));
    ended
}

/// One life of one process.
async fn lifetime(world: &Arc<World>, number: usize, prng: &mut Prng) {
    let host = Host::start(world, number, prng, world.config.faults.clone(), false);
    // The first life only: hours of retries are many requests.
    if world.config.outage && number.is_multiple_of(100) {
        outage(world, &host, prng.fork());
    }
    let (done, ended) = oneshot::channel::<()>();
    let only_reads = number / 100 >= world.config.processes;
    let app = App::new(host.clone(), prng.fork(), only_reads);
    host.runtime.spawn(async move {
        app.run().await;
        drop(done);
    });
    // Ends when the program does, or when its tasks are dropped.
    let _ = ended.await;
    world.note(format_args!("p{number} ends"));
    host.kill();
}

/// The store refuses a process everything for hours, once, and then serves it again.
fn outage(world: &Arc<World>, host: &Arc<Host>, mut prng: Prng) {
    let (world, host) = (world.clone(), Arc::downgrade(host));
    world.runtime().spawn(async move {
        world.sleep(Duration::from_millis(prng.below(120_000))).await;
        let refusal = |host: Arc<Host>, faults: Faults| {
            world.note(format_args!("p{} is refused everything: {}", host.number, faults.deny > 500));
            host.faults.set_faults(faults);
        };
        let Some(refused) = host.upgrade() else { return };
        refusal(refused, Faults::calm().deny(1_000));
        world.sleep(Duration::from_millis(3_600_000 + prng.below(3_600_000))).await;
        if let Some(served) = host.upgrade() {
            refusal(served, world.config.faults.clone());
        }
    });
}

/// The most processes that maintain a log, one after another.
const MAINTAINERS: usize = 50;

/// Processes that maintain the log, one after another, until nobody else is left.
async fn maintenance(world: &Arc<World>, over: &AtomicBool, mut prng: Prng) {
    // What it has not done by then it does not do in days of somebody's sleep either.
    for life in 0..MAINTAINERS {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let host = Host::start(world, 1_000 + life, &mut prng, world.config.faults.clone(), true);
        let (done, ended) = oneshot::channel::<()>();
        let mut maintainer = Maintainer::new(host.clone(), prng.fork());
        let (rounds, busy) = (1 + prng.below(5), prng.one_in(2));
        let mut prng = prng.fork();
        let clock = host.clock.clone();
        host.runtime.spawn(async move {
            for _ in 0..rounds {
                let longest = if busy { 10_000 } else { 3_600_000 };
                clock.sleep(Duration::from_millis(prng.below(longest))).await;
                maintainer.round().await;
            }
            drop(done);
        });
        let _ = ended.await;
        host.kill();
        // Whoever sleeps for days is not waited for by the second.
        let pause = if life < 40 { 1_000 } else { 3_600_000 };
        world.sleep(Duration::from_millis(pause)).await;
    }
}

/// What KafScale left there before.
fn plant(world: &World, prng: &mut Prng) {
    let id = world.oracle().id.clone();
    let mut base = *world.config.starts.iter().flatten().next().unwrap_or(&0);
    for _ in 0..world.config.planted {
        world.oracle().plant(true);
        let mut segment = SegmentBuilder::new(base, 1, 100).expect("a good base");
        for _ in 0..=prng.below(3) {
            let batch = planted_batch(world, prng);
            segment.push(&batch, Some(0)).expect("a small batch");
        }
        let built = segment.finish().expect("a small segment");
        world.store.plant(&id.index_key(base), built.index);
        world.store.plant(&id.segment_key(base), built.chunks.concat());
        base = built.last_offset + 1;
    }
    world.oracle().plant(false);
}

fn planted_batch(world: &World, prng: &mut Prng) -> Batch {
    let payload = world.oracle().planted_payload();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for place in 0..=prng.below(3) {
        let value = value(payload, place as usize, 3);
        builder.push(&NewRecord::new(crate::clock::BEGIN_MS).value(&value)).expect("a small record");
    }
    builder.finish(0).expect("records that fit")
}

/// When all is quiet, a last process opens the log and appends.
async fn epilogue(world: &Arc<World>, prng: &mut Prng) {
    let host = Host::start(world, 9_999, prng, Faults::none(), true);
    host.spare();
    let number = world.oracle().open(OnConflict::Takeover, None, 64);
    let append = {
        let mut oracle = world.oracle();
        oracle.append(number, None, Content::Claim)
    };
    let partition = host.bucket.partition("t", 0).expect("a good name");
    let options = WriterOptions::default().name(format!("w{number}"));
    let claimed = async {
        let mut maintainer = Maintainer::new(host.clone(), prng.fork());
        let mut reading = Reading::new(host.clone(), prng.fork());
        if world.config.vandal {
            deface_all(world);
        }
        reading.anywhere().await?;
        if world.config.merges {
            maintainer.merge().await?;
        }
        if world.config.vandal {
            partition.repair(&partition.plan_repair().await?).await?;
        }
        let writer = partition.writer_with(options).await?;
        let offsets = writer.claim().await?;
        writer.close(Some(Duration::from_secs(60))).await?;
        world.judge(|oracle| oracle.settled(&world.store, append, &Ok(offsets)));
        reading.everything().await?;
        if world.config.merges {
            // Under a reader that knows the log as it was. The first maintainer is killed, perhaps in the midst of a merge.
            world.sleep(Duration::from_secs(361)).await;
            let faults = Faults::calm().latency(Duration::from_millis(20));
            let dying = Host::start(world, 9_998, prng, faults, true);
            Maintainer::new(dying, prng.fork()).merge_and_die().await;
            reading.any_time().await?;
            maintainer.merge().await?;
            reading.anywhere().await?;
            reading.any_time().await?;
            world.sleep(world.config.grace + Duration::from_secs(361)).await;
            maintainer.merge().await?;
            reading.any_time().await?;
            reading.anywhere().await?;
            reading.everything().await?;
        }
        Ok(())
    };
    match host.runtime.timeout(world.config.grace + Duration::from_secs(3_600), claimed).await {
        Some(Ok(())) => {}
        Some(Err(error)) => world.fail(format!("the log can't be claimed and read at the end: {}", brief(&error))),
        None => world.fail("the log can't be claimed and read at the end: it takes for ever".into()),
    }
    host.kill();
    world.judge(|oracle| oracle.at_the_end(&world.store));
    broken_end(world, prng).await;
}
