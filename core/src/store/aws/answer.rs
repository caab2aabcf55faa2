//! Whether an answer is an S3 store's. Another server, a proxy or a login page may answer in its place.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::listing::ListingFault;
use crate::error::{Error, ErrorKind};
use crate::store::failure;

/// How many characters of a foreign answer a message shows.
const SHOWN: usize = 80;

/// Whether an answer that would be believed is a web page. No object of a log is HTML; and an S3 store that holds
/// some puts headers of its own (`x-amz-request-id` and the like) into the answer.
pub(super) fn is_a_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let believed = status.is_success() || status == StatusCode::NOT_FOUND;
    let is_html = kind(headers).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    believed && is_html && !headers.keys().any(|name| name.as_str().starts_with("x-amz-"))
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// The error for an answer that no S3 store gives. `body` is its beginning, without secrets.
pub(super) fn foreign(what: &str, headers: &HeaderMap, body: &str) -> Error {
    let message = format!("the answer to {what} is not that of an S3 store: {}", found(headers, body));
    Error::new(ErrorKind::InvalidInput, message).with_hint(
        "check that AWS_ENDPOINT_URL is the address of an S3 store, and that no proxy and no login page answers in \
         its place",
    )
}

/// The error for an answer to a listing that lists nothing.
pub(super) fn no_listing(fault: ListingFault, headers: &HeaderMap, body: &str) -> Error {
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
