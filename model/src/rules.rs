//! The invariants (docs/design.md), and what breaks them.

use crate::action::Action;
use crate::config::{Config, OFFSETS};
use crate::state::{Fate, State};
use crate::store::{Content, Store};

/// What must always hold. Numbers are those of the invariants in docs/design.md; words are its headings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1: what was acked is read at its offset, by the names of the segments, unless retained.
    AckedIsKept,
    /// 1: what is in the log stays as it is; readers see prefixes of each other.
    LogOnlyGrows,
    /// 2: every segment follows the one before it; there is one chain, and the newest is in it.
    OneDenseChain,
    /// 2: no offset was acked twice.
    OffsetsAckedOnce,
    /// 2: offsets that were called final are.
    FinalOffsets,
    /// 2: what is acked is not in the middle of the past.
    NoPast,
    /// 4: no append is in the log twice.
    KeptOnce,
    /// 4: after an append that failed the same writer acks nothing, until it is opened again.
    NoAckAfterFailure,
    /// Errors: what was reported as *not stored* is not in the log, then or ever after.
    NotStoredStaysOut,
    /// Commit: no segment follows one whose index is missing or another's.
    IndexBeforeNext,
    /// Leader epoch: after a higher leader epoch no lower one writes.
    EpochsNeverFall,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 11] = [
        Rule::AckedIsKept,
        Rule::LogOnlyGrows,
        Rule::OneDenseChain,
        Rule::OffsetsAckedOnce,
        Rule::FinalOffsets,
        Rule::NoPast,
        Rule::KeptOnce,
        Rule::NoAckAfterFailure,
        Rule::NotStoredStaysOut,
        Rule::IndexBeforeNext,
        Rule::EpochsNeverFall,
    ];

    /// Its name as a property.
    pub fn name(self) -> &'static str {
        match self {
            Rule::AckedIsKept => "acked means kept",
            Rule::LogOnlyGrows => "the log only grows",
            Rule::OneDenseChain => "one dense chain",
            Rule::OffsetsAckedOnce => "no offset is acked twice",
            Rule::FinalOffsets => "final offsets are final, so a displaced owner acks nothing",
            Rule::NoPast => "nothing is acked in the middle of the past",
            Rule::KeptOnce => "no append is kept twice",
            Rule::NoAckAfterFailure => "nothing is acked after an append that failed",
            Rule::NotStoredStaysOut => "not stored never becomes visible",
            Rule::IndexBeforeNext => "no segment follows one whose index is not right",
            Rule::EpochsNeverFall => "leader epochs never fall",
        }
    }
}

impl State {
    /// The rules that were broken on the way to this state.
    pub fn broken(&self) -> Vec<Rule> {
        Rule::ALL.into_iter().filter(|rule| self.broken.0 >> *rule as u16 & 1 == 1).collect()
    }
}

/// Which append is at each offset; 0 stands for no append.
type Offsets = [u8; OFFSETS + 4];

fn write(offsets: &mut Offsets, base: u8, content: Content, config: &Config) {
    let mut at = usize::from(base);
    for append in content.appends() {
        for _ in 0..config.size(append) {
            if let Some(offset) = offsets.get_mut(at) {
                *offset = append;
            }
            at += 1;
        }
    }
}

/// The log, walked along its chain.
fn walked(store: &Store, config: &Config) -> Offsets {
    let mut offsets = [0; OFFSETS + 4];
    for (base, segment) in store.chain(config) {
        write(&mut offsets, base, segment.content, config);
    }
    offsets
}

/// The log as a reader finds it: an offset is in the segment with the greatest base at or below it.
fn read_by_names(store: &Store, config: &Config) -> Offsets {
    let mut offsets = [0; OFFSETS + 4];
    for (base, segment) in store.list(0) {
        offsets[usize::from(base)..].fill(0);
        write(&mut offsets, base, segment.content, config);
    }
    offsets
}

/// Marks what the step from one state to the next broke.
pub(crate) fn check(config: &Config, last: &State, action: Action, next: &mut State) {
    let same_store = last.store.slots == next.store.slots && last.store.mark == next.store.mark;
    if same_store && last.fates == next.fates {
        return;
    }
    let mut broken = 0;
    let mut breaks = |rule: Rule| broken |= 1_u16 << rule as u16;
    let (store, mark) = (&next.store, usize::from(next.store.mark));
    let walked_now = walked(store, config);
    let read = if config.pauses { walked_now } else { read_by_names(store, config) };

    let mut acked = 0_u32;
    for (append, fate) in next.fates.iter().enumerate() {
        let Fate::Acked(base) = *fate else { continue };
        let (base, size) = (usize::from(base), usize::from(config.size(append as u8)));
        let mask = ((1_u32 << size) - 1) << base;
        if acked & mask != 0 {
            breaks(Rule::OffsetsAckedOnce);
        }
        acked |= mask;
        if base >= mark && read.iter().skip(base).take(size).any(|found| usize::from(*found) != append) {
            breaks(Rule::AckedIsKept);
        }
    }

    let mut kept = 0_u16;
    let mut newest_in_chain = None;
    for (base, segment) in store.chain(config) {
        newest_in_chain = Some(base);
        for append in segment.content.appends() {
            if kept >> append & 1 == 1 {
                breaks(Rule::KeptOnce);
            }
            kept |= 1 << append;
        }
    }
    if newest_in_chain != store.newest() {
        breaks(Rule::OneDenseChain);
    }
    for (_, segment) in store.list(store.mark) {
        if segment.content.appends().any(|append| next.fates[usize::from(append)] == Fate::NotStored) {
            breaks(Rule::NotStoredStaysOut);
        }
    }
    if !same_store && action != Action::DeletePartition {
        let before = walked(&last.store, config);
        let stays = before.iter().zip(&walked_now).skip(mark);
        if stays.into_iter().any(|(before, now)| *before != 0 && before != now) {
            breaks(Rule::LogOnlyGrows);
        }
    }
    next.broken.0 |= broken;
}
