//! Counts what a bucket does and writes it as text for Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::{BreakerState, BucketEvent, CacheKind, Recorder, ReplicaOutcome, RequestKind, RequestOutcome};
use crate::error::ErrorKind;

#[cfg(test)]
mod tests;

/// The upper bounds of the buckets of every histogram, in seconds: from a fast directory to a request that times out.
const BOUNDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The kinds whose series are there from the start, so that the first error is seen as an increase.
const KINDS: [ErrorKind; 13] = [
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::InvalidInput,
    ErrorKind::OutOfRange,
    ErrorKind::Conflict,
    ErrorKind::Fenced,
    ErrorKind::Corrupt,
    ErrorKind::Unavailable,
    ErrorKind::TimedOut,
    ErrorKind::Full,
    ErrorKind::Unsupported,
    ErrorKind::Closed,
    ErrorKind::Internal,
];

/// A [`Recorder`] that counts, and gives the counts as text for Prometheus. This needs the feature `prometheus`.
///
/// The program serves the text, for example under `/metrics`: this library opens no socket. `docs/metrics.md` lists the
/// metrics. No label holds a topic, a partition or a key, so the number of series is bounded. Recording takes atomic
/// additions, and for a histogram or a failure a short lock of its own. Set it on one bucket only: `kfs_buffered_bytes` is
/// what the last bucket told.
///
/// ```
/// use std::sync::Arc;
/// use kfs_core::recorder::PrometheusRecorder;
/// use kfs_core::{Bucket, BucketOptions};
///
/// let metrics = Arc::new(PrometheusRecorder::new());
/// let bucket = Bucket::open_with("memory:", BucketOptions::default().recorder(metrics.clone()))?;
/// assert!(metrics.text().contains("kfs_open_writers 0"));
/// # drop(bucket);
/// # Ok::<(), kfs_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PrometheusRecorder {
    registry: Registry,
    store: StoreMetrics,
    appends: AppendMetrics,
    flushes: FlushMetrics,
    writers: WriterMetrics,
    caches: CacheMetrics,
}

impl PrometheusRecorder {
    /// The `Content-Type` to serve [`text`](Self::text) with.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All counts are zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("kfs");
        PrometheusRecorder {
            store: StoreMetrics::new(&mut registry),
            appends: AppendMetrics::new(&mut registry),
            flushes: FlushMetrics::new(&mut registry),
            writers: WriterMetrics::new(&mut registry),
            caches: CacheMetrics::new(&mut registry),
            registry,
        }
    }

    /// The counts now, in version 0.0.4 of Prometheus's text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail, and no label here gives an error of its own.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for PrometheusRecorder {
    fn default() -> Self {
        PrometheusRecorder::new()
    }
}

impl Recorder for PrometheusRecorder {
    fn record(&self, event: &BucketEvent<'_>) {
        match *event {
            BucketEvent::Request { kind, outcome, requests, bytes_out, bytes_in, duration } => {
                self.store.ended(kind, outcome, requests);
                self.store.transferred(kind, bytes_out, bytes_in, duration);
            }
            BucketEvent::Retry { partition: _, doing: _, failures: _, pause: _, error } => {
                self.store.retries.get_or_create(&ErrorLabel(error.kind())).inc();
            }
            BucketEvent::Breaker { state, failures: _, error: _ } => self.store.breaker.changed(state),
            BucketEvent::Append { partition: _, bytes, records, waited } => {
                self.appends.appended(bytes, records, waited);
            }
            BucketEvent::Buffered { bytes } => {
                self.appends.buffered.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            BucketEvent::Flush { partition: _, base_offset: _, bytes, records, tries, duration } => {
                self.flushes.flushed(bytes, records, duration);
                self.flushes.segment_puts.inc_by(u64::from(tries));
            }
            BucketEvent::FlushFailed { partition: _, records, tries, duration: _, error } => {
                self.flushes.failures.get_or_create(&ErrorLabel(error.kind())).inc();
                self.flushes.failed_records.inc_by(records);
                self.flushes.segment_puts.inc_by(u64::from(tries));
            }
            BucketEvent::Hedge { partition: _, waited: _ } => {
                self.flushes.hedges.inc();
            }
            BucketEvent::SlotLost { partition: _, offset: _, error: _ } => {
                self.writers.slots_lost.inc();
            }
            // Events may arrive out of order, so the gauge counts them instead of keeping the last `open_writers`.
            BucketEvent::WriterOpened { partition: _, open_writers: _ } => {
                self.writers.opened.inc();
                self.writers.open.inc();
            }
            BucketEvent::WriterEnded { partition: _, open_writers: _, error } => {
                self.writers.ended.get_or_create(&EndLabel(error.map(|error| error.kind()))).inc();
                self.writers.open.dec();
            }
            BucketEvent::ReplicaRead { outcome } => {
                self.store.replica_reads.get_or_create(&ReplicaLabel(outcome)).inc();
            }
            BucketEvent::Cache { cache, hits, misses } => {
                self.caches.looked(cache, hits, misses);
            }
        }
    }
}

/// Requests to the store.
#[derive(Debug)]
struct StoreMetrics {
    requests: Family<RequestLabels, Counter>,
    put: Operation,
    get: Operation,
    list: Operation,
    delete: Operation,
    retries: Family<ErrorLabel, Counter>,
    breaker: BreakerMetrics,
    replica_reads: Family<ReplicaLabel, Counter>,
}

/// What is counted of one kind of request. Each is held here, so that no label is looked up when a request succeeds.
#[derive(Debug)]
struct Operation {
    done: Counter,
    sent: Counter,
    received: Counter,
    duration: Histogram,
}

impl StoreMetrics {
    fn new(registry: &mut Registry) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let sent = Family::<OperationLabel, Counter>::default();
        let received = Family::<OperationLabel, Counter>::default();
        let durations = Family::<OperationLabel, Histogram>::new_with_constructor(histogram);
        let operation = |kind| Operation {
            done: requests.get_or_create_owned(&RequestLabels { kind, outcome: RequestOutcome::Done }),
            sent: sent.get_or_create_owned(&OperationLabel(kind)),
            received: received.get_or_create_owned(&OperationLabel(kind)),
            duration: durations.get_or_create_owned(&OperationLabel(kind)),
        };
        let (put, get) = (operation(RequestKind::Put), operation(RequestKind::Get));
        let (list, delete) = (operation(RequestKind::List), operation(RequestKind::Delete));
        let requests =
            counted(registry, "store_requests", "Requests to the store that ended, by operation and outcome", requests);
        measured(
            registry,
            "store_request_duration",
            "Duration of requests to the store, with any outcome",
            Unit::Seconds,
            durations,
        );
        measured(registry, "store_sent", "Bytes of object bodies sent to the store", Unit::Bytes, sent);
        measured(registry, "store_received", "Bytes of object bodies received from the store", Unit::Bytes, received);
        let retries = counted(registry, "store_retries", "Failures of the store that are tried again", by_error());
        let breaker = BreakerMetrics::new(registry);
        let replica_reads = Family::<ReplicaLabel, Counter>::default();
        for outcome in ReplicaOutcome::ALL {
            drop(replica_reads.get_or_create(&ReplicaLabel(outcome)));
        }
        let help = "Reads of data from a store with a replica, by what the replica answered";
        let replica_reads = counted(registry, "replica_reads", help, replica_reads);
        StoreMetrics { requests, put, get, list, delete, retries, breaker, replica_reads }
    }

    fn operation(&self, kind: RequestKind) -> &Operation {
        match kind {
            RequestKind::Put => &self.put,
            RequestKind::Get => &self.get,
            RequestKind::List => &self.list,
            RequestKind::Delete => &self.delete,
        }
    }

    fn ended(&self, kind: RequestKind, outcome: RequestOutcome, requests: u64) {
        if outcome == RequestOutcome::Done {
            self.operation(kind).done.inc_by(requests);
        } else {
            self.requests.get_or_create(&RequestLabels { kind, outcome }).inc_by(requests);
        }
    }

    fn transferred(&self, kind: RequestKind, bytes_out: u64, bytes_in: u64, duration: Duration) {
        let operation = self.operation(kind);
        operation.sent.inc_by(bytes_out);
        operation.received.inc_by(bytes_in);
        operation.duration.observe(duration.as_secs_f64());
    }
}

/// The breaker of the store.
#[derive(Debug)]
struct BreakerMetrics {
    open: Gauge,
    changes: Family<BreakerLabel, Counter>,
}

impl BreakerMetrics {
    fn new(registry: &mut Registry) -> Self {
        let by_state = Family::<BreakerLabel, Counter>::default();
        for state in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen] {
            drop(by_state.get_or_create(&BreakerLabel(state)));
        }
        BreakerMetrics {
            open: counted(
                registry,
                "store_breaker_open",
                "1 while the store is taken to be away and requests fail unsent, else 0",
                Gauge::default(),
            ),
            changes: counted(
                registry,
                "store_breaker_changes",
                "Changes of the breaker's state, by the new state",
                by_state,
            ),
        }
    }

    fn changed(&self, state: BreakerState) {
        self.open.set(i64::from(state != BreakerState::Closed));
        self.changes.get_or_create(&BreakerLabel(state)).inc();
    }
}

/// Appends and the buffer.
#[derive(Debug)]
struct AppendMetrics {
    appends: Counter,
    records: Counter,
    bytes: Counter,
    wait: Histogram,
    buffered: Gauge,
}

impl AppendMetrics {
    fn new(registry: &mut Registry) -> Self {
        AppendMetrics {
            appends: counted(registry, "appends", "Appends that got a place in the buffer", Counter::default()),
            records: counted(registry, "appended_records", "Offsets that the appends take", Counter::default()),
            bytes: measured(
                registry,
                "appended",
                "Bytes that the appends may take in the buffer, before compression",
                Unit::Bytes,
                Counter::default(),
            ),
            wait: measured(
                registry,
                "append_wait",
                "How long appends waited for room in the buffer",
                Unit::Seconds,
                histogram(),
            ),
            buffered: measured(
                registry,
                "buffered",
                "Bytes that all writers have buffered or in flight",
                Unit::Bytes,
                Gauge::default(),
            ),
        }
    }

    fn appended(&self, bytes: usize, records: u64, waited: Duration) {
        self.appends.inc();
        self.records.inc_by(records);
        self.bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.wait.observe(waited.as_secs_f64());
    }
}

/// Flushes.
#[derive(Debug)]
struct FlushMetrics {
    duration: Histogram,
    records: Counter,
    bytes: Counter,
    segment_puts: Counter,
    hedges: Counter,
    failures: Family<ErrorLabel, Counter>,
    failed_records: Counter,
}

impl FlushMetrics {
    fn new(registry: &mut Registry) -> Self {
        FlushMetrics {
            duration: measured(
                registry,
                "flush_duration",
                "Duration of flushes that are durable, until segment and index were in the store",
                Unit::Seconds,
                histogram(),
            ),
            records: counted(registry, "flushed_records", "Records that are durable", Counter::default()),
            bytes: measured(registry, "flushed", "Bytes of segments that are durable", Unit::Bytes, Counter::default()),
            segment_puts: counted(registry, "flush_puts", "PUTs of segments that were sent", Counter::default()),
            hedges: counted(registry, "hedged_creates", "Slow creates that were sent twice", Counter::default()),
            failures: counted(registry, "flush_failures", "Flushes that failed and ended a writer", by_error()),
            failed_records: counted(registry, "flush_failed_records", "Records of failed flushes", Counter::default()),
        }
    }

    fn flushed(&self, bytes: u64, records: u64, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        self.records.inc_by(records);
        self.bytes.inc_by(bytes);
    }
}

/// Writers.
#[derive(Debug)]
struct WriterMetrics {
    opened: Counter,
    ended: Family<EndLabel, Counter>,
    open: Gauge,
    slots_lost: Counter,
}

impl WriterMetrics {
    fn new(registry: &mut Registry) -> Self {
        let by_outcome = Family::<EndLabel, Counter>::default();
        for outcome in KINDS.map(Some).into_iter().chain([None]) {
            drop(by_outcome.get_or_create(&EndLabel(outcome)));
        }
        WriterMetrics {
            opened: counted(registry, "writers_opened", "Writers that were opened", Counter::default()),
            ended: counted(registry, "writers_ended", "Writers that ended, by outcome", by_outcome),
            open: counted(registry, "open_writers", "Writers that are open", Gauge::default()),
            slots_lost: counted(registry, "slots_lost", "Slots lost to another writer", Counter::default()),
        }
    }
}

/// Caches.
#[derive(Debug)]
struct CacheMetrics {
    blocks: Cache,
    indexes: Cache,
}

#[derive(Debug)]
struct Cache {
    hits: Counter,
    misses: Counter,
}

impl CacheMetrics {
    fn new(registry: &mut Registry) -> Self {
        let hits = counted(registry, "cache_hits", "Blocks and indexes that a cache held", Family::default());
        let misses = counted(registry, "cache_misses", "Blocks and indexes that no cache held", Family::default());
        let cache = |kind| Cache {
            hits: Family::get_or_create_owned(&hits, &CacheLabel(kind)),
            misses: Family::get_or_create_owned(&misses, &CacheLabel(kind)),
        };
        CacheMetrics { blocks: cache(CacheKind::Blocks), indexes: cache(CacheKind::Indexes) }
    }

    fn looked(&self, kind: CacheKind, hits: u64, misses: u64) {
        let cache = match kind {
            CacheKind::Blocks => &self.blocks,
            CacheKind::Indexes => &self.indexes,
        };
        cache.hits.inc_by(hits);
        cache.misses.inc_by(misses);
    }
}

fn by_error() -> Family<ErrorLabel, Counter> {
    let family = Family::default();
    for kind in KINDS {
        drop(family.get_or_create(&ErrorLabel(kind)));
    }
    family
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

/// Registers a metric without a unit. The text's writer adds `_total` to the name of a counter.
fn counted<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric with a unit, which the text's writer adds to the name.
fn measured<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Unit, metric: M) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RequestLabels {
    kind: RequestKind,
    outcome: RequestOutcome,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("operation", self.kind.name()), ("outcome", self.outcome.name())].encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OperationLabel(RequestKind);

impl EncodeLabelSet for OperationLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("operation", self.0.name())].encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ErrorLabel(ErrorKind);

impl EncodeLabelSet for ErrorLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("error", self.0.name())].encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BreakerLabel(BreakerState);

impl EncodeLabelSet for BreakerLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("state", self.0.name())].encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ReplicaLabel(ReplicaOutcome);

impl EncodeLabelSet for ReplicaLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("outcome", self.0.name())].encode(encoder)
    }
}

/// How a writer ended: `None` if it was closed and all was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct EndLabel(Option<ErrorKind>);

impl EncodeLabelSet for EndLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("outcome", self.0.map_or("done", ErrorKind::name))].encode(encoder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CacheLabel(CacheKind);

impl EncodeLabelSet for CacheLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let name = match self.0 {
            CacheKind::Blocks => "blocks",
            CacheKind::Indexes => "indexes",
        };
        [("cache", name)].encode(encoder)
    }
}
