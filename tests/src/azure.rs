//! A real Azure Blob server on loopback: azurite, which keeps its blobs in memory.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kfs_core::store::StoreOptions;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::{Certificate, ClientOptions};

use crate::process::{self, ServerProcess};

/// The storage account that the server knows.
pub const ACCOUNT: &str = "kfstest";
/// Its key, in base64 as Azure shows it.
pub const ACCOUNT_KEY: &str = "YSB0ZXN0IGtleSwgYW5kIG5vIHNlY3JldCBhdCBhbGw=";

/// The process that the tests of one program share while at least one of them runs: a start takes seconds.
static SHARED: Mutex<Weak<ServerProcess>> = Mutex::new(Weak::new());
static CONTAINERS: AtomicU64 = AtomicU64::new(0);

/// An empty container of its own, on a server that the tests of one program share. The server ends with the last of
/// them and forgets everything then.
///
/// Azurite forgets acknowledged blobs when it is killed, whatever its settings are, so nothing here restarts it.
#[derive(Debug)]
pub struct AzureServer {
    process: Arc<ServerProcess>,
    container: String,
    scheme: &'static str,
}

impl AzureServer {
    /// Makes a container, and starts the server where none runs. `None`, after a SKIPPED line on stderr, when azurite
    /// is not installed (`make servers` installs it where npm is).
    ///
    /// # Panics
    /// When the server does not start or refuses the container; in CI also when it is not installed.
    pub fn start() -> Option<Self> {
        let program = program()?;
        let server = AzureServer { process: shared(&program), container: new_container(), scheme: "http" };
        server.create_container(&server.container);
        Some(server)
    }

    /// Like [`start`](Self::start), but a server of its own that speaks TLS, with a certificate and a key in PEM files.
    /// `authority` is the certificate of who signed the first one.
    pub async fn start_tls(certificate: &Path, key: &Path, authority: &Path) -> Option<Self> {
        let program = program()?;
        let process = ServerProcess::start(|address| {
            let mut command = command(&program, address);
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
            command
        });
        let server = AzureServer { process: Arc::new(process), container: new_container(), scheme: "https" };
        let authority = std::fs::read(authority).expect("read the authority's certificate");
        let authority = Certificate::from_pem(&authority).expect("a certificate");
        let options = ClientOptions::new().with_root_certificate(authority);
        let client = ReqwestConnector::default().connect(&options).expect("a client");
        let answer = client.execute(server.creation(&server.container)).await.expect("azurite answers");
        assert_eq!(answer.status(), 201, "azurite refused to make the container {}", server.container);
        Some(server)
    }

    /// The account's endpoint, as in `http://127.0.0.1:10000/kfstest`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}/{ACCOUNT}", self.scheme, self.process.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// The name of the container that is this test's own.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The container's URL with this prefix, as in `az://kfs-test-0/a/b`.
    pub fn url(&self, prefix: &str) -> String {
        let prefix = prefix.trim_matches('/');
        let container = &self.container;
        if prefix.is_empty() { format!("az://{container}") } else { format!("az://{container}/{prefix}") }
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.into()),
            ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.into()),
            ("AZURE_ENDPOINT", self.endpoint()),
            ("AZURE_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Options for [`Store::open`](kfs_core::store::Store::open) on this server, whatever the process's environment
    /// says.
    pub fn store_options(&self) -> StoreOptions {
        // A test of the check switches it on again: others count their own requests.
        let options = StoreOptions::default().environment(false).preflight(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }

    /// A client of its own for the container, to look beneath the library.
    pub fn client(&self) -> MicrosoftAzure {
        MicrosoftAzureBuilder::new()
            .with_account(ACCOUNT)
            .with_access_key(ACCOUNT_KEY)
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_container_name(&self.container)
            .build()
            .expect("build the client")
    }

    /// Makes one more empty container. Its name must be new to the server, which other tests use too.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create_container(&self, name: &str) {
        let status = send(self.process.address(), &self.creation(name));
        assert!(status.contains(" 201 "), "azurite refused to make the container {name}: {status}");
    }

    /// The signed request that makes a container.
    fn creation(&self, name: &str) -> HttpRequest {
        // object_store makes no containers, but it signs any request.
        let uri = format!("{}/{name}?restype=container", self.endpoint());
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = "PUT".try_into().expect("a method");
        *request.uri_mut() = uri.parse().expect("a URI");
        request.headers_mut().insert("content-length", "0".parse().expect("a header's value"));
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).expect("a key"));
        AzureAuthorizer::new(&key, ACCOUNT).try_authorize(&mut request).expect("sign the request");
        request
    }
}

fn program() -> Option<PathBuf> {
    let program = process::installed("KFS_AZURITE", "azurite/node_modules/.bin/azurite-blob");
    if program.is_none() {
        crate::skip("azurite is not installed; run `make servers` (needs npm)");
    }
    program
}

fn new_container() -> String {
    format!("kfs-test-{}", CONTAINERS.fetch_add(1, Ordering::Relaxed))
}

fn shared(program: &Path) -> Arc<ServerProcess> {
    // The lock is held while the server starts, so that a second test waits for it instead of starting another.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(process) = shared.upgrade() {
        return process;
    }
    let process = Arc::new(ServerProcess::start(|address| command(program, address)));
    *shared = Arc::downgrade(&process);
    process
}

fn command(program: &Path, address: SocketAddr) -> Command {
    let mut command = process::command(program);
    command
        .args(["--blobHost", &address.ip().to_string(), "--blobPort", &address.port().to_string()])
        .args(["--silent", "--disableTelemetry", "--inMemoryPersistence"])
        // By default it closes a connection that is idle for 5 s, which a client may just be sending a request on.
        .args(["--blobKeepAliveTimeout", "600"])
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"))
        // The program is a script that looks for `node` there.
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Sends a request without a body, and gives the status line of the answer.
fn send(address: SocketAddr, request: &HttpRequest) -> String {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut text = format!("{} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", request.method());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().expect("a header of ASCII")));
    }
    text.push_str("\r\n");
    let mut stream = TcpStream::connect(address).expect("connect to azurite");
    stream.write_all(text.as_bytes()).expect("send the request");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("read the answer");
    status.trim_end().to_owned()
}
