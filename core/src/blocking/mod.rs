//! Waiting for the async API on threads.
//!
//! There is one API, the async one. A [`Wait`] waits on the calling thread for any of its futures, and [`open`] opens a
//! bucket that needs no runtime of the caller's.
//!
//! This works on any thread, inside an async runtime too: the I/O runs on a runtime that the buckets of the process share
//! and that no caller's code runs on, so a thread of another runtime that waits here holds up only that runtime. (Inside async code, `await` is the better choice.)
//!
//! Every wait has an end that its caller sets: a [`Wait`] with a time limit, a [`Cancel`], or both. Both end the wait
//! only. The work goes on, as it does when a future is dropped.
//!
//! ```
//! use std::time::Duration;
//! use kfs_core::blocking::{self, Wait};
//! use kfs_core::format::NewRecord;
//! use kfs_core::BucketOptions;
//!
//! let wait = Wait::at_most(Duration::from_secs(10));
//! let bucket = blocking::open("memory:", BucketOptions::default())?;
//! let orders = bucket.partition("orders", 0)?;
//! let writer = wait.on_log(&orders, orders.writer())?;
//! let record = NewRecord::new(1_767_225_600_000).value(b"paid");
//! let append = wait.on_admission(&writer, writer.append(&[record]))?;
//! assert_eq!(wait.on_commit(&append, append.durable())?.last, 0);
//! wait.close_writer(&writer)?;
//!
//! let mut records = orders.reader().records(0);
//! while let Some(record) = wait.on_log(&orders, records.next())? {
//!     assert_eq!(record.value(), Some(&b"paid"[..]));
//! }
//! # Ok::<(), kfs_core::Error>(())
//! ```

mod calls;
mod shared_runtime;
mod wait;

#[cfg(test)]
mod tests;

pub use crate::log::writer::in_callback;
pub use calls::{Explain, on_shared_runtime, open};
pub use shared_runtime::runtime_threads;
pub use wait::{Cancel, Wait};
