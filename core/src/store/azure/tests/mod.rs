//! Against a server that answers by a script. The answers are those of
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>.

use object_store::PutPayload;

use crate::store::http::scripted::{Reply, Request, impatient, reply, served};
use crate::store::{Created, Identity, ReadRange, Replaced, Store, StoreOptions, Version};
use crate::{Error, ErrorKind};

mod copy;
mod settings;

/// A key in base64, and a signature in a SAS.
const KEY: &str = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==";
const SIGNATURE: &str = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9v";

fn options(endpoint: &str) -> StoreOptions {
    StoreOptions::default()
        .environment(false)
        .config("AZURE_ENDPOINT", format!("{endpoint}/acc"))
        .config("AZURE_ALLOW_HTTP", "true")
        .config("AZURE_STORAGE_ACCOUNT", "acc")
        .config("AZURE_STORAGE_KEY", KEY)
}

/// Runs `work` with a store on a server that answers `script`, and gives what it was asked.
async fn with<T>(script: impl FnMut(&Request) -> Reply, work: impl AsyncFnOnce(Store) -> T) -> (T, Vec<Request>) {
    let work =
        async |endpoint: &str| work(impatient(Store::open("az://logs/some/prefix", &options(endpoint)).unwrap())).await;
    served(script, work).await
}

fn no_secret(error: &Error) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(![KEY, SIGNATURE, "hunter2"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

fn blob(status: u16, body: &str) -> Reply {
    let headers = vec![
        ("ETag", "\"0x8D\"".to_string()),
        ("Last-Modified", "Fri, 21 Nov 2025 07:00:00 GMT".to_string()),
        ("x-ms-meta-kfsid", "00ff.7".to_string()),
        ("x-ms-request-id", "1a2b-3c".to_string()),
    ];
    Some((status, headers, body.to_string()))
}

fn refusal(status: u16, code: &str) -> Reply {
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>words\n\
         RequestId:1a2b-3c\nTime:2025-11-21T07:00:00.0000000Z</Message></Error>"
    );
    let headers = vec![("x-ms-request-id", "1a2b-3c".to_string()), ("x-ms-error-code", code.to_string())];
    Some((status, headers, body))
}

async fn create(script: impl FnMut(&Request) -> Reply) -> (Created, Vec<Request>) {
    let create = async |store: Store| {
        store.create("t/0/a", PutPayload::from_static(b"hello"), &Identity::of("00ff.7").with_merged(Some("m"))).await
    };
    with(script, create).await
}

#[tokio::test]
async fn a_create_is_one_conditional_put_blob_with_its_identity() {
    let (created, requests) = create(|_| blob(201, "")).await;
    let Created::Yes(version) = created else { panic!("{created:?}") };
    assert_eq!((version.e_tag(), version.size()), (Some("0x8D"), 5));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.line.starts_with("PUT /acc/logs/some/prefix/t/0/a "), "{}", request.line);
    assert_eq!((&request.headers["if-none-match"][..], &request.headers["x-ms-blob-type"][..]), ("*", "BlockBlob"));
    assert_eq!((&request.headers["x-ms-meta-kfsid"][..], &request.headers["x-ms-meta-kfsmerged"][..]), ("00ff.7", "m"));
    assert!(request.headers["authorization"].starts_with("SharedKey acc:"));
}

#[tokio::test]
async fn a_creates_outcome_is_told_by_the_code_and_nothing_is_sent_twice() {
    for (status, code) in [(409, "BlobAlreadyExists"), (412, "ConditionNotMet")] {
        let (created, requests) = create(|_| refusal(status, code)).await;
        assert!(matches!(created, Created::Exists) && requests.len() == 1, "{code} {created:?}");
    }
    for (status, code, kind) in [
        (403, "AuthenticationFailed", ErrorKind::PermissionDenied),
        (404, "ContainerNotFound", ErrorKind::NotFound),
        (409, "ContainerBeingDeleted", ErrorKind::NotFound),
        (409, "AccountIsDisabled", ErrorKind::PermissionDenied),
        (400, "InvalidHeaderValue", ErrorKind::InvalidInput),
    ] {
        let (created, requests) = create(|_| refusal(status, code)).await;
        let Created::Refused(error) = created else { panic!("{code} {created:?}") };
        let sent = if kind == ErrorKind::Unavailable { 4 } else { 1 };
        assert_eq!((error.kind(), requests.len(), error.request_id()), (kind, sent, Some("1a2b-3c")), "{error}");
        assert!(!format!("{error:?}").contains("AWS_"), "{error:?}");
    }
    for (status, code) in [(500, "InternalError"), (503, "ServerBusy"), (409, "SomethingNew")] {
        let (created, requests) = create(|_| refusal(status, code)).await;
        let Created::Unknown(error) = created else { panic!("{code} {created:?}") };
        assert_eq!((error.kind(), requests.len()), (ErrorKind::Unavailable, 1), "{error}");
    }
    let (created, requests) = create(|_| None).await;
    assert!(matches!(created, Created::Unknown(_)) && requests.len() == 1, "{created:?}");
}

#[tokio::test]
async fn a_replace_names_the_e_tag_and_is_sent_once() {
    let mut n = 0;
    let script = |request: &Request| {
        n += 1;
        match n {
            1 => blob(201, ""),
            _ if request.line.starts_with("HEAD") => blob(200, ""),
            _ => refusal(412, "ConditionNotMet"),
        }
    };
    let (replaced, requests) = with(script, async |store| {
        let version = Version::new(Some("0x8C"), 5, None);
        let replace = async || store.replace_if("a", PutPayload::new(), &Identity::none(), &version).await;
        (replace().await, replace().await)
    })
    .await;
    assert!(matches!(replaced, (Replaced::Yes(_), Replaced::Changed)), "{replaced:?}");
    assert_eq!(requests[0].headers["if-match"], "\"0x8C\"");
}

#[tokio::test]
async fn a_read_is_tried_again_and_the_end_of_a_blob_is_read_by_its_place() {
    let mut gets = 0;
    let script = |request: &Request| {
        if request.line.starts_with("HEAD") {
            return blob(200, "0123456789");
        }
        gets += 1;
        if gets == 1 {
            return refusal(503, "ServerBusy");
        }
        let mut answer = blob(206, "789");
        if let Some((_, headers, _)) = &mut answer {
            headers.push(("Content-Range", "bytes 7-9/10".into()));
        }
        answer
    };
    let ((fetched, counts), requests) =
        with(script, async |store| (store.get("t/0/a", ReadRange::Suffix(3), None).await.unwrap(), store.requests()))
            .await;
    assert_eq!((&fetched.bytes[..], fetched.range, fetched.info.size), (&b"789"[..], 7..10, 10));
    assert_eq!((fetched.identity, counts.get, requests.len()), (Identity::of("00ff.7"), 4, 4));
    let last = requests.last().unwrap();
    let range = last.headers.get("x-ms-range").or(last.headers.get("range"));
    assert_eq!((range.map(String::as_str), &last.headers["if-match"][..]), (Some("bytes=7-9"), "\"0x8D\""));
}

#[tokio::test]
async fn the_end_of_an_empty_blob_is_empty_and_of_one_that_is_replaced_meanwhile_is_looked_for_again() {
    let (fetched, requests) =
        with(|_: &Request| blob(200, ""), async |store| store.get("a", ReadRange::Suffix(3), None).await).await;
    let fetched = fetched.unwrap();
    assert_eq!((fetched.bytes.len(), fetched.range, requests.len()), (0, 0..0, 1));
    let script = |request: &Request| match request.line.starts_with("HEAD") {
        true => blob(200, "0123456789"),
        false => refusal(412, "ConditionNotMet"),
    };
    let (error, requests) =
        with(script, async |store| store.get("a", ReadRange::Suffix(3), None).await.unwrap_err()).await;
    assert_eq!((error.kind(), requests.len()), (ErrorKind::Unavailable, 4 * 8), "{error}");
    let version = Version::new(Some("0x8D"), 10, None);
    let (error, requests) =
        with(script, async |store| store.get("a", ReadRange::Suffix(3), Some(&version)).await.unwrap_err()).await;
    assert_eq!((error.kind(), requests.len()), (ErrorKind::Conflict, 2), "{error}");
}

fn listing(names: &[&str], marker: &str) -> Reply {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>");
    for name in names {
        xml.push_str(&format!(
            "<Blob><Name>some/prefix/{name}</Name><Properties><Last-Modified>Fri, 21 Nov 2025 07:00:00 GMT\
             </Last-Modified><Etag>0x8D</Etag><Content-Length>3</Content-Length><Content-Type>x</Content-Type>\
             </Properties></Blob>"
        ));
    }
    xml.push_str(&format!("</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"));
    reply(200, &xml)
}

#[tokio::test]
async fn a_listing_goes_on_by_its_marker_and_leaves_out_what_is_no_key_of_a_log() {
    let mut n = 0;
    let script = |_: &Request| {
        n += 1;
        // The offset is named first: Azure's startFrom takes it in. A server that does not know it begins at the front.
        if n == 1 { listing(&["t/0/A", "t/0/a", "t/0/b//x"], "m1") } else { listing(&["t/0/b", "t/0/d"], "") }
    };
    let (page, requests) = with(script, async |store| store.list_page("t/0/", Some("t/0/a"), 5).await.unwrap()).await;
    let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!((keys, page.complete), (vec!["t/0/b", "t/0/d"], true));
    assert_eq!(page.objects[0].version.e_tag(), Some("0x8D"));
    assert!(requests[0].line.contains("startFrom=some%2Fprefix%2Ft%2F0%2Fa"), "{}", requests[0].line);
    assert!(requests[1].line.contains("marker=m1"), "{}", requests[1].line);
}

#[tokio::test]
async fn another_documents_and_pages_of_the_web_are_not_taken_for_a_listing() {
    for body in ["<html></html>", "<ListBucketResult></ListBucketResult>"] {
        let (error, _) =
            with(|_: &Request| reply(200, body), async |store| store.list_page("t/", None, 5).await.unwrap_err()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains("an Azure Blob store"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("AZURE_ENDPOINT")), "{error:?}");
    }
    let page = |_: &Request| Some((404, vec![("Content-Type", "text/html".to_string())], "<html>".to_string()));
    let (error, _) = with(page, async |store| store.delete("a").await.unwrap_err()).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn one_blob_is_deleted_by_one_request_and_none_is_no_error() {
    for answer in [blob(202, ""), refusal(404, "BlobNotFound")] {
        let (deletes, requests) = with(
            |_: &Request| answer.clone(),
            async |store| {
                store.delete("a b%2Fc").await.unwrap();
                store.requests().delete
            },
        )
        .await;
        assert_eq!((deletes, requests.len()), (1, 1));
        let expected = "DELETE /acc/logs/some/prefix/a%20b%252Fc ";
        assert!(requests[0].line.starts_with(expected), "{}", requests[0].line);
        assert!(requests[0].headers["authorization"].starts_with("SharedKey acc:"));
    }
    for (status, code, kind) in [
        (403, "AuthorizationPermissionMismatch", ErrorKind::PermissionDenied),
        (412, "LeaseIdMissing", ErrorKind::PermissionDenied),
        (404, "ContainerNotFound", ErrorKind::NotFound),
        (503, "ServerBusy", ErrorKind::Unavailable),
    ] {
        let script = |_: &Request| refusal(status, code);
        let (deleted, requests) = with(script, async |store| store.delete("a").await).await;
        // A container that is not there holds no blob.
        let Err(error) = deleted else {
            assert_eq!(kind, ErrorKind::NotFound, "{code}");
            continue;
        };
        let sent = if kind == ErrorKind::Unavailable { 4 } else { 1 };
        assert_eq!((error.kind(), requests.len(), error.request_id()), (kind, sent, Some("1a2b-3c")), "{error}");
        assert!(error.message().contains(code), "{error}");
    }
}

#[tokio::test]
async fn what_a_server_echoes_of_our_credentials_is_removed() {
    let echo = |request: &Request| {
        let authorization = request.headers.get("authorization").cloned().unwrap_or_default();
        let message = format!("{} {authorization} {KEY} {SIGNATURE}", request.line);
        reply(403, &format!("<Error><Code>Denied</Code><Message>{message}</Message></Error>"))
    };
    let sas = format!("?sv=2023-11-03&sr=c&sp=racwdl&sig={SIGNATURE}%3D");
    for (name, value) in
        [("AZURE_STORAGE_KEY", KEY), ("AZURE_STORAGE_SAS_TOKEN", &sas), ("AZURE_STORAGE_TOKEN", "hunter2hunter2")]
    {
        let work = async |endpoint: &str| {
            let options = StoreOptions::default().environment(false);
            let options = options.config("AZURE_ENDPOINT", format!("{endpoint}/acc")).config("AZURE_ALLOW_HTTP", "1");
            let options = options.config("AZURE_STORAGE_ACCOUNT", "acc").config(name, value);
            let store = Store::open("az://logs", &options).unwrap();
            let created = store.create("a", PutPayload::new(), &Identity::none()).await;
            let Created::Refused(created) = created else { panic!("{created:?}") };
            let read = store.get("a", ReadRange::Whole, None).await.unwrap_err();
            let deleted = store.delete("a").await.unwrap_err();
            [created, read, store.list_page("", None, 5).await.unwrap_err(), deleted]
        };
        let (errors, requests) = served(echo, work).await;
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let shown = format!("{error:?}");
            assert!(!shown.contains(value) && !shown.contains("hunter2"), "{shown}");
            for request in &requests {
                let sent = request.headers.get("authorization").map(String::as_str).unwrap_or("never-said");
                let sent = sent.rsplit([':', ' ']).next().unwrap();
                assert!(!shown.contains(sent), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_carries_an_id_of_ours_unless_an_account_key_signs_it() {
    let sas = format!("?sv=2023-11-03&sr=c&sp=racwdl&sig={SIGNATURE}%3D");
    for (name, value, carries) in [
        ("AZURE_STORAGE_KEY", KEY, false),
        ("AZURE_STORAGE_SAS_TOKEN", &sas, true),
        ("AZURE_STORAGE_TOKEN", "hunter2hunter2", true),
    ] {
        let work = async |endpoint: &str| {
            let options = StoreOptions::default().environment(false);
            let options = options.config("AZURE_ENDPOINT", format!("{endpoint}/acc")).config("AZURE_ALLOW_HTTP", "1");
            let options = options.config("AZURE_STORAGE_ACCOUNT", "acc").config(name, value);
            let store = Store::open("az://logs", &options).unwrap();
            let read = store.get("a", ReadRange::Whole, None).await.unwrap_err();
            [read, store.put("a", PutPayload::new()).await.unwrap_err(), store.delete("a").await.unwrap_err()]
        };
        let (errors, requests) = served(|_| refusal(403, "AuthorizationFailure"), work).await;
        assert_eq!(requests.len(), 3);
        for (error, request) in errors.iter().zip(&requests) {
            let sent = request.headers.get("x-ms-client-request-id").map(String::as_str);
            assert_eq!((sent.is_some(), error.client_request_id()), (carries, sent), "{name}: {error}");
            assert_eq!(error.request_id(), Some("1a2b-3c"), "{name}: {error}");
        }
    }
}
