//! Clocks over tokio's paused time: the world's, which is true, and each process's, of which one half may lie.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kfs_core::runtime::{BoxFuture, Clock};
use tokio::time::Instant;

/// The Unix time in milliseconds at which every simulation begins.
pub(crate) const BEGIN_MS: i64 = 1_700_000_000_000;

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// True time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorldClock(Instant);

impl WorldClock {
    /// Begins now. To be called inside the runtime.
    pub(crate) fn new() -> Self {
        WorldClock(Instant::now())
    }
}

impl Default for WorldClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for WorldClock {
    fn wall_ms(&self) -> i64 {
        BEGIN_MS.saturating_add(ms(self.elapsed()))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "tokio's paused time is the virtual time here")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Which of a process's two clocks may be wrong. Never both: from two that stand still nobody can tell that time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liar {
    /// None.
    Neither,
    /// The monotonic clock stands still while the machine is suspended.
    Monotonic,
    /// The wall clock is set, on and back, or stands still.
    Wall,
}

#[derive(Debug, Default)]
struct Skew {
    wall_ms: i64,
    wall_stands_at: Option<i64>,
    suspended: Duration,
    /// What the monotonic clock told last. It stands still, but never goes back: pauses can overlap.
    told: Duration,
}

/// A process's clock.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    world: WorldClock,
    /// Which half may be wrong.
    pub(crate) liar: Liar,
    skew: Mutex<Skew>,
}

impl ProcessClock {
    /// A clock whose wall half is off by this much from the beginning.
    pub(crate) fn new(world: WorldClock, liar: Liar, off_ms: i64) -> Arc<Self> {
        Arc::new(ProcessClock { world, liar, skew: Mutex::new(Skew { wall_ms: off_ms, ..Skew::default() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Skew> {
        self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine was suspended for this long.
    pub(crate) fn suspended(&self, time: Duration) {
        if self.liar == Liar::Monotonic {
            let mut skew = self.lock();
            skew.suspended = skew.suspended.saturating_add(time);
        }
    }

    /// Sets the wall clock on or back.
    pub(crate) fn shift_wall(&self, by_ms: i64) {
        let mut skew = self.lock();
        skew.wall_ms = skew.wall_ms.saturating_add(by_ms);
    }

    /// Stops the wall clock where it is, or at a time; or lets it go again.
    pub(crate) fn stop_wall(&self, at_ms: Option<i64>) {
        self.lock().wall_stands_at = at_ms;
    }
}

impl Clock for ProcessClock {
    fn wall_ms(&self) -> i64 {
        let skew = self.lock();
        skew.wall_stands_at.unwrap_or_else(|| self.world.wall_ms().saturating_add(skew.wall_ms))
    }

    fn elapsed(&self) -> Duration {
        let mut skew = self.lock();
        skew.told = skew.told.max(self.world.elapsed().saturating_sub(skew.suspended));
        skew.told
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        self.world.sleep(duration)
    }
}
