//! The model as stateright knows it.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::action::{self, Action};
use crate::config::Config;
use crate::mutation::Mutation;
use crate::reached::{Event, Reached};
use crate::rules::{self, Rule};
use crate::state::State;

/// The commit protocol with one [`Config`].
#[derive(Clone, Debug)]
pub struct Commit {
    pub(crate) config: Config,
    expected: Vec<Event>,
    until_broken: bool,
    pub(crate) reached: Arc<Reached>,
}

impl Commit {
    /// The model of a run in which each of these events must be reached.
    ///
    /// # Panics
    /// When the run needs more offsets, writers or appends than the model has room for.
    pub fn new(config: Config, expected: &[Event]) -> Self {
        assert!(config.fits(), "{} does not fit the model's fixed sizes", config.name);
        Commit { config, expected: expected.to_vec(), until_broken: false, reached: Arc::default() }
    }

    /// The model of a run that ends when any rule is broken, with the path to it.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn until_broken(config: Config) -> Self {
        Commit { until_broken: true, ..Commit::new(config, &[]) }
    }

    /// What the run is called.
    pub fn name(&self) -> &'static str {
        self.config.name
    }

    /// How often each event was reached, counted over all transitions.
    pub fn reached(&self) -> Arc<Reached> {
        self.reached.clone()
    }
}

impl AsRef<Reached> for Commit {
    fn as_ref(&self) -> &Reached {
        &self.reached
    }
}

/// One transition under way.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) reached: &'a Reached,
    pub(crate) state: State,
}

impl Run<'_> {
    pub(crate) fn mutated(&self, mutation: Mutation) -> bool {
        self.config.mutation == Some(mutation)
    }

    pub(crate) fn reach(&self, event: Event) {
        self.reached.count(event);
    }

    pub(crate) fn breaks(&mut self, rule: Rule) {
        self.state.broken.0 |= 1 << rule as u16;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Find(w) => self.find(w),
            Action::ReadNewest(w) => self.read_newest(w),
            Action::FixStart(w) => self.fix_start(w),
            Action::ReadLogJson(w) => self.read_log_json(w),
            Action::LookBefore(w) => self.look_before(w),
            Action::SeeClaim(w) => self.see_claim(w),
            Action::Probe(w) => self.probe(w),
            Action::WriteClaim(w) => self.write_claim(w),
            Action::Put(w) => self.put(w),
            Action::Inspect(w) => self.inspect(w),
            Action::FinishIndex(w) => self.finish_index(w),
            Action::IndexRefused(w) => self.index_refused(w),
            Action::LookAfter(w) => self.look_after(w),
            Action::Ack(w) => self.ack(w),
            Action::GiveUp(w) => self.give_up(w),
            Action::Crash(w) => self.crash(w),
            Action::Answer(w, request) => self.answer(w, request),
            Action::LoseReply(w, request) => self.lose_reply(w, request),
            Action::Refuse(w, request) => self.refuse(w, request),
            Action::EmptyConflict(w, request) => self.empty_conflict(w, request),
            Action::OwnConflict(w, request) => self.own_conflict(w, request),
            Action::SyncFails(w, request, visible) => self.sync_fails(w, request, visible),
            Action::LandSegment { slot, append } => self.land_segment(slot, append),
            Action::LandIndex { slot, append } => self.land_index(slot, append),
            Action::LandLogJson { start_offset } => self.land_log_json(start_offset),
            Action::BoundPasses => self.bound_passes(),
            Action::GracePasses => self.grace_passes(),
            Action::Retain => self.retain(),
            Action::Merge(from, to) => self.merge(from, to),
            Action::DeleteReplaced(base) => self.delete_replaced(base),
            Action::DeletePartition => self.delete_partition(),
        }
    }
}

impl Model for Commit {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows from a broken promise is of no interest.
        if state.broken.0 == 0 {
            action::possible(&self.config, state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut run = Run { config: &self.config, reached: &self.reached, state: *last };
        run.act(action);
        let mut next = run.state;
        rules::check(&self.config, last, action, &mut next);
        let changed = State { left: last.left, ..next } != *last;
        changed.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.until_broken { vec![any()] } else { all(&self.expected) }
    }
}

/// The properties of a run: all rules, and that each expected event is reached.
fn all(expected: &[Event]) -> Vec<Property<Commit>> {
    let rules = Rule::ALL.into_iter().map(always);
    rules.chain(expected.iter().map(|event| Property::sometimes(event.name(), event.condition()))).collect()
}

/// That no rule is broken, as one property: a checker stops when it is.
fn any() -> Property<Commit> {
    Property::always("every rule", |_, state: &State| state.broken.0 == 0)
}

/// A rule as a property.
fn always(rule: Rule) -> Property<Commit> {
    fn holds<const RULE: u16>(_: &Commit, state: &State) -> bool {
        state.broken.0 >> RULE & 1 == 0
    }
    let condition = match rule {
        Rule::AckedIsKept => holds::<{ Rule::AckedIsKept as u16 }>,
        Rule::LogOnlyGrows => holds::<{ Rule::LogOnlyGrows as u16 }>,
        Rule::OneDenseChain => holds::<{ Rule::OneDenseChain as u16 }>,
        Rule::OffsetsAckedOnce => holds::<{ Rule::OffsetsAckedOnce as u16 }>,
        Rule::FinalOffsets => holds::<{ Rule::FinalOffsets as u16 }>,
        Rule::NoPast => holds::<{ Rule::NoPast as u16 }>,
        Rule::KeptOnce => holds::<{ Rule::KeptOnce as u16 }>,
        Rule::NoAckAfterFailure => holds::<{ Rule::NoAckAfterFailure as u16 }>,
        Rule::NotStoredStaysOut => holds::<{ Rule::NotStoredStaysOut as u16 }>,
        Rule::IndexBeforeNext => holds::<{ Rule::IndexBeforeNext as u16 }>,
        Rule::EpochsNeverFall => holds::<{ Rule::EpochsNeverFall as u16 }>,
    };
    Property::always(rule.name(), condition)
}
