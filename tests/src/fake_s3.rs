//! A small S3 server in this process, which a test can make answer wrongly.

use std::collections::BTreeMap;

use kfs_core::store::StoreOptions;

use crate::fake_http::{self, Answer, FakeServer, Listed, Request, Service};
use crate::uploads::{self, Upload, Uploads};

/// The objects of its bucket, and the uploads in parts that are under way.
#[derive(Default)]
pub struct S3Objects {
    objects: BTreeMap<Vec<u8>, Object>,
    uploads: Uploads,
    written: u64,
    /// Headers that are read as if they had not been sent.
    ignored: Vec<&'static str>,
}

struct Object {
    body: Vec<u8>,
    e_tag: String,
    metadata: Vec<(String, String)>,
}

/// The running server. It serves one bucket, by any name, until the process ends.
pub type FakeS3 = FakeServer<S3Objects>;

impl FakeS3 {
    /// Starts a server that refuses each request but those with this access key, and without a session. Of keys and
    /// prefixes with `later` in them it says to come back in 7 seconds, and calls such requests `fake-request`.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start_for_key(id: &str) -> Self {
        let fake = Self::start();
        let known = format!("Credential={id}/");
        fake.script(move |request, serve| {
            let is_known = request.header("authorization").is_some_and(|sent| sent.contains(&known));
            let listed = request.query.get("prefix").is_some_and(|prefix| prefix.contains("later"));
            match is_known && request.header("x-amz-security-token").is_none() {
                true if listed || request.key().contains("later") => {
                    let busy = Answer::error(503, "SlowDown").with("Retry-After", "7");
                    Some(busy.with("x-amz-request-id", "fake-request"))
                }
                true => Some(serve()),
                false => Some(Answer::error(403, "InvalidAccessKeyId")),
            }
        });
        fake
    }

    /// Reads requests from now on as if they did not have this header, named in lower case.
    pub fn ignore_header(&self, name: &'static str) {
        self.state().service.ignored.push(name);
    }

    /// Puts an object under any key.
    pub fn put(&self, key: impl AsRef<[u8]>, body: &[u8]) {
        self.state().service.put(key.as_ref(), body, Vec::new());
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.state().service.objects.keys().cloned().collect()
    }

    /// How many uploads in parts were begun and have not ended.
    pub fn uploads(&self) -> usize {
        self.state().service.uploads.len()
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "fake-access-key-id".into()),
            ("AWS_SECRET_ACCESS_KEY", "fake-secret-key/0123".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ENDPOINT_URL", self.endpoint().into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Options for a store on this server.
    pub fn store_options(&self) -> StoreOptions {
        // A test of the check switches it on again: others count their own requests.
        let options = StoreOptions::default().environment(false).preflight(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }
}

impl S3Objects {
    fn put(&mut self, key: &[u8], body: &[u8], metadata: Vec<(String, String)>) -> String {
        self.written += 1;
        let e_tag = format!("\"v{}\"", self.written);
        self.objects.insert(key.to_vec(), Object { body: body.to_vec(), e_tag: e_tag.clone(), metadata });
        e_tag
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else { return Answer::error(404, "NoSuchKey") };
        if request.header("if-match").is_some_and(|wanted| wanted != object.e_tag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let answer = fake_http::body(request, &object.body);
        if answer.status >= 400 {
            return answer;
        }
        let answer = answer.with("ETag", &object.e_tag).with("Content-Type", "binary/octet-stream");
        object.metadata.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }
}

impl S3Objects {
    /// Whether the conditions of a write hold.
    fn conditions_hold(&self, request: &Request) -> bool {
        let object = self.objects.get(&request.key);
        let header = |name| request.header(name).filter(|_| !self.ignored.contains(&name));
        match (header("if-none-match"), header("if-match")) {
            (Some(_), _) => object.is_none(),
            (None, Some(wanted)) => object.is_some_and(|object| object.e_tag == wanted),
            (None, None) => true,
        }
    }

    fn copy(&mut self, request: &Request) -> Answer {
        let source = fake_http::decoded(request.header("x-amz-copy-source").unwrap_or_default());
        let source = source.strip_prefix(b"/").unwrap_or(&source);
        let key = source.iter().position(|b| *b == b'/').and_then(|at| source.get(at + 1..)).unwrap_or_default();
        let Some(Object { body, metadata, .. }) = self.objects.get(key) else { return Answer::error(404, "NoSuchKey") };
        let (body, metadata) = (body.clone(), metadata.clone());
        let e_tag = self.put(&request.key, &body, metadata);
        Answer::new(200, format!("<CopyObjectResult><ETag>{e_tag}</ETag></CopyObjectResult>"))
    }

    fn complete_upload(&mut self, id: &str, request: &Request) -> Answer {
        let body = match self.uploads.joined(id, request) {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Some(Upload { key, headers: metadata, .. }) = self.uploads.end(id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let e_tag = self.put(&key, &body, metadata);
        Answer::new(200, uploads::completed(&e_tag))
    }
}

impl Service for S3Objects {
    fn serve(&mut self, request: &Request) -> Answer {
        let upload = request.query.get("uploadId").cloned();
        let answer = match (request.method.as_str(), upload) {
            _ if request.is_list() => {
                let objects = self.objects.iter();
                let listed = objects.map(|(key, object)| Listed { key, size: object.body.len(), e_tag: &object.e_tag });
                fake_http::listing(request, listed)
            }
            ("POST", None) if request.query.contains_key("uploads") => {
                self.uploads.begin(request, request.headers_with("x-amz-meta-"))
            }
            (_, Some(id)) if !self.uploads.has(&id) => Answer::error(404, "NoSuchUpload"),
            ("PUT", Some(id)) => self.uploads.put_part(&id, request),
            ("POST", Some(id)) => self.complete_upload(&id, request),
            ("DELETE", Some(id)) => {
                self.uploads.end(&id);
                Answer::new(204, "")
            }
            ("PUT", None) if request.headers.contains_key("x-amz-copy-source") => self.copy(request),
            ("PUT", None) if !self.conditions_hold(request) => match self.objects.contains_key(&request.key) {
                true => Answer::error(412, "PreconditionFailed"),
                false => Answer::error(404, "NoSuchKey"),
            },
            ("PUT", None) => {
                let e_tag = self.put(&request.key, &request.body, request.headers_with("x-amz-meta-"));
                Answer::new(200, "").with("ETag", &e_tag)
            }
            ("DELETE", None) => {
                self.objects.remove(&request.key);
                Answer::new(204, "")
            }
            _ => self.get(request),
        };
        answer.with("x-amz-request-id", "0123")
    }
}
