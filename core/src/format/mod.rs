//! The formats: bytes only, no I/O, no async.
//!
//! Everything that a bucket holds is read and written here: object keys, segments, sparse and time
//! indexes, Kafka record batches and records, the log's identity. `docs/format.md` describes the
//! bytes field by field.
//!
//! Reading borrows. A [`Batch`] is a view over [`bytes::Bytes`]; the [`Record`]s of an uncompressed
//! batch point into it, and iterating allocates nothing per record. Every length is checked before
//! it is used, and what a compressed batch may grow to is bounded by [`Limits`]. No input makes
//! this module panic or allocate by a length that it did not check (invariant 7): what is wrong is
//! said by [`Malformed`], with the position of the bytes.
//!
//! ```
//! use bytes::Bytes;
//! use kfs_core::format::{BatchBuilder, BatchOptions, CrcCheck, Limits, NewRecord, Segment, SegmentBuilder};
//!
//! let mut records = BatchBuilder::new(BatchOptions::default());
//! records.push(&NewRecord::new(1_767_225_600_000).key(b"k").value(b"v"))?;
//! let batch = records.finish(0)?;
//!
//! let mut builder = SegmentBuilder::new(0, 1_767_225_600_000, 100)?;
//! builder.push(&batch, None)?;
//! let built = builder.finish()?;
//!
//! let segment = Segment::parse(&Bytes::from(built.chunks.concat()), CrcCheck::Verify)?;
//! for batch in segment.batches() {
//!     for record in &batch.batch.records(&Limits::default())? {
//!         assert_eq!(record?.value, Some(&b"v"[..]));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod batch_builder;
mod batch_cutter;
mod batch_header;
mod batch_sum;
mod check;
mod claim_json;
mod compression;
mod crc;
mod cut;
mod fields;
mod index;
mod json;
mod kafscale_manifest;
mod keys;
mod limits;
mod log_json;
mod log_manifest;
mod malformed;
mod record;
mod segment;
mod segment_builder;
mod segment_frame;
mod time_index;
mod varint;
mod wildcard;

pub use batch::{Batch, Batches, batches};
pub use batch_builder::{BatchBuilder, BatchOptions, NewHeader, NewRecord};
pub(crate) use batch_cutter::{BatchCutter, Cut, CutBatch};
pub use batch_header::{Attributes, BATCH_HEADER_LEN, BatchHeader, MAX_OFFSET};
pub(crate) use batch_sum::BatchSum;
pub use batch_sum::Overlap;
pub use check::BatchCheck;
pub use claim_json::ClaimMarker;
pub use compression::{Codec, Compression};
pub use crc::{append as crc32c_append, combine as crc32c_combine, crc32c};
pub use index::{DEFAULT_INDEX_INTERVAL, IndexBuilder, IndexEntry, SparseIndex};
pub use json::JsonObject;
pub use kafscale_manifest::{KafscaleEntry, KafscaleManifest};
pub(crate) use keys::BACKUPS;
pub use keys::{BackupName, DEFAULT_NAMESPACE, Namespace, ObjectName, PartitionId, Topic};
pub use limits::{CrcCheck, Limits, MAX_DECOMPRESSED_BATCH};
pub use log_json::LogIdentity;
pub(crate) use log_json::MAX_LOG_JSON_LEN;
pub use log_manifest::{LogManifest, LogManifestBuilder, NamedVersion};
pub use malformed::Malformed;
pub use record::{Header, Headers, IntoRecords, OwnedRecord, Record, RecordIter, Records};
pub(crate) use segment::add_times;
pub use segment::{BatchAt, Segment, SegmentBatches};
pub use segment_builder::{BuiltSegment, MAX_SEGMENT_LEN, SegmentBuilder};
pub use segment_frame::{FOOTER_LEN, HEADER_LEN, SegmentFooter, SegmentHeader};
pub use time_index::{TIME_INDEX_LEN, TimeIndex};
pub(crate) use wildcard::matches;
