//! A server in front of azurite that a test can make answer wrongly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use kfs_core::store::StoreOptions;

use crate::azure::{ACCOUNT, AzureServer};
use crate::fake_http::{Answer, FakeServer, Request, Service};

/// Hands requests on to azurite, which checks their signatures: those cover the path and the headers, not the address.
#[derive(Default)]
struct Onward {
    to: Option<SocketAddr>,
}

impl Service for Onward {
    fn serve(&mut self, request: &Request) -> Answer {
        let to = self.to.expect("the address of azurite");
        handed_on(to, request).unwrap_or_else(|error| panic!("azurite does not answer: {error}"))
    }
}

/// The running server, and azurite behind it.
pub struct AzureInjector {
    azurite: AzureServer,
    server: FakeServer<Onward>,
}

impl std::fmt::Debug for AzureInjector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AzureInjector").field("azurite", &self.azurite).finish_non_exhaustive()
    }
}

impl AzureInjector {
    /// Starts it with a container of its own. `None` when azurite is not installed.
    ///
    /// # Panics
    /// When a server does not start.
    pub fn start() -> Option<Self> {
        let azurite = AzureServer::start()?;
        let server = FakeServer::<Onward>::start();
        server.state().service.to = Some(azurite.address());
        Some(AzureInjector { azurite, server })
    }

    /// The container's URL with this prefix.
    pub fn url(&self, prefix: &str) -> String {
        self.azurite.url(prefix)
    }

    /// Options for a store on this server.
    pub fn store_options(&self) -> StoreOptions {
        self.azurite.store_options().config("AZURE_ENDPOINT", format!("{}/{ACCOUNT}", self.server.endpoint()))
    }

    /// Lets this answer each request. It is given a function that has azurite answer; `None` cuts the connection.
    pub fn script(&self, script: impl FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send + 'static) {
        self.server.state().script = Some(Box::new(script));
    }

    /// Has azurite answer again.
    pub fn serve_truly(&self) {
        self.server.state().script = None;
    }

    /// What it was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.server.state().requests)
    }
}

/// Sends a request on by HTTP/1.0, so that the answer ends with the connection and comes in one piece.
#[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
fn handed_on(to: SocketAddr, request: &Request) -> std::io::Result<Answer> {
    let mut head = format!("{} {} HTTP/1.0\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let cut = std::io::Error::other("its answer ends too early");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(cut)?;
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut answer = Answer::new(status.unwrap_or(500), bytes.get(end + 4..).unwrap_or_default());
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        // A HEAD has the object's length and no body.
        let is_length = name.eq_ignore_ascii_case("content-length");
        if is_length && request.method == "HEAD" {
            answer.body = vec![0; value.trim().parse().unwrap_or(0)];
        }
        if !is_length && !["connection", "transfer-encoding", "keep-alive"].contains(&&*name.to_ascii_lowercase()) {
            answer = answer.with(name, value.trim());
        }
    }
    Ok(answer)
}
