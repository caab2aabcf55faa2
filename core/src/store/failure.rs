//! From object_store's errors to ours, without what must not be shown.

use std::error::Error as StdError;

use super::hint;
use super::secrets::strip_by_pattern;
use crate::error::causes::{self, chain};
use crate::error::{Error, ErrorKind};

/// How much of a store's own text a message holds, in characters.
const TEXT_LIMIT: usize = 400;

/// A failure of our own that travels through `object_store::Error::Generic`.
#[derive(Debug, Clone)]
pub(crate) struct StoreFailure {
    pub(crate) error: Error,
    pub(crate) effect: Effect,
}

/// The cause of errors after which nothing may be acked any more: an fsync failed, and a later one that
/// succeeds proves nothing, for the kernel reports a lost write once; or the bucket's path leads elsewhere than to
/// where was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncFailure {
    /// Whether the object had its name, or lost it, by then.
    pub visible: bool,
    /// Whether the bucket's path leads elsewhere.
    pub misplaced: bool,
}

impl SyncFailure {
    /// The failed fsync among an error's causes.
    pub fn of(error: &Error) -> Option<&SyncFailure> {
        chain(Some(error)).find_map(|cause| cause.downcast_ref::<SyncFailure>())
    }
}

impl std::fmt::Display for SyncFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.misplaced {
            true => "what was written since the bucket's directory was moved or covered is not where others look",
            false => "a failed fsync: what was written since the last good one may be lost",
        })
    }
}

impl StdError for SyncFailure {}

/// What a failed request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, for certain.
    None,
    /// Perhaps something.
    Unknown,
    /// It was written, and an fsync failed.
    SyncFailed {
        /// Whether the object had its name by then.
        visible: bool,
    },
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for StoreFailure {}

impl StoreFailure {
    pub(crate) fn new(effect: Effect, error: Error) -> Self {
        let error = match effect {
            Effect::SyncFailed { visible } => error.with_source(SyncFailure { visible, misplaced: false }),
            Effect::None | Effect::Unknown => error,
        };
        StoreFailure { error, effect }
    }

    /// The object was written, and its bucket's path leads elsewhere by now.
    pub(crate) fn misplaced(error: Error) -> Self {
        let error = error.with_source(SyncFailure { visible: true, misplaced: true });
        StoreFailure { error, effect: Effect::SyncFailed { visible: true } }
    }

    /// As an error of object_store's, so that it passes through `dyn ObjectStore`.
    pub(crate) fn into_object_store(self, path: &str) -> object_store::Error {
        let path = path.to_string();
        match self.error.kind() {
            ErrorKind::NotFound => object_store::Error::NotFound { path, source: Box::new(self) },
            ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: Box::new(self) },
            ErrorKind::Unsupported => object_store::Error::NotSupported { source: Box::new(self) },
            _ => object_store::Error::Generic { store: "kfs directory", source: Box::new(self) },
        }
    }

    /// The failure of ours in an error's chain of causes.
    pub(crate) fn find(error: &object_store::Error) -> Option<&StoreFailure> {
        chain(Some(error)).find_map(|cause| cause.downcast_ref::<StoreFailure>())
    }
}

/// What a failed PUT with a condition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFailure {
    /// Nothing: the condition does not hold, or another request was in the way.
    Condition,
    /// Nothing: there is no such object.
    Absent,
    /// Nothing, for certain.
    Refused,
    /// Perhaps something.
    Unknown,
    /// It was written, and an fsync failed.
    SyncFailed {
        /// Whether the object had its name by then.
        visible: bool,
    },
}

impl PutFailure {
    /// `sends_once` tells whether the client sends each PUT once: else an earlier try may have been applied.
    pub(crate) fn of(error: &object_store::Error, status: Option<u16>, sends_once: bool) -> Self {
        use object_store::Error as E;
        if let Some(failure) = StoreFailure::find(error) {
            return match failure.effect {
                Effect::None => PutFailure::Refused,
                Effect::Unknown => PutFailure::Unknown,
                Effect::SyncFailed { visible } => PutFailure::SyncFailed { visible },
            };
        }
        // object_store words the 404 of a replace as a condition that does not hold.
        let is_404 = matches!(error, E::NotFound { .. }) || status == Some(404);
        match error {
            E::NotFound { .. } | E::Precondition { .. } if is_404 => {
                match code(&error.to_string()).is_none_or(is_of_an_object) {
                    true => PutFailure::Absent,
                    false => PutFailure::Refused,
                }
            }
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => PutFailure::Condition,
            // Decided by the client before anything is sent.
            E::NotSupported { .. } | E::NotImplemented { .. } | E::InvalidPath { .. } => PutFailure::Refused,
            _ if !sends_once => PutFailure::Unknown,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => PutFailure::Refused,
            _ => match status {
                // A server that refuses so has not acted. 408 is a time-out, 409 and 429 are not
                // answered alike by all. 501 says that it can't act.
                Some(status)
                    if status == 501 || ((300..500).contains(&status) && !matches!(status, 408 | 409 | 429)) =>
                {
                    PutFailure::Refused
                }
                None if never_sent(error) => PutFailure::Refused,
                _ => PutFailure::Unknown,
            },
        }
    }
}

/// Whether the code of a 404 says that the object is absent, and not something else such as the bucket or the user.
fn is_of_an_object(code: &str) -> bool {
    matches!(code, "NoSuchKey" | "NoSuchVersion" | "NoSuchObject" | "BlobNotFound" | "NotFound")
}

/// Maps an error of a request for `key`. `status` is the HTTP status, where it is known.
pub(crate) fn map(error: &object_store::Error, key: &str, status: Option<u16>) -> Error {
    if let Some(failure) = StoreFailure::find(error) {
        let ours = failure.error.clone().of_the_store();
        return if ours.key().is_some() || key.is_empty() { ours } else { ours.with_key(key) };
    }
    let said = error.to_string();
    let code = code(&said);
    let mapped = by_kind(error, key, status, code);
    let (mapped, of_kind) = match is_of_the_caller(error) {
        true => (mapped, None),
        false => {
            let kind = mapped.kind();
            (mapped.of_the_store(), hint::of_kind(kind))
        }
    };
    let mapped = match hint::of(error, code, status).or(of_kind) {
        Some(hint) if mapped.hint().is_none() => mapped.with_hint(hint),
        _ => mapped,
    };
    if key.is_empty() { mapped } else { mapped.with_key(key) }
}

/// Whether the client refused what it was given, before anything was sent.
fn is_of_the_caller(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(error, E::InvalidPath { .. } | E::UnknownConfigurationKey { .. })
}

fn by_kind(error: &object_store::Error, key: &str, status: Option<u16>, code: Option<&str>) -> Error {
    use object_store::Error as E;
    let text = text(error);
    match error {
        E::NotFound { .. } => absent(code, &text),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => denied(&text),
        // object_store words the 404 of a replace so.
        E::Precondition { .. } if status == Some(404) => absent(code, &text),
        E::Precondition { .. } | E::NotModified { .. } => changed(key),
        E::AlreadyExists { .. } => Error::new(ErrorKind::Conflict, "the object exists already"),
        E::NotSupported { .. } | E::NotImplemented { .. } => unsupported(&text),
        E::InvalidPath { .. } => Error::new(ErrorKind::InvalidInput, format!("not a usable key: {text}")),
        E::UnknownConfigurationKey { .. } => Error::new(ErrorKind::InvalidInput, text),
        #[cfg(feature = "aws")]
        E::JoinError { .. } => Error::new(ErrorKind::Internal, format!("a task of the store's client failed: {text}")),
        _ => by_transport(error, status, code, &text),
    }
}

/// Whether the store says that there is no such bucket.
pub(crate) fn is_bucket_missing(error: &object_store::Error) -> bool {
    StoreFailure::find(error).is_none()
        && matches!(code(&error.to_string()), Some("NoSuchBucket" | "ContainerNotFound"))
}

/// The object is there, and is not the version that was asked for.
pub(crate) fn changed(key: &str) -> Error {
    Error::new(ErrorKind::Conflict, "changed: the object is another version than the one asked for").with_key(key)
}

/// A conflict as the answer to a PUT without a condition. S3 gives it while two requests for a key
/// meet; nobody's object is in the way, so the request is sent again.
pub(crate) fn met(error: &object_store::Error, key: &str) -> Error {
    let text = text(error);
    Error::new(ErrorKind::Unavailable, format!("the store answered a conflict to a PUT without a condition: {text}"))
        .with_hint(hint::CONFLICT)
        .with_key(key)
}

/// The meaning of a 404. One whose code is of something else, such as the user, says nothing of the object: it may
/// be there.
fn absent(code: Option<&str>, text: &str) -> Error {
    match code {
        Some("NoSuchBucket" | "ContainerNotFound") => Error::new(ErrorKind::NotFound, "the bucket does not exist"),
        Some(code) if !is_of_an_object(code) => refused(404, text),
        _ => Error::new(ErrorKind::NotFound, "no such object"),
    }
}

/// The store does not take the request.
fn refused(status: u16, text: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the store answered {status}: {text}"))
}

fn denied(text: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("the store refused the request: {text}"))
}

fn unsupported(text: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the store can't do this: {text}"))
}

fn by_transport(error: &object_store::Error, status: Option<u16>, code: Option<&str>, text: &str) -> Error {
    match (status, code) {
        (Some(status @ (408 | 504)), _) => {
            return Error::new(ErrorKind::TimedOut, format!("the store answered {status}: {text}"));
        }
        // Credentials that ran out are answered with 400 by S3.
        (Some(400), Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
            return Error::new(ErrorKind::PermissionDenied, format!("the store refused the credentials: {text}"));
        }
        // Where object_store has no path to say it of, as for listings.
        (Some(401 | 403), _) => return denied(text),
        (Some(404), _) => return absent(code, text),
        (Some(status @ (301 | 302 | 303 | 307 | 308)), _) => {
            let message = format!("the store answered {status}, a redirect, which is not followed: {text}");
            return Error::new(ErrorKind::InvalidInput, message).with_hint(
                "name the bucket's own region (AWS_REGION) and the server's own address (AWS_ENDPOINT_URL): \
                 credentials are sent to no other",
            );
        }
        (Some(501), _) | (Some(400), Some("NotImplemented")) => return unsupported(text),
        (Some(status), _) if (400..500).contains(&status) && status != 429 => {
            return refused(status, text);
        }
        _ => {}
    }
    if timed_out(error) {
        return Error::new(ErrorKind::TimedOut, format!("the store did not answer in time: {text}"));
    }
    Error::new(ErrorKind::Unavailable, format!("the store failed: {text}"))
}

fn timed_out(error: &object_store::Error) -> bool {
    chain(Some(error)).any(|cause| {
        #[cfg(feature = "aws")]
        if let Some(http) = cause.downcast_ref::<object_store::client::HttpError>() {
            return http.kind() == object_store::client::HttpErrorKind::Timeout;
        }
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    })
}

/// Whether a request certainly never reached the store.
pub(crate) fn never_sent(error: &object_store::Error) -> bool {
    #[cfg(feature = "aws")]
    {
        chain(Some(error)).any(|cause| {
            cause
                .downcast_ref::<object_store::client::HttpError>()
                .is_some_and(|http| http.kind() == object_store::client::HttpErrorKind::Connect)
        })
    }
    #[cfg(not(feature = "aws"))]
    {
        let _ = error;
        false
    }
}

/// The `<Code>` of an answer in S3's or Azure's XML.
fn code(text: &str) -> Option<&str> {
    between(text, "<Code>", "</Code>")
}

pub(super) fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

/// The store's own words, fit for a message. An XML answer is cut to its code and message, for S3
/// repeats the string to sign and the signature in it; a URL loses user and query, where signed
/// URLs carry theirs.
pub(crate) fn text(error: &(dyn StdError + 'static)) -> String {
    let whole = error.to_string();
    let short = match code(&whole) {
        Some(code) => match between(&whole, "<Message>", "</Message>") {
            Some(message) => format!("{code}: {}", without_entities(message)),
            None => code.to_string(),
        },
        // The outermost words are object_store's own, and say less than the kind of our error.
        None => without_effort(&causes::line(error.source().unwrap_or(error))),
    };
    let mut words = String::new();
    for word in short.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&without_secrets(word));
    }
    causes::bounded(strip_by_pattern(&words), TEXT_LIMIT)
}

/// Without what object_store says of its own tries: `Error performing GET URL in 3ms, after 2
/// retries, ...  - REASON`. It differs from try to try, and the reason does not. For some requests, such as
/// listings, another `Error performing ...: ` comes first and says less.
fn without_effort(text: &str) -> String {
    let parted = text.split_once(" - ").and_then(|(effort, reason)| {
        let (_, effort) = effort.rsplit_once("Error performing ")?;
        let request = effort.split_once(" in ").map_or(effort, |(request, _)| request);
        Some(format!("{request}: {reason}"))
    });
    parted.unwrap_or_else(|| text.to_string())
}

/// Writes XML's named and numbered characters out.
fn without_entities(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail))) {
            Some((character, tail)) => {
                plain.push(character);
                rest = tail;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

pub(super) fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

fn without_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_string() };
    let (rest, query) = match rest.find('?') {
        // The colon after a request's URL is ours.
        Some(at) if rest.ends_with(':') => (rest.get(..at).unwrap_or_default(), "?...:"),
        Some(at) => (rest.get(..at).unwrap_or_default(), "?..."),
        None => (rest, ""),
    };
    let host = rest.find('/').unwrap_or(rest.len());
    let rest = match rest.get(..host).and_then(|authority| authority.rfind('@')) {
        Some(at) => rest.get(at..).map(|tail| format!("...{tail}")).unwrap_or_default(),
        None => rest.to_string(),
    };
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_string().into() }
    }

    #[test]
    fn a_message_holds_no_signed_url() {
        let error = generic("Error performing GET https://me:pw@host/b/k?X-Amz-Signature=abcdef&x=1 in 3ms");
        let shown = map(&error, "k", None);
        let text = format!("{shown} {shown:?}");
        assert!(!text.contains("abcdef") && !text.contains("pw@"), "{text}");
        assert!(text.contains("host/b/k"), "{text}");
    }

    #[test]
    fn an_xml_answer_is_cut_to_code_and_message() {
        let body = "status 403: <Error><Code>SignatureDoesNotMatch</Code><Message>no match</Message>\
                    <SignatureProvided>0badc0de</SignatureProvided></Error>";
        let error = object_store::Error::PermissionDenied { path: "k".into(), source: body.into() };
        let shown = map(&error, "k", Some(403));
        assert_eq!(shown.kind(), ErrorKind::PermissionDenied);
        assert_eq!(shown.message(), "the store refused the request: SignatureDoesNotMatch: no match");
    }

    #[test]
    fn entities_of_a_server_s_message_are_decoded() {
        let body =
            "<Code>Odd</Code><Message>&quot;a&#39;b&quot; &lt;&#x2d;&gt; c &amp; d &amp;lt; &nosuch; &</Message>";
        assert_eq!(text(&generic(body)), "Odd: \"a'b\" <-> c & d &lt; &nosuch; &");
    }

    #[test]
    fn a_text_names_the_request_and_the_innermost_cause() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Error performing GET http://h/b/k in 1.2ms, after 2 retries, max_retries: 2  - HTTP error")
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(Outer(refused)) };
        assert_eq!(text(&error), "GET http://h/b/k: HTTP error: connection refused");
    }

    #[test]
    fn a_listing_s_text_names_the_request_without_query_and_tries() {
        for effort in ["in 1.2ms", "in 1.2ms, after 2 retries, max_retries: 2, retry_timeout: 3s "] {
            let error = generic(&format!(
                "Error performing list request: Error performing GET http://h/b?list-type=2&prefix=t%2F0 {effort} - \
                 Server returned error response: 500: on a - b"
            ));
            assert_eq!(text(&error), "GET http://h/b?...: Server returned error response: 500: on a - b");
        }
    }

    #[test]
    fn hints_fit_their_error() {
        for (status, code, word) in [
            (403, "RequestTimeTooSkewed", "clock"),
            (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "policies"),
            (400, "ExpiredToken", "renew"),
            (400, "AuthorizationHeaderMalformed", "AWS_REGION"),
            (301, "PermanentRedirect", "AWS_REGION"),
            (404, "NoSuchBucket", "bucket's name"),
            (400, "InvalidBucketName", "lower-case"),
        ] {
            let shown = map(&generic(&format!("<Code>{code}</Code>")), "k", Some(status));
            assert!(shown.hint().is_some_and(|hint| hint.contains(word)), "{code}: {shown:?}");
        }
        let without = generic("Unable to extract metadata from headers: ETag Header missing from response");
        assert!(map(&without, "k", Some(200)).hint().is_some_and(|hint| hint.contains("ETag")));
        assert!(met(&generic("x"), "k").hint().is_some_and(|hint| hint.contains("conditional")));
        let too_many = std::io::Error::from_raw_os_error(24);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(too_many) };
        assert!(map(&error, "k", None).hint().is_some_and(|hint| hint.contains("ulimit -n")));
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = map(&generic(&"ü".repeat(5000)), "k", None);
        assert!(shown.message().chars().count() < TEXT_LIMIT + 50);
    }

    #[test]
    fn statuses_have_their_kinds() {
        for (status, kind) in [
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (429, ErrorKind::Unavailable),
            (408, ErrorKind::TimedOut),
            (504, ErrorKind::TimedOut),
            (400, ErrorKind::InvalidInput),
            (501, ErrorKind::Unsupported),
        ] {
            assert_eq!(map(&generic("x"), "k", Some(status)).kind(), kind, "{status}");
        }
        let expired = generic("<Code>ExpiredToken</Code>");
        assert_eq!(map(&expired, "k", Some(400)).kind(), ErrorKind::PermissionDenied);
    }
}
