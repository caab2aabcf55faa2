//! A small S3 server in this process, which a test can make answer wrongly.

use std::collections::BTreeMap;

use kfs_core::store::StoreOptions;

use crate::fake_http::{self, Answer, FakeServer, Listed, Request, Service};

#[derive(Default)]
struct Objects {
    objects: BTreeMap<Vec<u8>, Object>,
    written: u64,
}

struct Object {
    body: Vec<u8>,
    e_tag: String,
    metadata: Vec<(String, String)>,
}

/// The running server. It serves one bucket, by any name, until the process ends.
#[derive(Clone)]
pub struct FakeS3(FakeServer<Objects>);

impl std::fmt::Debug for FakeS3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeS3").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl FakeS3 {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start() -> Self {
        FakeS3(FakeServer::start())
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    /// Lets this answer each request. It is given a function that serves the request truly; `None` cuts the
    /// connection.
    pub fn script(&self, script: impl FnMut(&Request, &mut dyn FnMut() -> Answer) -> Option<Answer> + Send + 'static) {
        self.0.state().script = Some(Box::new(script));
    }

    /// Answers truly again.
    pub fn serve_truly(&self) {
        self.0.state().script = None;
    }

    /// Puts an object under any key.
    pub fn put(&self, key: impl AsRef<[u8]>, body: &[u8]) {
        self.0.state().service.put(key.as_ref(), body, Vec::new());
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.0.state().service.objects.keys().cloned().collect()
    }

    /// What it was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.state().requests)
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
        let options = StoreOptions::default().environment(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }
}

impl Objects {
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

impl Service for Objects {
    fn serve(&mut self, request: &Request) -> Answer {
        let answer = match request.method.as_str() {
            _ if request.is_list() => {
                let objects = self.objects.iter();
                let listed = objects.map(|(key, object)| Listed { key, size: object.body.len(), e_tag: &object.e_tag });
                fake_http::listing(request, listed)
            }
            "PUT" if request.headers.contains_key("if-none-match") && self.objects.contains_key(&request.key) => {
                Answer::error(412, "PreconditionFailed")
            }
            "PUT" => {
                let e_tag = self.put(&request.key, &request.body, request.headers_with("x-amz-meta-"));
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
}
