//! Kafka partition logs as a library: append to and read from them straight in an object-store
//! bucket, inside your process. No broker, no coordinator, no disk needed.
//!
//! # A log
//!
//! A [`Bucket`] is a directory, an S3 bucket (feature `aws`), memory, or any `object_store`
//! implementation. A [`Partition`] is a name in it; a [`Writer`] appends, a [`Reader`] reads.
//!
//! ```
//! use kfs_core::format::NewRecord;
//! use kfs_core::Bucket;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("file://{}/orders", directory.path().display());
//! let bucket = Bucket::open(&url)?; // file:///data/orders, s3://bucket/prefix, memory:
//! let partition = bucket.partition("orders", 0)?;
//!
//! let writer = partition.writer().await?;
//! let record = NewRecord::new(1_767_225_600_000).key(b"user-1").value(b"paid");
//! let append = writer.append(&[record]).await?; // it has its place in the buffer
//! let offsets = append.await?; // it is in the store, for good
//! assert_eq!((offsets.base, offsets.last), (0, 0));
//!
//! let mut records = partition.reader().records(0);
//! while let Some(record) = records.next().await? {
//!     assert_eq!(record.value(), Some(&b"paid"[..]));
//! }
//! writer.close(None).await?;
//! # Ok::<(), kfs_core::Error>(()) }).unwrap();
//! ```
//!
//! # Appending
//!
//! [`Writer::append`] makes batches of records. [`Writer::append_batches`] takes record batches as bytes, as a Kafka
//! client sent them. Each batch is checked as a broker would check it ([`BatchCheck`](format::BatchCheck) names two other
//! checks), gets its offsets, and keeps everything else, compressed or not. Both return when the append has its place in
//! the buffer, and awaiting the [`Append`] waits until it is stored. Appends that arrive close together share a segment. A
//! flush starts when enough bytes, records or batches are buffered, when an append is old enough, or when a caller waits
//! for durability ([`WriterOptions`]).
//!
//! Offsets are final when an append is durable, and earlier where nothing can move them any more.
//! [`Append::final_offsets`] returns them as soon as they are final, and `None` before.
//!
//! # Several writers
//!
//! A partition's segments form a chain of slots. A segment is created only if its slot is free, so no two writers own
//! the same offset, wherever they run. [`OnConflict`] decides what losing a slot means: take over and be displaced in turn,
//! be fenced at once, or share. A broker should call [`Writer::claim`] before it serves. When an append fails,
//! [`Error::stored`] says whether its bytes may be in the log.
//!
//! # Several buckets
//!
//! A [`TopicRouter`] keeps topics in buckets of their own, with a default one. They share the runtime, the buffer and caches.
//!
//! # Reading
//!
//! [`Reader::fetch`] returns whole batches as they are stored, at least one, across segments, without
//! copying them. [`Reader::batches`] and [`Reader::records`] stream to the end of the log, and
//! [`Reader::follow`] waits there for more. [`Watch`] wakes when this process learns that a log has grown.
//! Readers never write, and trust no index. A [`LogSource`] serves a partition from something other than `.kfs` segments.
//!
//! # Where work runs
//!
//! All I/O runs on the [`runtime`] of the bucket: the tokio runtime that the caller is in, or one
//! of its own. The futures run on any executor. Dropping a future ends the wait, never the work.
//! [`blocking`] waits for them on threads, and with [`queue`] they end on a queue that the caller polls. The caller may bring a clock, randomness and a task spawner
//! ([`runtime::Runtime::new`]). With the feature `testing` the module `testing` has a store that fails on
//! purpose and clocks that a test moves.
//!
//! The programs in `core/examples` append, follow, read a range of several partitions, count, bring a store or a runtime, and
//! keep topics in several buckets.
//!
//! # What it is doing
//!
//! [`BucketOptions::recorder`] takes a [`Recorder`], which is told of requests, retries, appends, flushes, lost slots and
//! cache use, for a program's metrics. With the feature `prometheus`, `recorder::PrometheusRecorder` gives them as text for
//! Prometheus. With the feature `tracing` the same and more is emitted as events of the crate
//! `tracing`, under the targets `kfs::writer`, `kfs::reader` and `kfs::store`.
//!
//! # Without a log
//!
//! [`format`](mod@format) reads and writes segments, indexes and record batches as bytes. It does no I/O.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::missing_errors_doc,
        missing_docs,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod blocking;
pub mod error;
mod fork;
pub mod format;
mod log;
mod mutant;
mod observer;
pub mod queue;
pub mod recorder;
pub mod runtime;
mod scope;
mod setters;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;

pub use error::{Error, ErrorKind, Result, Stored};
pub use fork::{ForkGuard, ForkSafe};
pub use log::log_source::LogSource;
pub use log::maintain::{
    BackedUpPartition, Backup, BackupFault, BackupOptions, BackupPlan, BackupProgress, BackupRetention, BackupStage,
    CopyOptions, CopyPlan, CopyReport, DeletePlan, DeleteReport, ExpirePlan, KafscaleManifestOptions,
    KafscaleManifestPlan, KafscaleManifestReport, LogManifestPlan, LogManifestReport, LogStartPlan, LogStartReport,
    Maintainer, MaintainerOptions, MaintenancePolicy, MaintenanceStep, MergePlan, MergePolicy, MergeReport,
    PlannedMaintenance, RetentionLimit, RetentionPolicy,
};
pub use log::reader::{
    BatchPlace, BatchStream, Fetch, FetchOptions, FetchPartition, FetchRecords, FetchRequest, FetchResponse, Hole,
    Isolation, Notice, OnCorrupt, Reader, ReaderOptions, RecordStream, SegmentFetch, StreamRecord, TimedOffset,
};
pub use log::repair::{IndexRepair, RepairPlan, SetAside};
pub use log::segment_info::SegmentInfo;
pub use log::segments::{SegmentHandle, Segments};
pub use log::verify::{
    Finding, FindingKind, SegmentBytes, SegmentReport, Severity, Verify, VerifyOptions, VerifyProgress, verify_segment,
    verify_segment_from,
};
pub use log::writer::{
    Admission, Append, Interest, Offsets, OnConflict, Writer, WriterOptions, WriterPhase, WriterStatus,
};
pub use log::{
    Bucket, BucketOptions, KafscaleTuning, Partition, RetryPolicy, ScanBudget, ScanPermit, TopicConfig, TopicRouter,
    Trouble, Watch, Watermarks,
};
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub use mutant::Mutant;
pub use object_store;
pub use recorder::Recorder;

/// The compiler checks here that the types which threads share are `Send` and `Sync`.
const _: fn() = || {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<(TopicRouter, TopicConfig, store::StorePool)>();
    shared::<(Bucket, Partition, Writer, Append, Reader, Watch, Watermarks)>();
    shared::<(Admission, Fetch, BatchStream, RecordStream, StreamRecord)>();
    shared::<(FetchRequest, FetchResponse)>();
    shared::<(SegmentHandle, SegmentFetch, ScanBudget, ScanPermit)>();
    shared::<(queue::CompletionQueue, queue::Completion, queue::CancelHandle)>();
    shared::<(Error, store::Store, runtime::Runtime, BucketOptions, WriterOptions, ReaderOptions)>();
    shared::<(format::Batch, format::Records, format::Segment, format::SparseIndex)>();
};
