//! What to do about an answer of a store, by its error code or by what the system said.

use std::error::Error as StdError;

use rustix::io::Errno;

use crate::error::{ErrorKind, causes};

const CREDENTIALS: &str = "check the credentials, and what they are allowed to do in this bucket";
const REGION: &str = "the bucket is in another region, or not on this server: set AWS_REGION to the bucket's region";
const NOT_TAKEN: &str = "the server does not take what libkfs sends it: is AWS_ENDPOINT_URL the address of an S3 server, \
                         and do its log or its manual say more?";
const LACKING: &str = "a log needs a store that creates an object only if its name is free (If-None-Match: * on S3): \
                       use another store, or a newer version of this one";
const NO_E_TAG: &str = "a log needs a store that answers a PUT with an ETag: use another store, or check whether a proxy \
                        removes that header";
pub(super) const CONFLICT: &str = "if no other writer is at work, the store answers conditional PUTs wrongly: use another store, or a \
                        newer version of this one";
const PLAIN_HTTP: &str = "the server speaks plain HTTP: set AWS_ENDPOINT_URL to its http: address, and AWS_ALLOW_HTTP=true \
                          if others may read what is sent";
const PROXY: &str = "is the proxy running, and is its address right? no_proxy names the hosts to reach without it";
const OPEN_FILES: &str = "this process has too many open files: raise the limit (ulimit -n)";

/// By the `<Code>` of an answer in XML.
fn by_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "RequestTimeTooSkewed" => "the clock of this machine differs too much from the store's: set it, by NTP for one",
        "InvalidAccessKeyId" | "XAdminUserNotFound" => {
            "the store does not know this access key: check AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"
        }
        "SignatureDoesNotMatch" => "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "renew the credentials",
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => REGION,
        "AccessDenied" => "the credentials are not allowed to do this: check the policies of user and bucket",
        "InvalidBucketName" => {
            "the bucket's name is not allowed: on S3 a name has 3 to 63 lower-case letters, digits, dots and hyphens"
        }
        "NoSuchBucket" => "check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION",
        _ => return None,
    })
}

/// What to do about an error of an HTTP request.
pub(super) fn of(error: &object_store::Error, code: Option<&str>, status: Option<u16>) -> Option<&'static str> {
    if let Some(hint) = code.and_then(by_code) {
        return Some(hint);
    }
    // object_store's words for an answer that is good in all else.
    if causes::chain(Some(error)).any(|cause| cause.to_string().contains("ETag Header missing")) {
        return Some(NO_E_TAG);
    }
    match status {
        Some(401 | 403) => return Some(CREDENTIALS),
        Some(_) => return None,
        None => {}
    }
    if matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) {
        return Some(CREDENTIALS);
    }
    causes::chain(Some(error)).find_map(by_system)
}

/// What to do about a store that refused a request with this kind of error.
pub(super) fn of_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::InvalidInput => Some(NOT_TAKEN),
        ErrorKind::Unsupported => Some(LACKING),
        _ => None,
    }
}

/// By what the system says of a connection that could not be made.
fn by_system(cause: &(dyn StdError + 'static)) -> Option<&'static str> {
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        match Errno::from_io_error(io) {
            Some(Errno::MFILE | Errno::NFILE) => return Some(OPEN_FILES),
            Some(Errno::CONNREFUSED) => {
                return Some("nothing listens there: is the server running, and is AWS_ENDPOINT_URL right?");
            }
            _ => {}
        }
    }
    let text = cause.to_string();
    if text.starts_with("the proxy that ") {
        return Some(PROXY);
    }
    if text.contains("InvalidContentType") {
        return Some(PLAIN_HTTP);
    }
    if text.starts_with("dns error") {
        return Some("the host's name is not known: check AWS_ENDPOINT_URL, AWS_REGION and the name service");
    }
    if text.contains("certificate") {
        return Some("the server's certificate is not trusted: check AWS_ENDPOINT_URL and this machine's clock");
    }
    // object_store reports a redirect without an address as a cause of its own.
    text.contains("Received redirect without LOCATION").then_some(REGION)
}
