//! A real S3 server that is known to be wrong: s3s-fs 0.14.1 looks for the object and then writes, so that several of the
//! writers that create one object at the same time succeed.

use std::path::Path;

use kfs_core::store::StoreOptions;
use tempfile::TempDir;

use crate::process::{self, ServerProcess};
use crate::s3::{ACCESS_KEY, BUCKET, REGION, SECRET_KEY};

/// A running server with one empty bucket. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct KnownWrongS3 {
    /// Ends before its directory is removed.
    process: ServerProcess,
    _root: TempDir,
}

impl KnownWrongS3 {
    /// Starts a server. `None`, after a SKIPPED line on stderr, when s3s-fs is not installed (`make known-wrong` installs
    /// it).
    ///
    /// # Panics
    /// When the server does not start; in CI also when it is not installed.
    pub fn start() -> Option<Self> {
        let Some(program) = process::installed("KFS_S3S_FS", "bin/s3s-fs") else {
            crate::skip("s3s-fs is not installed; run `make known-wrong`");
            return None;
        };
        let root = tempfile::Builder::new().prefix("kfs-s3s-").tempdir().expect("make the server's directory");
        std::fs::create_dir(root.path().join(BUCKET)).expect("make the bucket");
        let process = ServerProcess::start(|address| {
            let mut command = process::command(Path::new(&program));
            command
                .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()])
                .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
                .arg(root.path());
            command
        });
        Some(KnownWrongS3 { process, _root: root })
    }

    /// The bucket's URL.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/p")
    }

    /// Options for a store on this server.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions::default()
            .environment(false)
            .config("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .config("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .config("AWS_REGION", REGION)
            .config("AWS_ENDPOINT_URL", format!("http://{}", self.process.address()))
            .config("AWS_ALLOW_HTTP", "true")
    }
}
