//! A small S3 server in this process, which a test can make answer wrongly.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kfs_core::store::StoreOptions;

/// The time at which every object was written.
const MODIFIED: &str = "Fri, 21 Nov 2025 07:00:00 GMT";

/// A request as the server reads it.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, HEAD, PUT or DELETE.
    pub method: String,
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

    /// An error as S3 words it.
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

type Script = dyn FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send;

#[derive(Default)]
struct State {
    objects: BTreeMap<Vec<u8>, Object>,
    written: u64,
    requests: Vec<Request>,
    script: Option<Box<Script>>,
}

struct Object {
    body: Vec<u8>,
    e_tag: String,
    metadata: Vec<(String, String)>,
}

/// The running server. It serves one bucket, by any name, until the process ends.
#[derive(Clone)]
pub struct FakeS3 {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for FakeS3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeS3").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl FakeS3 {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// When no port can be bound.
    #[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("ask for the port"));
        let server = FakeS3 { endpoint, state: Arc::default() };
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

    /// Lets this answer each request. It is given a function that serves the request truly; `None` cuts the
    /// connection.
    pub fn script(&self, script: impl FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Answers truly again.
    pub fn serve_truly(&self) {
        self.state().script = None;
    }

    /// Puts an object under any key.
    pub fn put(&self, key: impl AsRef<[u8]>, body: &[u8]) {
        self.state().put(key.as_ref(), body, Vec::new());
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.state().objects.keys().cloned().collect()
    }

    /// What it was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "fake-access-key-id".into()),
            ("AWS_SECRET_ACCESS_KEY", "fake-secret-key/0123".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Options for a store on this server.
    pub fn store_options(&self) -> StoreOptions {
        let options = StoreOptions::default().environment(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let request = read(&mut stream)?;
            let head = request.method == "HEAD";
            let answer = {
                let mut state = self.state();
                state.requests.push(request.clone());
                match state.script.take() {
                    Some(mut script) => {
                        let answer = script(&request, &mut || state.serve(&request));
                        state.script.get_or_insert(script);
                        answer
                    }
                    None => Some(state.serve(&request)),
                }
            }?;
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
    let (method, target) = (words.next()?.to_string(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_bucket, key)| key);
    let text = |part: &str| String::from_utf8_lossy(&decoded(&part.replace('+', "%20"))).into_owned();
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (text(n), text(v))).collect();
    Some(Request { method, key: decoded(key), query, headers, body })
}

fn decoded(text: &str) -> Vec<u8> {
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

impl State {
    fn put(&mut self, key: &[u8], body: &[u8], metadata: Vec<(String, String)>) -> String {
        self.written += 1;
        let e_tag = format!("\"v{}\"", self.written);
        self.objects.insert(key.to_vec(), Object { body: body.to_vec(), e_tag: e_tag.clone(), metadata });
        e_tag
    }

    fn serve(&mut self, request: &Request) -> Answer {
        let answer = match request.method.as_str() {
            _ if request.is_list() => self.list(request),
            "PUT" if request.headers.contains_key("if-none-match") && self.objects.contains_key(&request.key) => {
                Answer::error(412, "PreconditionFailed")
            }
            "PUT" => {
                let metadata = request.headers.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
                let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
                let e_tag = self.put(&request.key, &request.body, metadata);
                Answer::new(200, "").with("ETag", &e_tag)
            }
            "DELETE" => {
                self.objects.remove(&request.key);
                Answer::new(204, "")
            }
            _ => self.get(request),
        };
        answer.with("x-amz-request-id", "0123")
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else { return Answer::error(404, "NoSuchKey") };
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != object.e_tag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let size = object.body.len();
        let (status, range) = match request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")) {
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
        let mut answer = Answer::new(status, object.body.get(range).unwrap_or_default())
            .with("ETag", &object.e_tag)
            .with("Last-Modified", MODIFIED)
            .with("Content-Type", "binary/octet-stream");
        if status == 206 {
            answer = answer.with("Content-Range", &told);
        }
        object.metadata.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    fn list(&self, request: &Request) -> Answer {
        let text = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
        let (prefix, delimiter) = (text("prefix").as_bytes(), text("delimiter"));
        let token = decoded(text("continuation-token"));
        let after = if token.is_empty() { text("start-after").as_bytes() } else { &token };
        let (mut entries, mut count, mut last, mut more) = (Vec::new(), 0, Vec::new(), false);
        for (key, object) in &self.objects {
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
                Some(group) => entries
                    .extend([b"<CommonPrefixes><Prefix>", &xml(group)[..], b"</Prefix></CommonPrefixes>"].concat()),
                None => {
                    let size = object.body.len();
                    let e_tag = &object.e_tag;
                    let about = format!(
                        "</Key><LastModified>2025-11-21T07:00:00.000Z</LastModified><ETag>{e_tag}</ETag><Size>{size}</Size>\
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
