//! A server that means harm, or stands where ours should.

use tokio::io::{AsyncWriteExt, BufReader};

use super::*;
use crate::store::http::scripted::read;

const TOKEN: &str = "FwoGZXIvYXdzEJr//////////wEaDKx+Session/Token==";

async fn open_and_create(endpoint: &str) -> Created {
    let options = options(endpoint).config("AWS_SESSION_TOKEN", TOKEN);
    let store = Store::open("s3://logs", &options).unwrap();
    store.create("a", PutPayload::from_static(b"hello"), &Identity::none()).await
}

#[tokio::test]
async fn no_redirect_is_followed_so_no_credential_reaches_another_host() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let script = |_: &Request| {
            Some((status, vec![("Location", format!("http://localhost:{}/logs/a", address.port()))], String::new()))
        };
        let work = served(script, async |endpoint: &str| {
            let store = Store::open("s3://logs", &options(endpoint).config("AWS_SESSION_TOKEN", TOKEN)).unwrap();
            let read = store.get("a", ReadRange::Whole, None).await.unwrap_err();
            let listed = store.list_page("", None, 5).await.unwrap_err();
            (open_and_create(endpoint).await, read, listed)
        });
        let ((created, read, listed), requests) = tokio::select! {
            done = work => done,
            _ = elsewhere.accept() => panic!("{status}: the other host was asked"),
        };
        let Created::Refused(created) = created else { panic!("{status} {created:?}") };
        for error in [created, read, listed] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().contains(&format!("{status}")) && error.message().contains("redirect"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("AWS_ENDPOINT_URL")), "{error:?}");
        }
        assert_eq!(requests.len(), 3, "{status}");
    }
}

#[tokio::test]
async fn what_a_server_echoes_of_our_credentials_is_removed() {
    let echo = |request: &Request| {
        let entities = TOKEN.replace('+', "&#43;").replace('/', "&#x2F;");
        let percent = TOKEN.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
        let (token, authorization) = (&request.headers["x-amz-security-token"], &request.headers["authorization"]);
        let message = format!("echo {token} {entities} {percent} {authorization} {SECRET} testak");
        reply(403, &format!("<Error><Code>Denied</Code><Message>{message}</Message></Error>"))
    };
    let (created, requests) = served(echo, async |endpoint: &str| open_and_create(endpoint).await).await;
    let Created::Refused(error) = created else { panic!("{created:?}") };
    no_secret(&error);
    let shown = format!("{error} {error:?}");
    let authorization = &requests[0].headers["authorization"];
    let signature = authorization.split("Signature=").nth(1).unwrap();
    for secret in [signature, "testak", "FwoGZXIvYXdzEJr", "wEaDKx", "Session", "Token=="] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains("Denied: echo"), "{shown}");
}

#[tokio::test]
async fn words_that_a_request_has_too_stay_in_what_a_server_says() {
    const WORDS: &str = "Credential, SignedHeaders, Signature, security and aws4_request of us-east-1";
    let body = format!("<Error><Code>SignatureDoesNotMatch</Code><Message>{WORDS}</Message></Error>");
    let (created, _) =
        served(|_: &Request| reply(403, &body), async |endpoint: &str| open_and_create(endpoint).await).await;
    let Created::Refused(error) = created else { panic!("{created:?}") };
    assert!(error.message().ends_with(&format!("SignatureDoesNotMatch: {WORDS}")), "{error}");
}

#[tokio::test]
async fn what_a_server_says_reaches_no_terminal_raw() {
    let body = "<Error><Code>Access\u{1b}[2J\u{1b}]0;pwned\u{7}Denied</Code><Message>hi \u{1b}[31mred \u{9b}</Message></Error>";
    let (created, _) =
        served(|_: &Request| reply(403, body), async |endpoint: &str| open_and_create(endpoint).await).await;
    let Created::Refused(error) = created else { panic!("{created:?}") };
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(|c: char| c.is_control()) && shown.contains("pwned"), "{shown:?}");
}

/// Answers the first request with this head, and then with bytes without end; tells how many were sent.
async fn endless<T>(head: &[u8], work: impl AsyncFnOnce(&str) -> T) -> (T, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let sent = std::sync::atomic::AtomicUsize::new(0);
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        read(&mut stream).await.unwrap();
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {
            sent.fetch_add(65536, std::sync::atomic::Ordering::Relaxed);
        }
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = work(&endpoint) => done,
        () = server => unreachable!(),
    };
    (done, sent.into_inner())
}

#[tokio::test]
async fn of_a_refusal_without_end_only_its_beginning_is_read() {
    let head = b"HTTP/1.1 403 X\r\nContent-Length: 1099511627776\r\n\r\n";
    let (created, sent) = endless(head, async |endpoint: &str| open_and_create(endpoint).await).await;
    assert!(matches!(&created, Created::Refused(error) if error.kind() == ErrorKind::PermissionDenied), "{created:?}");
    // What was sent beyond the limit lies in the buffers of the two sockets.
    assert!(sent < 64 << 20);
}

#[tokio::test]
async fn of_a_listing_without_end_no_more_is_read_than_a_page_can_have() {
    // object_store would make room for the terabyte that is promised, which ends the process.
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n";
    let list = async |endpoint: &str| {
        // The server takes one request.
        let store = Store::open("s3://logs", &options(endpoint).config("AWS_RETRIES", "0")).unwrap();
        store.list_page("", None, 5).await
    };
    let (listed, sent) = endless(head, list).await;
    let error = listed.unwrap_err();
    assert!(format!("{error:#}").contains("a page of a listing has more than 16777216 bytes"), "{error:#}");
    assert!(sent < 80 << 20);
}
