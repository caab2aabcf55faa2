//! Errors of clients, as they come.

use super::text::TEXT_LIMIT;
use super::text::text;
use super::*;
use crate::store::dialect::Dialect;

fn map(error: &object_store::Error, key: &str, status: Option<u16>) -> Error {
    super::map(error, key, status, Dialect::Unknown)
}

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
    let body = "<Code>Odd</Code><Message>&quot;a&#39;b&quot; &lt;&#x2d;&gt; c &amp; d &amp;lt; &nosuch; &</Message>";
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
        (403, "InvalidAccessKeyId", "access key"),
        (403, "SignatureDoesNotMatch", "secret key"),
        (403, "AccessDenied", "policies"),
        (400, "ExpiredToken", "renew"),
        (400, "AuthorizationHeaderMalformed", "AWS_REGION"),
        (301, "PermanentRedirect", "AWS_REGION"),
        (404, "NoSuchBucket", "bucket's name"),
        (400, "InvalidBucketName", "lower-case"),
        (403, "InvalidObjectState", "archived"),
    ] {
        let shown = map(&generic(&format!("<Code>{code}</Code>")), "k", Some(status));
        assert!(shown.hint().is_some_and(|hint| hint.contains(word)), "{code}: {shown:?}");
    }
    for (status, code, word) in [
        (403, "AuthenticationFailed", "AZURE_STORAGE_ACCOUNT"),
        (403, "AuthorizationFailure", "firewall"),
        (403, "AuthorizationPermissionMismatch", "Storage Blob Data Contributor"),
        (404, "ContainerNotFound", "make the container"),
        (404, "ResourceNotFound", "as azurite wants it"),
        (412, "LeaseIdMissing", "lease"),
    ] {
        let shown = super::map(&answered(status, &azure(code, "words")), "k", Some(status), Dialect::Azure);
        assert!(shown.hint().is_some_and(|hint| hint.contains(word)), "{code}: {shown:?}");
        assert!(!format!("{shown:?}").contains("AWS_"), "{shown:?}");
    }
    for (error, status) in [
        ("x".into(), Some(307)),
        ("x".into(), Some(400)),
        ("dns error: no such host".into(), None),
        ("received corrupt message of type InvalidContentType".into(), None),
        ("invalid peer certificate: UnknownIssuer".into(), None),
        (std::io::Error::from_raw_os_error(111).into(), None),
    ]
    .map(|(error, status): (Box<dyn StdError + Send + Sync>, _)| {
        (object_store::Error::Generic { store: "MicrosoftAzure", source: error }, status)
    }) {
        let shown = super::map(&error, "k", status, Dialect::Azure);
        assert!(shown.hint().is_some_and(|hint| hint.contains("AZURE_ENDPOINT")), "{shown:?}");
        assert!(!format!("{shown:?}").contains("AWS_"), "{shown:?}");
    }
    let without = generic("Unable to extract metadata from headers: ETag Header missing from response");
    assert!(map(&without, "k", Some(200)).hint().is_some_and(|hint| hint.contains("ETag")));
    assert!(met(&generic("x"), "k").hint().is_some_and(|hint| hint.contains("conditional")));
    let too_many = std::io::Error::from_raw_os_error(24);
    let error = object_store::Error::Generic { store: "S3", source: Box::new(too_many) };
    assert!(map(&error, "k", None).hint().is_some_and(|hint| hint.contains("ulimit -n")));
}

#[test]
fn what_is_not_about_the_credentials_is_not_permission_denied() {
    let archived = object_store::Error::PermissionDenied {
        path: "k".into(),
        source: "<Code>InvalidObjectState</Code><Message>no</Message>".into(),
    };
    assert_eq!(map(&archived, "k", Some(403)).kind(), ErrorKind::Unsupported);
    let without = generic("Unable to extract metadata from headers: ETag Header missing from response");
    assert_eq!(map(&without, "k", Some(200)).kind(), ErrorKind::Unsupported);
    let proxy = map(&generic("x"), "k", Some(407));
    assert!(
        proxy.message().contains("a proxy on the way") && proxy.hint().unwrap().contains("https_proxy"),
        "{proxy:?}"
    );
    let directory = met(&generic("<Code>ExistingObjectIsDirectory</Code><Message>no</Message>"), "k");
    assert!(directory.message().contains("can't write") && directory.hint().unwrap().contains("in the way"));
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

/// A refusal as object_store hands it on, with the body of the answer in its text.
fn answered(status: u16, body: &str) -> object_store::Error {
    let source = format!("Server returned non-2xx status code: {status} X: {body}").into();
    let path = "k".into();
    match status {
        409 => object_store::Error::AlreadyExists { path, source },
        412 => object_store::Error::Precondition { path, source },
        404 => object_store::Error::NotFound { path, source },
        _ => object_store::Error::Generic { store: "X", source },
    }
}

/// The body of an Azure error, in the form of
/// <https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2>.
fn azure(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Error><Code>{code}</Code><Message>{message}\n\
         RequestId:0da5fe2e-201e-0004-3d42-5ad7e4000000\nTime:2025-11-21T07:00:00.0000000Z</Message></Error>"
    )
}

#[test]
fn a_409_of_azure_says_that_the_object_exists_only_if_its_code_does() {
    use PutCondition::{FreeName, SameVersion};
    // Codes, statuses and messages: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and,
    // for accounts and conditions, https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes.
    for (status, code, message, create, replace, kind) in [
        (
            409,
            "ContainerBeingDeleted",
            "The specified container is being deleted.",
            PutFailure::Refused,
            PutFailure::Refused,
            ErrorKind::NotFound,
        ),
        (
            409,
            "ContainerDisabled",
            "The specified container has been disabled by the administrator.",
            PutFailure::Refused,
            PutFailure::Refused,
            ErrorKind::PermissionDenied,
        ),
        (
            409,
            "AccountBeingCreated",
            "The specified account is in the process of being created.",
            PutFailure::Refused,
            PutFailure::Refused,
            ErrorKind::Unavailable,
        ),
        (
            409,
            "BlobAlreadyExists",
            "The specified blob already exists.",
            PutFailure::Condition,
            PutFailure::Condition,
            ErrorKind::Conflict,
        ),
        (
            412,
            "ConditionNotMet",
            "The condition specified using HTTP conditional header(s) is not met.",
            PutFailure::Condition,
            PutFailure::Condition,
            ErrorKind::Conflict,
        ),
        (
            412,
            "LeaseIdMissing",
            "There is currently a lease on the blob and no lease ID was specified in the request.",
            PutFailure::Condition,
            PutFailure::Refused,
            ErrorKind::PermissionDenied,
        ),
        (
            409,
            "BlobImmutableDueToPolicy",
            "This operation is not permitted as the blob is immutable due to a policy.",
            PutFailure::Condition,
            PutFailure::Refused,
            ErrorKind::PermissionDenied,
        ),
        (
            409,
            "SomethingNew",
            "A code that is not known here.",
            PutFailure::Unknown,
            PutFailure::Unknown,
            ErrorKind::Unavailable,
        ),
    ] {
        let error = answered(status, &azure(code, message));
        let of = |condition, sends_once| PutFailure::of(&error, Some(status), condition, Dialect::Azure, sends_once);
        assert_eq!((of(FreeName, true), of(SameVersion, true)), (create, replace), "{code}");
        assert_eq!(map(&error, "k", Some(status)).kind(), kind, "{code}");
        if create == PutFailure::Refused {
            assert_eq!(of(FreeName, false), PutFailure::Unknown, "{code}: an earlier try may have been applied");
            assert!(map(&error, "k", Some(status)).message().contains(message.trim_end_matches('.')), "{code}");
            let of_a_callers_client = PutFailure::of(&error, None, FreeName, Dialect::Unknown, false);
            assert_eq!(of_a_callers_client, PutFailure::Unknown, "{code}");
            assert_eq!(met(&error, "k").kind(), kind, "{code}");
        }
    }
    assert_eq!(PutFailure::of(&answered(409, ""), Some(409), FreeName, Dialect::Azure, true), PutFailure::Condition);
}

#[test]
fn a_409_of_s3_is_a_failed_condition_and_one_of_gcs_says_nothing() {
    use PutCondition::{FreeName, SameVersion};
    let s3 = answered(409, "<Error><Code>ConditionalRequestConflict</Code><Message>words</Message></Error>");
    for condition in [FreeName, SameVersion] {
        assert_eq!(PutFailure::of(&s3, Some(409), condition, Dialect::S3, true), PutFailure::Condition);
        assert_eq!(PutFailure::of(&s3, None, condition, Dialect::Unknown, false), PutFailure::Condition);
        // https://cloud.google.com/storage/docs/xml-api/reference-status
        let gcs = answered(409, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>OperationAborted</Code></Error>");
        assert_eq!(PutFailure::of(&gcs, Some(409), condition, Dialect::Gcs, true), PutFailure::Unknown);
        let gcs = answered(412, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>PreconditionFailed</Code></Error>");
        assert_eq!(PutFailure::of(&gcs, Some(412), condition, Dialect::Gcs, true), PutFailure::Condition);
    }
}
