//! Copies, and uploads in parts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;

use super::{no_secret, object, with};
use crate::ErrorKind;
use crate::store::http::scripted::{NoPauses, Request, reply, waiting_by};
use crate::store::{PART_BYTES, Store};

const COPIED: &str = "<CopyObjectResult><ETag>\"abc\"</ETag></CopyObjectResult>";
const FAILED: &str =
    "<?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>hunter2hunter2</Message></Error>";

#[tokio::test]
async fn a_copy_is_one_request_and_no_byte_of_it_passes() {
    let copy = async |store: Store| (store.copy("t/a b", "t/c").await, store.requests());
    let ((copied, counts), requests) = with(|_| reply(200, COPIED), copy).await;
    copied.unwrap();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.line.starts_with("PUT /logs/some/prefix/t/c "), "{}", request.line);
    assert_eq!(request.headers["x-amz-copy-source"], "logs/some/prefix/t/a%20b");
    assert_eq!((request.body.len(), counts.put, counts.total(), counts.bytes_out), (0, 1, 1, 0));
}

#[tokio::test]
async fn a_copy_that_fails_after_a_200_has_failed() {
    let copy = async |store: Store| store.copy("t/a", "t/c").await.unwrap_err();
    let (error, requests) =
        with(|request: &Request| if request.line.starts_with("HEAD") { object("") } else { reply(200, FAILED) }, copy)
            .await;
    assert_eq!((error.kind(), error.key(), requests.len()), (ErrorKind::Unavailable, Some("t/c"), 8), "{error}");
    no_secret(&error);
}

#[tokio::test]
async fn a_copy_of_what_is_missing_or_too_large_says_so() {
    let refusal = "<Error><Code>InvalidRequest</Code><Message>The specified copy source is larger than the maximum \
                   allowable size for a copy source: 5368709120</Message></Error>";
    for (status, refused, head, kind) in [
        (404, "<Error><Code>NoSuchKey</Code></Error>", None, ErrorKind::NotFound),
        (400, refusal, Some("5368709121"), ErrorKind::Unsupported),
    ] {
        let script = |request: &Request| match (request.line.starts_with("HEAD"), head) {
            (false, _) => reply(status, refused),
            (true, None) => reply(404, ""),
            (true, Some(size)) => {
                let mut there = object("").unwrap();
                there.1.push(("Content-Length", size.to_string()));
                Some(there)
            }
        };
        let (error, _) = with(script, async |store: Store| store.copy("t/a", "t/c").await.unwrap_err()).await;
        assert_eq!((error.kind(), error.key()), (kind, Some("t/a")), "{error}");
    }
}

/// Pieces of two parts and a short one.
fn large() -> impl futures_util::Stream<Item = crate::Result<Bytes>> + Send {
    stream::iter([PART_BYTES, PART_BYTES, 3].map(|size| Ok(Bytes::from(vec![7; size]))))
}

/// Answers an upload, but the requests whose line has this in it fail.
fn upload(request: &Request, fails: &str) -> crate::store::http::scripted::Reply {
    match &request.line {
        line if line.contains(fails) => reply(403, "<Error><Code>AccessDenied</Code></Error>"),
        line if line.contains("?uploads") => {
            reply(200, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
        }
        line if line.starts_with("POST") => {
            reply(200, "<CompleteMultipartUploadResult><ETag>\"abc-3\"</ETag></CompleteMultipartUploadResult>")
        }
        line if line.starts_with("DELETE") => reply(204, ""),
        _ => object(""),
    }
}

#[tokio::test]
async fn an_upload_in_parts_is_counted_as_it_is_sent() {
    let put = async |store: Store| (store.put_stream("t/a", large()).await, store.requests());
    let ((version, counts), requests) = with(|request: &Request| upload(request, "none"), put).await;
    let version = version.unwrap();
    assert_eq!((version.e_tag(), version.size()), (Some("abc-3"), 2 * PART_BYTES as u64 + 3));
    assert_eq!((requests.len(), counts.put, counts.total()), (5, 5, 5));
    assert_eq!(counts.bytes_out, 2 * PART_BYTES as u64 + 3);
    let mut sizes: Vec<usize> = requests.iter().filter(|r| r.line.starts_with("PUT")).map(|r| r.body.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [3, PART_BYTES, PART_BYTES]);
}

#[tokio::test]
async fn an_upload_that_fails_anywhere_is_aborted() {
    for (fails, aborts) in
        [("?uploads", 0), ("partNumber=1", 1), ("partNumber=3", 1), ("POST /logs/some/prefix/t/a?uploadId", 1)]
    {
        let put = async |store: Store| (store.put_stream("t/a", large()).await.unwrap_err(), store.requests());
        let ((error, counts), requests) = with(|request: &Request| upload(request, fails), put).await;
        assert_eq!((error.kind(), error.key()), (ErrorKind::PermissionDenied, Some("t/a")), "{fails}: {error}");
        let aborted = requests.iter().filter(|request| request.line.starts_with("DELETE")).count();
        assert_eq!((aborted, counts.delete), (aborts, aborts as u64), "{fails}");
        assert_eq!(counts.total(), requests.len() as u64, "{fails}");
        no_secret(&error);
    }
}

#[tokio::test]
async fn an_upload_whose_end_fails_after_a_200_has_failed() {
    let script = |request: &Request| match request.line.starts_with("POST") && !request.line.contains("?uploads") {
        true => reply(200, FAILED),
        false => upload(request, "none"),
    };
    let put = async |store: Store| store.put_stream("t/a", large()).await.unwrap_err();
    let (error, _) = with(script, put).await;
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some("t/a")), "{error}");
    no_secret(&error);
}

#[tokio::test]
async fn a_part_whose_connection_breaks_is_sent_again_and_counted() {
    let mut broken = 0;
    let script = |request: &Request| match request.line.contains("partNumber=2") && broken < 2 {
        true => {
            broken += 1;
            None
        }
        false => upload(request, "none"),
    };
    let put = async |store: Store| (store.put_stream("t/a", large()).await, store.requests());
    let ((version, counts), requests) = with(script, put).await;
    version.unwrap();
    assert_eq!((requests.len(), counts.put, counts.bytes_out), (7, 7, 4 * PART_BYTES as u64 + 3));
    // The fourth time is the last.
    let script = |request: &Request| if request.line.contains("partNumber=2") { None } else { upload(request, "none") };
    let put = async |store: Store| store.put_stream("t/a", large()).await.unwrap_err();
    let (error, requests) = with(script, put).await;
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some("t/a")), "{error}");
    assert_eq!(requests.iter().filter(|request| request.line.contains("partNumber=2")).count(), 4);
    assert!(error.message().ends_with("(tried 4 times)"), "{error}");
}

#[tokio::test]
async fn a_part_that_the_store_refuses_for_now_is_sent_again_after_the_pause_that_it_asks_for() {
    let clock = Arc::new(NoPauses::default());
    for status in [429, 500, 503] {
        clock.0.lock().unwrap().clear();
        let mut refused = 0;
        let script = |request: &Request| match request.line.contains("partNumber=2") && refused < 3 {
            true => {
                refused += 1;
                Some((status, vec![("Retry-After", "9".to_string())], String::new()))
            }
            false => upload(request, "none"),
        };
        let put = async |store: Store| {
            let store = waiting_by(&clock, store);
            (store.put_stream("t/a", large()).await, store.requests())
        };
        let ((version, counts), requests) = with(script, put).await;
        version.unwrap();
        assert_eq!((requests.len(), counts.put, counts.bytes_out), (8, 8, 5 * PART_BYTES as u64 + 3), "{status}");
        let pauses = clock.0.lock().unwrap().clone();
        let asked = Duration::from_secs(if status == 500 { 0 } else { 9 });
        let own = [100, 200, 400].map(Duration::from_millis);
        assert_eq!(pauses.len(), 3, "{status}: {pauses:?}");
        for (pause, own) in pauses.iter().zip(own) {
            assert!(*pause >= asked + own / 2 && *pause <= asked + own, "{status}: {pauses:?}");
        }
    }
}
