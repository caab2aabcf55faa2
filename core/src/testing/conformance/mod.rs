//! One suite of checks for every store: those that this library opens, and those that a user brings.

mod listings;
mod objects;
mod report;
mod streams;
mod versions;

use std::fmt::{Debug, Display};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::report::{CheckResult, ConformanceReport, Deviation};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Entropy, SystemEntropy};
use crate::store::{Identity, ReadRange, Store, Version};

/// Checks that a store does all that [`Store`] promises. CheckRun it on a store of your own before you keep a log in it.
///
/// It writes about 240 MiB below a key `conformance-` with random digits, and deletes what it wrote at the end. It goes on
/// after a check that fails, so that the report names everything that the store lacks. It has no time-out.
///
/// ```
/// use std::sync::Arc;
/// use kfs_core::object_store::memory::InMemory;
/// use kfs_core::store::Store;
/// use kfs_core::testing::conformance;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let store = Store::from_object_store(Arc::new(InMemory::new())); // put your own store here
/// let report = conformance(&store).await?;
/// assert!(report.is_ok(), "{report}");
/// # Ok::<(), kfs_core::Error>(()) }).unwrap();
/// ```
///
/// # Errors
/// When the system gives no random bytes. What the store does wrong is in the report.
pub async fn conformance(store: &Store) -> Result<ConformanceReport> {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random)?;
    let root = format!("conformance-{:032x}", u128::from_be_bytes(random));
    let mut checks = Vec::new();
    for (name, check) in objects::CHECKS.iter().chain(listings::CHECKS).chain(versions::CHECKS).chain(streams::CHECKS) {
        let run = CheckRun { store, directory: format!("{root}/{name}"), keys: Mutex::default() };
        let deviation = check(&run).await.err();
        let left = run.clean().await.err();
        checks.push(CheckResult { name, deviation: deviation.or(left) });
    }
    Ok(ConformanceReport { store: store.url().to_string(), checks })
}

type CheckOutcome = std::result::Result<(), Deviation>;
/// A check with its name. The name says what a store does that passes it.
type Check = (&'static str, for<'a> fn(&'a CheckRun<'a>) -> BoxFuture<'a, CheckOutcome>);

/// Names the functions that are checks.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$((stringify!($name), |run| Box::pin($name(run)))),*];
    };
}
use checks;

/// One check under way.
struct CheckRun<'a> {
    store: &'a Store,
    directory: String,
    /// The keys that it may have written.
    keys: Mutex<Vec<String>>,
}

impl CheckRun<'_> {
    /// A key of this check's own.
    fn key(&self, name: &str) -> String {
        let key = format!("{}/{name}", self.directory);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        key
    }

    /// Writes an object under a key of this check's own.
    async fn put(&self, name: &str, bytes: &'static str) -> std::result::Result<(String, Version), Deviation> {
        let key = self.key(name);
        let version = done(&key, "the object is written", self.store.put(&key, bytes.into()).await)?;
        Ok((key, version))
    }

    /// Reads a whole object.
    async fn read(&self, key: &str) -> std::result::Result<(Bytes, Version, Identity), Deviation> {
        let read = self.store.get(key, ReadRange::Whole, None).await;
        let read = done(key, "the object is read", read)?;
        Ok((read.bytes, read.info.version, read.identity))
    }

    async fn clean(&self) -> CheckOutcome {
        let mut keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        keys.sort_unstable();
        keys.dedup();
        let mut left = Ok(());
        for key in keys {
            let deleted = done(&key, "the object is deleted after the check", self.store.delete(&key).await);
            left = left.and(deleted);
        }
        left
    }
}

fn deviation(key: &str, found: impl Display, expected: impl Display) -> Deviation {
    Deviation { key: key.to_string(), found: found.to_string(), expected: expected.to_string() }
}

/// What a call answered that must succeed.
fn done<T>(key: &str, expected: &str, result: Result<T>) -> std::result::Result<T, Deviation> {
    result.map_err(|error| deviation(key, failure(&error), expected))
}

/// A call that must fail with an error of this kind.
fn fails<T>(key: &str, what: &str, result: Result<T>, kind: ErrorKind) -> CheckOutcome {
    let expected = format!("{what} fails as {kind:?}");
    match result {
        Ok(_) => Err(deviation(key, "success", expected)),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(deviation(key, failure(&error), expected)),
    }
}

fn failure(error: &Error) -> String {
    format!("an error of kind {:?}: {error}", error.kind())
}

/// A value that must be this one.
fn equal<T: PartialEq + Debug>(key: &str, what: &str, found: T, expected: T) -> CheckOutcome {
    if found == expected {
        return Ok(());
    }
    Err(deviation(key, format!("{what} {found:?}"), format!("{what} {expected:?}")))
}

/// Bytes that must be these.
fn bytes_equal(key: &str, found: &[u8], expected: &[u8]) -> CheckOutcome {
    if found == expected {
        return Ok(());
    }
    let shown = |bytes: &[u8]| {
        let beginning = bytes.get(..bytes.len().min(16)).unwrap_or_default().escape_ascii();
        format!("{} bytes that begin with \"{beginning}\"", bytes.len())
    };
    let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let at = at.unwrap_or(found.len().min(expected.len()));
    Err(deviation(key, format!("{}, different from byte {at} on", shown(found)), shown(expected)))
}

/// A version that must be that of the same object.
fn same_version(key: &str, what: &str, found: &Version, expected: &Version) -> CheckOutcome {
    if found.same_as(expected) {
        return Ok(());
    }
    Err(deviation(key, format!("{what} {found:?}"), format!("{what} the same as {expected:?}")))
}
