//! A real S3 server on loopback: versitygw over a temporary directory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kfs_core::store::StoreOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use tempfile::TempDir;

/// The access key that the server knows.
pub const ACCESS_KEY: &str = "testak";
/// Its secret.
pub const SECRET_KEY: &str = "testsecret123";
/// The server's region.
pub const REGION: &str = "us-east-1";
/// The bucket that is there from the start.
pub const BUCKET: &str = "kfs-test";

/// How long the server may take to accept its first connection.
const READY_LIMIT: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(10);
/// A free port is found by binding it and letting go, so another process can get in between.
const PORT_TRIES: usize = 5;

/// A running server with one empty bucket. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct S3Server {
    binary: PathBuf,
    child: Child,
    address: SocketAddr,
    /// Removed when the server is gone.
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
        let Some(binary) = binary() else {
            crate::skip("versitygw is not installed; run `make servers` (needs Go)");
            return None;
        };
        let root = tempfile::Builder::new().prefix("kfs-s3-").tempdir().expect("make the server's directory");
        // A bucket of the posix backend is a directory.
        std::fs::create_dir(root.path().join(BUCKET)).expect("make the bucket");
        for attempt in 1..=PORT_TRIES {
            let address = free_address();
            let mut child = spawn(&binary, address, &root, tls.as_ref());
            match wait_until_ready(&mut child, address) {
                Ok(()) => return Some(S3Server { binary, child, address, root, tls }),
                Err(reason) => {
                    stop(&mut child);
                    assert!(attempt < PORT_TRIES, "versitygw did not start on {address}: {reason}");
                }
            }
        }
        unreachable!("the last attempt returned or panicked")
    }

    /// Where it listens, as in `http://127.0.0.1:7070`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
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
        let options = StoreOptions::default().environment(false);
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
        stop(&mut self.child);
    }

    /// Starts it again at the same address, over the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        stop(&mut self.child);
        self.child = spawn(&self.binary, self.address, &self.root, self.tls.as_ref());
        if let Err(reason) = wait_until_ready(&mut self.child, self.address) {
            panic!("versitygw did not start again on {}: {reason}", self.address);
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// `KFS_VERSITYGW`, else what `make servers` installs.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KFS_VERSITYGW") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "KFS_VERSITYGW names no file: {}", path.display());
        return Some(path);
    }
    let path = crate::repository().join(".servers/bin/versitygw");
    path.is_file().then_some(path)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a free port");
    listener.local_addr().expect("ask for the port")
}

fn spawn(binary: &PathBuf, address: SocketAddr, root: &TempDir, tls: Option<&[PathBuf; 2]>) -> Child {
    let tls =
        tls.map(|[certificate, key]| ["--cert".as_ref(), certificate.as_os_str(), "--key".as_ref(), key.as_ref()]);
    Command::new(binary)
        .args(["--port", &address.to_string(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION])
        .args(tls.into_iter().flatten())
        // Without it every request opens a connection.
        .args(["--quiet", "--keep-alive", "posix"])
        .arg(root.path())
        // Settings of the caller's own gateway must not reach this one.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|e| panic!("can't run {}: {e}", binary.display()))
}

#[allow(clippy::disallowed_methods, reason = "another process becomes ready in real time")]
fn wait_until_ready(child: &mut Child, address: SocketAddr) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended with {status}"));
        }
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(e) if begun.elapsed() > READY_LIMIT => return Err(format!("no connection in {READY_LIMIT:?}: {e}")),
            Err(_) => std::thread::sleep(READY_POLL),
        }
    }
}

fn stop(child: &mut Child) {
    // An error means that it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}
