//! Kafka partition logs as a library, straight in an object-store bucket.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod blocking;
pub mod error;
pub mod format;
pub mod log;
pub mod runtime;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, ErrorKind, Result, Stored};
pub use log::reader::{
    BatchStream, Fetch, FetchOptions, Hole, Notice, OnCorrupt, Reader, ReaderOptions, RecordStream, StreamRecord,
};
pub use log::writer::{Admission, Append, Offsets, OnConflict, Writer, WriterOptions};
pub use log::{Bucket, BucketOptions, Marks, Partition, Watch};
pub use object_store;
