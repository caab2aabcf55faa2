//! Says on stderr that the store is asked again and again, and why.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kfs_core::runtime::Runtime;
use kfs_core::{Bucket, Trouble};

use crate::output;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(200);
/// A failure, or a request without an answer, that passes within this time is nobody's concern.
const BEARABLE: Duration = Duration::from_secs(2);
/// A failure that takes turns with another is told no more often than this.
const BETWEEN: Duration = Duration::from_secs(5);

/// What was said last.
#[derive(Debug, Default)]
struct Notices {
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    cause: Option<String>,
    /// When it was said, and since when it was so.
    at: Duration,
    since: Duration,
}

/// What the store is waited for now.
#[derive(Clone, Debug)]
struct Seen {
    doing: &'static str,
    lasting: Duration,
    /// `None` while there is no answer at all.
    cause: Option<String>,
    /// What the store and libkfs call the try, which differs from try to try.
    ids: Vec<String>,
}

impl From<Trouble> for Seen {
    fn from(trouble: Trouble) -> Self {
        let ids = trouble.error.as_ref().map(|error| [error.request_id(), error.client_request_id()]);
        let ids = ids.into_iter().flatten().flatten().map(str::to_string).collect();
        let cause = trouble.error.map(|error| format!("{error:#}"));
        Seen { doing: trouble.doing, lasting: trouble.lasting, cause, ids }
    }
}

impl Seen {
    /// The cause as it is the same for each try.
    fn lasting_cause(&self) -> Option<String> {
        let cause = self.cause.clone()?;
        Some(self.ids.iter().fold(cause, |cause, id| cause.replace(id.as_str(), "")))
    }
}

/// Watches a bucket for as long as the runtime lives.
#[derive(Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Notices>>);

impl Watch {
    pub(crate) fn begin(runtime: &Runtime, bucket: &Bucket) -> Self {
        let watch = Watch::default();
        let (notices, bucket, clock) = (watch.0.clone(), bucket.clone(), runtime.clock().clone());
        runtime.spawn(async move {
            loop {
                clock.sleep(EVERY).await;
                say(&notices, bucket.trouble().map(Seen::from), clock.elapsed());
            }
        });
        watch
    }

    /// Says before the end of a command that did what it should that what was told has ended.
    pub(crate) fn last(&self, runtime: &Runtime, bucket: &Bucket) {
        if bucket.trouble().is_none() {
            say(&self.0, None, runtime.clock().elapsed());
        }
    }
}

/// Says what is to be said, in the order in which it was seen.
fn say(notices: &Mutex<Notices>, seen: Option<Seen>, now: Duration) {
    let mut notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notice) = notices.next(seen, now) {
        output::note(&notice);
    }
}

impl Notices {
    /// What is to be said now, if anything is.
    fn next(&mut self, seen: Option<Seen>, now: Duration) -> Option<String> {
        let Some(seen) = seen else {
            let told = self.told.take()?;
            return Some(format!("the store answers again, after {}s", now.saturating_sub(told.since).as_secs()));
        };
        let lasting_cause = seen.lasting_cause();
        let Seen { doing, lasting, cause, .. } = seen;
        if lasting < BEARABLE {
            return None;
        }
        let mut since = now.saturating_sub(lasting);
        if let Some(told) = &self.told {
            if told.cause == lasting_cause || now.saturating_sub(told.at) < BETWEEN {
                return None;
            }
            since = told.since;
        }
        let notice = match &cause {
            Some(cause) => format!("{doing} fails, and is tried again: {cause}"),
            None => format!("waiting for the store: {doing}, no answer for {}s", lasting.as_secs()),
        };
        self.told = Some(Told { cause: lasting_cause, at: now, since });
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, cause: Option<&str>) -> Option<Seen> {
        Some(Seen {
            doing: "listing",
            lasting: Duration::from_secs(seconds),
            cause: cause.map(str::to_string),
            ids: Vec::new(),
        })
    }

    #[test]
    fn a_lasting_failure_is_told_once_and_when_it_changes_or_ends() {
        let mut notices = Notices::default();
        let mut told = Vec::new();
        let refused = Some("connection refused");
        let denied = Some("permission denied");
        let story = [at(0, refused), at(1, refused), at(2, refused), at(3, refused), at(4, denied), at(5, refused)];
        let rest = [at(6, denied), at(7, denied), at(8, denied), None, None, at(0, denied)];
        for (second, seen) in (0..).zip(story.into_iter().chain(rest)) {
            told.extend(notices.next(seen, Duration::from_secs(100 + second)).map(|notice| (second, notice)));
        }
        let wanted = [
            (2, "listing fails, and is tried again: connection refused"),
            (7, "listing fails, and is tried again: permission denied"),
            (9, "the store answers again, after 9s"),
        ];
        assert_eq!(told, wanted.map(|(second, notice)| (second, notice.to_string())));
    }

    #[test]
    fn the_same_failure_of_another_request_is_not_told_again() {
        let mut notices = Notices::default();
        let told: Vec<_> = (2..30)
            .filter_map(|second| {
                let id = format!("ID{second}");
                let cause = Some(format!("denied (request id {id}) (client request id U{second})"));
                let seen = Seen { cause, ids: vec![id, format!("U{second}")], ..at(second, None).unwrap() };
                notices.next(Some(seen), Duration::from_secs(100 + second))
            })
            .collect();
        assert_eq!(told, ["listing fails, and is tried again: denied (request id ID2) (client request id U2)"]);
    }

    #[test]
    fn a_store_that_does_not_answer_is_told_as_soon_as_one_that_fails() {
        let mut notices = Notices::default();
        assert_eq!(notices.next(at(1, None), Duration::from_secs(1)), None);
        let notice = notices.next(at(2, None), Duration::from_secs(2)).unwrap();
        assert_eq!(notice, "waiting for the store: listing, no answer for 2s");
    }
}
