//! What is drawn from the seed before a simulation begins.

use std::time::Duration;

use kfs_core::OnConflict;
use kfs_core::testing::Prng;

/// The settings of one simulation.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seed of everything.
    pub seed: u64,
    /// Processes that live side by side and append.
    pub processes: usize,
    /// Processes beside them that only read.
    pub readers: usize,
    /// How often each is started, at most.
    pub lives: u64,
    /// What each life does, at most.
    pub steps: u64,
    /// What happens to requests.
    pub faults: Faults,
    /// The store's client sends each request once.
    pub sent_once: bool,
    /// Creates that have no answer for a millisecond are sent a second time.
    pub hedges: bool,
    /// Stores have a breaker, which opens after three failures in a row.
    pub breaker: bool,
    /// The store loses metadata: then one process at a time writes, and nothing is merged.
    pub lossy: bool,
    /// How long maintenance leaves in place what it replaced. Where it merges, no put lands later.
    pub grace: Duration,
    /// The log's start is moved on, and what lies below it deleted.
    pub retains: bool,
    /// Old segments are merged, and what that leaves deleted.
    pub merges: bool,
    /// All wall clocks stand still at one time, and equal payloads are appended by several.
    pub twins: bool,
    /// The first two processes are copies of one: they draw the same random numbers, writer ids among them.
    pub copies: bool,
    /// Every process is refused everything for hours, and then is not.
    pub outage: bool,
    /// Each process also writes to a partition that refuses every put.
    pub stuck: bool,
    /// Writers are given leader epochs.
    pub epochs: bool,
    /// Start offsets that writers ask for.
    pub starts: Vec<Option<i64>>,
    /// Segments that were there before, as KafScale leaves them: without `log.json`.
    pub planted: u64,
    /// Policies to choose from.
    pub policies: Vec<OnConflict>,
    /// Processes sleep longer than the grace, in the midst of an append, while others go on and the log's start is moved.
    pub drowsy: bool,
    /// Timestamps are those of the append, so that they hardly fall; else any.
    pub ordered: bool,
    /// Processes sleep for hours and days.
    pub sleepy: bool,
    /// Records are so long that readers take parts of segments.
    pub large: bool,
    /// Another tool writes wrong indexes.
    pub vandal: bool,
    /// A read of `claim.json` may return anything: nothing, an old one, or one that nobody wrote.
    pub strange_markers: bool,
}

use crate::seeded::Faults;

impl Config {
    /// Draws the settings.
    pub fn draw(seed: u64) -> Self {
        let mut prng = Prng::new(seed ^ 0x6b66_735f_7369_6d00);
        let minute = Duration::from_secs(60);
        let mut grace = pick(&mut prng, &[15 * minute, 60 * minute, 24 * 60 * minute]);
        let lossy = prng.one_in(12);
        let sent_once = prng.one_in(2);
        let mut faults = match prng.below(8) {
            0 => Faults::calm(),
            1..=4 => Faults::flaky(),
            _ => Faults::stormy(),
        };
        faults =
            faults.latest(if prng.one_in(2) { minute } else { grace / 2 }).page(pick(&mut prng, &[2, 5, 1000, 1000]));
        faults = faults.spell(pick(&mut prng, &[0, 2, 10])).longest_spell(5 * minute);
        faults = faults.latency(Duration::from_millis(pick(&mut prng, &[1, 20, 300])));
        if sent_once {
            faults = faults.twice(0);
        }
        if lossy {
            faults = faults.lose_metadata(if prng.one_in(2) { 700 } else { 30 });
        }
        let starts = match prng.below(4) {
            0 => vec![None, Some(0), Some(7)],
            1 => vec![Some(5), None, Some(5), Some(1000)],
            _ => vec![None],
        };
        let policies = match prng.below(6) {
            0 => vec![OnConflict::Takeover],
            1 => vec![OnConflict::Rebase],
            2 => vec![OnConflict::Fence, OnConflict::Takeover],
            _ => vec![OnConflict::Takeover, OnConflict::Takeover, OnConflict::Rebase, OnConflict::Fence],
        };
        let drowsy = !lossy && prng.one_in(6);
        if drowsy {
            grace = 15 * minute;
        }
        let config = Config {
            seed,
            processes: if lossy { 1 } else { 1 + usize::from(drowsy) + prng.below(4) as usize },
            readers: prng.below(3) as usize,
            lives: 1 + prng.below(4),
            steps: 4 + prng.below(24),
            faults,
            sent_once,
            // Of the seed itself, so that the draws of other settings stay as they were. Only what is sent once is hedged. The
            // late answers that drowsy processes are about seldom come where a second create brings an earlier one.
            hedges: sent_once && !seed.is_multiple_of(3) && (!drowsy || seed.is_multiple_of(4)),
            breaker: seed % 4 == 3,
            lossy,
            grace,
            retains: prng.below(2) > 0 || drowsy,
            merges: !lossy && prng.below(2) > 0 && !drowsy,
            drowsy,
            twins: prng.one_in(5),
            epochs: prng.one_in(3),
            starts,
            planted: if prng.one_in(6) { 1 + prng.below(3) } else { 0 },
            policies,
            ordered: prng.below(4) > 0,
            sleepy: prng.one_in(2) && !drowsy,
            large: prng.one_in(5),
            vandal: prng.one_in(3),
            strange_markers: prng.one_in(2),
            copies: prng.one_in(6),
            outage: prng.one_in(16),
            stuck: prng.one_in(8),
        };
        // A writer that is stuck for days asks some hundred thousand times: that shows no more than an hour of it.
        Config { stuck: config.stuck && !config.sleepy, ..config }
    }
}

impl Config {
    /// The most bytes that a record's value is filled up with.
    pub(crate) fn filler(&self) -> u64 {
        if self.large { 3_000 } else { 60 }
    }
}

/// One of these.
pub(crate) fn pick<T: Clone>(prng: &mut Prng, from: &[T]) -> T {
    from[prng.below(from.len() as u64) as usize].clone()
}
