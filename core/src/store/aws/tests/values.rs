//! Values that fit no header, and files that are none.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::store::StoreConfig;

#[test]
fn a_setting_with_a_control_character_is_named_and_not_shown() {
    let names = ["Aws_Session_Token", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_USER_AGENT"];
    for name in names {
        for bad in ["\r", "\n", "\r\n", "\0", "\u{1b}[2J", "\u{7f}", "\u{85}"] {
            let options = options("http://127.0.0.1:1").config(name, format!("{SECRET}{bad}"));
            let error = Store::open("s3://logs", &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().starts_with(&format!("{name} ")), "{error}");
            no_secret(&error);
            let is_of_a_file = error.hint().is_some_and(|hint| hint.contains("CRLF"));
            assert_eq!(is_of_a_file, bad.starts_with('\r'), "{error:?}");
        }
    }
    for name in ["aws_session_token", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION"] {
        let options = options("http://127.0.0.1:1").config(name, format!("{SECRET}ü"));
        let error = Store::open("s3://logs", &options).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().starts_with(name), "{error}");
        no_secret(&error);
    }
    // A later value of the same setting is the one that counts.
    let options = options("http://127.0.0.1:1").config("AWS_REGION", "x\r").config("AWS_REGION", "eu-west-1");
    Store::open("s3://logs", &options).unwrap();
}

/// Settings that take a few values only.
const STRICT: [&str; 13] = [
    "AWS_ALLOW_HTTP",
    "AWS_SKIP_SIGNATURE",
    "AWS_REQUEST_PAYER",
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_POOL_IDLE_TIMEOUT",
    "AWS_UNSIGNED_PAYLOAD",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_READ_TIMEOUT",
    "AWS_POOL_MAX_IDLE_PER_HOST",
    "AWS_HTTP2_MAX_FRAME_SIZE",
    "AWS_ENDPOINT_URL",
    "AWS_PROXY_URL",
    "AWS_CA_BUNDLE",
];

#[test]
fn a_secret_in_the_wrong_setting_is_not_repeated() {
    for name in STRICT {
        for secret in [SECRET, "Hunter2hunter2 with blanks", "hunter2hunter2+/x="] {
            // The second way has no credentials, so that the setting is not alone in being wrong.
            let options = options("https://127.0.0.1:1");
            for options in [options.clone(), options.config("AWS_REQUEST_PAYER", "neither")] {
                let Err(error) = Store::open("s3://logs", &options.config(name, secret)) else { continue };
                let shown = format!("{error} {error:?} {error:#?}").to_lowercase();
                assert!(!shown.contains(SECRET), "{name}: {shown}");
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            }
        }
    }
    // The name and the value were exchanged.
    let exchanged = Store::open("s3://logs", &options("https://127.0.0.1:1").config(SECRET, "AWS_SECRET_ACCESS_KEY"));
    no_secret(&exchanged.unwrap_err());
}

#[test]
fn the_error_of_a_setting_says_what_is_expected() {
    for (name, expected) in [
        ("AWS_REQUEST_PAYER", "true or false"),
        ("AWS_READ_TIMEOUT", "a time such as 30s"),
        ("AWS_POOL_MAX_IDLE_PER_HOST", "a whole number"),
        ("AWS_CHECKSUM_ALGORITHM", "one of none, sha256, crc64nvme"),
        ("AWS_CA_BUNDLE", "can't be read"),
    ] {
        let error = Store::open("s3://logs", &options("https://127.0.0.1:1").config(name, "wrong")).unwrap_err();
        assert!(error.message().starts_with(name) && error.message().contains(expected), "{error}");
    }
}

#[test]
fn a_flag_that_is_neither_true_nor_false_is_named_before_what_it_permits() {
    // A flag that is taken as false would make the error one of the endpoint, or one of the credentials.
    let without_credentials = StoreOptions::default().environment(false);
    for (name, options) in [
        ("Aws_Allow_Http", options("http://127.0.0.1:1")),
        ("aws_skip_signature", without_credentials.clone().config("AWS_ENDPOINT_URL", "https://127.0.0.1:1")),
    ] {
        for wrong in ["nonsense", "", "tru", " true", SECRET] {
            let error = Store::open("s3://logs", &options.clone().config(name, wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("{name} ")) && text.contains("true or false"), "{name}={wrong}: {error}");
            no_secret(&error);
        }
        let options = options.config(name, "wrong");
        for right in ["1", "TRUE", "on", "Yes", "y"] {
            Store::open("s3://logs", &options.clone().config(name, right)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_secret_in_place_of_a_token_file_is_not_repeated() {
    no_secret(&token_file(Path::new(SECRET)).await);
}

#[tokio::test]
async fn credentials_of_a_server_that_fit_no_header_are_refused_and_asked_for_again() {
    const FIELDS: [&str; 3] = ["AccessKeyId", "SecretAccessKey", "Token"];
    for path in ["/creds", "/latest/meta-data/iam/security-credentials/role"] {
        for (name, bad) in FIELDS.into_iter().flat_map(|name| ["\\n", "\\u001b", "ü"].map(|bad| (name, bad))) {
            let mut given = 0;
            let script = |request: &Request| {
                let line = request.line.split(' ').nth(1).unwrap();
                if line == path {
                    given += 1;
                    let value = |field| if field == name && given == 1 { bad } else { "" };
                    let [key, secret, token] = FIELDS.map(|field| format!("\"{field}\":\"{SECRET}{}\"", value(field)));
                    return reply(200, &format!("{{{key},{secret},{token},\"Expiration\":\"2001-01-01T00:00:00Z\"}}"));
                }
                match line {
                    "/latest/api/token" => reply(200, "metadata-token"),
                    "/latest/meta-data/iam/security-credentials/" => reply(200, "role"),
                    _ => object("hello"),
                }
            };
            let (error, _) = served(script, async |endpoint: &str| {
                let options = StoreOptions::default()
                    .environment(false)
                    .config("AWS_ALLOW_HTTP", "true")
                    .config("AWS_ENDPOINT_URL", endpoint);
                let options = match path {
                    "/creds" => options.config("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{endpoint}/creds")),
                    _ => options.config("AWS_METADATA_ENDPOINT", endpoint),
                };
                let store = Store::open("s3://logs", &options).unwrap();
                let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
                assert!(error.message().contains(endpoint), "{error}");
                store.get("a", ReadRange::Whole, None).await.unwrap();
                error
            })
            .await;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.message().contains(name), "{error}");
            no_secret(&error);
        }
    }
}

fn ca_bundle(file: &Path) -> Error {
    let options = options("https://127.0.0.1:1").config("AWS_CA_BUNDLE", file.display().to_string());
    Store::open("s3://logs", &options).unwrap_err()
}

async fn token_file(file: &Path) -> Error {
    let options = StoreOptions::default()
        .environment(false)
        .config("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
        .config("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.display().to_string());
    Store::open("s3://logs", &options).unwrap().get("a", ReadRange::Whole, None).await.unwrap_err()
}

#[tokio::test]
async fn a_bundle_and_a_token_are_read_from_regular_files_of_a_bounded_size() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let sized = |bytes: u64| std::fs::File::create(&file).unwrap().set_len(bytes).unwrap();
    for path in [Path::new("/dev/null"), dir.path()] {
        for error in [ca_bundle(path), token_file(path).await] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().contains("not a regular file"), "{error}");
            assert!(error.message().contains(&path.display().to_string()), "{error}");
        }
    }
    sized((16 << 20) + 1);
    let error = ca_bundle(&file);
    assert!(error.message().contains("at most 16777216 bytes"), "{error}");
    std::fs::write(&file, "x".repeat((64 << 10) + 1)).unwrap();
    let error = token_file(&file).await;
    assert!(error.message().contains("at most 65536 bytes"), "{error}");
}

#[tokio::test]
async fn container_credentials_need_no_token() {
    let script = |request: &Request| match request.line.starts_with("GET /creds ") {
        true => reply(
            200,
            "{\"AccessKeyId\":\"ak\",\"SecretAccessKey\":\"sk\",\"Token\":\"tok\",\"Expiration\":\"2999-01-01T00:00:00Z\"}",
        ),
        false => object("hello"),
    };
    let (_, requests) = served(script, async |endpoint: &str| {
        let options = StoreOptions::default()
            .environment(false)
            .config("AWS_ALLOW_HTTP", "true")
            .config("AWS_ENDPOINT_URL", endpoint)
            .config("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{endpoint}/creds"));
        Store::open("s3://logs", &options).unwrap().get("a", ReadRange::Whole, None).await.unwrap();
    })
    .await;
    assert!(!requests[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn https_to_a_server_of_plain_http_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let store = Store::open("s3://logs", &options(&endpoint)).unwrap();
    let server = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    };
    let error = tokio::select! {
        answer = store.get("a", ReadRange::Whole, None) => answer.unwrap_err(),
        () = server => unreachable!(),
    };
    assert!(error.hint().is_some_and(|hint| hint.contains("plain HTTP")), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_by_its_setting_without_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (open, secret) = (format!("http://{address}"), format!("http://me:{SECRET}@{address}"));
    let document = format!("storage:\n  backend: s3\n  bucket: logs\n  proxy_url: {secret}\n");
    let options = options("http://192.0.2.1");
    let of = |config: StoreConfig| Store::open_config(&config, &options).unwrap();
    for (store, name) in [
        (Store::open("s3://logs", &options.clone().config("AWS_PROXY_URL", &secret)).unwrap(), "AWS_PROXY_URL names"),
        (
            of(StoreConfig::from_url(&format!("s3://logs?proxy_url={open}")).unwrap()),
            "proxy_url of the bucket's URL names",
        ),
        (of(StoreConfig::from_document(&document).unwrap()), "proxy_url of the document names"),
    ] {
        let created = store.create("a", PutPayload::new(), &Identity::none()).await;
        let Created::Refused(error) = created else { panic!("{created:?}") };
        no_secret(&error);
        assert!(error.message().contains(&format!("the proxy that {name} can't be reached")), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("proxy_excludes")), "{error:?}");
    }
}

#[test]
fn a_password_in_a_setting_of_the_buckets_url_is_refused_by_its_name() {
    for name in ["proxy_url", "endpoint", "metadata_endpoint"] {
        let url = format!("s3://logs?{name}=http://me:{SECRET}@127.0.0.1:1");
        let error = Store::open(&url, &options("https://127.0.0.1:1")).unwrap_err();
        let expected = format!("{name} can't stand in a URL: it holds a user or a password");
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().starts_with(&expected), "{error}");
        no_secret(&error);
    }
}

#[test]
fn a_certificate_or_a_proxy_that_cant_be_used_is_named_by_its_setting() {
    let of_nothing = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, of_nothing).unwrap();
    let file = file.display().to_string();
    for (name, value, expected) in [
        ("proxy_ca_certificate", "/etc/ca.pem", "proxy_ca_certificate holds no certificate in PEM form"),
        ("AWS_PROXY_CA_CERTIFICATE", of_nothing, "AWS_PROXY_CA_CERTIFICATE can't be understood: "),
        ("ca_file", &file, &format!("ca_file ({file}) can't be understood: ")),
    ] {
        let options = options("https://127.0.0.1:1").config("proxy_url", "http://127.0.0.1:1").config(name, value);
        let error = Store::open("s3://logs", &options).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_http_2_is_told_by_the_setting_that_asks_for_it() {
    let work = async |endpoint: &str| {
        let options = options(endpoint).config("AWS_HTTP2_ONLY", "true");
        impatient(Store::open("s3://logs", &options).unwrap()).get("a", ReadRange::Whole, None).await.unwrap_err()
    };
    let (error, _) = served(|_| reply(400, "no HTTP/2 here"), work).await;
    assert!(error.hint().is_some_and(|hint| hint.contains("http2_only")), "{error:?}");
}

#[test]
fn a_replica_that_is_the_bucket_itself_is_refused() {
    let base = || options("https://127.0.0.1:1").config("AWS_REGION", "eu-west-1");
    for (name, options) in [
        ("read_bucket", base().config("read_bucket", "logs")),
        (
            "KAFSCALE_S3_READ_BUCKET",
            base().config("KAFSCALE_S3_READ_BUCKET", "logs").config("read_region", "eu-west-1"),
        ),
        ("read_endpoint", base().config("read_endpoint", "https://127.0.0.1:1/")),
    ] {
        let error = Store::open("s3://logs", &options).unwrap_err();
        let said = format!("{name} names the bucket itself, which is no replica");
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, &*said), "{error:?}");
    }
    for (name, value) in [("read_bucket", "copy"), ("read_endpoint", "https://127.0.0.1:2")] {
        Store::open("s3://logs", &base().config(name, value)).unwrap();
    }
}
