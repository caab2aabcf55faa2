//! The same log for threads that wait: a twin of [`Bucket`](crate::Bucket) and what it opens.
//!
//! It has no logic of its own. Every call is the call of the same name in the async API, and a wait.
//! It works on any thread, inside an async runtime too: the I/O runs on a runtime of the bucket's
//! own, so that a thread of somebody else's runtime that waits here holds up nobody but its own.
//! (It does hold up that one: inside async code the async API is the better choice.)
//!
//! Every wait has an end that its caller sets: a [`Wait`] with a time limit, a [`Cancel`], or both.
//! Both end the wait only. The work goes on, as it does when a future is dropped.
//!
//! ```
//! use std::time::Duration;
//! use kfs_core::blocking::{Bucket, Wait};
//! use kfs_core::{ReaderOptions, WriterOptions};
//! use kfs_core::format::NewRecord;
//!
//! let wait = Wait::at_most(Duration::from_secs(10));
//! let bucket = Bucket::open("memory:")?;
//! let orders = bucket.partition("orders", 0)?;
//! let writer = orders.writer(WriterOptions::default(), &wait)?;
//! let append = writer.append_records(&[NewRecord::new(1_767_225_600_000).value(b"paid")], &wait)?;
//! assert_eq!(append.durable(&wait)?.last, 0);
//! writer.close(&wait)?;
//!
//! let mut records = orders.reader(ReaderOptions::default()).records(0);
//! while let Some(record) = records.next(&wait)? {
//!     assert_eq!(record.value().map(|value| &value[..]), Some(&b"paid"[..]));
//! }
//! # Ok::<(), kfs_core::Error>(())
//! ```

mod bucket;
mod callback;
mod reader;
mod segments;
mod wait;
mod writer;

#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Partition};
pub use callback::in_callback;
pub use reader::{BatchStream, Reader, RecordStream, Watch};
pub use segments::{SegmentHandle, Segments};
pub use wait::{Cancel, Wait};
pub use writer::{Append, Writer};
