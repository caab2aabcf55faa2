//! What plays a script's actions around requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::{ObjectMeta, ObjectStore, Result};

use super::action::{Action, Failure, KeyMatcher, Op, Outcome, Request};

/// The store beneath, the script, and the log of what was done.
pub(super) struct Player {
    pub(super) inner: Arc<dyn ObjectStore>,
    state: Mutex<Script>,
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) once: Vec<Rule>,
    pub(super) always: Vec<Rule>,
    pub(super) decide: Option<Decide>,
    pub(super) down: Option<Failure>,
    pub(super) log: Vec<LoggedRequest>,
    pub(super) late: VecDeque<Late>,
    /// Grows when the log is cleared, so that a request begun before does not write into it.
    pub(super) era: u64,
}

pub(super) struct Rule {
    pub(super) op: Op,
    pub(super) key: KeyMatcher,
    pub(super) action: Action,
}

pub(super) type Decide = Arc<dyn Fn(&Request) -> Action + Send + Sync>;
type Late = BoxFuture<'static, (String, Result<()>)>;

/// A request that was made, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// The request.
    pub request: Request,
    /// What became of it.
    pub outcome: Outcome,
}

#[derive(Clone, Copy)]
pub(super) struct Ticket {
    era: u64,
    index: usize,
}

impl Player {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Player { inner, state: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Script> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, request: Request) -> (Ticket, Action) {
        let (ticket, decide) = {
            let mut state = self.lock();
            let ticket = Ticket { era: state.era, index: state.log.len() };
            state.log.push(LoggedRequest { request: request.clone(), outcome: Outcome::Unanswered });
            if let Some(failure) = state.down {
                return (ticket, Action::Fail(failure));
            }
            let fits = |rule: &Rule| rule.op == request.op && rule.key.matches(&request.key);
            if let Some(index) = state.once.iter().position(fits) {
                return (ticket, state.once.remove(index).action);
            }
            if let Some(rule) = state.always.iter().rev().find(|rule| fits(rule)) {
                return (ticket, rule.action.clone());
            }
            (ticket, state.decide.clone())
        };
        // Called without the lock: it may look at the store's log.
        let action = decide.map_or(Action::Pass, |decide| decide(&request));
        (ticket, action)
    }

    fn end(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.lock();
        if state.era == ticket.era
            && let Some(entry) = state.log.get_mut(ticket.index)
        {
            entry.outcome = outcome;
        }
    }

    /// Plays the action around `act`, which is begun only when the action lets it.
    pub(super) async fn play<T: Send + 'static>(
        &self,
        ticket: Ticket,
        action: &Action,
        key: &str,
        act: BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let answered = |result: Result<T>| {
            self.end(ticket, Outcome::of(&result));
            result
        };
        let injected = |outcome: Outcome, failure: Failure| {
            self.end(ticket, outcome);
            Err(failure.error(key))
        };
        match action {
            Action::Pass | Action::DropMetadata | Action::Change(_) | Action::BreakAfter(_) => answered(act.await),
            Action::Fail(failure) => injected(Outcome::NotApplied, *failure),
            Action::Conflict => injected(Outcome::NotApplied, Failure::AlreadyExists),
            Action::ActThenFail(failure) => {
                drop(act.await);
                injected(Outcome::ReplyLost, *failure)
            }
            Action::Hold(gate) => {
                gate.pass().await;
                answered(act.await)
            }
            Action::ActThenHold(gate) => {
                let result = act.await;
                gate.pass().await;
                answered(result)
            }
            Action::Hang => std::future::pending().await,
            Action::Late(failure) => {
                self.keep(key, act);
                injected(Outcome::Late, *failure)
            }
            Action::LateAndSilent => {
                self.keep(key, act);
                std::future::pending().await
            }
        }
    }

    fn keep<T: Send + 'static>(&self, key: &str, act: BoxFuture<'static, Result<T>>) {
        let key = key.to_owned();
        self.lock().late.push_back(Box::pin(async move { (key, act.await.map(drop)) }));
    }

    pub(super) fn list_through(
        &self,
        key: String,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        // The stream must not borrow this, so the rule is taken when the listing is made.
        let (ticket, action) = self.begin(Request::new(Op::List, key));
        let fail = |failure: Failure| stream::once(async move { Err(failure.error("(a listing)")) }).boxed();
        let mut outcome = Outcome::NotApplied;
        let result = match action {
            Action::Fail(failure) | Action::ActThenFail(failure) | Action::Late(failure) => fail(failure),
            Action::Conflict => fail(Failure::AlreadyExists),
            Action::Hang | Action::LateAndSilent => {
                outcome = Outcome::Unanswered;
                stream::pending().boxed()
            }
            Action::Hold(gate) | Action::ActThenHold(gate) => {
                outcome = Outcome::Done;
                stream::once(async move {
                    gate.pass().await;
                    listing
                })
                .flatten()
                .boxed()
            }
            Action::BreakAfter(count) => {
                outcome = Outcome::ReplyLost;
                let cut =
                    move |(at, entry)| if at < count { entry } else { Err(Failure::Unavailable.error("(a listing)")) };
                listing.take(count.saturating_add(1)).enumerate().map(cut).boxed()
            }
            Action::Pass | Action::DropMetadata | Action::Change(_) => {
                outcome = Outcome::Done;
                listing
            }
        };
        self.end(ticket, outcome);
        result
    }
}
