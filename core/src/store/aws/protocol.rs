//! What S3 says in its requests and answers, and whether an answer is an S3 store's. Another server, a proxy or a login
//! page may answer in its place.

use object_store::client::HttpRequest;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};

use super::listing::{self, ListingFault};
use crate::error::{Error, ErrorKind, Result};
use crate::store::failure;
use crate::store::http::Protocol;

/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-s3session-token",
    "x-aws-ec2-metadata-token",
    "x-amz-server-side-encryption-customer-key",
];

/// How many characters of a foreign answer a message shows.
const SHOWN: usize = 80;

/// S3, and the servers that give credentials for it.
#[derive(Debug)]
pub(super) struct S3Protocol;

impl Protocol for S3Protocol {
    fn store(&self) -> &'static str {
        "S3"
    }

    fn proxy_setting(&self) -> &'static str {
        "AWS_PROXY_URL"
    }

    fn request_id_header(&self) -> &'static str {
        "x-amz-request-id"
    }

    fn secrets_of(&self, request: &HttpRequest) -> Vec<String> {
        let header = |name: &'static str| Some((name, request.headers().get(name)?.to_str().ok()?));
        let values = SECRET_HEADERS.into_iter().filter_map(header);
        let secrets = values.flat_map(|(name, value)| match name {
            "authorization" => secrets_of_authorization(value),
            _ => vec![value],
        });
        secrets.map(str::to_string).collect()
    }

    fn is_listing(&self, request: &HttpRequest) -> bool {
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "list-type=2"))
    }

    fn has_no_body(&self, method: &Method) -> bool {
        method == Method::PUT
    }

    fn is_a_page(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        is_a_page(status, headers)
    }

    fn sift(&self, page: &[u8], headers: &HeaderMap, said: &dyn Fn() -> String) -> Result<Vec<u8>> {
        listing::sift(page).map_err(|fault| no_listing(fault, headers, &said()))
    }

    fn foreign(&self, what: &str, headers: &HeaderMap, said: &str) -> Error {
        foreign(what, headers, said)
    }
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

/// Whether an answer that would be believed is a web page. No object of a log is HTML; and an S3 store that holds
/// some puts headers of its own (`x-amz-request-id` and the like) into the answer.
fn is_a_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let believed = status.is_success() || status == StatusCode::NOT_FOUND;
    let is_html = kind(headers).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    believed && is_html && !headers.keys().any(|name| name.as_str().starts_with("x-amz-"))
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// The error for an answer that no S3 store gives. `body` is its beginning, without secrets.
fn foreign(what: &str, headers: &HeaderMap, body: &str) -> Error {
    let message = format!("the answer to {what} is not that of an S3 store: {}", found(headers, body));
    Error::new(ErrorKind::InvalidInput, message).with_hint(
        "check that AWS_ENDPOINT_URL is the address of an S3 store, and that no proxy and no login page answers in \
         its place",
    )
}

/// The error for an answer to a listing that lists nothing.
fn no_listing(fault: ListingFault, headers: &HeaderMap, body: &str) -> Error {
    match fault {
        ListingFault::Foreign => foreign("a listing", headers, body),
        ListingFault::Refusal => {
            let said = failure::text(&std::io::Error::other(body.to_string()));
            Error::new(ErrorKind::Unavailable, format!("the store answered a listing with an error: {said}"))
        }
        ListingFault::Cut => {
            let found = found(headers, body);
            Error::new(ErrorKind::Unavailable, format!("the answer to a listing ends too early: {found}"))
        }
        ListingFault::NoToken => Error::new(
            ErrorKind::Unsupported,
            "the answer to a listing says that more keys follow, and has no NextContinuationToken",
        )
        .with_hint("the store must know version 2 of the S3 request that lists objects (ListObjectsV2)"),
    }
}

fn found(headers: &HeaderMap, body: &str) -> String {
    let kind = kind(headers).map_or("no Content-Type".to_string(), |kind| format!("Content-Type {kind}"));
    let shown: String = body.trim_start().chars().take(SHOWN).collect();
    match shown.is_empty() {
        true => format!("found {kind} and no body"),
        false => format!("found {kind} and a body that begins with {shown:?}"),
    }
}
