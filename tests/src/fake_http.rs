//! What the fakes of object stores share: HTTP in this process, answers that a test can change, and the listing.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The time at which every object was written.
pub(crate) const MODIFIED: &str = "Fri, 21 Nov 2025 07:00:00 GMT";
const MODIFIED_LISTED: &str = "2025-11-21T07:00:00.000Z";

/// A request as the server reads it.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, HEAD, POST, PUT or DELETE.
    pub method: String,
    /// The path and the query, as they were sent.
    pub target: String,
    /// The bucket, decoded.
    pub bucket: String,
    /// The key without the bucket's name, decoded; empty for a listing.
    pub key: Vec<u8>,
    /// The query, decoded.
    pub query: HashMap<String, String>,
    /// The headers, by names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it asks for a listing.
    pub fn is_list(&self) -> bool {
        self.query.contains_key("list-type")
    }

    /// The key, where it is UTF-8.
    pub fn key(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or_default()
    }

    /// How many keys the answer to a listing has at most.
    pub fn max_keys(&self) -> usize {
        self.query.get("max-keys").and_then(|max| max.parse().ok()).unwrap_or(1000)
    }

    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The headers whose names begin with this.
    pub(crate) fn headers_with(&self, prefix: &str) -> Vec<(String, String)> {
        let named = self.headers.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers besides Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is cut after so many bytes of the body.
    pub cut: Option<usize>,
}

impl Answer {
    /// An answer of a status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    /// An error as S3 and Google Cloud Storage word it.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        Answer::new(status, body).with("Content-Type", "application/xml")
    }

    /// A web page, as another server, a proxy or a login page answers it to every request.
    pub fn page() -> Self {
        Answer::new(200, "<!DOCTYPE html><html><head><title>Log in</title></head><body>Hi</body></html>")
            .with("Content-Type", "text/html; charset=utf-8")
            .with("ETag", "\"65f1-264\"")
            .with("Last-Modified", MODIFIED)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What a fake store does with a request. Requests are served one after another, so each is atomic.
pub trait Service: Default + Send + 'static {
    /// Answers a request, once it has done what it asks.
    fn serve(&mut self, request: &Request) -> Answer;
}

type Script = dyn FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send;

#[derive(Default)]
pub(crate) struct State<S> {
    pub(crate) service: S,
    pub(crate) requests: Vec<Request>,
    pub(crate) script: Option<Box<Script>>,
}

/// A running server, until the process ends.
pub struct FakeServer<S> {
    endpoint: Arc<str>,
    state: Arc<Mutex<State<S>>>,
}

impl<S> fmt::Debug for FakeServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<S> Clone for FakeServer<S> {
    fn clone(&self) -> Self {
        FakeServer { endpoint: self.endpoint.clone(), state: self.state.clone() }
    }
}

impl<S: Service> FakeServer<S> {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// When no port can be bound.
    #[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("ask for the port"));
        let server = FakeServer { endpoint: endpoint.into(), state: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Lets this answer each request. It is given a function that serves the request truly, so that a fault can come
    /// before the server acts or after it; `None` cuts the connection.
    pub fn script(&self, script: impl FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Answers truly again.
    pub fn serve_truly(&self) {
        self.state().script = None;
    }

    /// What it was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        // An answer is two writes: without this the second waits for the client's confirmation of the first.
        stream.set_nodelay(true).ok()?;
        let mut stream = BufReader::new(stream);
        loop {
            let request = read(&mut stream)?;
            let head = request.method == "HEAD";
            let answer = self.answer(request)?;
            let mut text = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
            for (name, value) in &answer.headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            stream.get_mut().write_all(text.as_bytes()).ok()?;
            let sent = answer.cut.unwrap_or(answer.body.len());
            if !head {
                stream.get_mut().write_all(answer.body.get(..sent)?).ok()?;
            }
            if answer.cut.is_some() {
                return None;
            }
        }
    }

    fn answer(&self, request: Request) -> Option<Answer> {
        let mut state = self.state();
        state.requests.push(request.clone());
        let Some(mut script) = state.script.take() else { return Some(state.service.serve(&request)) };
        let answer = script(&request, &mut || state.service.serve(&request));
        state.script.get_or_insert(script);
        answer
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let text = |part: &str| String::from_utf8_lossy(&decoded(&part.replace('+', "%20"))).into_owned();
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (text(n), text(v))).collect();
    let (bucket, key) = (text(bucket), decoded(key));
    Some(Request { method, target, bucket, key, query, headers, body })
}

/// Undoes the encoding with percent signs.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        decoded.push(match byte {
            b'%' => hex(bytes.next()).zip(hex(bytes.next())).map_or(b'?', |(high, low)| high * 16 + low),
            other => other,
        });
    }
    decoded
}

/// The answer to a GET or HEAD of a body: the range that the request asks for, or all of it.
pub(crate) fn body(request: &Request, body: &[u8]) -> Answer {
    let size = body.len();
    let (status, range) = match request.header("range").and_then(|range| range.strip_prefix("bytes=")) {
        None => (200, 0..size),
        Some(range) => {
            let (from, to) = range.split_once('-').unwrap_or_default();
            let number = |text: &str| text.parse::<usize>().ok();
            let range = match (number(from), number(to)) {
                (Some(from), to) => from..to.map_or(size, |to| (to + 1).min(size)),
                (None, last) => size.saturating_sub(last.unwrap_or(0))..size,
            };
            if range.start >= size {
                return Answer::error(416, "InvalidRange");
            }
            (206, range)
        }
    };
    let told = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    let answer = Answer::new(status, body.get(range).unwrap_or_default()).with("Last-Modified", MODIFIED);
    if status == 206 { answer.with("Content-Range", &told) } else { answer }
}

/// One object of a listing.
pub(crate) struct Listed<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) size: usize,
    pub(crate) e_tag: &'a str,
}

/// The answer to version 2 of S3's listing, which Google Cloud Storage has too. The objects come in the order of keys.
pub(crate) fn listing<'a>(request: &Request, objects: impl Iterator<Item = Listed<'a>>) -> Answer {
    let text = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix").as_bytes(), text("delimiter"));
    let token = decoded(text("continuation-token"));
    let after = if token.is_empty() { text("start-after").as_bytes() } else { &token };
    let (mut entries, mut count, mut last, mut more) = (Vec::new(), 0, Vec::new(), false);
    for Listed { key, size, e_tag } in objects {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let ends = rest.iter().position(|b| !delimiter.is_empty() && *b == b'/');
        let group = ends.map(|at| key.get(..prefix.len() + at + 1).unwrap_or_default());
        let shown = group.unwrap_or(key);
        if shown <= after || group.is_some_and(|group| group == last) {
            continue;
        }
        if count == request.max_keys() {
            more = true;
            break;
        }
        count += 1;
        last = shown.to_vec();
        match group {
            Some(group) => {
                entries.extend([b"<CommonPrefixes><Prefix>", &xml(group)[..], b"</Prefix></CommonPrefixes>"].concat());
            }
            None => {
                let about = format!(
                    "</Key><LastModified>{MODIFIED_LISTED}</LastModified><ETag>{e_tag}</ETag><Size>{size}</Size>\
                     <StorageClass>STANDARD</StorageClass></Contents>"
                );
                entries.extend([b"<Contents><Key>", &xml(key)[..], about.as_bytes()].concat());
            }
        }
    }
    let mut body = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
        .to_vec();
    body.extend(format!("<IsTruncated>{more}</IsTruncated>").bytes());
    if more {
        let token: String = last.iter().map(|b| format!("%{b:02x}")).collect();
        body.extend(format!("<NextContinuationToken>{token}</NextContinuationToken>").bytes());
    }
    body.extend(entries);
    body.extend_from_slice(b"</ListBucketResult>");
    Answer::new(200, body).with("Content-Type", "application/xml")
}

/// A key as S3 writes it into XML: what XML 1.0 has no character for stands there raw.
fn xml(key: &[u8]) -> Vec<u8> {
    let mut xml = Vec::new();
    for byte in key {
        match byte {
            b'<' => xml.extend_from_slice(b"&lt;"),
            b'&' => xml.extend_from_slice(b"&amp;"),
            b'\r' | b'\n' => xml.extend(format!("&#x{byte:x};").bytes()),
            other => xml.push(*other),
        }
    }
    xml
}
