//! Faults on the wire: toxiproxy between a client and a server.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::process::{self, ServerProcess};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server: requests.
    Up,
    /// From the server to the client: answers.
    Down,
}

/// What happens to the bytes of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Toxic {
    /// They come so many milliseconds late, more or less.
    Late(u32),
    /// So many KiB pass in a second.
    Slow(u32),
    /// The connection is closed after so many bytes. With 0 and [`Way::Down`] the server acts, and its answer is lost.
    Cut(u64),
    /// The connection is reset at the first bytes. With [`Way::Down`] the server acts, and its answer is lost.
    Reset,
    /// Nothing passes, and after so many milliseconds the connection is closed.
    Silent(u32),
}

/// A proxy in a process of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct ToxiProxy {
    process: ServerProcess,
    listens: SocketAddr,
}

impl ToxiProxy {
    /// Starts a proxy for the server at this address. `None`, after a SKIPPED line on stderr, when toxiproxy is not
    /// installed (`make servers` installs it where Go is).
    ///
    /// # Panics
    /// When it does not start; in CI also when it is not installed.
    pub fn start(server: SocketAddr) -> Option<Self> {
        let Some(program) = process::installed("KFS_TOXIPROXY", "bin/toxiproxy-server") else {
            crate::skip("toxiproxy is not installed; run `make servers` (needs Go)");
            return None;
        };
        let process = ServerProcess::start(|address| {
            let mut command = process::command(&program);
            command.args(["-host", &address.ip().to_string(), "-port", &address.port().to_string()]);
            command
        });
        let body = format!(r#"{{"name": "p", "listen": "127.0.0.1:0", "upstream": "{server}", "enabled": true}}"#);
        let made = ask(process.address(), "POST", "/proxies", &body);
        let listens = made.split_once(r#""listen":""#).and_then(|(_, rest)| rest.split_once('"'));
        let listens = listens.and_then(|(address, _)| address.parse().ok());
        Some(ToxiProxy { listens: listens.unwrap_or_else(|| panic!("toxiproxy's answer: {made}")), process })
    }

    /// Where it listens, as in `http://127.0.0.1:7070`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listens)
    }

    /// Lets this happen from now on to so many of a hundred connections, those that are open already included.
    pub fn add(&self, way: Way, toxic: Toxic, of_a_hundred: u8) {
        let stream = if way == Way::Up { "upstream" } else { "downstream" };
        let body =
            format!(r#"{{"stream": "{stream}", "toxicity": {}, {toxic}}}"#, f64::from(of_a_hundred.min(100)) / 100.0);
        self.ask("POST", "/proxies/p/toxics", &body);
    }

    /// Nothing happens any more, and who was away is back.
    pub fn heal(&self) {
        self.ask("POST", "/reset", "");
    }

    /// Closes all connections and takes no more, until it is healed.
    pub fn go_away(&self) {
        self.ask("POST", "/proxies/p", r#"{"enabled": false}"#);
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        ask(self.process.address(), method, path, body)
    }
}

impl fmt::Display for Toxic {
    /// As toxiproxy's API names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, attributes) = match self {
            Toxic::Late(ms) => ("latency", format!(r#""latency": {ms}, "jitter": {ms}"#)),
            Toxic::Slow(rate) => ("bandwidth", format!(r#""rate": {rate}"#)),
            Toxic::Cut(bytes) => ("limit_data", format!(r#""bytes": {bytes}"#)),
            Toxic::Reset => ("reset_peer", r#""timeout": 0"#.into()),
            Toxic::Silent(ms) => ("timeout", format!(r#""timeout": {ms}"#)),
        };
        write!(f, r#""type": "{name}", "attributes": {{{attributes}}}"#)
    }
}

/// Sends a request to toxiproxy's API, and gives the body of the answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).expect("connect to toxiproxy");
    stream.write_all(request.as_bytes()).expect("send the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.starts_with("HTTP/1.1 2"), "toxiproxy refused {method} {path} {body}: {answer}");
    text.into()
}
