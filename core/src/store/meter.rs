//! Counts requests where they are sent.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::Extensions;

use super::types::RequestCounts;
#[cfg(feature = "_http")]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::observer::Observer;
use crate::recorder::{RequestKind, RequestOutcome};

/// The counters of one store.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    put: AtomicU64,
    get: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Meter {
    fn count(&self, kind: RequestKind, requests: u64, bytes_out: u64) {
        let counter = match kind {
            RequestKind::Put => &self.put,
            RequestKind::Get => &self.get,
            RequestKind::List => &self.list,
            RequestKind::Delete => &self.delete,
        };
        counter.fetch_add(requests, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        RequestCounts {
            put: self.put.load(Ordering::Relaxed),
            get: self.get.load(Ordering::Relaxed),
            list: self.list.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

/// A request from when it is made until it has ended: the one place that counts it, and tells the observer how it ended.
///
/// It travels through object_store's client to our HTTP connector, which counts each try and leaves the status here:
/// object_store's errors do not tell it. When the last clone is dropped before the end, the request was given up.
#[derive(Clone, Debug)]
pub(crate) struct Attempt(Arc<AttemptState>);

#[derive(Debug)]
struct AttemptState {
    meter: Arc<Meter>,
    observer: Observer,
    kind: RequestKind,
    key: String,
    made: Duration,
    /// The status of the last answer, 0 for none.
    status: AtomicU16,
    /// The try under way.
    sent: Mutex<Option<SentTry>>,
}

#[derive(Clone, Copy, Debug)]
struct SentTry {
    began: Duration,
    requests: u64,
    bytes_out: u64,
    bytes_in: u64,
}

impl Attempt {
    /// A request about to be made, and not counted yet.
    pub(crate) fn new(meter: &Arc<Meter>, observer: &Observer, kind: RequestKind, key: &str) -> Self {
        Attempt(Arc::new(AttemptState {
            meter: meter.clone(),
            observer: observer.clone(),
            kind,
            key: key.to_string(),
            made: observer.now(),
            status: AtomicU16::new(0),
            sent: Mutex::default(),
        }))
    }

    /// Counts requests with this many bytes of a body, which began when this was made: the first one, or more of a listing.
    pub(crate) fn count(&self, requests: u64, bytes_out: u64) {
        self.0.meter.count(self.0.kind, requests, bytes_out);
        let mut sent = self.0.lock();
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
        self.0.status.store(0, Ordering::Relaxed);
        self.0.meter.count(self.0.kind, 1, body);
        let sent = SentTry { began: self.0.observer.now(), requests: 1, bytes_out: body, bytes_in: 0 };
        *self.0.lock() = Some(sent);
    }

    #[cfg(feature = "_http")]
    pub(crate) fn answered(&self, status: u16) {
        self.0.status.store(status, Ordering::Relaxed);
    }

    /// Bytes of an object's body came.
    pub(crate) fn received(&self, bytes: u64) {
        self.0.meter.received(bytes);
        if let Some(sent) = &mut *self.0.lock() {
            sent.bytes_in = sent.bytes_in.saturating_add(bytes);
        }
    }

    /// The request has ended.
    pub(crate) fn end(&self, outcome: RequestOutcome) {
        self.0.end(outcome);
    }

    /// The request has ended with this result.
    pub(crate) fn ends<T>(&self, result: Result<T>) -> Result<T> {
        self.0.end(result.as_ref().map_or_else(|error| RequestOutcome::Failed(error.kind()), |_| RequestOutcome::Done));
        result
    }
}

impl AttemptState {
    fn lock(&self) -> MutexGuard<'_, Option<SentTry>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// Tells how the try ended that is under way. One that was not sent, or has ended, is not told.
    fn end(&self, outcome: RequestOutcome) {
        let Some(SentTry { began, requests, bytes_out, bytes_in }) = self.lock().take() else { return };
        let (request, ended) = ((self.kind, &*self.key), (outcome, self.status()));
        self.observer.request_ended(request, ended, requests, (bytes_out, bytes_in), began);
    }
}

impl Drop for AttemptState {
    fn drop(&mut self) {
        self.end(RequestOutcome::GivenUp);
    }
}
