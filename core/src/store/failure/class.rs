//! What each failed request means: for the object, and for whoever asked.

use super::text::{code, request_id, text};
use super::{Effect, StoreFailure};
use crate::error::causes::chain;
use crate::error::{Error, ErrorKind};
use crate::store::dialect::Dialect;
use crate::store::hint;

/// The condition of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutCondition {
    /// No object has the name.
    FreeName,
    /// The object that has the name is a certain version.
    SameVersion,
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
    pub(crate) fn of(
        error: &object_store::Error,
        status: Option<u16>,
        condition: PutCondition,
        dialect: Dialect,
        sends_once: bool,
    ) -> Self {
        use object_store::Error as E;
        if let Some(failure) = StoreFailure::find(error) {
            return match failure.effect {
                Effect::None => PutFailure::Refused,
                Effect::Unknown => PutFailure::Unknown,
                Effect::SyncFailed { visible } => PutFailure::SyncFailed { visible },
            };
        }
        let said = error.to_string();
        let code = code(&said);
        // object_store words the 404 of a replace as a condition that does not hold.
        let is_404 = matches!(error, E::NotFound { .. }) || status == Some(404);
        let found = match error {
            E::NotFound { .. } | E::Precondition { .. } if is_404 => match code.is_none_or(is_of_an_object) {
                true => PutFailure::Absent,
                false => PutFailure::Refused,
            },
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => {
                of_conflict(status, code, condition, dialect)
            }
            // Decided by the client before anything is sent.
            E::NotSupported { .. } | E::NotImplemented { .. } | E::InvalidPath { .. } => return PutFailure::Refused,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => PutFailure::Refused,
            _ => match status {
                // A server that refuses so has not acted. 408 is a time-out, 409 and 429 are not
                // answered alike by all. 501 says that it can't act.
                Some(501) => PutFailure::Refused,
                Some(status) if (300..500).contains(&status) && !matches!(status, 408 | 409 | 429) => {
                    PutFailure::Refused
                }
                None if never_sent(error) => PutFailure::Refused,
                _ => PutFailure::Unknown,
            },
        };
        // What is said of the last try is not said of the tries before it.
        if found == PutFailure::Refused && !sends_once { PutFailure::Unknown } else { found }
    }
}

/// What a 409 or a 412 says. object_store takes each 409 for an object that exists.
fn of_conflict(status: Option<u16>, code: Option<&str>, condition: PutCondition, dialect: Dialect) -> PutFailure {
    match (dialect, code.map(Conflict::of)) {
        (Dialect::Azure | Dialect::Unknown, Some(Conflict::Container(_))) => PutFailure::Refused,
        // It is there, and can't be replaced.
        (Dialect::Azure, Some(Conflict::Blob)) if condition == PutCondition::SameVersion => PutFailure::Refused,
        (Dialect::Azure, Some(Conflict::Other)) => PutFailure::Unknown,
        // A condition that does not hold is a 412 there. A 409 says nothing of the object.
        (Dialect::Gcs, _) if status == Some(409) => PutFailure::Unknown,
        // S3 answers 409 while two requests for a key meet, and keeps nothing.
        _ => PutFailure::Condition,
    }
}

/// What an Azure error code of a 409 or 412 is about
/// (<https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>,
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>).
enum Conflict {
    /// The container or the account, which can't be used: nothing is said of the object.
    Container(ErrorKind),
    /// A blob that is there: it is leased, immutable or archived, or a copy to it is under way.
    Blob,
    /// The condition of the request, which does not hold.
    Condition,
    /// Something else.
    Other,
}

impl Conflict {
    fn of(code: &str) -> Self {
        match code {
            "ContainerBeingDeleted" => Conflict::Container(ErrorKind::NotFound),
            "ContainerDisabled" | "AccountIsDisabled" => Conflict::Container(ErrorKind::PermissionDenied),
            "AccountBeingCreated" => Conflict::Container(ErrorKind::Unavailable),
            "BlobAlreadyExists" | "ConditionNotMet" | "TargetConditionNotMet" => Conflict::Condition,
            "PendingCopyOperation" | "SnapshotsPresent" | "InvalidBlobType" => Conflict::Blob,
            _ if code.starts_with("Blob") || code.starts_with("Lease") => Conflict::Blob,
            _ => Conflict::Other,
        }
    }
}

/// Whether the code of a 404 says that the object is absent, and not something else such as the bucket or the user.
fn is_of_an_object(code: &str) -> bool {
    matches!(code, "NoSuchKey" | "NoSuchVersion" | "NoSuchObject" | "BlobNotFound" | "NotFound")
}

/// Maps an error of a request for `key`. `status` is the HTTP status, where it is known.
pub(crate) fn map(error: &object_store::Error, key: &str, status: Option<u16>, dialect: Dialect) -> Error {
    if let Some(failure) = StoreFailure::find(error) {
        let ours = failure.error.clone().of_the_store();
        return if ours.key().is_some() || key.is_empty() { ours } else { ours.with_key(key) };
    }
    let said = error.to_string();
    let code = code(&said);
    let mapped = by_kind(error, key, status, code, dialect);
    let (mapped, of_kind) = match is_of_the_caller(error) {
        true => (mapped, None),
        false => {
            let kind = mapped.kind();
            (mapped.of_the_store(), hint::of_kind(kind, dialect))
        }
    };
    let mapped = match hint::of(error, code, status, dialect).or(of_kind) {
        Some(hint) if mapped.hint().is_none() => mapped.with_hint(hint),
        _ => mapped,
    };
    // object_store lets no attempt travel with a DELETE, so the header of its answer is not seen.
    let mapped = match request_id(&said) {
        Some(id) => mapped.with_request_id(id),
        None => mapped,
    };
    if key.is_empty() { mapped } else { mapped.with_key(key) }
}

/// Whether the client refused what it was given, before anything was sent.
fn is_of_the_caller(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(error, E::InvalidPath { .. } | E::UnknownConfigurationKey { .. })
}

fn by_kind(error: &object_store::Error, key: &str, status: Option<u16>, code: Option<&str>, dialect: Dialect) -> Error {
    use object_store::Error as E;
    let text = text(error);
    if matches!(error, E::AlreadyExists { .. } | E::Precondition { .. })
        && let Some(refused) = conflict(code, &text)
    {
        return refused;
    }
    // S3 answers so for an object that is archived.
    if code == Some("InvalidObjectState") {
        return unsupported(&text);
    }
    match error {
        E::NotFound { .. } => absent(code, &text),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => denied(&text),
        // object_store words the 404 of a replace so.
        E::Precondition { .. } if status == Some(404) => absent(code, &text),
        E::Precondition { .. } | E::NotModified { .. } => changed(key),
        E::AlreadyExists { .. } if code.is_none_or(|code| matches!(Conflict::of(code), Conflict::Condition)) => {
            Error::new(ErrorKind::Conflict, "the object exists already")
        }
        E::AlreadyExists { .. } => Error::new(ErrorKind::Unavailable, format!("the store answered a conflict: {text}")),
        E::NotSupported { .. } | E::NotImplemented { .. } => unsupported(&text),
        E::InvalidPath { .. } => Error::new(ErrorKind::InvalidInput, format!("not a usable key: {text}")),
        E::UnknownConfigurationKey { .. } => Error::new(ErrorKind::InvalidInput, text),
        #[cfg(feature = "_http")]
        E::JoinError { .. } => Error::new(ErrorKind::Internal, format!("a task of the store's client failed: {text}")),
        _ => by_transport(error, status, code, &text, dialect),
    }
}

/// Whether the store says that there is no such bucket.
pub(crate) fn is_bucket_missing(error: &object_store::Error) -> bool {
    StoreFailure::find(error).is_none()
        && matches!(code(&error.to_string()), Some("NoSuchBucket" | "ContainerNotFound"))
}

/// The error of a conflict that is no condition's.
fn conflict(code: Option<&str>, text: &str) -> Option<Error> {
    match Conflict::of(code?) {
        Conflict::Container(kind) => Some(Error::new(kind, format!("the bucket can't be used now: {text}"))),
        Conflict::Blob => Some(denied(text)),
        Conflict::Condition | Conflict::Other => None,
    }
}

/// The object is there, and is not the version that was asked for.
pub(crate) fn changed(key: &str) -> Error {
    Error::new(ErrorKind::Conflict, "changed: the object is another version than the one asked for").with_key(key)
}

/// A conflict as the answer to a PUT without a condition. S3 gives it while two requests for a key
/// meet; nobody's object is in the way, so the request is sent again.
pub(crate) fn met(error: &object_store::Error, key: &str) -> Error {
    let text = text(error);
    if let Some(refused) = conflict(code(&error.to_string()), &text) {
        return refused.of_the_store().with_key(key);
    }
    let (message, hint) = match code(&error.to_string()) {
        // https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
        None | Some("OperationAborted" | "ConditionalRequestConflict" | "PreconditionFailed") => {
            (format!("the store answered a conflict to a PUT without a condition: {text}"), hint::CONFLICT)
        }
        Some(_) => (format!("the store can't write the object: {text}"), hint::IN_THE_WAY),
    };
    Error::new(ErrorKind::Unavailable, message).with_hint(hint).with_key(key)
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

fn by_transport(
    error: &object_store::Error,
    status: Option<u16>,
    code: Option<&str>,
    text: &str,
    dialect: Dialect,
) -> Error {
    match (status, code) {
        (Some(status @ (408 | 504)), _) => {
            return Error::new(ErrorKind::TimedOut, format!("the store answered {status}: {text}"));
        }
        // Credentials that ran out are answered with 400 by S3.
        (Some(400), Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
            return Error::new(ErrorKind::PermissionDenied, format!("the store refused the credentials: {text}"));
        }
        // Only a proxy answers so: https://www.rfc-editor.org/rfc/rfc9110#status.407.
        (Some(407), _) => {
            let message =
                format!("a proxy on the way refused the request, and asks for a user and a password (407): {text}");
            return Error::new(ErrorKind::PermissionDenied, message).with_hint(hint::PROXY_CREDENTIALS);
        }
        // Where object_store has no path to say it of, as for listings.
        (Some(401 | 403), _) => return denied(text),
        (Some(404), _) => return absent(code, text),
        (Some(status @ (301 | 302 | 303 | 307 | 308)), _) => {
            let message = format!("the store answered {status}, a redirect, which is not followed: {text}");
            return Error::new(ErrorKind::InvalidInput, message).with_hint(hint::of_redirect(dialect));
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
    // object_store's words for an answer that is good in all else.
    if chain(Some(error)).any(|cause| cause.to_string().contains("ETag Header missing")) {
        return Error::new(ErrorKind::Unsupported, "the store answered without an ETag").with_hint(hint::NO_E_TAG);
    }
    Error::new(ErrorKind::Unavailable, format!("the store failed: {text}"))
}

fn timed_out(error: &object_store::Error) -> bool {
    chain(Some(error)).any(|cause| {
        #[cfg(feature = "_http")]
        if let Some(http) = cause.downcast_ref::<object_store::client::HttpError>() {
            return http.kind() == object_store::client::HttpErrorKind::Timeout;
        }
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    })
}

/// Whether a request certainly never reached the store.
fn never_sent(error: &object_store::Error) -> bool {
    #[cfg(feature = "_http")]
    {
        chain(Some(error)).any(|cause| {
            cause
                .downcast_ref::<object_store::client::HttpError>()
                .is_some_and(|http| http.kind() == object_store::client::HttpErrorKind::Connect)
        })
    }
    #[cfg(not(feature = "_http"))]
    {
        let _ = error;
        false
    }
}
