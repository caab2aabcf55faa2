//! How writers that compete for the slots of one partition take turns, so that each of them gets on and
//! few requests are wasted on lost slots (docs/design.md, "Contention").
//!
//! A loser pauses, longer with each loss. A writer under `Rebase`, which shares the partition, also rests
//! after a number of flights in a row: a writer that flies without a pause always knows the next slot
//! first, and no other would ever win one. Losses double the pause and turns halve it, so it settles
//! where about every second attempt to begin a turn succeeds, however many writers there are.

use std::time::Duration;

use crate::runtime::{Clock, Runtime};
use crate::store::spread;

/// Slots that are lost before the first pause: the second loss is answered by a look at the tail.
const FREE_LOSSES: u32 = 2;
/// The first pause, of which a random half is waited.
const SHORTEST: Duration = Duration::from_millis(50);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a writer that shares the partition with nobody loses before it is *contended*, if it also lost
/// [`LEAST_LOSSES`] slots.
const LONGEST_CONTENTION: Duration = Duration::from_secs(30);
/// Fewer losses say that the store is slow rather than that others are busy.
const LEAST_LOSSES: u32 = 32;
/// Flights in a row before a writer rests that lost slots lately.
const TURN: u32 = 8;
/// Flights in a row before a writer rests that knows of no other.
const LONG_TURN: u32 = 16;
/// How long a writer that knows of no other rests, in flights. A newcomer needs three: for a look, for a
/// read of the newest segment, and for its own.
const REST: u32 = 4;

/// The turns of one writer.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Slots lost in a row that count, by the commit that is under way.
    losses: u32,
    /// All of them, with those that a claimant is spared.
    in_a_row: u32,
    /// When it lost the first of them.
    losing_since: Duration,
    /// The pause after the next loss. Zero: none of late.
    pause: Duration,
    /// Others may have written since this writer's last commit.
    shared: bool,
    /// Flights since the last rest.
    flights: u32,
    /// When the last flight ended, and how long it took.
    last: Option<(Duration, Duration)>,
    /// No flight leaves before.
    rest_until: Duration,
}

impl Pace {
    /// A commit begins.
    pub(super) fn begin(&mut self) {
        (self.losses, self.in_a_row) = (0, 0);
    }

    pub(super) fn losses(&self) -> u32 {
        self.losses
    }

    /// A slot was lost. One that a claimant is spared does not count against it; it tells all the same that the log
    /// goes on elsewhere.
    pub(super) fn lost(&mut self, spared: bool, clock: &dyn Clock) {
        self.in_a_row += 1;
        if spared {
            return;
        }
        if self.losses == 0 {
            self.losing_since = clock.elapsed();
        }
        self.losses += 1;
        self.shared = true;
        if self.losses > FREE_LOSSES || !self.pause.is_zero() {
            self.pause = self.pause.saturating_mul(2).clamp(SHORTEST, LONGEST);
        }
    }

    /// Whether the writer lost so often, or for so long, that it gives up. The time does not count for one that
    /// `shares` the partition: beside a writer that never pauses about one try in ten meets a rest of that writer,
    /// so it takes many tries, and they take time.
    pub(super) fn is_contended(&self, most_losses: u32, shares: bool, clock: &dyn Clock) -> bool {
        let losing = clock.elapsed().saturating_sub(self.losing_since);
        self.losses >= most_losses || (!shares && self.losses >= LEAST_LOSSES && losing > LONGEST_CONTENTION)
    }

    /// How long to wait after a loss.
    pub(super) fn pause(&self, runtime: &Runtime) -> Duration {
        spread(self.pause, &**runtime.entropy())
    }

    /// Whether the tail is looked for after a loss, instead of following the segment that won the slot: that
    /// one is not the newest any more when two slots in a row were lost, or after a pause.
    pub(super) fn jumps(&self) -> bool {
        self.in_a_row >= FREE_LOSSES || !self.pause.is_zero()
    }

    /// Whether the tail is looked for before the first try of a commit: others write too, and had time to.
    pub(super) fn looks_first(&self, clock: &dyn Clock) -> bool {
        let idle = self.last.is_none_or(|(ended, took)| clock.elapsed().saturating_sub(ended) > took / 2);
        self.shared && idle
    }

    /// A look found nothing that others wrote.
    pub(super) fn alone(&mut self) {
        self.shared = false;
    }

    /// A flight that left at `began` is durable. With `rests` the writer shares the partition.
    pub(super) fn won(&mut self, began: Duration, rests: bool, runtime: &Runtime) {
        let now = runtime.clock().elapsed();
        let took = now.saturating_sub(began);
        let in_a_row = self.last.is_some_and(|(ended, took)| began.saturating_sub(ended) <= took);
        self.last = Some((now, took));
        self.flights = if in_a_row { self.flights + 1 } else { 1 };
        let turn = if self.pause.is_zero() { LONG_TURN } else { TURN };
        if !rests || self.flights < turn {
            return;
        }
        let rest = if self.pause.is_zero() { took.saturating_mul(REST).min(LONGEST) } else { self.pause(runtime) };
        self.rest_until = now.saturating_add(rest);
        self.flights = 0;
        self.pause = if self.pause > SHORTEST { self.pause / 2 } else { Duration::ZERO };
    }

    /// Until when the writer rests, by elapsed time.
    pub(super) fn rest_until(&self) -> Duration {
        self.rest_until
    }
}
