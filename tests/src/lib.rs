//! What tests that cross crates share: real servers on loopback, fakes of servers, the vectors' place,
//! and the core's own test kit.
//!
//! Tests stand in `tests/tests/`, one file per subject.

use std::path::{Path, PathBuf};

pub use kfs_core::testing::*;

pub mod azure;
pub mod azure_injector;
mod backends;
mod connect_proxy;
pub mod contest;
pub mod fake_gcs;
pub mod fake_http;
pub mod fake_s3;
pub mod known_wrong;
pub mod load;
mod process;
pub mod s3;
pub mod secrets;
pub mod tls;
pub mod toxiproxy;
mod uploads;

pub use azure::AzureServer;
pub use azure_injector::AzureInjector;
pub use backends::{TestBucket, each_bucket};
pub use connect_proxy::ConnectProxy;
pub use fake_gcs::FakeGcs;
pub use fake_s3::FakeS3;
pub use known_wrong::KnownWrongS3;
pub use s3::S3Server;
pub use toxiproxy::ToxiProxy;

/// The root of the checkout.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout")
}

/// The directory of the test vectors.
pub fn vectors() -> PathBuf {
    repository().join("tests/vectors")
}

/// Whether this runs in CI (`CI` is set and not empty), where nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// Says that the test that calls this was skipped, in a line that is easy to find. The test then
/// returns.
///
/// # Panics
/// In CI, where a skip is a failure.
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(!in_ci(), "{test} can't be skipped in CI: {reason}");
    // Not captured by the test harness, unlike println.
    let line = format!("SKIPPED {test}: {reason}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
