//! What a conditional replace sends, and what it takes from each answer.

use super::*;
use crate::store::Replaced;

async fn replace(script: impl FnMut(&Request) -> Reply) -> (Replaced, Vec<Request>) {
    with(script, async |store| {
        let identity = Identity::none().with_merged(Some("m7"));
        let version = Version::new(Some("old"), 5, None).with_generation(Some("v1"));
        store.replace_if("t/0/a", PutPayload::from_static(b"hello"), &identity, &version).await
    })
    .await
}

fn xml(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>words</Message><StringToSign>0badc0de</StringToSign></Error>")
}

#[tokio::test]
async fn a_replace_is_one_conditional_put_with_its_identity() {
    let versioned = |_: &Request| {
        object("").map(|(status, mut headers, body)| {
            headers.push(("x-amz-version-id", "v2".into()));
            (status, headers, body)
        })
    };
    let (replaced, requests) = replace(versioned).await;
    let Replaced::Yes(version) = replaced else { panic!("{replaced:?}") };
    assert_eq!((version.e_tag(), version.size(), version.generation()), (Some("abc"), 5, Some("v2")));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.line.starts_with("PUT /logs/some/prefix/t/0/a "), "{}", request.line);
    assert_eq!((&request.headers["if-match"][..], &request.headers["x-amz-meta-kfsmerged"][..]), ("\"old\"", "m7"));
    assert!(!request.headers.contains_key("if-none-match"));
    assert_eq!(request.body, b"hello");
}

#[tokio::test]
async fn a_failed_condition_is_told_apart_from_an_object_that_is_gone() {
    for (status, code) in [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")] {
        for there in [true, false] {
            let script = |request: &Request| match request.line.starts_with("HEAD") {
                true if there => object("hello"),
                true => reply(404, ""),
                false => reply(status, &xml(code)),
            };
            let (replaced, requests) = replace(script).await;
            let right =
                if there { matches!(replaced, Replaced::Changed) } else { matches!(replaced, Replaced::NotFound) };
            assert!(right, "{status} {there} {replaced:?}");
            assert_eq!(requests.len(), 2);
        }
        // Nothing was replaced, whatever becomes of the HEAD.
        let script = |request: &Request| match request.line.starts_with("HEAD") {
            true => reply(403, ""),
            false => reply(status, &xml(code)),
        };
        assert!(matches!(replace(script).await.0, Replaced::Changed));
    }
    let (replaced, requests) = replace(|_| reply(404, &xml("NoSuchKey"))).await;
    assert!(matches!(replaced, Replaced::NotFound), "{replaced:?}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_replaces_outcome_says_what_is_known_and_nothing_is_sent_twice() {
    for (status, code, kind) in [
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (404, "NoSuchBucket", ErrorKind::NotFound),
        (404, "NoSuchUser", ErrorKind::InvalidInput),
        (400, "InvalidArgument", ErrorKind::InvalidInput),
        (501, "NotImplemented", ErrorKind::Unsupported),
    ] {
        let (replaced, requests) = replace(|_| reply(status, &xml(code))).await;
        let Replaced::Refused(error) = replaced else { panic!("{status} {code} {replaced:?}") };
        assert_eq!(error.kind(), kind, "{status} {code} {error}");
        no_secret(&error);
        assert_eq!(requests.len(), 1, "{status} {code}");
    }
    for (status, code, kind) in [
        (500, "InternalError", ErrorKind::Unavailable),
        (503, "SlowDown", ErrorKind::Unavailable),
        (429, "TooManyRequests", ErrorKind::Unavailable),
        (408, "RequestTimeout", ErrorKind::TimedOut),
    ] {
        let (replaced, requests) = replace(|_| reply(status, &xml(code))).await;
        let Replaced::Unknown(error) = replaced else { panic!("{status} {code} {replaced:?}") };
        assert_eq!(error.kind(), kind, "{status} {code} {error}");
        assert_eq!(requests.len(), 1, "{status} {code}");
    }
    let (replaced, requests) = replace(|_| None).await;
    assert!(matches!(replaced, Replaced::Unknown(_)), "{replaced:?}");
    assert_eq!(requests.len(), 1);
}
