//! Against a server that answers by a script.

use std::collections::HashMap;

use object_store::PutPayload;
use tokio::net::TcpListener;

use crate::store::http::scripted::{Reply, Request, impatient, reply, served};
use crate::store::{Created, Identity, ReadRange, Store, StoreOptions, Version};
use crate::{Error, ErrorKind};

mod breaker;
mod credentials;
mod endless;
mod hostile;
mod large;
mod replace;
mod request_id;
mod tries;
mod values;

const SECRET: &str = "hunter2hunter2";

fn object(body: &str) -> Reply {
    let headers = vec![
        ("ETag", "\"abc\"".to_string()),
        ("Last-Modified", "Fri, 21 Nov 2025 07:00:00 GMT".to_string()),
        ("x-amz-meta-kfsid", "00ff.7".to_string()),
    ];
    Some((200, headers, body.to_string()))
}

fn options(endpoint: &str) -> StoreOptions {
    StoreOptions::default()
        .environment(false)
        .config("AWS_ENDPOINT_URL", endpoint)
        .config("AWS_ALLOW_HTTP", "true")
        .config("AWS_ACCESS_KEY_ID", "testak")
        .config("AWS_SECRET_ACCESS_KEY", SECRET)
}

/// Runs `work` with a store on a server that answers `script`, and gives what it was asked.
async fn with<T>(script: impl FnMut(&Request) -> Reply, work: impl AsyncFnOnce(Store) -> T) -> (T, Vec<Request>) {
    let work =
        async |endpoint: &str| work(impatient(Store::open("s3://logs/some/prefix", &options(endpoint)).unwrap())).await;
    served(script, work).await
}

fn no_secret(error: &Error) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains(SECRET) && !shown.contains("0badc0de"), "{shown}");
}

async fn create(script: impl FnMut(&Request) -> Reply) -> (Created, Vec<Request>, u64) {
    let ((created, puts), requests) = with(script, async |store| {
        let created = store.create("t/0/a", PutPayload::from_static(b"hello"), &Identity::of("00ff.7")).await;
        (created, store.requests().put)
    })
    .await;
    (created, requests, puts)
}

#[tokio::test]
async fn a_create_is_one_conditional_put_with_its_identity() {
    let (created, requests, puts) = create(|_| object("")).await;
    let Created::Yes(version) = created else { panic!("{created:?}") };
    assert_eq!((version.e_tag(), version.size(), puts), (Some("abc"), 5, 1));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.line.starts_with("PUT /logs/some/prefix/t/0/a "), "{}", request.line);
    assert_eq!((&request.headers["if-none-match"][..], &request.headers["x-amz-meta-kfsid"][..]), ("*", "00ff.7"));
    assert_eq!(request.body, b"hello");
}

#[tokio::test]
async fn a_creates_outcome_says_what_is_known_and_nothing_is_sent_twice() {
    let xml = |code: &str| {
        format!("<Error><Code>{code}</Code><Message>words</Message><StringToSign>0badc0de</StringToSign></Error>")
    };
    for (status, code) in [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")] {
        let (created, requests, _) = create(|_| reply(status, &xml(code))).await;
        assert!(matches!(created, Created::Exists), "{status} {created:?}");
        assert_eq!(requests.len(), 1);
    }
    for (status, code, kind) in [
        (403, "SignatureDoesNotMatch", ErrorKind::PermissionDenied),
        (400, "ExpiredToken", ErrorKind::PermissionDenied),
        (400, "InvalidArgument", ErrorKind::InvalidInput),
        (404, "NoSuchBucket", ErrorKind::NotFound),
        (413, "EntityTooLarge", ErrorKind::InvalidInput),
        (501, "NotImplemented", ErrorKind::Unsupported),
        (400, "NotImplemented", ErrorKind::Unsupported),
    ] {
        let (created, requests, _) = create(|_| reply(status, &xml(code))).await;
        let Created::Refused(error) = created else { panic!("{status} {created:?}") };
        assert_eq!((error.kind(), requests.len(), error.key()), (kind, 1, Some("t/0/a")), "{error}");
        no_secret(&error);
    }
    for (status, kind) in [
        (500, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (429, ErrorKind::Unavailable),
        (408, ErrorKind::TimedOut),
    ] {
        let (created, requests, puts) = create(|_| reply(status, &xml("SlowDown"))).await;
        let Created::Unknown(error) = created else { panic!("{status} {created:?}") };
        assert_eq!((error.kind(), requests.len(), puts), (kind, 1, 1), "{error}");
        no_secret(&error);
    }
    let (created, requests, puts) = create(|_| None).await;
    let Created::Unknown(error) = created else { panic!("{created:?}") };
    assert_eq!((error.kind(), requests.len(), puts), (ErrorKind::Unavailable, 1, 1), "{error}");
}

#[tokio::test]
async fn a_create_that_reached_nobody_is_refused() {
    // Bound and given up again: nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = Store::open("s3://logs", &options(&endpoint)).unwrap();
    let created = store.create("a", PutPayload::new(), &Identity::none()).await;
    let Created::Refused(error) = created else { panic!("{created:?}") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_read_is_tried_again_and_each_try_is_counted() {
    let mut tries = 0;
    let script = |_: &Request| {
        tries += 1;
        if tries < 3 { reply(503, "") } else { object("hello") }
    };
    let ((fetched, counts), requests) = with(script, async |store| {
        let version = Version::new(Some("abc"), 5, None);
        (store.get("t/0/a", ReadRange::Whole, Some(&version)).await.unwrap(), store.requests())
    })
    .await;
    assert_eq!((&fetched.bytes[..], fetched.identity), (&b"hello"[..], Identity::of("00ff.7")));
    assert_eq!((counts.get, counts.bytes_in, requests.len()), (3, 5, 3));
    // A listing of Azure shows ETags bare, headers need them quoted.
    assert_eq!(requests[2].headers["if-match"], "\"abc\"");
}

#[tokio::test]
async fn another_version_is_told() {
    let script = |_: &Request| reply(412, "<Error><Code>PreconditionFailed</Code></Error>");
    let (error, _) = with(script, async |store| {
        let version = Version::new(Some("\"old\""), 5, None);
        store.get("a", ReadRange::Range(0..2), Some(&version)).await.unwrap_err()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_range_beyond_the_end_gives_no_bytes() {
    let script = |request: &Request| match request.line.starts_with("HEAD") {
        true => object("hello"),
        false => reply(416, "<Error><Code>InvalidRange</Code></Error>"),
    };
    let ((fetched, counts), _) =
        with(script, async |store| (store.get("a", ReadRange::Range(7..9), None).await.unwrap(), store.requests()))
            .await;
    assert_eq!((fetched.bytes.len(), fetched.info.size, fetched.range, counts.get), (0, 5, 5..5, 2));
}

#[tokio::test]
async fn an_empty_object_is_empty_however_the_server_answers_a_range_of_it() {
    for status in [200, 206, 416] {
        let script = move |request: &Request| match request.line.starts_with("HEAD") {
            true => object(""),
            false => object("").map(|(_, headers, body)| (status, headers, body)),
        };
        for range in [ReadRange::Suffix(16), ReadRange::Range(0..4096)] {
            let (fetched, _) = with(script, async |store| store.get("a", range.clone(), None).await).await;
            let fetched = fetched.unwrap_or_else(|error| panic!("{status}, {range:?}: {error}"));
            assert_eq!((fetched.bytes.len(), fetched.info.size, fetched.range), (0, 0, 0..0));
        }
    }
}

fn listing(keys: &[&str], token: Option<&str>) -> Reply {
    let mut xml = String::from("<ListBucketResult>");
    for key in keys {
        xml.push_str(&format!(
            "<Contents><Key>some/prefix/{key}</Key><LastModified>2025-11-21T07:00:00.123Z</LastModified>\
             <ETag>\"e\"</ETag><Size>3</Size></Contents>"
        ));
    }
    if let Some(token) = token {
        xml.push_str(&format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    }
    xml.push_str("</ListBucketResult>");
    reply(200, &xml)
}

#[tokio::test]
async fn a_listing_is_complete_when_there_is_no_token_and_not_when_a_page_is_empty() {
    let mut n = 0;
    let script = |request: &Request| {
        n += 1;
        assert!(request.line.contains("prefix=some%2Fprefix%2Ft%2F0%2F"), "{}", request.line);
        match n {
            1 => listing(&[], Some("one")),
            2 => listing(&["t/0/b", "t/0/c"], Some("two")),
            _ => listing(&["t/0/d"], None),
        }
    };
    let (pages, requests) = with(script, async |store| {
        let first = store.list_page("t/0/", Some("t/0/a"), 2).await.unwrap();
        let second = store.list_page("t/0/", Some("t/0/c"), 2).await.unwrap();
        assert_eq!(store.requests().list, 3);
        [first, second]
    })
    .await;
    let keys = |page: &crate::store::ListPage| page.objects.iter().map(|o| o.key.clone()).collect::<Vec<_>>();
    assert_eq!((keys(&pages[0]), pages[0].complete), (vec!["t/0/b".into(), "t/0/c".into()], false));
    assert_eq!((keys(&pages[1]), pages[1].complete), (vec!["t/0/d".into()], true));
    assert_eq!(pages[0].objects[0].modified_ms % 1000, 123);
    assert!(requests[0].line.contains("start-after=some%2Fprefix%2Ft%2F0%2Fa"), "{}", requests[0].line);
    assert!(requests[0].line.contains("max-keys=2") && requests[1].line.contains("continuation-token=one"));
}

/// A server that lists `keys` truly.
fn bucket(keys: &'static [&'static str]) -> impl FnMut(&Request) -> Reply {
    move |request| {
        let target = request.line.split(' ').nth(1).unwrap();
        let url = url::Url::parse(&format!("http://x{target}")).unwrap();
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let max: usize = query.get("max-keys").map_or(1000, |max| max.parse().unwrap());
        let after = query.get("continuation-token").or(query.get("start-after")).cloned().unwrap_or_default();
        let all: Vec<&str> = keys.iter().copied().filter(|key| format!("some/prefix/{key}") > after).collect();
        let page = &all[..max.min(all.len())];
        let token = page.last().filter(|_| all.len() > max).map(|last| format!("some/prefix/{last}"));
        listing(page, token.as_deref())
    }
}

#[tokio::test]
async fn keys_that_object_store_cant_read_do_not_stop_a_listing_by_a_client_of_its_own() {
    let keys = &["t/0/", "t/0//x", "t/0/a", "t/0/b-c", "t/0/b/", "t/0/b/../x", "t/0/d", "t/0/e", "t/0/e//", "t/0/f"];
    let (found, _) = served(bucket(keys), async |endpoint: &str| {
        let client = object_store::aws::AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_bucket_name("logs")
            .with_access_key_id("testak")
            .with_secret_access_key(SECRET);
        let store = Store::paginated(std::sync::Arc::new(client.build().unwrap()));
        let mut all = Vec::new();
        for max in [1, 2, 3, 100] {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().map(|key| format!("some/prefix/{key}"));
                let page = store.list_page("some/prefix/t/0/", after.as_deref(), max).await.unwrap();
                found.extend(page.objects.into_iter().map(|object| object.key.replace("some/prefix/", "")));
                if page.complete {
                    break;
                }
            }
            all.push(found);
        }
        all
    })
    .await;
    for found in found {
        let mut found: Vec<&str> = found.iter().map(String::as_str).collect();
        // Shown by a small page, where it does not follow its neighbour.
        found.retain(|key| *key != "t/0/b");
        assert_eq!(found, ["t/0/a", "t/0/b-c", "t/0/d", "t/0/e", "t/0/f"]);
    }
}

#[tokio::test]
async fn a_refused_listing_is_typed() {
    for (status, code, kind) in
        [(403, "AccessDenied", ErrorKind::PermissionDenied), (404, "NoSuchBucket", ErrorKind::NotFound)]
    {
        let script = |_: &Request| reply(status, &format!("<Error><Code>{code}</Code></Error>"));
        let (error, _) = with(script, async |store| store.list_page("t/", None, 5).await.unwrap_err()).await;
        assert_eq!(error.kind(), kind, "{error}");
    }
}

/// Such as versitygw's of an access key that was removed. Nothing is known of the object.
#[tokio::test]
async fn a_404_that_is_not_of_an_object_or_a_bucket_is_a_refusal_in_the_servers_words() {
    let body = "<Error><Code>XAdminUserNotFound</Code><Message>no such account</Message></Error>";
    let (errors, _) = with(
        |_: &Request| reply(404, body),
        async |store| {
            let created = store.create("a", PutPayload::new(), &Identity::none()).await;
            let Created::Refused(created) = created else { panic!("{created:?}") };
            vec![
                created,
                store.get("a", ReadRange::Whole, None).await.unwrap_err(),
                store.list_page("t/", None, 5).await.unwrap_err(),
                store.put("a", PutPayload::new()).await.unwrap_err(),
                store.delete("a").await.unwrap_err(),
            ]
        },
    )
    .await;
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains("404: XAdminUserNotFound: no such account"), "{error}");
        assert!(error.is_from_store(), "{error}");
    }
}

#[tokio::test]
async fn a_404_without_a_code_is_of_the_object() {
    for body in ["", "<html>not found</html>", "<Error><Code>NoSuchKey</Code></Error>"] {
        let script = |_: &Request| reply(404, body);
        let (error, _) = with(script, async |store| store.get("a", ReadRange::Whole, None).await.unwrap_err()).await;
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "no such object"));
    }
}

#[tokio::test]
async fn one_object_is_deleted_by_one_request_and_none_is_no_error() {
    for status in [204, 404] {
        let script =
            |_: &Request| reply(status, if status == 404 { "<Error><Code>NoSuchKey</Code></Error>" } else { "" });
        let (deletes, requests) = with(script, async |store| {
            store.delete("a").await.unwrap();
            store.requests().delete
        })
        .await;
        assert_eq!((deletes, requests.len()), (1, 1));
        assert!(requests[0].line.starts_with("DELETE /logs/some/prefix/a"), "{}", requests[0].line);
    }
}

#[test]
fn settings_that_cant_be_right_are_typed_and_not_repeated() {
    let base = || StoreOptions::default().environment(false);
    let keys =
        |options: StoreOptions| options.config("aws_access_key_id", "ak").config("aws_secret_access_key", SECRET);
    for (options, kind) in [
        (base(), ErrorKind::PermissionDenied),
        (base().config("AWS_ACCESS_KEY_ID", "ak"), ErrorKind::PermissionDenied),
        (base().config("AWS_ACCESS_KEY_ID", "").config("AWS_SECRET_ACCESS_KEY", SECRET), ErrorKind::PermissionDenied),
        (base().config("AWS_WEB_IDENTITY_TOKEN_FILE", "/x"), ErrorKind::PermissionDenied),
        (base().config("AWS_SKIP_SIGNATURE", "no"), ErrorKind::PermissionDenied),
        (keys(base()).config("AWS_REGIN", SECRET), ErrorKind::InvalidInput),
        (keys(base()).config("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ErrorKind::InvalidInput),
        (keys(base()).config("AWS_ENDPOINT_URL", format!("https://me:{SECRET}@h")), ErrorKind::InvalidInput),
        (keys(base()).config("AWS_ENDPOINT_URL", "h:1"), ErrorKind::InvalidInput),
        (keys(base()).config("AWS_READ_TIMEOUT", "soon"), ErrorKind::InvalidInput),
    ] {
        let error = Store::open("s3://logs", &options).unwrap_err();
        assert_eq!(error.kind(), kind, "{options:?} {error}");
        no_secret(&error);
    }
}

#[test]
fn a_setting_is_named_as_it_was_written() {
    let base = || StoreOptions::default().environment(false).config("Aws_Skip_Signature", "true");
    for (name, value, what) in [
        ("AWS_ENDPOINT", "http://h", "is not encrypted"),
        ("aws_endpoint_url", "ftp://h", "can't be used: expected a URL that begins with https: or http:"),
        ("AWS_ENDPOINT_URL_S3", "h", "can't be used: expected a URL such as"),
        ("Aws_Read_Timeout", "soon", "can't be used: "),
        ("AWS_REQUEST_PAYER", "perhaps", "can't be used: "),
        ("AWS_REGIN", "x", "is no setting for S3"),
    ] {
        let error = Store::open("s3://logs", &base().config(name, value)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(&format!("{name} {what}")), "{error}");
    }
    // The one that counts is named, of two of the same.
    let options = base().config("AWS_ENDPOINT_URL", "https://fine").config("AWS_ENDPOINT", "http://h");
    let error = Store::open("s3://logs", &options).unwrap_err();
    assert!(error.message().starts_with("AWS_ENDPOINT is not encrypted"), "{error}");
}

#[test]
fn credentials_may_be_given_in_each_way_but_never_by_silence() {
    let base = || StoreOptions::default().environment(false);
    for options in [
        base().config("AWS_SKIP_SIGNATURE", "true"),
        base().config("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1"),
        base().config("AWS_WEB_IDENTITY_TOKEN_FILE", "/x").config("AWS_ROLE_ARN", "r"),
        base().config("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"),
        options("http://127.0.0.1:1"),
    ] {
        let store = Store::open("s3://logs/p", &options).unwrap();
        let shown = format!("{store:?} {store} {options:?} {}", store.url());
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn what_is_set_for_new_objects_goes_with_each_of_them() {
    let headers = async |settings: &[(&str, &str)]| {
        let served = served(
            |_| object(""),
            async |endpoint: &str| {
                let options =
                    settings.iter().fold(options(endpoint), |options, (name, value)| options.config(*name, *value));
                let store = Store::open("s3://logs", &options).unwrap();
                assert!(matches!(
                    store.create("a", PutPayload::from_static(b"x"), &Identity::of("00ff.7")).await,
                    Created::Yes(_)
                ));
                store.put("b", PutPayload::from_static(b"x")).await.unwrap();
            },
        );
        let requests = served.await.1;
        assert_eq!(requests.len(), 2);
        requests.into_iter().map(|request| request.headers)
    };
    let settings = [
        ("storage_class", "STANDARD_IA"),
        ("kms_key_id", "arn:aws:kms:us-east-1:1:key/k"),
        ("bucket_key", "true"),
        ("checksum", "crc64nvme"),
        ("unsigned_payload", "true"),
    ];
    for headers in headers(&settings).await {
        assert_eq!(headers["x-amz-storage-class"], "STANDARD_IA");
        assert_eq!(headers["x-amz-server-side-encryption"], "aws:kms");
        assert_eq!(headers["x-amz-server-side-encryption-aws-kms-key-id"], "arn:aws:kms:us-east-1:1:key/k");
        assert_eq!(headers["x-amz-server-side-encryption-bucket-key-enabled"], "true");
        assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
        assert!(headers.contains_key("x-amz-checksum-crc64nvme"), "{headers:?}");
    }
    for headers in headers(&[("encryption", "sse-s3")]).await {
        assert_eq!(headers["x-amz-server-side-encryption"], "AES256");
        assert!(!headers.contains_key("x-amz-storage-class"));
    }
    for (name, value, other) in
        [("kms_key_id", "k", "AES256"), ("bucket_key", "true", "none"), ("customer_key", "aaaa", "AES256")]
    {
        let options = options("http://127.0.0.1:1").config("encryption", other).config(name, value);
        let error = Store::open("s3://logs", &options).unwrap_err();
        assert!(error.message().starts_with(&format!("{name} does not go with")), "{error}");
    }
}

#[test]
fn the_bucket_stands_in_the_host_if_that_is_asked_for() {
    let open = |endpoint: &str| {
        let base = StoreOptions::default().environment(false).config("skip_signature", "true");
        Store::open("s3://logs", &base.config("path_style", "false").config("endpoint", endpoint))
    };
    open("https://s3.example.com").unwrap();
    open("https://logs.s3.example.com/").unwrap();
    let error = open("https://127.0.0.1:9000").unwrap_err();
    assert!(error.message().starts_with("endpoint is an address of numbers"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("path_style")), "{error:?}");
}

#[tokio::test]
async fn errors_name_keys_as_the_caller_does_without_the_prefix_of_the_buckets_url() {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    let refused = |_: &Request| reply(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
    let body = || PutPayload::from_static(b"hello");
    let of_created = |created: Created| match created {
        Created::Refused(error) | Created::Unknown(error) => error,
        created => panic!("{created:?}"),
    };
    let (errors, _) = with(refused, async |store| {
        let version = Version::new(Some("abc"), 5, None);
        let pieces = stream::iter([Ok::<_, Error>(Bytes::from_static(b"hello"))]);
        let replaced = store.replace_if("t/0/a", body(), &Identity::none(), &version).await;
        let crate::store::Replaced::Refused(replaced) = replaced else { panic!("{replaced:?}") };
        [
            ("get", store.get("t/0/a", ReadRange::Whole, None).await.unwrap_err()),
            ("head", store.head("t/0/a").await.unwrap_err()),
            ("put", store.put("t/0/a", body()).await.unwrap_err()),
            ("create", of_created(store.create("t/0/a", body(), &Identity::none()).await)),
            ("replace", replaced),
            ("delete", store.delete("t/0/a").await.unwrap_err()),
            ("copy", store.copy("t/0/b", "t/0/a").await.unwrap_err()),
            ("put_stream", store.put_stream("t/0/a", pieces).await.unwrap_err()),
            ("list_page", store.list_page("t/0/a", None, 10).await.unwrap_err()),
            ("list", store.list("t/0/a").next().await.unwrap().unwrap_err()),
            ("list_dirs", store.list_dirs("t/0/a").await.unwrap_err()),
        ]
    })
    .await;
    for (name, error) in errors {
        let keys: &[&str] = if name == "copy" { &["t/0/a", "t/0/b"] } else { &["t/0/a", "t/0/a/"] };
        assert!(error.key().is_some_and(|key| keys.contains(&key)), "{name}: {error:?}");
    }
    let whole = with(refused, async |store| store.list_page("", None, 10).await.unwrap_err()).await.0;
    assert!(whole.key().is_none_or(str::is_empty), "{whole:?}");
}

#[tokio::test]
async fn a_size_that_a_listing_made_up_is_told_with_the_key_and_is_no_other_version() {
    let (error, _) = with(
        |_| object("hello"),
        async |store| {
            let listed = Version::new(Some("abc"), i64::MAX as u64, None);
            store.get("t/0/a", ReadRange::Whole, Some(&listed)).await.unwrap_err()
        },
    )
    .await;
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some("t/0/a")), "{error:?}");
    let said = "this version of the object has 9223372036854775807 bytes, and a read found 5 bytes";
    assert!(error.message().contains(said), "{error}");
}
