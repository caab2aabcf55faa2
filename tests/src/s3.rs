//! A real S3 server on loopback: versitygw over a temporary directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use kfs_core::store::StoreOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use tempfile::TempDir;

use crate::process::{self, ServerProcess};

/// The access key that the server knows.
pub const ACCESS_KEY: &str = "testak";
/// Its secret.
pub const SECRET_KEY: &str = "testsecret123";
/// The server's region.
pub const REGION: &str = "us-east-1";
/// The bucket that is there from the start.
pub const BUCKET: &str = "kfs-test";

/// A running server with one empty bucket. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct S3Server {
    /// Ends before its directory is removed.
    process: ServerProcess,
    program: PathBuf,
    root: TempDir,
    /// Its certificate and key, where it speaks TLS.
    tls: Option<[PathBuf; 2]>,
}

impl S3Server {
    /// Starts a server of its own for a test. `None`, after a SKIPPED line on stderr, when
    /// versitygw is not installed (`make servers` installs it where Go is).
    ///
    /// # Panics
    /// When the server does not start; in CI also when it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Like [`start`](Self::start), but it speaks TLS, with a certificate and a key in PEM files.
    pub fn start_tls(certificate: PathBuf, key: PathBuf) -> Option<Self> {
        Self::start_with(Some([certificate, key]))
    }

    fn start_with(tls: Option<[PathBuf; 2]>) -> Option<Self> {
        let Some(program) = process::installed("KFS_VERSITYGW", "bin/versitygw") else {
            crate::skip("versitygw is not installed; run `make servers` (needs Go)");
            return None;
        };
        let root = tempfile::Builder::new().prefix("kfs-s3-").tempdir().expect("make the server's directory");
        // A bucket of the posix backend is a directory.
        std::fs::create_dir(root.path().join(BUCKET)).expect("make the bucket");
        let process = ServerProcess::start(|address| command(&program, address, &root, tls.as_ref()));
        Some(S3Server { process, program, root, tls })
    }

    /// The directory where it keeps the bucket, each object a file.
    pub fn directory(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// Where it listens, as in `http://127.0.0.1:7070`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.process.address())
    }

    /// The address where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// The bucket's URL with this prefix, as in `s3://kfs-test/a/b`.
    pub fn url(&self, prefix: &str) -> String {
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() { format!("s3://{BUCKET}") } else { format!("s3://{BUCKET}/{prefix}") }
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Options for [`Store::open`](kfs_core::store::Store::open) on this server, whatever the
    /// process's environment says.
    pub fn store_options(&self) -> StoreOptions {
        // A test of the check switches it on again: others count their own requests.
        let options = StoreOptions::default().environment(false).preflight(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }

    /// A client of its own for the bucket, to look beneath the library.
    pub fn client(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region(REGION)
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()
            .expect("build the client")
    }

    /// Makes one more empty bucket.
    pub fn create_bucket(&self, name: &str) {
        std::fs::create_dir(self.root.path().join(name)).expect("make the bucket");
    }

    /// Kills the server as a crash would (SIGKILL). Its data stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address, over the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let (program, root, tls) = (&self.program, &self.root, self.tls.as_ref());
        self.process.restart(|address| command(program, address, root, tls));
    }
}

fn command(program: &Path, address: SocketAddr, root: &TempDir, tls: Option<&[PathBuf; 2]>) -> Command {
    let tls =
        tls.map(|[certificate, key]| ["--cert".as_ref(), certificate.as_os_str(), "--key".as_ref(), key.as_ref()]);
    let mut command = process::command(program);
    command
        .args(["--port", &address.to_string(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION])
        .args(tls.into_iter().flatten())
        // A bucket in the path is taken, too.
        .args(["--virtual-domain", crate::tls::DOMAIN])
        // Without it every request opens a connection.
        .args(["--quiet", "--keep-alive", "posix"])
        .arg(root.path());
    command
}
