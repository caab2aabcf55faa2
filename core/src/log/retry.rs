//! Asking the store again: one policy for all that a log asks of it (docs/design.md, "Retries and time limits").
//!
//! What fails in a way that may pass is asked for again, until it is answered or no caller wants the
//! answer any more: readers, followers and openings as well as commits. While that goes on it can be
//! seen, with the last failure. Fixed numbers of tries belong to the plain storage interface alone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::observer::Observer;
use crate::runtime::Runtime;
use crate::setters::setters;
use crate::store::{SyncFailure, may_pass, pause_after};

/// A request that has had no answer for less than this is no trouble.
const UNANSWERED: Duration = Duration::from_secs(1);
/// With longer pauses a log would stay away from a store that answers again.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How long a log pauses before it asks the store again for what failed. There is no limit on the number of tries: a
/// log asks until the store answers, or until no caller wants the answer any more.
///
/// Each pause is twice as long as the one before it, up to the longest. Half of a pause is always waited, and a random part of
/// the other half, so that many processes do not ask in step. Where the store asked for a pause itself (`Retry-After`, of
/// which up to 5 minutes count), that is waited first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The first pause (default 50 ms, at least 1 ms, at most the longest one).
    pub first_pause: Duration,
    /// The longest pause (default 5 s, at least the first one, at most 1 hour).
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(5) }
    }
}

impl RetryPolicy {
    setters! { first_pause: Duration, longest_pause: Duration }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let (first, longest) = (self.first_pause, self.longest_pause);
        // Without a pause a store that is away would be asked without end, as fast as it refuses.
        let message = if first < Duration::from_millis(1) {
            format!("the retry policy's first_pause is {first:?}, at least 1ms is allowed")
        } else if first > LONGEST_PAUSE {
            format!("the retry policy's first_pause is {first:?}, at most 1 hour is allowed")
        } else if longest > LONGEST_PAUSE {
            format!("the retry policy's longest_pause is {longest:?}, at most 1 hour is allowed")
        } else if longest < first && longest == Self::default().longest_pause {
            // Only the first pause was set.
            format!("the retry policy's first_pause is {first:?}, which is more than its longest_pause of {longest:?}")
        } else if longest < first {
            format!("the retry policy's longest_pause is {longest:?}, which is less than its first_pause of {first:?}")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// The pause that follows `before` others, before chance shortens it.
    fn pause(&self, before: u32) -> Duration {
        let times = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        self.first_pause.saturating_mul(times).min(self.longest_pause)
    }
}

/// Whether what a commit sends is sent again after this failure, as a read is: a person may restore the permission, and what is
/// buffered exists nowhere else.
pub(crate) fn may_pass_for_a_commit(error: &Error) -> bool {
    may_pass(error) || (error.kind() == ErrorKind::PermissionDenied && SyncFailure::of(error).is_none())
}

/// What the store was asked for and has not done, though some time has passed: why a log waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trouble {
    /// What is being done, such as "writing a segment".
    pub doing: &'static str,
    /// How long that has been going on.
    pub lasting: Duration,
    /// How many tries have failed.
    pub failures: u32,
    /// The last failure. `None` while the store has not answered at all.
    pub error: Option<Error>,
}

impl Trouble {
    fn is_worth_telling(&self) -> bool {
        self.error.is_some() || self.lasting >= UNANSWERED
    }

    /// Adds to the error of a wait that has ended why it was in vain: what was being done, and the
    /// last failure as its source.
    #[must_use]
    pub fn explain(self, error: Error) -> Error {
        let Trouble { doing, lasting, failures, error: last } = self;
        let (message, stored) = (error.message(), error.stored());
        let explained = match last {
            Some(last) => {
                let times = if failures == 1 { "once".to_string() } else { format!("{failures} times") };
                Error::new(error.kind(), format!("{message}: {doing} failed {times}")).because_of(last)
            }
            None => Error::new(error.kind(), format!("{message}: {doing}, no answer for {}s", lasting.as_secs())),
        };
        let explained = match (explained.hint(), error.hint()) {
            (None, Some(hint)) => explained.with_hint(hint),
            _ => explained,
        };
        stored.into_iter().fold(explained, Error::with_stored)
    }
}

/// What is being asked of the store on behalf of one partition, or of the bucket.
#[derive(Debug)]
pub(crate) struct Retries {
    /// `None` for what belongs to the bucket.
    partition: Option<PartitionId>,
    policy: RetryPolicy,
    observer: Observer,
    book: Mutex<RetryBook>,
}

#[derive(Debug, Default)]
struct RetryBook {
    next: u64,
    open: Vec<OpenRequest>,
    /// The last failure of what was given up last, and when it failed.
    given_up: Option<(Duration, Trouble)>,
}

#[derive(Debug)]
struct OpenRequest {
    number: u64,
    doing: &'static str,
    began: Duration,
    failures: u32,
    last: Option<(Duration, Error)>,
}

impl OpenRequest {
    fn trouble(&self, now: Duration) -> Trouble {
        let error = self.last.as_ref().map(|(_, error)| error.clone());
        Trouble { doing: self.doing, lasting: now.saturating_sub(self.began), failures: self.failures, error }
    }
}

impl Retries {
    pub(crate) fn new(partition: Option<PartitionId>, policy: RetryPolicy, observer: Observer) -> Self {
        Retries { partition, policy, observer, book: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, RetryBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been failing for longest; if nothing fails, what has been without an answer for longest.
    pub(crate) fn worst(&self, now: Duration) -> Option<Trouble> {
        let book = self.lock();
        let worst = book.open.iter().min_by_key(|entry| (entry.last.is_none(), entry.began));
        worst.map(|entry| entry.trouble(now)).filter(Trouble::is_worth_telling)
    }

    /// What was begun last and is not done.
    pub(crate) fn doing(&self) -> Option<&'static str> {
        self.lock().open.last().map(|entry| entry.doing)
    }

    /// Why what began at `since` was given up: what fails now, or failed last since then.
    pub(crate) fn reason(&self, since: Duration, now: Duration) -> Option<Trouble> {
        let worst = self.worst(now);
        if worst.as_ref().is_some_and(|trouble| trouble.error.is_some()) {
            return worst;
        }
        let given_up = self.lock().given_up.clone().filter(|(at, _)| *at >= since).map(|(_, trouble)| trouble);
        given_up.or(worst)
    }
}

/// One thing that is asked of the store until it is done. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    retries: &'a Retries,
    runtime: &'a Runtime,
    number: u64,
    doing: &'static str,
    began: Duration,
    pauses: u32,
    /// It was told that the failures last.
    told: bool,
}

impl<'a> Retry<'a> {
    pub(crate) fn begin(retries: &'a Retries, runtime: &'a Runtime, doing: &'static str) -> Self {
        let began = runtime.clock().elapsed();
        let mut book = retries.lock();
        let number = book.next;
        book.next = number.wrapping_add(1);
        book.open.push(OpenRequest { number, doing, began, failures: 0, last: None });
        drop(book);
        Retry { retries, runtime, number, doing, began, pauses: 0, told: false }
    }

    fn edit(&self, change: impl FnOnce(&mut OpenRequest)) {
        if let Some(entry) = self.retries.lock().open.iter_mut().find(|entry| entry.number == self.number) {
            change(entry);
        }
    }

    /// Takes note of a failure, or of why this waits.
    pub(crate) fn note(&self, error: Error) {
        let now = self.runtime.clock().elapsed();
        self.edit(|entry| {
            entry.failures += 1;
            entry.last = Some((now, error));
        });
    }

    /// Takes note of a failure, and waits until it is time for the next try.
    pub(crate) async fn after(&mut self, error: Error) {
        let (partition, failures) = (self.retries.partition.as_ref(), self.pauses.saturating_add(1));
        let what = (self.doing, self.began);
        let full = self.retries.policy.pause(self.pauses);
        let pause = pause_after(&error, full, &**self.runtime.entropy());
        self.told = self.retries.observer.retry(partition, what, (failures, pause), &error, self.told);
        self.note(error);
        self.pauses += 1;
        self.runtime.clock().sleep(pause).await;
    }

    /// The store answered: what failed before is forgotten.
    pub(crate) fn done(self) {
        self.retries.lock().open.retain(|entry| entry.number != self.number);
        if self.told {
            let partition = self.retries.partition.as_ref();
            self.retries.observer.answered_again(partition, (self.doing, self.began), self.pauses);
        }
    }
}

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        let now = self.runtime.clock().elapsed();
        let mut book = self.retries.lock();
        let Some(at) = book.open.iter().position(|entry| entry.number == self.number) else { return };
        let entry = book.open.remove(at);
        let trouble = entry.trouble(now);
        if !trouble.is_worth_telling() {
            return;
        }
        let at = entry.last.as_ref().map_or(now, |(failed, _)| *failed);
        // One that was given up with another, within it, says more if it failed later.
        let says_more = |(other_at, other): &(Duration, Trouble)| {
            *other_at >= entry.began && (other.error.is_some(), *other_at) > (trouble.error.is_some(), at)
        };
        if !book.given_up.as_ref().is_some_and(says_more) {
            book.given_up = Some((at, trouble));
        }
    }
}

/// Asks until the store answers. Whatever asking again can't mend is an answer, too.
pub(crate) async fn patiently<T, F: Future<Output = Result<T>>>(
    retries: &Retries,
    runtime: &Runtime,
    doing: &'static str,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let mut retry = Retry::begin(retries, runtime, doing);
    loop {
        match ask().await {
            Err(error) if may_pass(&error) => retry.after(error).await,
            answer => {
                retry.done();
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests;
