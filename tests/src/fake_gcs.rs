//! A small Google Cloud Storage server in this process, which a test can make answer wrongly.
//!
//! It speaks the XML API as object_store's client uses it, and is written from what that client sends and expects. What
//! passes on it proves the client's side only: nothing here shows what Google's servers do.

use std::collections::{BTreeMap, HashMap};

use kfs_core::store::StoreOptions;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};

use crate::fake_http::{self, Answer, FakeServer, Listed, MODIFIED, Request, Service};
use crate::uploads::{self, Upload, Uploads, e_tag};

/// The bucket that is there; any other is missing.
pub const BUCKET: &str = "kfs-test";
/// The bearer token that the server takes.
pub const TOKEN: &str = "fake-bearer-token/0123";

/// Headers of a write that belong to the object and come back with it, besides `x-goog-meta-*`.
const KEPT: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "x-goog-storage-class",
];

/// The objects of its bucket, and the uploads in parts that are under way.
#[derive(Default)]
pub struct GcsObjects {
    live: BTreeMap<Vec<u8>, Object>,
    /// Generations that were replaced, where the bucket keeps them.
    replaced: HashMap<(Vec<u8>, u64), Object>,
    versioned: bool,
    uploads: Uploads,
    /// The number of the last generation.
    last_number: u64,
    answered: u64,
}

#[derive(Clone)]
struct Object {
    body: Vec<u8>,
    /// Of the content, as Google's is: writing the same bytes again gives the same ETag and another generation.
    e_tag: String,
    generation: u64,
    headers: Vec<(String, String)>,
}

/// The running server, with one bucket, until the process ends.
pub type FakeGcs = FakeServer<GcsObjects>;

impl FakeGcs {
    /// Keeps the generations that are replaced from now on, as a bucket with Object Versioning does.
    pub fn keep_generations(&self) {
        self.state().service.versioned = true;
    }

    /// Puts an object under any key.
    pub fn put(&self, key: impl AsRef<[u8]>, body: &[u8]) {
        self.state().service.put(key.as_ref(), body.to_vec(), Vec::new());
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.state().service.live.keys().cloned().collect()
    }

    /// The bucket's URL with this prefix, as in `gs://kfs-test/a/b`.
    pub fn url(&self, prefix: &str) -> String {
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() { format!("gs://{BUCKET}") } else { format!("gs://{BUCKET}/{prefix}") }
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GOOGLE_BEARER_TOKEN", TOKEN.into()),
            ("GOOGLE_BASE_URL", self.endpoint().into()),
            ("GOOGLE_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Options for [`Store::open`](kfs_core::store::Store::open) on this server, whatever the process's environment says.
    pub fn store_options(&self) -> StoreOptions {
        let options = StoreOptions::default().environment(false).preflight(false);
        self.environment().into_iter().fold(options, |options, (name, value)| options.config(name, value))
    }

    /// The settings of a client for the bucket, to look beneath the library.
    pub fn client_builder(&self) -> GoogleCloudStorageBuilder {
        GoogleCloudStorageBuilder::new()
            .with_bucket_name(BUCKET)
            .with_base_url(self.endpoint())
            // Without a token the client asks the metadata address for one.
            .with_bearer_token(TOKEN)
            .with_client_options(object_store::ClientOptions::new().with_allow_http(true))
    }

    /// A client of its own for the bucket, to look beneath the library.
    pub fn client(&self) -> GoogleCloudStorage {
        self.client_builder().build().expect("build the client")
    }
}

impl Service for GcsObjects {
    fn serve(&mut self, request: &Request) -> Answer {
        self.answered += 1;
        let upload = request.query.get("uploadId");
        let answer = match (request.method.as_str(), upload) {
            _ if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) => {
                Answer::error(401, "AuthenticationRequired")
            }
            _ if request.bucket != BUCKET => Answer::error(404, "NoSuchBucket"),
            ("GET", _) if request.is_list() => self.list(request),
            ("GET" | "HEAD", _) => self.get(request),
            ("POST", None) if request.query.contains_key("uploads") => {
                self.uploads.begin(request, kept_headers(request))
            }
            (_, Some(id)) if !self.uploads.has(id) => Answer::error(404, "NoSuchUpload"),
            ("PUT", Some(id)) => self.uploads.put_part(id, request),
            ("POST", Some(id)) => self.complete_upload(id, request),
            ("DELETE", Some(id)) => {
                self.uploads.end(id);
                Answer::new(204, "")
            }
            ("PUT", None) if request.headers.contains_key("x-goog-copy-source") => self.copy(request),
            _ if !self.generation_matches(request) => Answer::error(412, "PreconditionFailed"),
            ("PUT", None) => self.put(&request.key, request.body.clone(), kept_headers(request)),
            ("DELETE", None) => match self.live.remove(&request.key) {
                Some(object) => {
                    self.keep(&request.key, object);
                    Answer::new(204, "")
                }
                None => Answer::error(404, "NoSuchKey"),
            },
            _ => Answer::error(405, "MethodNotAllowed"),
        };
        answer.with("x-guploader-uploadid", &format!("fake-{}", self.answered))
    }
}

impl GcsObjects {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        1_700_000_000_000_000 + self.last_number
    }

    /// Whether `x-goog-if-generation-match` holds of the live object. The generation of a missing object is 0.
    fn generation_matches(&self, request: &Request) -> bool {
        let live = self.live.get(&request.key).map_or(0, |object| object.generation);
        request.header("x-goog-if-generation-match").is_none_or(|wanted| wanted.parse() == Ok(live))
    }

    fn put(&mut self, key: &[u8], body: Vec<u8>, headers: Vec<(String, String)>) -> Answer {
        let object = Object { e_tag: e_tag(&body), generation: self.number(), body, headers };
        let answer = Answer::new(200, "").with("ETag", &object.e_tag);
        let answer = answer.with("x-goog-generation", &object.generation.to_string());
        if let Some(replaced) = self.live.insert(key.to_vec(), object) {
            self.keep(key, replaced);
        }
        answer
    }

    fn keep(&mut self, key: &[u8], object: Object) {
        if self.versioned {
            self.replaced.insert((key.to_vec(), object.generation), object);
        }
    }

    /// A missing source is told before a condition that does not hold. Which comes first at Google is not known.
    fn copy(&mut self, request: &Request) -> Answer {
        let source = fake_http::decoded(request.header("x-goog-copy-source").unwrap_or_default());
        let key = source.strip_prefix(b"/").unwrap_or(&source).strip_prefix(BUCKET.as_bytes());
        let Some(object) = key.and_then(|key| key.strip_prefix(b"/")).and_then(|key| self.live.get(key)) else {
            return Answer::error(404, "NoSuchKey");
        };
        if !self.generation_matches(request) {
            return Answer::error(412, "PreconditionFailed");
        }
        let Object { body, headers, .. } = object.clone();
        let answer = self.put(&request.key, body, headers);
        let result = "<CopyObjectResult><LastModified>2025-11-21T07:00:00.000Z</LastModified></CopyObjectResult>";
        Answer { body: result.into(), ..answer }
    }

    fn get(&self, request: &Request) -> Answer {
        let live = self.live.get(&request.key);
        let object = match request.query.get("generation").map(|generation| generation.parse()) {
            None => live,
            Some(Ok(wanted)) => live
                .filter(|object| object.generation == wanted)
                .or_else(|| self.replaced.get(&(request.key.clone(), wanted))),
            Some(Err(_)) => return Answer::error(400, "InvalidArgument"),
        };
        let Some(object) = object else { return Answer::error(404, "NoSuchKey") };
        if request.header("if-match").is_some_and(|wanted| wanted != object.e_tag)
            || request.header("if-unmodified-since").is_some_and(|at| date(at) < date(MODIFIED))
            || !self.generation_matches(request)
        {
            return Answer::error(412, "PreconditionFailed");
        }
        if request.header("if-none-match").is_some_and(|known| known == object.e_tag)
            || request.header("if-modified-since").is_some_and(|at| date(at) >= date(MODIFIED))
        {
            return Answer::new(304, "").with("ETag", &object.e_tag);
        }
        let answer = fake_http::body(request, &object.body);
        if answer.status >= 400 {
            return answer;
        }
        let answer = answer
            .with("ETag", &object.e_tag)
            .with("x-goog-generation", &object.generation.to_string())
            .with("x-goog-metageneration", "1");
        object.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    fn list(&self, request: &Request) -> Answer {
        let objects = self.live.iter();
        let listed = objects.map(|(key, object)| Listed { key, size: object.body.len(), e_tag: &object.e_tag });
        fake_http::listing(request, listed)
    }

    fn complete_upload(&mut self, id: &str, request: &Request) -> Answer {
        let body = match self.uploads.joined(id, request) {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        if !self.generation_matches(request) {
            return Answer::error(412, "PreconditionFailed");
        }
        let Some(Upload { key, headers, .. }) = self.uploads.end(id) else { return Answer::error(404, "NoSuchUpload") };
        let e_tag = e_tag(&body);
        let answer = self.put(&key, body, headers);
        Answer { body: uploads::completed(&e_tag).into(), ..answer }
    }
}

fn kept_headers(request: &Request) -> Vec<(String, String)> {
    let mut kept = request.headers_with("x-goog-meta-");
    kept.extend(KEPT.iter().filter_map(|name| Some(((*name).to_owned(), request.header(name)?.to_owned()))));
    kept
}

/// A date as HTTP writes it, such as `Fri, 21 Nov 2025 07:00:00 GMT`, in a form that sorts.
fn date(text: &str) -> Option<(u32, usize, u32, &str)> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split(' ').skip(1);
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    Some((words.next()?.parse().ok()?, month, day, words.next()?))
}
