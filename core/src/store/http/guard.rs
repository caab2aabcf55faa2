//! What passes between object_store and a server: each try is counted, and nothing secret passes in what a server says of a
//! failure.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};

use super::proxy::{self, Proxy};
use super::secrets::Secrets;
use super::{Protocol, answers, retry_after};
use crate::error::Error;
use crate::runtime::{Entropy, SystemEntropy};
use crate::store::failure::{self, Effect, StoreFailure};
use crate::store::meter::{Answered, Attempt};
use crate::store::secrets::strip_by_pattern;

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT: usize = 64 * 1024;
/// The largest page of a listing that is read, in bytes. A page has up to 1,000 keys of up to 1,024 bytes each, of
/// which XML may make six times as many.
const LISTING_LIMIT: usize = 16 << 20;

/// Counts the tries of our requests, gives them ids, and keeps what their answers say of them. What a server says of a
/// failure is cut and cleaned here, before anybody else sees it.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) client: HttpClient,
    pub(super) protocol: Arc<dyn Protocol>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) proxy: Proxy,
}

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Requests for credentials carry none.
        let attempt = request.extensions().get::<Attempt>().cloned();
        if let Some(attempt) = &attempt {
            attempt.on_the_wire(u64::try_from(request.body().content_length()).unwrap_or(u64::MAX));
        }
        // Whose request this is: where no attempt travels with it, the caller counts it.
        let asked = attempt.clone().or_else(|| Attempt::current().filter(|_| travels_alone(&request)));
        if attempt.is_none()
            && let Some(asked) = &asked
        {
            asked.sends_counted();
        }
        if let Some(asked) = &asked
            && let Some(id) = self.give_id(&mut request)
        {
            asked.sent_as(id);
        }
        let sent = self.protocol.secrets_of(&request);
        let method = request.method().clone();
        let lists = self.protocol.is_listing(&request);
        let ends_upload = request.uri().query().is_some_and(|query| query.contains("uploadId="));
        let proxy = self.proxy.name(request.uri().scheme_str(), request.uri().host());
        let answered = self.client.execute(request).await;
        let answered = answered.map_err(|error| match proxy {
            Some(name) => proxy::named(error, name),
            None => error,
        })?;
        let status = answered.status();
        if let Some(asked) = &asked {
            asked.answered(Answered {
                status: status.as_u16(),
                request_id: self.request_id(&answered, &sent),
                retry_after: retry_after::of(status, answered.headers()),
            });
        }
        // object_store lets no attempt travel with a DELETE.
        let is_ours = attempt.is_some() || method == Method::DELETE;
        if is_ours && !(lists && status.is_success()) && answers::is_a_page(&*self.protocol, status, answered.headers())
        {
            let what = if lists { "a listing".to_string() } else { format!("a {method}") };
            return Err(self.foreign(&what, answered, &sent).await);
        }
        if method == Method::PUT && status.is_success() && answers::is_unfinished_copy(answered.headers()) {
            return Err(failed(Effect::Unknown, answers::unfinished_copy()));
        }
        if status.is_success() {
            return match lists {
                true => self.listed(answered, &sent).await,
                false if attempt.is_some() && self.protocol.has_no_body(&method) => {
                    self.done(&method, answered, &sent).await
                }
                false if method == Method::PUT || ends_upload => self.cleaned(answered, &sent).await,
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
                let message = format!(
                    "a page of a listing has more than {LISTING_LIMIT} bytes: this is no answer of {}",
                    self.protocol.store()
                );
                return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(message)));
            }
        }
        match answers::sift(&*self.protocol, &bytes, &parts.headers, || self.said(&bytes, sent)) {
            Ok(page) => Ok(HttpResponse::from_parts(parts, bytes::Bytes::from(page).into())),
            Err(error) => Err(failed(Effect::None, error)),
        }
    }

    /// The answer to a request that such a store answers without a body. One with a body was given by something
    /// else, and proves nothing, even with an ETag.
    async fn done(&self, method: &Method, answered: HttpResponse, sent: &[String]) -> Result<HttpResponse, HttpError> {
        let (parts, body) = answered.into_parts();
        let bytes = beginning(body).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(HttpResponse::from_parts(parts, bytes::Bytes::new().into()));
        }
        let what = format!("a {method}");
        Err(failed(Effect::Unknown, answers::foreign(&*self.protocol, &what, &parts.headers, &self.said(&bytes, sent))))
    }

    /// The answer to a copy, or to the end of an upload. The server may have begun its answer before it was done, and may
    /// say only in the body that it failed. Then this is an answer with 500, because object_store knows two codes of S3 in
    /// such a body, and takes any other for a success.
    async fn cleaned(&self, answered: HttpResponse, sent: &[String]) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = answered.into_parts();
        let bytes = beginning(body).await?;
        let said = String::from_utf8_lossy(&bytes);
        if !answers::is_an_error(&said) {
            return Ok(HttpResponse::from_parts(parts, bytes::Bytes::from(bytes).into()));
        }
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        Ok(HttpResponse::from_parts(parts, self.secrets.strip(&said, sent).into()))
    }

    /// Gives a request an id of our own, where its signature allows that.
    fn give_id(&self, request: &mut HttpRequest) -> Option<String> {
        let header = self.protocol.client_request_id_header(request)?;
        let id = random_id()?;
        request.headers_mut().insert(header, HeaderValue::from_str(&id).ok()?);
        Some(id)
    }

    /// What the store calls the request, without secrets.
    fn request_id(&self, answered: &HttpResponse, sent: &[String]) -> Option<String> {
        let id = answered.headers().get(self.protocol.request_id_header())?.to_str().ok()?;
        failure::is_request_id(id).then(|| self.secrets.strip(id, sent))
    }

    async fn foreign(&self, what: &str, answered: HttpResponse, sent: &[String]) -> HttpError {
        let (parts, body) = answered.into_parts();
        let bytes = beginning(body).await.unwrap_or_default();
        failed(Effect::Unknown, answers::foreign(&*self.protocol, what, &parts.headers, &self.said(&bytes, sent)))
    }

    /// The beginning of a body for a message.
    fn said(&self, body: &[u8], sent: &[String]) -> String {
        let body = body.get(..body.len().min(REFUSAL_LIMIT)).unwrap_or_default();
        strip_by_pattern(&self.secrets.strip(&String::from_utf8_lossy(body), sent))
    }
}

/// A random UUID (<https://www.rfc-editor.org/rfc/rfc9562#section-5.4>). `None` where the system has no random numbers: the
/// request then goes without an id.
fn random_id() -> Option<String> {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random).ok()?;
    let number = u128::from_be_bytes(random) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    let mut id = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    Some(id)
}

/// Whether this is one of the requests with which object_store lets no attempt travel: a delete, a copy, a part of an upload
/// or its end. Requests for credentials are none of them.
fn travels_alone(request: &HttpRequest) -> bool {
    const COPIES: [&str; 3] = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"];
    // The last one is also the beginning of comp=blocklist.
    const OF_UPLOADS: [&str; 3] = ["uploadId=", "partNumber=", "comp=block"];
    request.method() == Method::DELETE
        || COPIES.iter().any(|header| request.headers().contains_key(*header))
        || request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|part| OF_UPLOADS.iter().any(|name| part.starts_with(name))))
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

#[cfg(any(feature = "aws", feature = "azure"))]
/// Reads a short answer whole.
pub(in crate::store) async fn short(answer: HttpResponse) -> Result<String, HttpError> {
    let bytes = beginning(answer.into_body()).await?;
    String::from_utf8(bytes).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))
}
