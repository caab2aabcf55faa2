//! What tests of a log need: a store that fails on purpose, clocks that a test moves, randomness
//! from a seed. Behind the feature `testing`; not for production.
//!
//! * [`FaultStore`] wraps any [`ObjectStore`](object_store::ObjectStore). A test scripts what
//!   happens to the n-th request on a key: fail before acting, act and lose the reply, answer a
//!   conflict that keeps nothing, wait at a [`Gate`], land late. It also logs every request.
//! * [`ManualClock`] stands still until the test moves it. [`PausedClock`] follows tokio's paused
//!   time, which runs by itself when nothing else can run.
//! * [`SeededEntropy`] and [`Prng`] give the same bytes for the same seed.
//! * [`conformance`] checks that a store does all that [`Store`](crate::store::Store) promises. Run it on a store of
//!   your own.
//! * [`LocalSpawn`] starts tasks on the tokio runtime that the test is in.
//!
//! ```
//! use std::sync::Arc;
//! use kfs_core::testing::{Action, Failure, FaultStore, Op};
//! use object_store::{ObjectStoreExt, PutPayload, memory::InMemory};
//!
//! # async fn example() {
//! let faults = FaultStore::new(Arc::new(InMemory::new()));
//! faults.on(Op::Put, ".kfs", Action::ActThenFail(Failure::Unavailable));
//! let lost = faults.put(&"a/segment.kfs".into(), PutPayload::from_static(b"x")).await;
//! assert!(lost.is_err());
//! assert!(faults.get(&"a/segment.kfs".into()).await.is_ok());
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
//! ```

mod action;
mod clock;
mod conformance;
mod fault;
mod player;
mod random;
#[cfg(all(test, feature = "tracing"))]
pub(crate) mod subscriber;

pub use action::{Action, Change, Failure, Gate, KeyMatcher, Op, Outcome, Request};
pub use clock::{LocalSpawn, ManualClock, PausedClock};
pub use conformance::{CheckResult, ConformanceReport, Deviation, conformance};
pub use fault::FaultStore;
pub use player::LoggedRequest;
pub use random::{Prng, SeededEntropy};

#[cfg(test)]
mod tests;
