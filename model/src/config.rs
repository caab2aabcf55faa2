//! What a run of the model consists of: the writers, the faults, the size.

use crate::mutation::Mutation;

/// Most writers of a run.
pub const WRITERS: usize = 3;
/// Most appends of a writer.
pub const APPENDS: usize = 3;
/// Offsets that a run may use: slots are numbered below this.
pub const OFFSETS: usize = 10;

/// What a lost slot means to a writer (`OnConflict` in the code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Moves on until its first commit, and is fenced by a lost slot after it.
    Takeover,
    /// Fenced by the first lost slot.
    Fence,
    /// Always moves on.
    Rebase,
}

/// One writer. Closed by a crash or an error, it is opened again while `opens` allows.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// What a lost slot means to it.
    pub policy: Policy,
    /// The start offset that it asks for.
    pub start_offset: Option<u8>,
    /// Stamped into what it writes.
    pub leader_epoch: Option<u8>,
    /// How many appends it makes, each in a flush of its own.
    pub appends: u8,
    /// Offsets that each of its appends takes.
    pub size: u8,
    /// How often it is opened.
    pub opens: u8,
}

impl WriterConfig {
    /// A writer that is opened once and makes this number of appends of one offset.
    pub fn new(policy: Policy, appends: u8) -> Self {
        WriterConfig { policy, start_offset: None, leader_epoch: None, appends, size: 1, opens: 1 }
    }

    /// Asks for a start offset.
    pub fn with_start_offset(mut self, start_offset: u8) -> Self {
        self.start_offset = Some(start_offset);
        self
    }

    /// Has a leader epoch.
    pub fn with_leader_epoch(mut self, leader_epoch: u8) -> Self {
        self.leader_epoch = Some(leader_epoch);
        self
    }

    /// How many offsets each of its appends takes.
    pub fn with_size(mut self, size: u8) -> Self {
        self.size = size;
        self
    }

    /// How often it is opened at most.
    pub fn with_opens(mut self, opens: u8) -> Self {
        self.opens = opens;
        self
    }
}

/// How often each thing that need not happen may happen in a run. What is left is part of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A request whose reply is lost: it acts at any time up to the grace, or never.
    pub lost_replies: u8,
    /// A request that is refused before it acts.
    pub refusals: u8,
    /// A conflict that is answered though the store keeps nothing there.
    pub empty_conflicts: u8,
    /// A request that acted and is answered with a conflict, for the store's client sent it twice.
    pub own_conflicts: u8,
    /// A failed fsync (directories only).
    pub failed_syncs: u8,
    /// A writer's process ends.
    pub crashes: u8,
    /// A writer's close deadline passes.
    pub give_ups: u8,
    /// Time longer than `stale_after` passes for all.
    pub bounds: u8,
    /// Time longer than the grace passes for all.
    pub graces: u8,
    /// Retention removes the oldest segment.
    pub retains: u8,
    /// Maintenance merges old segments.
    pub merges: u8,
    /// The partition is deleted, and made again if the run says so.
    pub deletes: u8,
    /// An owner's read of `claim.json` shows a claim that it does not know. The marker itself is no part of
    /// the state: a read may return anything, so an owner may see a claim whether or not one was written.
    pub claims_seen: u8,
    /// A writer that loses slots writes `claim.json`, so that its losses so far do not count as contention.
    pub claims_written: u8,
}

/// A run: everything that is fixed about it.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it is called.
    pub name: &'static str,
    /// The writers, three at most.
    pub writers: Vec<WriterConfig>,
    /// Segments of one offset each that a former owner left, acked and old.
    pub old: u8,
    /// How often what may go wrong does.
    pub budget: Budget,
    /// Faults strike index requests too, not only `log.json` and segments.
    pub index_faults: bool,
    /// The store gives metadata back (`kfsid`); else nobody can tell his own segment.
    pub keeps_metadata: bool,
    /// A create is one request (`Store::open`'s own clients); else the store's client may repeat it.
    pub single_attempt: bool,
    /// A process may pause between its last look at the clock and its request, for longer than the grace.
    pub pauses: bool,
    /// `MOST_LOSSES` of the code.
    pub most_losses: u8,
    /// `MOST_EMPTY_CONFLICTS` of the code.
    pub most_empty_conflicts: u8,
    /// The start offset in the `log.json` of a partition that is made again, if it is made at once.
    pub remade_at: Option<u8>,
    /// The fault that is built into the protocol on purpose.
    pub mutation: Option<Mutation>,
}

impl Config {
    /// A run of these writers on an empty partition where nothing goes wrong.
    pub fn new(name: &'static str, writers: &[WriterConfig]) -> Self {
        Config {
            name,
            writers: writers.to_vec(),
            old: 0,
            budget: Budget::default(),
            index_faults: false,
            keeps_metadata: true,
            single_attempt: true,
            pauses: false,
            most_losses: 8,
            most_empty_conflicts: 8,
            remade_at: None,
            mutation: None,
        }
    }

    /// How many segments a former owner left.
    pub fn with_old(mut self, segments: u8) -> Self {
        self.old = segments;
        self
    }

    /// What may go wrong how often.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The same run with a fault built in.
    pub fn with_mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = Some(mutation);
        self
    }

    /// The append that a writer makes as its `number`th, from 0 on.
    pub(crate) fn append(&self, writer: usize, number: u8) -> u8 {
        (1 + writer * APPENDS) as u8 + number
    }

    /// The append in the `number`th segment that was there before.
    pub(crate) fn old_append(&self, number: u8) -> u8 {
        (1 + WRITERS * APPENDS) as u8 + number
    }

    /// Who made an append; `None` for the former owner.
    pub(crate) fn writer_of(&self, append: u8) -> Option<usize> {
        let writer = usize::from(append - 1) / APPENDS;
        (writer < WRITERS).then_some(writer)
    }

    /// Offsets that an append takes.
    pub(crate) fn size(&self, append: u8) -> u8 {
        self.writer_of(append).map_or(1, |writer| self.writers[writer].size)
    }

    /// The leader epoch in an append's batches.
    pub(crate) fn epoch(&self, append: u8) -> Option<u8> {
        self.writer_of(append).and_then(|writer| self.writers[writer].leader_epoch)
    }

    /// Whether everything fits the model's fixed sizes.
    pub(crate) fn fits(&self) -> bool {
        let appended: usize = self.writers.iter().map(|w| usize::from(w.appends * w.size)).sum();
        let starts = self.writers.iter().filter_map(|w| w.start_offset).chain(self.remade_at);
        let start = usize::from(starts.max().unwrap_or(0));
        self.writers.len() <= WRITERS
            && self.writers.iter().all(|w| usize::from(w.appends) <= APPENDS)
            && usize::from(self.old) + self.writers.iter().map(|w| usize::from(w.appends)).sum::<usize>() <= 8
            && start + usize::from(self.old) + appended <= OFFSETS
    }
}
