//! Whether an answer is one of the store's own. Another server, a proxy or a login page may answer in its place.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::Protocol;
use super::listing::{self, ListingFault};
use crate::error::{Error, ErrorKind, Result};
use crate::store::failure;

/// How many characters of a foreign answer a message shows.
const SHOWN: usize = 80;

/// The page of a listing without keys that no log can use. `said` gives the page's beginning without secrets.
///
/// # Errors
/// What the answer is instead of a listing.
pub(super) fn sift(
    protocol: &dyn Protocol,
    page: &[u8],
    headers: &HeaderMap,
    said: impl FnOnce() -> String,
) -> Result<Vec<u8>> {
    listing::sift(page, protocol.page_shape()).map_err(|fault| no_listing(protocol, fault, headers, &said()))
}

/// Whether an answer that would be believed is a web page. No object of a log is HTML; and a store that holds
/// some puts headers of its own (`x-amz-request-id` and the like) into the answer.
pub(super) fn is_a_page(protocol: &dyn Protocol, status: StatusCode, headers: &HeaderMap) -> bool {
    let believed = status.is_success() || status == StatusCode::NOT_FOUND;
    let is_html = kind(headers).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    believed && is_html && !headers.keys().any(|name| name.as_str().starts_with(protocol.header_prefix()))
}

/// Whether the body of an answer is the XML by which S3 and Google say that a request failed. A server that takes long may
/// have sent its status before that, and white space while it went on.
pub(super) fn is_an_error(body: &str) -> bool {
    let body = body.trim_start();
    let root = match body.strip_prefix("<?xml") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, root)| root.trim_start()),
        None => body,
    };
    root.strip_prefix("<Error").is_some_and(|rest| rest.starts_with(['>', ' ', '/']))
}

/// Whether Azure accepted a copy and has not finished it. object_store does not look
/// (<https://learn.microsoft.com/rest/api/storageservices/copy-blob#response>).
pub(super) fn is_unfinished_copy(headers: &HeaderMap) -> bool {
    headers.get("x-ms-copy-status").is_some_and(|status| status == "pending")
}

/// The error of such a copy. Nobody may take it for done.
pub(super) fn unfinished_copy() -> Error {
    let error = Error::new(ErrorKind::Unavailable, "the store has not finished the copy yet, and goes on with it");
    error.with_hint("look at the new object later, or copy again")
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// The error for an answer that no such store gives to `what`. `body` is its beginning, without secrets.
pub(super) fn foreign(protocol: &dyn Protocol, what: &str, headers: &HeaderMap, body: &str) -> Error {
    let (a_store, setting) = (protocol.a_store(), protocol.endpoint_setting());
    let message = format!("the answer to {what} is not that of {a_store}: {}", found(headers, body));
    Error::new(ErrorKind::InvalidInput, message).with_hint(format!(
        "check that {setting} is the address of {a_store}, and that no proxy and no login page answers in its place"
    ))
}

/// The error for an answer to a listing that lists nothing.
fn no_listing(protocol: &dyn Protocol, fault: ListingFault, headers: &HeaderMap, body: &str) -> Error {
    match fault {
        ListingFault::Foreign => foreign(protocol, "a listing", headers, body),
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
