//! Where a bucket says what it does: to the program's [`Recorder`], and, with the feature `tracing`, to subscribers of the
//! crate `tracing`. No other file but `scope.rs` knows that crate.
//!
//! Each method is one event. Subscribers and recorders are the caller's code: call these methods under no lock. What they
//! do with a panic ends here.
//!
//! Levels: `info` is for what happens a few times in a writer's life, `warn` for what an operator should know, `debug` for
//! each flush, listing and failed try, `trace` for each request. The span of a request is at `debug`. Fields hold no keys of
//! credentials and no records.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables, unused_imports, dead_code))]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
#[cfg(feature = "tracing")]
use crate::format::Namespace;
use crate::format::PartitionId;
use crate::recorder::{BreakerState, BucketEvent, CacheKind, Recorder, ReplicaOutcome, RequestKind, RequestOutcome};
use crate::runtime::{Clock, SystemClock, shielded};
use crate::scope::Scope;
use crate::text::{counted, printable};

/// Failures that last so long are worth a warning.
const LASTING: Duration = Duration::from_secs(2);

/// Emits one event of the crate `tracing`. Without the feature it is nothing.
macro_rules! tell {
    ($($event:tt)+) => {
        #[cfg(feature = "tracing")]
        shielded(|| tracing::event!($($event)+));
    };
}

/// Takes what happens in a bucket. The default takes nothing: it is for a store that is used without a bucket.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Observing>>);

struct Observing {
    clock: Arc<dyn Clock>,
    recorder: Option<Arc<dyn Recorder>>,
    /// Takes the secrets of the store's client out of a name.
    redact: RedactName,
    open_writers: AtomicUsize,
}

type RedactName = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A durable flush, or what is known of one that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushFigures {
    pub(crate) began: Duration,
    pub(crate) records: u64,
    pub(crate) tries: u32,
}

impl Observer {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        recorder: Option<Arc<dyn Recorder>>,
        redact: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let redact = Box::new(redact);
        Observer(Some(Arc::new(Observing { clock, recorder, redact, open_writers: AtomicUsize::new(0) })))
    }

    fn recorder(&self) -> Option<&dyn Recorder> {
        self.0.as_ref()?.recorder.as_deref()
    }

    /// Whether a recorder is set. What is costly to gather for an event is gathered only then.
    pub(crate) fn records(&self) -> bool {
        self.recorder().is_some()
    }

    fn record(&self, event: &BucketEvent<'_>) {
        if let Some(recorder) = self.recorder() {
            shielded(|| recorder.record(event));
        }
    }

    /// The time by the bucket's clock, for code that measures durations. By the system's without a bucket.
    pub(crate) fn now(&self) -> Duration {
        self.0.as_ref().map_or_else(|| SystemClock.elapsed(), |observing| observing.clock.elapsed())
    }

    /// The bucket's clock. The system's without a bucket.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.0.as_ref().map_or_else(|| Arc::new(SystemClock) as Arc<dyn Clock>, |observing| observing.clock.clone())
    }

    fn since(&self, began: Duration) -> Duration {
        self.now().saturating_sub(began)
    }

    /// The partition of a key, or of the prefix of a listing, where there is one. Its namespace is not read.
    #[cfg(feature = "tracing")]
    fn partition_of(&self, key: &str) -> Option<impl tracing::Value> {
        let mut parts = key.split('/').skip(1);
        let named = format!("{}/{}", parts.next()?, parts.next()?);
        let id = PartitionId::parse(&named, Namespace::default()).ok()?;
        Some(tracing_display(self.named(id)))
    }

    /// A name that may come from a listing, fit for a log.
    fn named<T: fmt::Display>(&self, name: T) -> Named<'_, T> {
        Named(self, name)
    }
}

/// See [`Observer::named`]. The work is done only if the name is shown.
struct Named<'a, T>(&'a Observer, T);

impl<T: fmt::Display> fmt::Display for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.1.to_string();
        let name = self.0.0.as_ref().map_or(name.clone(), |observing| (observing.redact)(&name));
        f.write_str(&printable(&name))
    }
}

/// A source of credentials failed while the last ones are still good. Credentials belong to no request, so there is no
/// [`Observer`] at hand.
#[cfg_attr(not(feature = "_http"), allow(dead_code, reason = "only clients of clouds have credentials"))]
pub(crate) fn credentials_kept(error: &Error) {
    tell!(
        target: "kfs::store", tracing::Level::WARN, error = format!("{error:#}"),
        "credentials could not be renewed; the last ones are used until they run out"
    );
}

/// The store.
impl Observer {
    /// `place` and `credentials` say where it is and whose credentials are used, where it is reached over the network.
    pub(crate) fn bucket_opened(&self, url: &str, place: Option<&str>, credentials: Option<&str>) {
        tell!(
            target: "kfs::store", tracing::Level::INFO, url = %self.named(url), place, credentials, "opened a bucket"
        );
    }

    /// A bucket was checked before the first write to it. `lacking` says what is not as it must be.
    pub(crate) fn bucket_checked(&self, url: &str, requests: u64, lacking: &str) {
        let lacking = printable(lacking);
        tell!(target: "kfs::store", tracing::Level::INFO, url = %self.named(url), requests, %lacking, "checked a bucket");
    }

    /// A check could not delete what it made.
    pub(crate) fn check_left(&self, url: &str, keys: &str) {
        let keys = printable(keys);
        tell!(
            name: "left", target: "kfs::store", tracing::Level::WARN, url = %self.named(url), %keys,
            "the check of the bucket could not delete what it made; it can be removed at any time"
        );
    }

    /// The span of a request: what is told while it runs is told within it. `client_request_id` is noted when a try is sent,
    /// and `request_id` when the store gives it.
    pub(crate) fn request(&self, kind: RequestKind, key: &str) -> Scope {
        #[cfg(feature = "tracing")]
        return Scope::new(|| {
            tracing::debug_span!(
                target: "kfs::store", "request", request = kind.name(), partition = self.partition_of(key),
                key = %self.named(key), client_request_id = tracing::field::Empty,
                request_id = tracing::field::Empty
            )
        });
        #[cfg(not(feature = "tracing"))]
        return Scope::default();
    }

    pub(crate) fn request_ended(
        &self,
        (kind, key): (RequestKind, &str),
        (outcome, status, (request_id, client_request_id)): (RequestOutcome, Option<u16>, (Option<&str>, Option<&str>)),
        requests: u64,
        (bytes_out, bytes_in): (u64, u64),
        began: Duration,
    ) {
        let duration = self.since(began);
        tell!(
            target: "kfs::store", tracing::Level::TRACE, request = kind.name(), partition = self.partition_of(key),
            key = %self.named(key), outcome = outcome.name(), status, request_id, client_request_id, bytes_out,
            bytes_in, ?duration, "a request ended"
        );
        self.record(&BucketEvent::Request { kind, outcome, requests, bytes_out, bytes_in, duration });
    }
}

/// The breaker of a store.
impl Observer {
    /// It changed its state. `error` is the last failure; an answer closed it if there is none.
    pub(crate) fn breaker_changed(&self, url: &str, state: BreakerState, failures: u32, error: Option<&Error>) {
        let error_shown = error.map(|error| tracing_display(format!("{error:#}")));
        match state {
            BreakerState::Closed => {
                tell!(
                    name: "breaker", target: "kfs::store", tracing::Level::INFO, url = %self.named(url),
                    state = state.name(), "the store answers again, and is asked as before"
                );
            }
            BreakerState::Open => {
                tell!(
                    name: "breaker", target: "kfs::store", tracing::Level::WARN, url = %self.named(url),
                    state = state.name(), failures, error = error_shown, "the store is away, and is not asked for a while"
                );
            }
            BreakerState::HalfOpen => {
                tell!(
                    name: "breaker", target: "kfs::store", tracing::Level::DEBUG, url = %self.named(url),
                    state = state.name(), failures, error = error_shown, "one request asks whether the store is back"
                );
            }
        }
        self.record(&BucketEvent::Breaker { state, failures, error });
    }
}

/// Replicas.
impl Observer {
    /// Data was to be read, and the store has a replica.
    pub(crate) fn replica_read(&self, key: &str, outcome: ReplicaOutcome, error: Option<&Error>) {
        if outcome != ReplicaOutcome::Answered {
            tell!(
                target: "kfs::store", tracing::Level::DEBUG, partition = self.partition_of(key), key = %self.named(key),
                replica = outcome.name(), error = error.map(|error| tracing_display(format!("{error:#}"))),
                "the replica has no answer, and the bucket itself is asked"
            );
        }
        self.record(&BucketEvent::ReplicaRead { outcome });
    }

    /// A replica failed, and no warning has said so for a while.
    pub(crate) fn replica_fails(&self, outcome: ReplicaOutcome, error: Option<&Error>) {
        tell!(
            name: "replica", target: "kfs::store", tracing::Level::WARN, replica = outcome.name(),
            error = error.map(|error| tracing_display(format!("{error:#}"))),
            "the replica is of no use, and the bucket itself is asked: check read_bucket, read_region and read_endpoint, \
             with `kfs check` for one"
        );
    }

    /// A replica has failed several times in a row.
    pub(crate) fn replica_paused(&self, pause: Duration, outcome: ReplicaOutcome, error: Option<&Error>) {
        tell!(
            target: "kfs::store", tracing::Level::INFO, replica = outcome.name(), ?pause,
            error = error.map(|error| tracing_display(format!("{error:#}"))),
            "the replica keeps failing, and is not asked for a while"
        );
    }

    pub(crate) fn replica_answers_again(&self) {
        tell!(target: "kfs::store", tracing::Level::INFO, "the replica answers again");
    }
}

/// Retries, of readers and writers.
impl Observer {
    /// A try failed, and the next one follows after `pause`. Gives whether the failures last. That is told once: `told`
    /// says that it was.
    pub(crate) fn retry(
        &self,
        partition: Option<&PartitionId>,
        (doing, began): (&'static str, Duration),
        (failures, pause): (u32, Duration),
        error: &Error,
        told: bool,
    ) -> bool {
        let lasting = self.since(began);
        let warns = !told && lasting >= LASTING;
        let partition_named = partition.map(|id| tracing_display(self.named(id)));
        if warns {
            tell!(
                name: "retry", target: "kfs::store", tracing::Level::WARN, partition = partition_named, doing, failures,
                ?lasting, ?pause, retry_after = error.retry_after().map(tracing::field::debug),
                request_id = error.request_id(),
                client_request_id = error.client_request_id(), error = %format_args!("{error:#}"), "failed, and is tried again"
            );
        } else {
            tell!(
                name: "retry", target: "kfs::store", tracing::Level::DEBUG, partition = partition_named, doing, failures,
                ?lasting, ?pause, retry_after = error.retry_after().map(tracing::field::debug),
                request_id = error.request_id(),
                client_request_id = error.client_request_id(), error = %format_args!("{error:#}"), "failed, and is tried again"
            );
        }
        self.record(&BucketEvent::Retry { partition, doing, failures, pause, error });
        told || warns
    }

    /// What was told to fail was answered.
    pub(crate) fn answered_again(
        &self,
        partition: Option<&PartitionId>,
        (doing, began): (&'static str, Duration),
        failures: u32,
    ) {
        let lasting = self.since(began);
        let partition = partition.map(|id| tracing_display(self.named(id)));
        tell!(
            name: "answered", target: "kfs::store", tracing::Level::INFO, partition, doing, failures, ?lasting,
            "the store answers again"
        );
    }
}

#[cfg(feature = "tracing")]
fn tracing_display<T: fmt::Display>(value: T) -> tracing::field::DisplayValue<T> {
    tracing::field::display(value)
}

#[cfg(not(feature = "tracing"))]
fn tracing_display<T: fmt::Display>(value: T) -> T {
    value
}

/// Writers.
impl Observer {
    pub(crate) fn writer_opened(&self, id: &PartitionId, policy: &dyn fmt::Debug, next_offset: i64) {
        let open_writers = self.0.as_ref().map_or(0, |o| o.open_writers.fetch_add(1, Ordering::Relaxed) + 1);
        tell!(
            target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), ?policy, next_offset,
            "opened a writer"
        );
        self.record(&BucketEvent::WriterOpened { partition: id, open_writers });
    }

    /// A writer has ended: fenced, contended, poisoned or given up with an error, else closed.
    pub(crate) fn writer_ended(&self, id: &PartitionId, error: Option<&Error>) {
        let open_writers = self.0.as_ref().map_or(0, |o| o.open_writers.fetch_sub(1, Ordering::Relaxed) - 1);
        match error {
            None => {
                tell!(target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), "closed a writer");
            }
            Some(error) => {
                let how = match error.kind() {
                    ErrorKind::Fenced => "a writer was fenced",
                    ErrorKind::Closed => "a writer was given up",
                    _ => "a writer failed",
                };
                tell!(
                    target: "kfs::writer", tracing::Level::WARN, partition = %self.named(id),
                    error = %format_args!("{error:#}"), "{how}"
                );
            }
        }
        self.record(&BucketEvent::WriterEnded { partition: id, open_writers, error });
    }

    /// An append is in the queue. `waited_since` is when it began to wait for room.
    pub(crate) fn appended(&self, id: &PartitionId, bytes: usize, records: u64, waited_since: Option<Duration>) {
        if self.records() {
            let waited = waited_since.map_or(Duration::ZERO, |since| self.since(since));
            self.record(&BucketEvent::Append { partition: id, bytes, records, waited });
        }
    }

    pub(crate) fn buffered(&self, bytes: impl FnOnce() -> usize) {
        if self.records() {
            self.record(&BucketEvent::Buffered { bytes: bytes() });
        }
    }

    pub(crate) fn flushed(&self, id: &PartitionId, base_offset: i64, end: i64, bytes: u64, flush: FlushFigures) {
        let FlushFigures { began, records, tries } = flush;
        let (duration, last_offset) = (self.since(began), end.saturating_sub(1));
        tell!(
            target: "kfs::writer", tracing::Level::DEBUG, partition = %self.named(id), base_offset, last_offset, bytes,
            records, tries, ?duration, "flushed"
        );
        self.record(&BucketEvent::Flush { partition: id, base_offset, bytes, records, tries, duration });
    }

    pub(crate) fn flush_failed(&self, id: &PartitionId, error: &Error, flush: FlushFigures) {
        let FlushFigures { began, records, tries } = flush;
        let duration = self.since(began);
        tell!(
            target: "kfs::writer", tracing::Level::DEBUG, partition = %self.named(id), records, tries, ?duration,
            error = %format_args!("{error:#}"), "a flush failed"
        );
        self.record(&BucketEvent::FlushFailed { partition: id, records, tries, duration, error });
    }

    /// A create that had no answer for `waited` is sent a second time.
    pub(crate) fn hedged(&self, id: &PartitionId, key: &str, waited: Duration) {
        tell!(
            target: "kfs::writer", tracing::Level::DEBUG, partition = %self.named(id), key = %self.named(key), ?waited,
            "a create is slow, and is sent a second time"
        );
        self.record(&BucketEvent::Hedge { partition: id, waited });
    }

    pub(crate) fn slot_lost(&self, id: &PartitionId, offset: i64, error: &Error) {
        tell!(
            target: "kfs::writer", tracing::Level::DEBUG, partition = %self.named(id), offset, by = error.winner(),
            error = %format_args!("{error:#}"), "lost a slot"
        );
        self.record(&BucketEvent::SlotLost { partition: id, offset, error });
    }

    /// A writer looks at the end of the log, or at its `log.json`.
    pub(crate) fn looks(&self, id: &PartitionId, offset: i64, doing: &'static str) {
        tell!(target: "kfs::writer", tracing::Level::DEBUG, partition = %self.named(id), offset, "{doing}");
    }

    pub(crate) fn claim_written(&self, id: &PartitionId, turn: u64) {
        tell!(target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), turn, "wrote a claim");
    }

    /// A writer waits for another: for its turn to claim, or because it leaves its slot to a claim.
    pub(crate) fn waits(&self, id: &PartitionId, doing: &'static str, why: &str) {
        let why = printable(why);
        tell!(target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), %why, "{doing}");
    }

    pub(crate) fn index_repaired(&self, id: &PartitionId, key: &str) {
        tell!(
            target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), key = %self.named(key),
            "wrote an index that was missing or wrong"
        );
    }

    /// Maintenance removed a segment below the log start.
    pub(crate) fn segment_removed(&self, id: &PartitionId, key: &str) {
        tell!(
            target: "kfs::maintain", tracing::Level::INFO, partition = %self.named(id), key = %self.named(key),
            "a segment below the log start was removed"
        );
    }

    /// Maintenance put a merged segment in the place of the first of these.
    pub(crate) fn segments_merged(&self, id: &PartitionId, key: &str, segments: u64, bytes: u64) {
        tell!(
            target: "kfs::maintain", tracing::Level::INFO, partition = %self.named(id), key = %self.named(key),
            segments, bytes, "segments were merged into the first of them"
        );
    }

    /// Maintenance removed a segment that merging had left.
    pub(crate) fn leftover_removed(&self, id: &PartitionId, key: &str) {
        tell!(
            target: "kfs::maintain", tracing::Level::INFO, partition = %self.named(id), key = %self.named(key),
            "a segment was removed whose batches are in a merged one"
        );
    }

    /// Maintenance asked the store for its time, and could not delete the object by which it did.
    pub(crate) fn clock_left(&self, key: &str, error: &Error) {
        tell!(
            target: "kfs::maintain", tracing::Level::WARN, key = %self.named(key), error = format!("{error:#}"),
            "an object that asked the store for its time could not be deleted; it may be deleted at any time"
        );
    }

    /// A step of setting a segment aside.
    pub(crate) fn set_aside(&self, id: &PartitionId, key: &str, step: &'static str) {
        tell!(
            target: "kfs::writer", tracing::Level::INFO, partition = %self.named(id), key = %self.named(key),
            "setting a segment aside: {step}"
        );
    }
}

/// Readers.
impl Observer {
    pub(crate) fn listed(&self, id: &PartitionId, above: i64, segments: usize, to_end: bool) {
        tell!(
            target: "kfs::reader", tracing::Level::DEBUG, partition = %self.named(id), above, segments, to_end, "listed"
        );
    }

    pub(crate) fn hole_crossed(&self, id: &PartitionId, from: i64, to: i64) {
        tell!(
            target: "kfs::reader", tracing::Level::INFO, partition = %self.named(id), from, to,
            "passed over offsets that the log does not hold"
        );
    }

    pub(crate) fn log_made_again(&self, id: &PartitionId) {
        tell!(
            target: "kfs::reader", tracing::Level::WARN, partition = %self.named(id),
            "the log is another one: the partition was deleted and made again"
        );
    }

    pub(crate) fn cache_used(&self, cache: CacheKind, hits: u64, misses: u64) {
        self.record(&BucketEvent::Cache { cache, hits, misses });
    }

    pub(crate) fn blocks_evicted(&self, blocks: usize) {
        if blocks > 0 {
            tell!(target: "kfs::reader", tracing::Level::TRACE, "evicted {}", counted(blocks, "block"));
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("records", &self.records()).finish_non_exhaustive()
    }
}
