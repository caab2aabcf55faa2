//! Clocks that a test moves.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;

use crate::runtime::{BoxFuture, Clock, Spawn};

/// A clock that stands still until the test moves it.
///
/// Whoever sleeps wakes when [`advance`](Self::advance) passes its time. A test first waits until
/// the code under test sleeps ([`slept`](Self::slept)), then moves the clock.
pub struct ManualClock {
    myself: Weak<ManualClock>,
    state: Mutex<ClockState>,
    /// Changes whenever the set of sleepers does.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct ClockState {
    wall_ms: i64,
    elapsed: Duration,
    next_id: u64,
    /// By the time to wake at, then by the order in which they fell asleep.
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
}

impl ManualClock {
    /// A clock at this Unix time in milliseconds; its elapsed time starts at zero.
    pub fn new(wall_ms: i64) -> Arc<Self> {
        Arc::new_cyclic(|myself| ManualClock {
            myself: myself.clone(),
            state: Mutex::new(ClockState { wall_ms, ..ClockState::default() }),
            changes: watch::Sender::new(0),
        })
    }

    /// Moves both clocks on and wakes, in order, whoever is due.
    pub fn advance(&self, by: Duration) {
        let target = self.elapsed().saturating_add(by);
        self.advance_to(target);
    }

    /// Moves both clocks to the next sleeper's time and wakes those due then. False, and no
    /// change, when nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let next = self.lock().sleepers.keys().next().map(|(at, _)| *at);
        match next {
            Some(at) => {
                self.advance_to(at);
                true
            }
            None => false,
        }
    }

    fn advance_to(&self, target: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.lock();
            let passed = target.saturating_sub(state.elapsed);
            state.elapsed = state.elapsed.max(target);
            state.wall_ms = state.wall_ms.saturating_add(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
            let later = state.sleepers.split_off(&(target, u64::MAX));
            std::mem::replace(&mut state.sleepers, later).into_values().flatten().collect()
        };
        due.into_iter().for_each(Waker::wake);
        self.changed();
    }

    /// Sets the wall clock alone; it may go back. Sleepers follow elapsed time, so none wakes.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.lock().wall_ms = wall_ms;
    }

    /// How long each sleeper still has to wait, shortest first.
    pub fn sleepers(&self) -> Vec<Duration> {
        let state = self.lock();
        state.sleepers.keys().map(|(at, _)| at.saturating_sub(state.elapsed)).collect()
    }

    /// Completes when at least `count` sleep.
    pub async fn slept(&self, count: usize) {
        self.until(|sleepers| sleepers.len() >= count).await;
    }

    /// Completes when what [`sleepers`](Self::sleepers) gives satisfies the condition.
    pub async fn until(&self, condition: impl Fn(&[Duration]) -> bool) {
        let mut changes = self.changes.subscribe();
        while !condition(&self.sleepers()) {
            // The sender lives in self, so waiting can't fail.
            let _ = changes.changed().await;
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("wall_ms", &self.wall_ms())
            .field("elapsed", &self.elapsed())
            .field("sleepers", &self.sleepers())
            .finish()
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        self.lock().wall_ms
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let key = {
            let mut state = self.lock();
            let key = (state.elapsed.saturating_add(duration), state.next_id);
            state.next_id = state.next_id.wrapping_add(1);
            if !duration.is_zero() {
                state.sleepers.insert(key, None);
            }
            key
        };
        self.changed();
        Box::pin(Sleep { clock: self.myself.clone(), key })
    }
}

/// Pending until the clock has passed its time; gone from the clock when dropped.
struct Sleep {
    clock: Weak<ManualClock>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(clock) = self.clock.upgrade() else { return Poll::Pending };
        let mut state = clock.lock();
        if state.elapsed >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.key, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(clock) = self.clock.upgrade() {
            let removed = clock.lock().sleepers.remove(&self.key).is_some();
            if removed {
                clock.changed();
            }
        }
    }
}

/// A clock over tokio's own time, for tests that start it paused
/// (`#[tokio::test(start_paused = true)]`): it then jumps to the next timer whenever nothing else
/// can run, so hours pass at once and no test has to move it.
#[derive(Debug)]
pub struct PausedClock {
    start: tokio::time::Instant,
    start_wall_ms: i64,
    /// Added to elapsed time, and to the wall clock in milliseconds.
    skew: Mutex<(Duration, i64)>,
}

impl PausedClock {
    /// A clock at this Unix time in milliseconds; its elapsed time starts at zero. To be called
    /// inside the runtime.
    pub fn new(wall_ms: i64) -> Arc<Self> {
        Arc::new(PausedClock { start: tokio::time::Instant::now(), start_wall_ms: wall_ms, skew: Mutex::default() })
    }

    /// The machine was suspended: both clocks go on, and no sleeper has noticed.
    pub fn suspend(&self, passed: Duration) {
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        skew.0 = skew.0.saturating_add(passed);
        skew.1 = skew.1.saturating_add(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
    }

    /// The wall clock alone is set, on or back, by this many milliseconds.
    pub fn shift_wall(&self, by_ms: i64) {
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        skew.1 = skew.1.saturating_add(by_ms);
    }

    fn skew(&self) -> (Duration, i64) {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for PausedClock {
    fn wall_ms(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start_wall_ms.saturating_add(passed).saturating_add(self.skew().1)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed().saturating_add(self.skew().0)
    }

    #[allow(clippy::disallowed_methods, reason = "tokio's time is the virtual time here")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Starts tasks on the tokio runtime that the caller is in, and drops them where there is none.
#[derive(Debug)]
pub struct LocalSpawn;

impl Spawn for LocalSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            drop(handle.spawn(task));
        }
    }
}
