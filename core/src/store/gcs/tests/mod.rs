//! Against a server that answers by a script. The answers are those of <https://cloud.google.com/storage/docs/xml-api>.

use object_store::PutPayload;

use crate::store::http::scripted::{Reply, Request, impatient, reply, served};
use crate::store::{
    Created, CredentialSource, Credentials, Identity, ReadRange, Replaced, Store, StoreOptions, Version,
};
use crate::{Error, ErrorKind};

const TOKEN: &str = "ya29.hunter2hunter2";

fn options(endpoint: &str) -> StoreOptions {
    StoreOptions::default()
        .environment(false)
        .config("GOOGLE_BASE_URL", endpoint)
        .config("GOOGLE_ALLOW_HTTP", "true")
        .config("GOOGLE_BEARER_TOKEN", TOKEN)
}

/// Runs `work` with a store on a server that answers `script`, and gives what it was asked.
async fn with<T>(script: impl FnMut(&Request) -> Reply, work: impl AsyncFnOnce(Store) -> T) -> (T, Vec<Request>) {
    let work =
        async |endpoint: &str| work(impatient(Store::open("gs://logs/some/prefix", &options(endpoint)).unwrap())).await;
    served(script, work).await
}

fn no_secret(error: &Error) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn object(status: u16, body: &str) -> Reply {
    let headers = vec![
        ("ETag", "\"abc\"".to_string()),
        ("x-goog-generation", "17".to_string()),
        ("Last-Modified", "Fri, 21 Nov 2025 07:00:00 GMT".to_string()),
        ("x-goog-meta-kfsid", "00ff.7".to_string()),
        ("x-guploader-uploadid", "up-1".to_string()),
    ];
    Some((status, headers, body.to_string()))
}

fn refusal(status: u16, code: &str) -> Reply {
    let body =
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>words</Message></Error>");
    Some((status, vec![("x-guploader-uploadid", "up-1".to_string())], body))
}

#[tokio::test]
async fn a_create_names_generation_0_and_its_outcome_is_told_by_the_status() {
    let create = async |reply: Reply| {
        let create = async |store: Store| {
            store.create("t/0/a", PutPayload::from_static(b"hello"), &Identity::of("00ff.7")).await
        };
        with(|_| reply.clone(), create).await
    };
    let (created, requests) = create(object(200, "")).await;
    let Created::Yes(version) = created else { panic!("{created:?}") };
    assert_eq!((version.e_tag(), version.generation(), version.size()), (Some("abc"), Some("17"), 5));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.line.starts_with("PUT /logs/some%2Fprefix%2Ft%2F0%2Fa "), "{}", request.line);
    assert_eq!(request.headers["x-goog-if-generation-match"], "0");
    assert_eq!(request.headers["x-goog-meta-kfsid"], "00ff.7");
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));

    let (created, requests) = create(refusal(412, "PreconditionFailed")).await;
    assert!(matches!(created, Created::Exists) && requests.len() == 1, "{created:?}");
    for (status, code, kind) in [
        (401, "AuthenticationRequired", ErrorKind::PermissionDenied),
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (404, "NoSuchBucket", ErrorKind::NotFound),
    ] {
        let (created, requests) = create(refusal(status, code)).await;
        let Created::Refused(error) = created else { panic!("{code} {created:?}") };
        assert_eq!((error.kind(), requests.len(), error.request_id()), (kind, 1, Some("up-1")), "{error}");
        assert!(error.hint().is_some() && !format!("{error:?}").contains("AWS_"), "{error:?}");
        no_secret(&error);
    }
    for reply in [refusal(500, "InternalError"), refusal(429, "SlowDown"), refusal(409, "Conflict"), None] {
        let (created, requests) = create(reply).await;
        let Created::Unknown(error) = created else { panic!("{created:?}") };
        assert_eq!((error.kind(), requests.len()), (ErrorKind::Unavailable, 1), "{error}");
    }
}

#[tokio::test]
async fn a_replace_names_the_generation_and_is_sent_once() {
    let mut n = 0;
    let script = |request: &Request| {
        n += 1;
        match n {
            1 => object(200, ""),
            _ if request.line.starts_with("HEAD") => object(200, ""),
            _ => refusal(412, "PreconditionFailed"),
        }
    };
    let (replaced, requests) = with(script, async |store| {
        let version = Version::new(Some("abc"), 5, None).with_generation(Some("17"));
        let replace = async || store.replace_if("a", PutPayload::new(), &Identity::none(), &version).await;
        (replace().await, replace().await)
    })
    .await;
    assert!(matches!(replaced, (Replaced::Yes(_), Replaced::Changed)), "{replaced:?}");
    assert_eq!(requests[0].headers["x-goog-if-generation-match"], "17");
}

#[tokio::test]
async fn a_read_is_tried_again_and_no_message_holds_the_token() {
    let mut n = 0;
    let script = |request: &Request| {
        n += 1;
        match n {
            1 => reply(503, ""),
            2 => object(200, "hello"),
            _ => reply(
                403,
                &format!(
                    "<Error><Code>AccessDenied</Code><Message>{}</Message></Error>",
                    request.headers["authorization"]
                ),
            ),
        }
    };
    let (error, requests) = with(script, async |store| {
        let fetched = store.get("a", ReadRange::Whole, None).await.unwrap();
        assert_eq!((&fetched.bytes[..], fetched.identity), (&b"hello"[..], Identity::of("00ff.7")));
        store.get("a", ReadRange::Whole, None).await.unwrap_err()
    })
    .await;
    assert_eq!(requests.len(), 3);
    assert_eq!(error.client_request_id(), Some(&*requests[2].headers["x-request-id"]), "{error}");
    no_secret(&error);
}

#[test]
fn credentials_may_be_given_in_each_way_but_never_by_silence() {
    let base = || StoreOptions::default().environment(false);
    for options in [
        base().config("GOOGLE_BEARER_TOKEN", TOKEN),
        base().config("GOOGLE_SKIP_SIGNATURE", "true"),
        base().config("bearer_token", TOKEN).config("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent"),
    ] {
        let store = Store::open("gs://logs/p", &options).unwrap();
        let shown = format!("{store:?} {store} {options:?} {}", store.url());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for (options, kind) in [
        (base(), ErrorKind::PermissionDenied),
        (base().config("GOOGLE_BEARER_TOKEN", ""), ErrorKind::PermissionDenied),
        (base().config("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent"), ErrorKind::InvalidInput),
        (base().config("GOOGLE_SERVICE_ACCOUNT", "/nonexistent"), ErrorKind::InvalidInput),
        (base().config("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": \"hunter2\"}"), ErrorKind::InvalidInput),
        (base().config("GOOGLE_BEARER_TOKEN", "hunter2\r"), ErrorKind::InvalidInput),
        (base().config("GOOGLE_BASE_URL", "http://h"), ErrorKind::InvalidInput),
    ] {
        let error = Store::open("gs://logs", &options).unwrap_err();
        assert_eq!(error.kind(), kind, "{options:?} {error}");
        no_secret(&error);
    }
}

#[cfg(unix)]
#[test]
fn the_errors_of_a_file_of_credentials_name_the_setting_and_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let [pipe, large, empty, missing] =
        ["pipe", "large", "service-account", "missing"].map(|name| dir.path().join(name));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    std::fs::write(&large, vec![b' '; 64 * 1024 + 1]).unwrap();
    std::fs::write(&empty, "").unwrap();
    for setting in ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS", "service_account_path"] {
        for (file, why) in [
            (std::path::Path::new("/dev/zero"), "it is not a regular file"),
            (&*pipe, "it is not a regular file"),
            (dir.path(), "it is not a regular file"),
            (&*large, "it is too large: at most 65536 bytes are read"),
            (&*empty, "EOF while parsing"),
            (&*missing, "No such file"),
        ] {
            let options = StoreOptions::default().environment(false).config(setting, file.display().to_string());
            let error = Store::open("gs://logs", &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let begin = format!("{setting} ({}) can't be ", file.display());
            assert!(error.message().starts_with(&begin) && error.message().contains(why), "{error}");
        }
    }
}

#[test]
fn a_broken_service_account_key_is_named_by_its_setting() {
    for setting in ["GOOGLE_SERVICE_ACCOUNT_KEY", "service_account_key"] {
        for (key, why) in [
            ("hunter2", "expected value at line 1"),
            ("{\"private_key\": \"hunter2\"}", "missing field"),
            ("", "is set to nothing"),
        ] {
            let options = StoreOptions::default().environment(false).config(setting, key);
            let error = Store::open("gs://logs", &options).unwrap_err();
            let message = error.message();
            assert!(message.starts_with(&format!("{setting} ")) && message.contains(why), "{error}");
            no_secret(&error);
        }
    }
}

#[tokio::test]
async fn what_the_callers_source_gives_and_google_does_not_take_is_told() {
    #[derive(Debug)]
    struct Gives;

    impl CredentialSource for Gives {
        fn credentials(&self) -> crate::Result<Credentials> {
            Ok(Credentials::access_key("id", "hunter2", None))
        }
    }

    let options = StoreOptions::default().environment(false).credentials(std::sync::Arc::new(Gives));
    let store = impatient(Store::open("gs://logs", &options).unwrap());
    let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
    let said = "Google Cloud Storage takes a bearer token, and the caller's source of credentials gave an access key";
    assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, said), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("kfs_credentials_bearer_token")), "{error:?}");
    no_secret(&error);
}
