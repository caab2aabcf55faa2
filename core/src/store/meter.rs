//! Counts requests where they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use object_store::Extensions;

use super::types::RequestCounts;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Put,
    Get,
    List,
    Delete,
}

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
    pub(crate) fn count(&self, kind: RequestKind, requests: u64) {
        let counter = match kind {
            RequestKind::Put => &self.put,
            RequestKind::Get => &self.get,
            RequestKind::List => &self.list,
            RequestKind::Delete => &self.delete,
        };
        counter.fetch_add(requests, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
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

/// Travels with a request through object_store's client to our HTTP connector, which counts each
/// try and leaves the status there: object_store's errors do not tell it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    meter: Arc<Meter>,
    #[cfg(feature = "_http")]
    kind: RequestKind,
    status: Arc<AtomicU16>,
}

impl Attempt {
    /// A request about to be made. Where nobody on the way counts tries, it counts as one now.
    pub(crate) fn begin(meter: &Arc<Meter>, kind: RequestKind, counted_on_the_wire: bool) -> Self {
        if !counted_on_the_wire {
            meter.count(kind, 1);
        }
        Attempt {
            meter: meter.clone(),
            #[cfg(feature = "_http")]
            kind,
            status: Arc::new(AtomicU16::new(0)),
        }
    }

    pub(crate) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self.clone());
        extensions
    }

    /// The status of the last answer, where our connector saw one.
    pub(crate) fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    #[cfg(feature = "_http")]
    pub(crate) fn on_the_wire(&self, body: u64) {
        self.meter.count(self.kind, 1);
        self.meter.sent(body);
        self.status.store(0, Ordering::Relaxed);
    }

    #[cfg(feature = "_http")]
    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}
