//! Counts requests where they are sent.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::Extensions;

use super::breaker::Pass;
use super::types::RequestCounts;
#[cfg(feature = "_http")]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::recorder::{RequestKind, RequestOutcome};
use crate::scope::Scope;

/// The counters of one store.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    put: AtomicU64,
    get: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    done: AtomicU64,
    /// Counts the same requests too: those of the whole bucket, where this counts a part of them.
    whole: Option<Arc<Meter>>,
}

impl Meter {
    /// A meter for some requests of a store, which its own meter counts as well.
    pub(crate) fn of_a_part(whole: &Arc<Meter>) -> Self {
        Meter { whole: Some(whole.clone()), ..Meter::default() }
    }

    fn count(&self, kind: RequestKind, requests: u64, bytes_out: u64) {
        let counter = match kind {
            RequestKind::Put => &self.put,
            RequestKind::Get => &self.get,
            RequestKind::List => &self.list,
            RequestKind::Delete => &self.delete,
        };
        counter.fetch_add(requests, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.count(kind, requests, bytes_out);
        }
    }

    fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.received(bytes);
        }
    }

    fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.done();
        }
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        RequestCounts {
            put: self.put.load(Ordering::Relaxed),
            get: self.get.load(Ordering::Relaxed),
            list: self.list.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
        }
    }
}

/// A request from when it is made until it has ended: the one place that counts it, and tells the observer how it ended.
///
/// It travels through object_store's client to our HTTP connector, which counts each try and leaves the status and the
/// request id here: object_store's errors do not tell them. When the last clone is dropped before the end, the request was given up.
#[derive(Clone, Debug)]
pub(crate) struct Attempt(Arc<AttemptState>);

#[cfg(feature = "_http")]
tokio::task_local! {
    /// The request whose work is being polled.
    static CURRENT: Attempt;
}

#[derive(Debug)]
struct AttemptState {
    meter: Arc<Meter>,
    observer: Observer,
    kind: RequestKind,
    key: String,
    made: Duration,
    scope: Scope,
    /// The last answer that our connector saw.
    answer: Mutex<Option<Answered>>,
    /// What we call the try that was sent last, where its signature allowed to tell the store so.
    client_request_id: Mutex<Option<String>>,
    /// The try under way.
    sent: Mutex<Option<SentTry>>,
    /// What the breaker let through, until it was told how that ended. `None` for what is not gated.
    pass: Mutex<Option<Pass>>,
    /// The tries that failed before it, where they are counted here.
    failures: AtomicU32,
}

/// An answer as our connector saw it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// What the store calls the request.
    pub(crate) request_id: Option<String>,
    /// How long the store asks to wait before the next try.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct SentTry {
    began: Duration,
    requests: u64,
    bytes_out: u64,
    bytes_in: u64,
}

impl Attempt {
    /// A request about to be made, and not counted yet. `pass` is told how it ends.
    pub(super) fn new(
        meter: &Arc<Meter>,
        observer: &Observer,
        kind: RequestKind,
        key: &str,
        pass: Option<Pass>,
    ) -> Self {
        Attempt(Arc::new(AttemptState {
            meter: meter.clone(),
            observer: observer.clone(),
            kind,
            key: key.to_string(),
            made: observer.now(),
            scope: observer.request(kind, key),
            answer: Mutex::default(),
            client_request_id: Mutex::default(),
            sent: Mutex::default(),
            pass: Mutex::new(pass),
            failures: AtomicU32::new(0),
        }))
    }

    /// Counts requests with this many bytes of a body, which began when this was made: the first one, or more of a listing.
    pub(crate) fn count(&self, requests: u64, bytes_out: u64) {
        self.0.meter.count(self.0.kind, requests, bytes_out);
        let mut sent = lock(&self.0.sent);
        let sent = sent.get_or_insert(SentTry { began: self.0.made, requests: 0, bytes_out: 0, bytes_in: 0 });
        sent.requests = sent.requests.saturating_add(requests);
        sent.bytes_out = sent.bytes_out.saturating_add(bytes_out);
    }

    pub(crate) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self.clone());
        extensions
    }

    /// The status of the last answer, where our connector saw one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.0.status()
    }

    /// Our connector sends a try, with this many bytes of a body. One before it has failed.
    #[cfg(feature = "_http")]
    pub(crate) fn on_the_wire(&self, body: u64) {
        self.0.end(RequestOutcome::Failed(ErrorKind::Unavailable));
        self.sends(body);
    }

    /// The try under way failed. Gives how many bytes of a body it sent.
    #[cfg(feature = "_http")]
    pub(crate) fn fails(&self, kind: ErrorKind) -> u64 {
        let bytes_out = lock(&self.0.sent).map_or(0, |sent| sent.bytes_out);
        self.0.end(RequestOutcome::Failed(kind));
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        bytes_out
    }

    /// How many of its tries [failed](Self::fails).
    pub(crate) fn failures(&self) -> u32 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// A try begins, with this many bytes of a body.
    #[cfg(feature = "_http")]
    pub(crate) fn sends(&self, body: u64) {
        *lock(&self.0.answer) = None;
        self.0.meter.count(self.0.kind, 1, body);
        let sent = SentTry { began: self.0.observer.now(), requests: 1, bytes_out: body, bytes_in: 0 };
        *lock(&self.0.sent) = Some(sent);
    }

    /// Our connector sends a try of a request that its caller counts.
    #[cfg(feature = "_http")]
    pub(crate) fn sends_counted(&self) {
        *lock(&self.0.answer) = None;
    }

    /// Our connector gave the try this id.
    #[cfg(feature = "_http")]
    pub(crate) fn sent_as(&self, id: String) {
        self.0.scope.note("client_request_id", &id);
        *lock(&self.0.client_request_id) = Some(id);
    }

    /// The store answered.
    #[cfg(feature = "_http")]
    pub(crate) fn answered(&self, answer: Answered) {
        if let Some(request_id) = &answer.request_id {
            self.0.scope.note("request_id", request_id);
        }
        *lock(&self.0.answer) = Some(answer);
    }

    /// Does the work of the request within its span.
    pub(crate) fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        let work = self.0.scope.around(work);
        #[cfg(feature = "_http")]
        let work = CURRENT.scope(self.clone(), work);
        work
    }

    /// The request whose work is being polled. object_store lets no attempt travel with some requests; they are sent within
    /// that work.
    #[cfg(feature = "_http")]
    pub(crate) fn current() -> Option<Attempt> {
        CURRENT.try_with(Attempt::clone).ok()
    }

    /// An error of this request, with what we and the store call the request, and how long the store asked to wait.
    pub(crate) fn named(&self, error: Error) -> Error {
        let error = match lock(&self.0.client_request_id).clone() {
            Some(id) => error.with_client_request_id(id),
            None => error,
        };
        let Some(Answered { request_id, retry_after, .. }) = lock(&self.0.answer).clone() else { return error };
        let error = match request_id {
            Some(request_id) => error.with_request_id(request_id),
            None => error,
        };
        match retry_after {
            Some(pause) => error.with_retry_after(pause),
            None => error,
        }
    }

    /// What is asked for.
    pub(crate) fn kind(&self) -> RequestKind {
        self.0.kind
    }

    /// Bytes of an object's body came.
    pub(crate) fn received(&self, bytes: u64) {
        self.0.meter.received(bytes);
        if let Some(sent) = &mut *lock(&self.0.sent) {
            sent.bytes_in = sent.bytes_in.saturating_add(bytes);
        }
    }

    /// The request has ended with an answer.
    pub(crate) fn end(&self, outcome: RequestOutcome) {
        self.0.end(outcome);
        if let Some(pass) = self.0.take_pass() {
            pass.answered(&self.0.observer);
        }
    }

    /// The request has failed.
    pub(crate) fn fail(&self, error: &Error) {
        self.0.end(RequestOutcome::Failed(error.kind()));
        if let Some(pass) = self.0.take_pass() {
            pass.failed(error, self.status(), &self.0.observer);
        }
    }

    /// The request has ended with this result.
    pub(crate) fn ends<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.end(RequestOutcome::Done),
            Err(error) => self.fail(error),
        }
        result
    }
}

impl AttemptState {
    fn status(&self) -> Option<u16> {
        lock(&self.answer).as_ref().map(|answer| answer.status)
    }

    fn take_pass(&self) -> Option<Pass> {
        lock(&self.pass).take()
    }

    /// Tells how the try ended that is under way. One that was not sent, or has ended, is not told.
    fn end(&self, outcome: RequestOutcome) {
        let Some(SentTry { began, requests, bytes_out, bytes_in }) = lock(&self.sent).take() else { return };
        if outcome == RequestOutcome::Done {
            self.meter.done();
        }
        let answer = lock(&self.answer).clone();
        let client_request_id = lock(&self.client_request_id).clone();
        let ids = (answer.as_ref().and_then(|answer| answer.request_id.as_deref()), client_request_id.as_deref());
        let (request, ended) = ((self.kind, &*self.key), (outcome, answer.as_ref().map(|answer| answer.status), ids));
        let _entered = self.scope.enter();
        self.observer.request_ended(request, ended, requests, (bytes_out, bytes_in), began);
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for AttemptState {
    fn drop(&mut self) {
        self.end(RequestOutcome::GivenUp);
        if let Some(pass) = self.take_pass() {
            pass.given_up(self.status(), &self.observer);
        }
    }
}
