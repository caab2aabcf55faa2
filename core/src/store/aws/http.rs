//! The HTTP client beneath object_store's: it follows no redirect, trusts the certificates that the user names,
//! counts what is sent, and lets nothing secret pass in what a server says of a failure.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::Method;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::secrets::Secrets;
use super::{answer, listing, proxy};
use crate::error::Error;
use crate::runtime::{Entropy, SystemEntropy};
use crate::store::failure::{Effect, StoreFailure};
use crate::store::meter::Attempt;
use crate::store::secrets::strip_by_pattern;

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT: usize = 64 * 1024;
/// The largest page of a listing that is read, in bytes. A page has up to 1,000 keys of up to 1,024 bytes each, of
/// which XML may make six times as many.
const LISTING_LIMIT: usize = 16 << 20;
/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-s3session-token",
    "x-aws-ec2-metadata-token",
    "x-amz-server-side-encryption-customer-key",
];

/// Makes HTTP clients for object_store and for our own requests for credentials.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) secrets: Arc<Secrets>,
    /// The only certificates to trust; `None` for those of the system.
    pub(super) roots: Option<Vec<reqwest::Certificate>>,
    /// Whether a proxy that the environment names is used.
    pub(super) proxies: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = HttpClient::new(self.client(options)?);
        let proxy = match (options.get_config_value(&ClientConfigKey::ProxyUrl), self.proxies) {
            (_, false) => Proxy::None,
            (Some(_), true) => Proxy::Set,
            (None, true) => Proxy::OfEnvironment,
        };
        Ok(HttpClient::new(Guarded { client, secrets: self.secrets.clone(), proxy }))
    }
}

impl Connector {
    /// The client that object_store's own connector would make, but for redirects: those would carry
    /// credentials to whatever address a server names.
    fn client(&self, options: &ClientOptions) -> object_store::Result<reqwest::Client> {
        use ClientConfigKey as Key;
        let value = |key: Key| options.get_config_value(&key);
        let flag = |key: Key| value(key).map_or(Ok(false), |text| boolean(&text));
        let time = |key: Key| value(key).map(|text| duration(&text)).transpose();
        let mut builder = reqwest::ClientBuilder::new()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(value(Key::UserAgent).unwrap_or_else(|| concat!("libkfs/", env!("CARGO_PKG_VERSION")).into()))
            .https_only(!flag(Key::AllowHttp)?)
            // Compression would change what Content-Length says.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(url) = value(Key::ProxyUrl) {
            let mut proxy = reqwest::Proxy::all(url).map_err(not_made)?;
            if let Some(certificate) = value(Key::ProxyCaCertificate) {
                let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).map_err(not_made)?;
                builder = builder.tls_certs_merge([certificate]);
            }
            if let Some(excludes) = value(Key::ProxyExcludes) {
                proxy = proxy.no_proxy(reqwest::NoProxy::from_string(&excludes));
            }
            builder = builder.proxy(proxy);
        }
        if !self.proxies {
            builder = builder.no_proxy();
        }
        builder = match &self.roots {
            Some(roots) => builder.tls_certs_only(roots.iter().cloned()),
            None if flag(Key::NoSystemCertificates)? => builder.tls_certs_only([]),
            None => builder,
        };
        if let Some(time) = time(Key::Timeout)? {
            builder = builder.timeout(time);
        }
        if let Some(time) = time(Key::ConnectTimeout)? {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = time(Key::ReadTimeout)? {
            builder = builder.read_timeout(time);
        }
        if let Some(time) = time(Key::PoolIdleTimeout)? {
            builder = builder.pool_idle_timeout(time);
        }
        if let Some(max) = value(Key::PoolMaxIdlePerHost) {
            builder = builder.pool_max_idle_per_host(max.parse().map_err(|_| not_read(&max, "a number"))?);
        }
        if let Some(time) = time(Key::Http2KeepAliveInterval)? {
            builder = builder.http2_keep_alive_interval(time);
        }
        if let Some(time) = time(Key::Http2KeepAliveTimeout)? {
            builder = builder.http2_keep_alive_timeout(time);
        }
        builder = builder.http2_keep_alive_while_idle(flag(Key::Http2KeepAliveWhileIdle)?);
        if let Some(size) = value(Key::Http2MaxFrameSize) {
            builder = builder.http2_max_frame_size(Some(size.parse().map_err(|_| not_read(&size, "a number"))?));
        }
        if flag(Key::Http1Only)? {
            builder = builder.http1_only();
        }
        if flag(Key::Http2Only)? {
            builder = builder.http2_prior_knowledge();
        }
        if flag(Key::AllowInvalidCertificates)? {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if flag(Key::RandomizeAddresses)? {
            builder = builder.dns_resolver(Arc::new(AnyAddressFirst));
        }
        builder.build().map_err(not_made)
    }
}

fn not_made(error: reqwest::Error) -> object_store::Error {
    object_store::Error::Generic { store: "HTTP client", source: Box::new(error) }
}

fn not_read(text: &str, expected: &str) -> object_store::Error {
    object_store::Error::Generic { store: "Config", source: format!("{text:?} is not {expected}").into() }
}

fn boolean(text: &str) -> object_store::Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" | "y" => Ok(true),
        "0" | "false" | "off" | "no" | "n" => Ok(false),
        _ => Err(not_read(text, "true or false")),
    }
}

fn duration(text: &str) -> object_store::Result<Duration> {
    humantime::parse_duration(text).map_err(|_| not_read(text, "a time such as 30s"))
}

/// Begins with any of a name's addresses, so that clients spread over the servers of one name.
struct AnyAddressFirst;

impl Resolve for AnyAddressFirst {
    fn resolve(&self, name: Name) -> Resolving {
        use std::net::{SocketAddr, ToSocketAddrs};
        Box::pin(async move {
            let look_up = move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
            let mut addresses = tokio::task::spawn_blocking(look_up).await??;
            let mut random = [0];
            SystemEntropy.fill(&mut random)?;
            let first = usize::from(random[0]).checked_rem(addresses.len()).unwrap_or(0);
            addresses.rotate_left(first);
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Where a client learns of its proxy.
#[derive(Clone, Copy, Debug)]
enum Proxy {
    None,
    /// From `AWS_PROXY_URL`.
    Set,
    OfEnvironment,
}

impl Proxy {
    /// The name of what names the proxy for this URL.
    fn name(self, scheme: Option<&str>, host: Option<&str>) -> Option<&'static str> {
        match self {
            Proxy::None => None,
            Proxy::Set => Some("AWS_PROXY_URL"),
            Proxy::OfEnvironment => proxy::of_environment(scheme?, host?, |name| std::env::var(name).ok()),
        }
    }
}

/// Counts the tries of our requests, keeps their status, and cuts and cleans what a server says of a failure
/// before anybody else sees it.
#[derive(Debug)]
struct Guarded {
    client: HttpClient,
    secrets: Arc<Secrets>,
    proxy: Proxy,
}

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Requests for credentials carry none.
        let attempt = request.extensions().get::<Attempt>().cloned();
        if let Some(attempt) = &attempt {
            attempt.on_the_wire(u64::try_from(request.body().content_length()).unwrap_or(u64::MAX));
        }
        let sent = secrets_of(&request);
        let method = request.method().clone();
        let lists = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "list-type=2"));
        let proxy = self.proxy.name(request.uri().scheme_str(), request.uri().host());
        let answered = self.client.execute(request).await;
        let answered = answered.map_err(|error| match proxy {
            Some(name) => proxy::named(error, name),
            None => error,
        })?;
        let status = answered.status();
        if let Some(attempt) = &attempt {
            attempt.answered(status.as_u16());
        }
        // object_store lets no attempt travel with a DELETE.
        let is_ours = attempt.is_some() || method == Method::DELETE;
        if is_ours && !(lists && status.is_success()) && answer::is_a_page(status, answered.headers()) {
            let what = if lists { "a listing".to_string() } else { format!("a {method}") };
            return Err(self.foreign(&what, answered, &sent).await);
        }
        if status.is_success() {
            return match lists {
                true => self.listed(answered, &sent).await,
                false if attempt.is_some() && answer::has_no_body(&method) => self.done(&method, answered, &sent).await,
                false => Ok(answered),
            };
        }
        let (parts, body) = answered.into_parts();
        let said = self.secrets.strip(&String::from_utf8_lossy(&beginning(body).await?), &sent);
        Ok(HttpResponse::from_parts(parts, said.into()))
    }
}

impl Guarded {
    /// A page of a listing: read whole, checked, and without keys that no log can use. object_store reads a listing
    /// whole too, but makes room for as much as the server promises: a promise of a terabyte would end the process.
    async fn listed(&self, answered: HttpResponse, sent: &[String]) -> Result<HttpResponse, HttpError> {
        let (parts, body) = answered.into_parts();
        let mut stream = body.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > LISTING_LIMIT {
                let message =
                    format!("a page of a listing has more than {LISTING_LIMIT} bytes: this is no answer of S3");
                return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(message)));
            }
        }
        match listing::sift(&bytes) {
            Ok(page) => Ok(HttpResponse::from_parts(parts, bytes::Bytes::from(page).into())),
            Err(unfit) => {
                let said = self.said(&bytes, sent);
                Err(failed(Effect::None, answer::no_listing(unfit, &parts.headers, &said)))
            }
        }
    }

    /// The answer to a request that an S3 store answers without a body. One with a body was given by something
    /// else, and proves nothing, even with an ETag.
    async fn done(&self, method: &Method, answered: HttpResponse, sent: &[String]) -> Result<HttpResponse, HttpError> {
        let (parts, body) = answered.into_parts();
        let bytes = beginning(body).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(HttpResponse::from_parts(parts, bytes::Bytes::new().into()));
        }
        let what = format!("a {method}");
        Err(failed(Effect::Unknown, answer::foreign(&what, &parts.headers, &self.said(&bytes, sent))))
    }

    async fn foreign(&self, what: &str, answered: HttpResponse, sent: &[String]) -> HttpError {
        let (parts, body) = answered.into_parts();
        let bytes = beginning(body).await.unwrap_or_default();
        failed(Effect::Unknown, answer::foreign(what, &parts.headers, &self.said(&bytes, sent)))
    }

    /// The beginning of a body for a message.
    fn said(&self, body: &[u8], sent: &[String]) -> String {
        let body = body.get(..body.len().min(REFUSAL_LIMIT)).unwrap_or_default();
        strip_by_pattern(&self.secrets.strip(&String::from_utf8_lossy(body), sent))
    }
}

/// An error of ours that passes through object_store.
fn failed(effect: Effect, error: Error) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, StoreFailure::new(effect, error))
}

/// The first bytes of a body.
async fn beginning(body: HttpResponseBody) -> Result<Vec<u8>, HttpError> {
    let mut stream = body.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() >= REFUSAL_LIMIT {
            bytes.truncate(REFUSAL_LIMIT);
            break;
        }
    }
    Ok(bytes)
}

/// Reads a short answer whole.
pub(super) async fn short(answer: HttpResponse) -> Result<String, HttpError> {
    let bytes = beginning(answer.into_body()).await?;
    String::from_utf8(bytes).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))
}

/// What a request tells a server that no message may repeat.
fn secrets_of(request: &HttpRequest) -> Vec<String> {
    let values = SECRET_HEADERS.iter().filter_map(|name| Some((*name, request.headers().get(*name)?.to_str().ok()?)));
    values
        .flat_map(|(name, value)| match name {
            "authorization" => secrets_of_authorization(value),
            _ => vec![value],
        })
        .map(str::to_string)
        .collect()
}

/// The key id and the signature of `AWS4-HMAC-SHA256 Credential=<key id>/<date>/..., SignedHeaders=..., Signature=<hex>`;
/// of another scheme all that comes after its name. The other words are no secrets, and stand in other messages too.
fn secrets_of_authorization(value: &str) -> Vec<&str> {
    let of_name = |(name, end)| value.split_once(name).and_then(|(_, rest): (&str, &str)| rest.split(end).next());
    let named: Vec<&str> = [("Credential=", '/'), ("Signature=", ',')].into_iter().filter_map(of_name).collect();
    match value.split_once(' ') {
        _ if !named.is_empty() => named,
        Some((_, rest)) => vec![rest],
        None => vec![value],
    }
}
