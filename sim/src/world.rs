//! What all parts of one simulation share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kfs_core::format::PartitionId;
use kfs_core::runtime::{Clock, Runtime};
use kfs_core::store::Store;
use kfs_core::testing::SeededEntropy;
use tokio::sync::Notify;

use crate::clock::WorldClock;
use crate::config::Config;
use crate::mirror::Mirror;
use crate::oracle::Oracle;
use crate::process::WorldSpawn;
use crate::shared::{Change, SharedStore};
use crate::trace::Trace;

/// Requests after which a simulation is said to run in circles.
const MOST_REQUESTS: u64 = 300_000;

/// One simulated world.
pub(crate) struct World {
    /// What was drawn for it.
    pub(crate) config: Config,
    /// True time.
    pub(crate) clock: WorldClock,
    /// The store beneath all processes.
    pub(crate) store: Arc<SharedStore>,
    /// What happened.
    pub(crate) trace: Trace,
    oracle: Mutex<Oracle>,
    violation: Mutex<Option<String>>,
    stop: Notify,
    requests: AtomicU64,
    /// Creates that were sent a second time.
    pub(crate) hedges: Arc<AtomicU64>,
}

impl World {
    /// To be called inside the runtime. What acts on the store acts on the `real` one, too.
    pub(crate) fn new(config: Config, id: PartitionId, keep_trace: bool, real: Option<Store>) -> Arc<Self> {
        let clock = WorldClock::new();
        let store = SharedStore::new(Arc::new(clock));
        let world = Arc::new(World {
            oracle: Mutex::new(Oracle::new(id, config.grace)),
            config,
            clock,
            store,
            trace: Trace::new(keep_trace),
            violation: Mutex::default(),
            stop: Notify::new(),
            requests: AtomicU64::new(0),
            hedges: Arc::default(),
        });
        let watched = Arc::downgrade(&world);
        world.store.watch(move |change, key| {
            if let Some(world) = watched.upgrade() {
                world.changed(change, key);
            }
        });
        if let Some(real) = real {
            let failing = Arc::downgrade(&world);
            world.store.mirror(Mirror::new(real, move |difference| {
                if let Some(world) = failing.upgrade() {
                    world.fail(difference);
                }
            }));
        }
        world
    }

    /// The oracle. Never held over an await.
    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the oracle judge something; what it finds wrong ends the simulation.
    pub(crate) fn judge<T: Default>(&self, judge: impl FnOnce(&mut Oracle) -> Result<T, String>) -> T {
        let judged = judge(&mut self.oracle());
        judged.unwrap_or_else(|violation| {
            self.fail(violation);
            T::default()
        })
    }

    fn changed(&self, change: Change, key: &str) {
        let now = self.clock.elapsed();
        self.judge(|oracle| oracle.changed(&self.store, change, key, now));
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        let ms = self.clock.elapsed().as_millis();
        self.trace.note(format_args!("{}.{:03} {line}", ms / 1000, ms % 1000));
    }

    /// Something that must never happen did. The first counts.
    pub(crate) fn fail(&self, violation: String) {
        self.note(format_args!("VIOLATION {violation}"));
        let mut first = self.violation.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(violation);
        drop(first);
        self.stop.notify_waiters();
        self.stop.notify_one();
    }

    /// What was found wrong.
    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes when something was found wrong.
    pub(crate) async fn failed(&self) {
        while self.violation().is_none() {
            self.stop.notified().await;
        }
    }

    /// Counts a request.
    pub(crate) fn count_request(&self) {
        if self.requests.fetch_add(1, Ordering::Relaxed) == MOST_REQUESTS {
            self.fail(format!("{MOST_REQUESTS} requests, and no end"));
        }
    }

    /// How many there were.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A runtime whose tasks belong to no process.
    pub(crate) fn runtime(self: &Arc<Self>) -> Runtime {
        let world = Arc::downgrade(self);
        let spawn = WorldSpawn::new(move |panic| {
            if let Some(world) = world.upgrade() {
                world.fail(format!("a panic on the wire: {panic}"));
            }
        });
        Runtime::new(Arc::new(self.clock), Arc::new(SeededEntropy::new(self.config.seed)), spawn)
    }

    /// Virtual time passes.
    pub(crate) async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("config", &self.config).finish_non_exhaustive()
    }
}
