//! A simulated process: its clock, its faults, its bucket, and how it dies.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kfs_core::format::{ObjectName, PartitionId};
use kfs_core::recorder::{BucketEvent, Recorder};
use kfs_core::runtime::{Clock, Runtime};
use kfs_core::store::{BreakerOptions, HedgeOptions, Store, StoreOptions};
use kfs_core::testing::{Op, Prng, SeededEntropy};
use kfs_core::{Bucket, BucketOptions};

use crate::clock::{Liar, ProcessClock};
use crate::config::pick;
use crate::process::Life;
use crate::seeded::{Event, Faults, Moment, SeededStore};
use crate::world::World;

/// One life of a process.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its number; every life has another.
    pub(crate) number: usize,
    /// The world around it.
    pub(crate) world: Arc<World>,
    /// Whether it lives.
    pub(crate) life: Arc<Life>,
    /// Its clock.
    pub(crate) clock: Arc<ProcessClock>,
    /// What happens to its requests.
    pub(crate) faults: Arc<SeededStore>,
    /// Its bucket.
    pub(crate) bucket: Bucket,
    /// Its tasks.
    pub(crate) runtime: Runtime,
    /// How long its writers may look away.
    pub(crate) stale_after: Duration,
    crash: CrashPoint,
    suspensions: AtomicU64,
    /// The pause that begins with the next segment.
    nap: Mutex<Option<(Duration, bool)>>,
    /// It dies when a segment was replaced.
    dies_merging: AtomicBool,
}

/// Counts the creates that are sent a second time.
#[derive(Debug)]
struct HedgeCount(Arc<AtomicU64>);

impl Recorder for HedgeCount {
    fn record(&self, event: &BucketEvent<'_>) {
        if matches!(event, BucketEvent::Hedge { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// At which request it dies.
#[derive(Debug)]
struct CrashPoint {
    at: AtomicU64,
}

impl Host {
    /// Starts a process; an honest one has right clocks.
    pub(crate) fn start(world: &Arc<World>, number: usize, prng: &mut Prng, faults: Faults, honest: bool) -> Arc<Self> {
        let config = &world.config;
        let (liar, off) = if honest {
            (Liar::Neither, 0)
        } else if config.twins {
            (Liar::Wall, 0)
        } else {
            let liar = pick(prng, &[Liar::Neither, Liar::Neither, Liar::Monotonic, Liar::Wall]);
            let off = if prng.one_in(3) { prng.below(20_000) as i64 - 10_000 } else { 0 };
            (liar, if liar == Liar::Wall { off * 1000 } else { off })
        };
        let clock = ProcessClock::new(world.clock, liar, off);
        if config.twins && !honest {
            clock.stop_wall(Some(crate::clock::BEGIN_MS));
        }
        let panicked = Arc::downgrade(world);
        let life = Life::new(move |panic| {
            if let Some(world) = panicked.upgrade() {
                world.fail(format!("process {number} panicked: {panic}"));
            }
        });
        let mut entropy = prng.next_u64();
        if config.copies && number / 100 < 2 {
            entropy = config.seed ^ (number % 100) as u64;
        }
        let entropy = Arc::new(SeededEntropy::new(entropy));
        let runtime = Runtime::new(clock.clone(), entropy, life.spawner());
        let faults = SeededStore::new(world.store.clone(), world.runtime(), prng.next_u64(), faults);
        let mut of_store = StoreOptions::default().clock(clock.clone());
        if config.hedges {
            let each =
                HedgeOptions::default().least_wait(Duration::from_millis(1)).least_samples(0).most_of_hundred(100);
            of_store = of_store.hedge(each);
        }
        if config.breaker {
            of_store = of_store.breaker(BreakerOptions::default().failures(3));
        }
        let store = if config.sent_once {
            Store::from_object_store_sent_once_with(faults.clone(), &of_store)
        } else {
            Store::from_object_store_with(faults.clone(), &of_store)
        };
        let buffer = pick(prng, &[300, 2_000, 32 << 20, 32 << 20]);
        let cache = pick(prng, &[0, 20_000, 100_000, 32 << 20]);
        let hedges = Arc::new(HedgeCount(world.hedges.clone()));
        let options = BucketOptions::default().runtime(runtime.clone()).buffer_bytes(buffer).cache_bytes(cache);
        let options = options.recorder(hedges);
        let bucket = Bucket::from_store(store, options).expect("a runtime is given");
        let stale_after = Duration::from_secs(pick(prng, &[1, 5, 60, 60, 300]));
        let at = if prng.one_in(2) { prng.below(120) } else { u64::MAX };
        let crash = CrashPoint { at: AtomicU64::new(at) };
        let host = Arc::new(Host {
            number,
            world: world.clone(),
            life,
            clock,
            faults,
            bucket,
            runtime,
            stale_after,
            crash,
            suspensions: AtomicU64::new(0),
            nap: Mutex::default(),
            dies_merging: AtomicBool::new(false),
        });
        let watched = Arc::downgrade(&host);
        host.faults.observe(move |event| watch(&watched, event));
        world.note(format_args!("p{number} starts, {liar:?} lies, {stale_after:?}"));
        host
    }

    /// The partition's name.
    pub(crate) fn id(&self) -> PartitionId {
        self.world.oracle().id.clone()
    }

    /// It dies now. What it sent may still land.
    pub(crate) fn kill(&self) {
        if !self.life.is_dead() {
            self.world.note(format_args!("p{} is killed", self.number));
            self.life.kill();
        }
    }

    /// It is killed after it has replaced a segment, before it does anything else.
    pub(crate) fn die_merging(&self) {
        self.dies_merging.store(true, Ordering::Relaxed);
    }

    /// It does not die by itself any more.
    pub(crate) fn spare(&self) {
        self.crash.at.store(u64::MAX, Ordering::Relaxed);
    }

    fn on_event(&self, event: &Event<'_>) {
        let (number, request, id) = (self.number, event.request, event.id);
        let name = request.key.strip_prefix("default/t/0/").unwrap_or(&request.key);
        match event.moment {
            Moment::Sent => {
                // Half the deaths come before the request, half directly after.
                let at = self.crash.at.load(Ordering::Relaxed);
                if id / 2 >= at / 2 && at != u64::MAX {
                    if id >= at || self.life.is_dead() {
                        self.faults.cut_off();
                    }
                    self.kill();
                    if id >= at {
                        return;
                    }
                }
                self.world.count_request();
                self.world.note(format_args!("p{number} #{id} {:?} {name}", request.op));
                let slot = request.key.strip_prefix(&self.id().prefix()).and_then(ObjectName::parse);
                if let (Op::Put, true, Some(ObjectName::Segment(base))) = (request.op, request.create, slot) {
                    let now = self.world.clock.elapsed();
                    self.world.judge(|oracle| oracle.segment_sent(base, now, self.stale_after));
                    let nap = self.nap.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some((time, with_its_wire)) = nap {
                        self.suspend(time, with_its_wire);
                    }
                }
            }
            Moment::Applied(outcome) => {
                self.world.note(format_args!("p{number} #{id} {:?} {name} applied: {outcome:?}", request.op));
            }
            Moment::Answered(outcome) => {
                self.world.note(format_args!("p{number} #{id} answered: {outcome:?}"));
                let is_replace = request.op == Op::Put && !request.create && request.key.ends_with(".kfs");
                if is_replace && self.dies_merging.load(Ordering::Relaxed) {
                    self.kill();
                }
            }
        }
    }

    /// A pause of the whole process, as when its machine is suspended.
    pub(crate) fn suspend(&self, time: Duration, with_its_wire: bool) {
        self.world.note(format_args!("p{} is suspended for {time:?}", self.number));
        if with_its_wire {
            self.faults.stall(time);
        }
        self.suspensions.fetch_add(1, Ordering::Relaxed);
        self.life.suspend_until(tokio::time::Instant::now() + time);
        self.clock.suspended(time);
    }

    /// The same, just when it sends a segment next.
    pub(crate) fn suspend_at_next_segment(&self, time: Duration, with_its_wire: bool) {
        *self.nap.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, with_its_wire));
    }

    /// How often it was suspended.
    pub(crate) fn suspensions(&self) -> u64 {
        self.suspensions.load(Ordering::Relaxed)
    }

    /// Its wall clock does what it likes.
    pub(crate) fn lie(&self, prng: &mut Prng) {
        if self.clock.liar != Liar::Wall {
            return;
        }
        let wall = self.clock.wall_ms();
        match prng.below(4) {
            0 => self.clock.stop_wall(Some(wall)),
            1 => self.clock.stop_wall(None),
            2 => self.clock.shift_wall(-(prng.below(3_600_000) as i64)),
            _ => self.clock.shift_wall(prng.below(3_600_000) as i64),
        }
        self.world.note(format_args!("p{} sets its clock to {}", self.number, self.clock.wall_ms()));
    }
}

fn watch(host: &Weak<Host>, event: &Event<'_>) {
    if let Some(host) = host.upgrade() {
        host.on_event(event);
    }
}
