//! Where credentials come from. Every server is the test's own, on loopback.

use super::*;
use crate::runtime::{Clock, SystemClock};
use crate::store::{CredentialSource, Credentials};

const ROLE_TOKEN: &str = "container-token-0123456789";

fn document(key: &str, expiration: &str) -> String {
    format!(
        "{{\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"session-of-{key}\",\
         \"Expiration\":\"{expiration}\"}}"
    )
}

fn base() -> StoreOptions {
    StoreOptions::default().environment(false).config("AWS_ALLOW_HTTP", "true")
}

fn container(endpoint: &str, uri: &str, file: &std::path::Path) -> StoreOptions {
    base()
        .config("AWS_ENDPOINT_URL", endpoint)
        .config("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        .config("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.display().to_string())
}

#[tokio::test]
async fn a_container_token_goes_in_plain_text_to_loopback_and_the_known_addresses_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, ROLE_TOKEN).unwrap();
    for uri in [
        "http://credentials.example.com/x",
        "http://169.254.169.254/x",
        "http://10.0.0.1/x",
        "http://127.0.0.1@10.0.0.1/x",
        "http://me:pw@127.0.0.1/x",
        "http://[fe80::1]/x",
        "http://localhost.example.com/x",
        "ftp://127.0.0.1/x",
        "not a URL",
    ] {
        let error = Store::open("s3://logs", &container("http://127.0.0.1:1", uri, &file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri} {error}");
        assert!(error.message().contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{error}");
        assert!(!format!("{error} {error:?}").contains("pw@"), "{error:?}");
    }
    for uri in [
        "https://credentials.example.com/x",
        "http://169.254.170.2/x",
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]/v1/credentials",
        "http://[::1]:80/x",
        "http://localhost:1/x",
        "http://127.9.9.9/x",
    ] {
        // Opening sends no request.
        Store::open("s3://logs", &container("http://127.0.0.1:1", uri, &file)).unwrap();
    }
    for (name, value) in [
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@10.0.0.1/x"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".example.com/x"),
        ("AWS_METADATA_ENDPOINT", "http://metadata.example.com"),
        ("AWS_METADATA_ENDPOINT", "http://10.0.0.1"),
    ] {
        let error = Store::open("s3://logs", &base().config(name, value)).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_container_token_file_may_end_in_a_newline_and_is_read_again_for_each_renewal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{ROLE_TOKEN}\r\n")).unwrap();
    let mut given = 0;
    let script = |request: &Request| {
        if request.line.starts_with("GET /creds ") {
            given += 1;
            // The first ones have run out already, so they are asked for again.
            let year = if given == 1 { "2001" } else { "2999" };
            return reply(200, &document(&format!("ak{given}"), &format!("{year}-01-01T00:00:00Z")));
        }
        object(if request.line.starts_with("PUT") { "" } else { "hello" })
    };
    let (_, requests) = served(script, async |endpoint: &str| {
        let store = Store::open("s3://logs", &container(endpoint, &format!("{endpoint}/creds"), &file)).unwrap();
        store.get("a", ReadRange::Whole, None).await.unwrap();
        std::fs::write(&file, "second\n").unwrap();
        for _ in 0..3 {
            store.get("a", ReadRange::Whole, None).await.unwrap();
        }
        let created = store.create("b", PutPayload::new(), &Identity::none()).await;
        assert!(matches!(created, Created::Yes(_)), "{created:?}");
    })
    .await;
    let asked: Vec<&str> =
        requests.iter().filter(|r| r.line.contains("/creds")).map(|r| &r.headers["authorization"][..]).collect();
    assert_eq!(asked, [ROLE_TOKEN, "second"]);
    let last = requests.last().unwrap();
    assert!(last.headers["authorization"].contains("Credential=ak2/"), "{last:?}");
    assert_eq!(last.headers["x-amz-security-token"], "session-of-ak2");
}

#[tokio::test]
async fn credentials_that_cant_be_had_say_why_and_hold_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let ask = async |token: &str, answer: Reply| {
        std::fs::write(&file, token).unwrap();
        let script = |_: &Request| answer.clone();
        let ask = async |endpoint: &str| {
            let store = Store::open("s3://logs", &container(endpoint, &format!("{endpoint}/creds"), &file)).unwrap();
            store.get("a", ReadRange::Whole, None).await.unwrap_err()
        };
        let (error, requests) = served(script, ask).await;
        no_secret(&error);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(ROLE_TOKEN) && !shown.contains("first\nsecond"), "{shown}");
        (error, requests.len())
    };
    let (error, asked) = ask("first\nsecond", reply(200, "")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::PermissionDenied, 0), "{error}");
    assert!(error.message().contains(&file.display().to_string()), "{error}");
    let (error, asked) = ask("", reply(200, "")).await;
    assert_eq!((error.kind(), asked), (ErrorKind::PermissionDenied, 0), "{error}");
    let (error, _) = ask(ROLE_TOKEN, reply(403, &format!("no, {ROLE_TOKEN}"))).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let (error, _) = ask(ROLE_TOKEN, reply(500, "")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for broken in ["", "[]", "{}", "[\"a\",\"b\",\"c\",\"2999-01-01T00:00:00Z\"]", &document("a", "soon")] {
        let (error, _) = ask(ROLE_TOKEN, reply(200, broken)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let moved = Some((307, vec![("Location", "http://127.0.0.1:1/".to_string())], String::new()));
    let (error, asked) = ask(ROLE_TOKEN, moved).await;
    assert!(error.message().contains("redirect") && asked == 1, "{error}");
    std::fs::remove_file(&file).unwrap();
    let store = Store::open("s3://logs", &container("http://127.0.0.1:1", "http://127.0.0.1:1/", &file)).unwrap();
    let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
    assert!(error.message().contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_web_identity_token_file_that_ends_in_a_newline_is_sent_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "header.payload.signature\n").unwrap();
    let script = |request: &Request| {
        if request.line.starts_with("POST ") {
            return reply(
                200,
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <SessionToken>web-session</SessionToken><SecretAccessKey>web-secret</SecretAccessKey>\
                 <AccessKeyId>webak</AccessKeyId><Expiration>2999-01-01T00:00:00Z</Expiration>\
                 </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
            );
        }
        object("hello")
    };
    let (_, requests) = served(script, async |endpoint: &str| {
        let options = base()
            .config("AWS_ENDPOINT_URL", endpoint)
            .config("AWS_ENDPOINT_URL_STS", endpoint)
            .config("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string())
            .config("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
        let store = Store::open("s3://logs", &options).unwrap();
        store.get("a", ReadRange::Whole, None).await.unwrap();
    })
    .await;
    let body = String::from_utf8(requests[0].body.clone()).unwrap();
    assert!(body.ends_with("&WebIdentityToken=header.payload.signature"), "{body}");
    assert!(body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"), "{body}");
    assert!(requests[1].headers["authorization"].contains("Credential=webak/"));
    for endpoint in ["http://sts.example.com", "http://10.0.0.1", "x"] {
        let options = base()
            .config("AWS_ENDPOINT_URL_STS", endpoint)
            .config("AWS_WEB_IDENTITY_TOKEN_FILE", "/x")
            .config("AWS_ROLE_ARN", "r");
        let error = Store::open("s3://logs", &options).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("STS"), "{error}");
    }
}

#[test]
fn a_ca_bundle_that_cant_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.pem");
    let open = || {
        let options = options("https://127.0.0.1:1").config("AWS_CA_BUNDLE", file.display().to_string());
        Store::open("s3://logs", &options)
    };
    let missing = open().unwrap_err();
    std::fs::write(&file, "no certificate\n").unwrap();
    let empty = open().unwrap_err();
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
    let broken = open().unwrap_err();
    for error in [missing, empty, broken] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains("AWS_CA_BUNDLE") && error.message().contains("bundle.pem"), "{error}");
    }
}

#[tokio::test]
async fn a_profile_gives_keys_and_keys_that_are_set_count_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    std::fs::write(&file, format!("[mine]\naws_access_key_id = of-profile\naws_secret_access_key = {SECRET}\n"))
        .unwrap();
    let (_, requests) = served(
        |_| object("hello"),
        async |endpoint: &str| {
            let base = || {
                let base = StoreOptions::default().environment(false);
                let base = base.config("AWS_ALLOW_HTTP", "true").config("AWS_ENDPOINT_URL", endpoint);
                base.config("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string()).config("AWS_PROFILE", "mine")
            };
            let set = base().config("AWS_ACCESS_KEY_ID", "of-caller").config("AWS_SECRET_ACCESS_KEY", SECRET);
            for options in [base(), set] {
                Store::open("s3://logs", &options).unwrap().get("a", ReadRange::Whole, None).await.unwrap();
            }
            let other = Store::open("s3://logs", &base().config("AWS_PROFILE", "other")).unwrap_err();
            assert_eq!(other.kind(), ErrorKind::PermissionDenied);
            assert!(other.message().starts_with("the profile other has no keys: "), "{other}");
            let by_role = Store::open(
                "s3://logs",
                &base().config("use_iam_role", "true").config("AWS_EC2_METADATA_DISABLED", "true"),
            );
            assert_eq!(by_role.unwrap_err().kind(), ErrorKind::PermissionDenied);
        },
    )
    .await;
    let used = |n: usize, key: &str| requests[n].headers["authorization"].contains(&format!("Credential={key}/"));
    assert!(used(0, "of-profile") && used(1, "of-caller"), "{requests:?}");
}

#[test]
fn only_a_profile_that_is_named_and_has_no_keys_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let [file, none] = ["config", "none"].map(|name| dir.path().join(name).display().to_string());
    std::fs::write(&file, "[default]\nregion = eu-west-1\n").unwrap();
    let with_files = || base().config("AWS_CONFIG_FILE", &file).config("AWS_SHARED_CREDENTIALS_FILE", &none);
    let identity =
        |options: StoreOptions| options.config("AWS_WEB_IDENTITY_TOKEN_FILE", "/x").config("AWS_ROLE_ARN", "r");
    Store::open("s3://logs", &identity(with_files())).unwrap();
    let message = |options| Store::open("s3://logs", &options).unwrap_err().message().to_string();
    assert_eq!(message(with_files()), "no S3 credentials are set");
    let named = identity(with_files()).config("AWS_PROFILE", "default");
    let expected = format!(
        "the profile default has no keys: AWS_CONFIG_FILE ({file}) has no keys in [default], \
         AWS_SHARED_CREDENTIALS_FILE ({none}) is not there"
    );
    assert_eq!(message(named), expected);
    let unreadable = identity(with_files()).config("AWS_CONFIG_FILE", dir.path().display().to_string());
    assert!(message(unreadable).contains("it is not a regular file"));
}

#[test]
fn a_broken_file_of_profiles_is_named_with_what_is_wrong_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let [config, credentials] = ["config", "credentials"].map(|name| dir.path().join(name).display().to_string());
    let message = |of_config: &[u8], of_credentials: &[u8]| {
        std::fs::write(&config, of_config).unwrap();
        std::fs::write(&credentials, of_credentials).unwrap();
        let options = base().config("AWS_PROFILE", "p").config("AWS_CONFIG_FILE", &config);
        let options = options.config("aws_shared_credentials_file", &credentials);
        Store::open("s3://logs", &options).unwrap_err().message().to_string()
    };
    let utf16: Vec<u8> = "[profile p]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(message(&utf16, b""), format!("AWS_CONFIG_FILE ({config}) can't be read: it is not text in UTF-8"));
    let large = vec![b'#'; (1 << 20) + 1];
    let too_large = format!("aws_shared_credentials_file ({credentials}) can't be read: it is too large: ");
    assert!(message(b"", &large).starts_with(&too_large));
    assert_eq!(
        message(b"[p]\naws_access_key_id = a\naws_secret_access_key = b\n", b"[p]\naws_access_key_id = a\n"),
        format!(
            "the profile p has no keys: AWS_CONFIG_FILE ({config}) has no section [profile p], \
             aws_shared_credentials_file ({credentials}) has aws_access_key_id and no aws_secret_access_key in [p]"
        )
    );
}

#[tokio::test]
async fn a_server_of_credentials_that_is_away_is_named_by_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, ROLE_TOKEN).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let role = |base: StoreOptions| {
        let base = base.config("AWS_ROLE_ARN", "r").config("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        base.config("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string())
    };
    for (setting, options) in [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container("http://127.0.0.1:1", &nobody, &file)),
        ("AWS_ENDPOINT_URL_STS", role(base().config("AWS_ENDPOINT_URL_STS", &nobody))),
        ("AWS_METADATA_ENDPOINT", base().config("AWS_METADATA_ENDPOINT", &nobody)),
    ] {
        let store = impatient(Store::open("s3://logs", &options).unwrap());
        let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(error.message().contains(setting) && hint.contains(setting), "{setting}: {error:?}");
        assert!(!hint.contains("AWS_ENDPOINT_URL right"), "{error:?}");
        no_secret(&error);
    }
    std::fs::remove_file(&file).unwrap();
    for (setting, options) in [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", container("http://127.0.0.1:1", &nobody, &file)),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", role(base().config("AWS_ENDPOINT_URL_STS", &nobody))),
    ] {
        let store = impatient(Store::open("s3://logs", &options).unwrap());
        let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
        let expected = format!("{setting} ({}) can't be read: ", file.display());
        assert!(error.message().starts_with(&expected), "{error}");
    }
}

/// Gives what the test says, and counts how often it is asked.
#[derive(Debug)]
struct Source {
    asked: std::sync::atomic::AtomicU32,
    give: fn(u32) -> crate::Result<Credentials>,
}

impl CredentialSource for Source {
    fn credentials(&self) -> crate::Result<Credentials> {
        (self.give)(self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// The key ids of two reads on a store with this source, or why the last one failed; and how often the source was asked.
async fn with_source(give: fn(u32) -> crate::Result<Credentials>) -> (Vec<String>, Option<Error>, u32) {
    let source = std::sync::Arc::new(Source { asked: 0.into(), give });
    let asked = source.clone();
    let (error, requests) = served(
        |_| object("hello"),
        async |endpoint: &str| {
            let options = StoreOptions::default().environment(false).credentials(source);
            let options = options.config("AWS_ALLOW_HTTP", "true").config("AWS_ENDPOINT_URL", endpoint);
            let store = Store::open("s3://logs", &options).unwrap();
            let _ = store.get("a", ReadRange::Whole, None).await;
            store.get("a", ReadRange::Whole, None).await.err()
        },
    )
    .await;
    let id = |authorization: &str| authorization.split(['=', '/']).nth(1).unwrap_or_default().to_string();
    let used = requests.iter().map(|request| id(&request.headers["authorization"])).collect();
    (used, error, asked.asked.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn the_callers_source_is_asked_again_only_when_its_credentials_run_out() {
    let key = |n: u32| Credentials::access_key(format!("id{n}"), SECRET, Some("t".into()));
    assert!(!format!("{:?}", key(0)).contains(SECRET));
    let (used, error, asked) = with_source(|n| Ok(Credentials::access_key(format!("id{n}"), SECRET, None))).await;
    assert_eq!((used, error.is_none(), asked), (vec!["id0".to_string(), "id0".into()], true, 1));
    // These ran out long ago.
    let (used, _, asked) =
        with_source(|n| Ok(Credentials::access_key(format!("id{n}"), SECRET, None).expires_at(1))).await;
    assert_eq!((used, asked), (vec!["id0".to_string(), "id1".into()], 2));
}

#[tokio::test]
async fn the_last_credentials_serve_while_they_are_good_and_the_source_fails() {
    let (used, error, asked) = with_source(|n| match n {
        // They run out within five minutes, so that they are asked for again.
        0 => Ok(Credentials::access_key("id0", SECRET, None).expires_at(SystemClock.wall_ms() + 200_000)),
        _ => Err(Error::new(ErrorKind::Unavailable, "the vault is away")),
    })
    .await;
    assert_eq!((used, error.is_none(), asked), (vec!["id0".to_string(), "id0".into()], true, 2));
}

#[tokio::test]
async fn a_source_that_fails_panics_or_gives_the_wrong_kind_is_told() {
    for (give, kind, said) in [
        (
            (|_| Err(Error::new(ErrorKind::PermissionDenied, "the vault is locked")))
                as fn(u32) -> crate::Result<Credentials>,
            ErrorKind::PermissionDenied,
            "the vault is locked",
        ),
        (|_| panic!("{SECRET}"), ErrorKind::Unavailable, "the caller's source of credentials panicked"),
        (
            |_| Ok(Credentials::bearer(SECRET)),
            ErrorKind::InvalidInput,
            "S3 takes an access key, and the caller's source of credentials gave a bearer token",
        ),
        (
            |_| Ok(Credentials::access_key("id", "x\r\n", None)),
            ErrorKind::PermissionDenied,
            "the caller's source of credentials gave an access key, which holds a control character",
        ),
    ] {
        let (used, error, _) = with_source(give).await;
        let error = error.unwrap();
        assert!(used.is_empty() && error.kind() == kind && error.to_string().contains(said), "{error:?}");
        // What the machine itself has is not asked, and the environment says nothing.
        let shown = format!("{error:?}");
        assert!(error.hint().is_some() && !shown.contains("metadata") && !shown.contains("AWS_"), "{error:?}");
        no_secret(&error);
    }
}
