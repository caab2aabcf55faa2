//! What every store needs that is reached by HTTP: a client that counts and guards what passes, secrets that no message
//! repeats, the certificates and the proxy that the user names, and small files that settings name.
//!
//! What differs between stores is a [`Protocol`]. Credentials stay with each store.

mod answers;
mod certificates;
mod client;
#[cfg(any(feature = "aws", feature = "azure"))]
mod credentials_url;
mod from_settings;
mod guard;
mod last_resort;
mod listing;
mod options;
mod proxy;
mod retry_after;
#[cfg(test)]
pub(super) mod scripted;
mod secrets;
mod supplied;

use std::fmt;
use std::io::Read;
use std::path::Path;
#[cfg(any(feature = "azure", feature = "gcp"))]
use std::time::Duration;

use object_store::RetryConfig;
use object_store::client::HttpRequest;
use reqwest::Method;

pub(super) use self::client::Connector;
#[cfg(any(feature = "aws", feature = "azure"))]
pub(super) use self::credentials_url::credentials_url;
pub(super) use self::from_settings::FromSettings;
#[cfg(any(feature = "aws", feature = "azure"))]
pub(super) use self::guard::short;
pub(super) use self::last_resort::LastResort;
pub(super) use self::listing::PageShape;
pub(super) use self::options::{check_endpoint, client_options, unusable};
pub(super) use self::secrets::Secrets;
pub(super) use self::supplied::{AcceptedCredentials, Supplied};
use super::config::{Row, Settings, shown};
use crate::error::{Error, ErrorKind, Result};

/// What one kind of store says in its requests and answers.
pub(super) trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// The store's name, for messages.
    fn store(&self) -> &'static str;

    /// The store with its article, for messages.
    fn a_store(&self) -> &'static str;

    /// The setting for the server's address, for messages.
    fn endpoint_setting(&self) -> &'static str;

    /// The header in which an answer says what the store calls the request: `x-amz-request-id` on S3, `x-ms-request-id` on
    /// Azure, `x-guploader-uploadid` on GCS.
    fn request_id_header(&self) -> &'static str;

    /// The header in which a request may still be given an id of ours when it is signed already: `x-request-id` on S3 and
    /// GCS, `x-ms-client-request-id` on Azure. `None` where the signature covers such a header.
    fn client_request_id_header(&self, request: &HttpRequest) -> Option<&'static str>;

    /// What a request tells a server that no message may repeat.
    fn secrets_of(&self, request: &HttpRequest) -> Vec<String>;

    /// Whether a request asks for a page of a listing.
    fn is_listing(&self, request: &HttpRequest) -> bool;

    /// Whether a request of this kind is answered without a body by such a store once it was done.
    fn has_no_body(&self, method: &Method) -> bool;

    /// How the names of the headers begin that only such a store puts into its answers.
    fn header_prefix(&self) -> &'static str;

    /// How such a store writes a page of a listing.
    fn page_shape(&self) -> &'static PageShape;
}

/// As good as no time-out. object_store's own, 30 s, covers the whole body: too short for a large
/// segment. The log sets one for each PUT, by its size.
pub(super) const NEVER: &str = "365days";

/// How object_store tries a request for credentials again.
#[cfg(any(feature = "azure", feature = "gcp"))]
pub(super) fn retries_for_credentials() -> RetryConfig {
    RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(2), ..RetryConfig::default() }
}

/// object_store tries no request to the store again. It does not heed `Retry-After`, and a conditional PUT that is tried
/// again finds its own object. The log asks again by itself, and so do the calls of [`Store`](super::Store).
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// Reads a regular file of at most `limit` bytes. A device may never end, and a pipe may never begin.
pub(super) fn read_file(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Error;
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::other(format!("it is too large: at most {limit} bytes are read")));
    }
    Ok(bytes)
}

/// Words for credentials of the caller's source.
pub(super) const OF_CALLER: &str = "the source of credentials that the program gave to this bucket";

/// Words for those of the last resort.
pub(super) const OF_MACHINE: &str = "this machine's metadata";

/// Words for none.
pub(super) fn unsigned(settings: &Settings, by: &Row) -> String {
    format!("nowhere: {} says that no request is signed", settings.name_and_origin(by))
}

/// The largest file of a token or of a cloud's credentials, in bytes.
pub(super) const CREDENTIALS_FILE_LIMIT: u64 = 64 * 1024;

/// Refuses a file of credentials that object_store opens itself, which would read a device or wait for a pipe without end.
/// A message names the file `as_named`, by its setting for one.
pub(super) fn check_credentials_file(as_named: &str, file: &str) -> Result<()> {
    let unread = |error| {
        let message = format!("{as_named}{} can't be read: {error}", shown::path(file));
        Error::new(ErrorKind::InvalidInput, message)
    };
    read_file(file.as_ref(), CREDENTIALS_FILE_LIMIT).map(drop).map_err(unread)
}

/// Why a value can't stand in a header.
#[derive(Clone, Copy, Debug)]
pub(super) enum BadCharacter {
    Control,
    NotAscii,
}

impl std::fmt::Display for BadCharacter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadCharacter::Control => "holds a control character",
            BadCharacter::NotAscii => "holds a character that is not ASCII",
        })
    }
}

/// Why this value can't stand in a header, if it can't.
pub(super) fn bad_character(value: &str) -> Option<BadCharacter> {
    match value {
        _ if value.contains(char::is_control) => Some(BadCharacter::Control),
        _ if !value.is_ascii() => Some(BadCharacter::NotAscii),
        _ => None,
    }
}
