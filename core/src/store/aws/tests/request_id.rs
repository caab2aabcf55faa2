//! What the server calls a request, which those who run it can look up.

use super::*;
use crate::Result;

/// A refusal with a name, or an answer with one.
fn with_id(reply: Reply, id: &str) -> Reply {
    reply.map(|(status, mut headers, body)| {
        headers.push(("x-amz-request-id", id.to_string()));
        (status, headers, body)
    })
}

/// Every kind of request, by its name.
async fn all(store: &Store) -> Vec<(&'static str, Result<()>)> {
    let body = || PutPayload::from_static(b"hello");
    let version = Version::new(Some("abc"), 5, None);
    let created = match store.create("ns/t/0/a", body(), &Identity::none()).await {
        Created::Yes(_) => Ok(()),
        Created::Refused(error) | Created::Unknown(error) => Err(error),
        other => panic!("{other:?}"),
    };
    let replaced = match store.replace_if("ns/t/0/a", body(), &Identity::none(), &version).await {
        crate::store::Replaced::Yes(_) => Ok(()),
        crate::store::Replaced::Refused(error) | crate::store::Replaced::Unknown(error) => Err(error),
        other => panic!("{other:?}"),
    };
    vec![
        ("create", created),
        ("replace", replaced),
        ("put", store.put("ns/t/0/a", body()).await.map(drop)),
        ("get", store.get("ns/t/0/a", ReadRange::Whole, None).await.map(drop)),
        ("head", store.head("ns/t/0/a").await.map(drop)),
        ("list", store.list_page("ns/t/0/", None, 10).await.map(drop)),
        ("dirs", store.list_dirs("ns/t").await.map(drop)),
        ("delete", store.delete("ns/t/0/a").await),
    ]
}

#[tokio::test]
async fn the_error_of_a_refusal_tells_what_the_store_calls_the_request() {
    let body = "<Error><Code>AccessDenied</Code><Message>no</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>";
    let (refused, _) = with(|_| with_id(reply(403, body), "4442587FB7D0A2F9"), async |store| all(&store).await).await;
    for (what, refused) in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.request_id(), Some("4442587FB7D0A2F9"), "{what}: {error}");
        assert!(format!("{error}").contains("(request id 4442587FB7D0A2F9)"), "{what}: {error}");
        let outer = Error::new(ErrorKind::TimedOut, "gave up").because_of(error);
        assert_eq!(outer.request_id(), Some("4442587FB7D0A2F9"), "{what}: {outer}");
        assert_eq!(format!("{outer:#}").matches("4442587FB7D0A2F9").count(), 1, "{outer:#}");
    }
}

#[tokio::test]
async fn the_last_try_of_a_read_is_the_one_that_is_named() {
    let mut tries = 0;
    let script = |_: &Request| {
        tries += 1;
        with_id(reply(503, ""), &format!("TRY{tries}"))
    };
    let (error, requests) =
        with(script, async |store| store.get("ns/t/0/a", ReadRange::Whole, None).await.unwrap_err()).await;
    assert_eq!((error.request_id(), requests.len()), (Some("TRY4"), 4), "{error}");
}

#[tokio::test]
async fn a_request_id_that_is_none_is_not_shown_and_a_secret_in_it_is_removed() {
    for (id, shown) in [
        (String::new(), None),
        ("two words".to_string(), None),
        ("<b>".to_string(), None),
        ("x".repeat(129), None),
        (format!("id/{SECRET}/testak"), Some("id/[removed]/[removed]")),
    ] {
        let script = |_: &Request| with_id(reply(403, ""), &id);
        let (error, _) = with(script, async |store| store.put("ns/t/0/a", PutPayload::new()).await).await;
        let error = error.unwrap_err();
        assert_eq!(error.request_id(), shown, "{id}");
        no_secret(&error);
    }
}

/// Every kind of request that is tried again, and those of `all`.
async fn all_and_copy(store: &Store) -> Vec<(&'static str, Result<()>)> {
    let mut all = all(store).await;
    all.push(("copy", store.copy("ns/t/0/a", "ns/t/0/b").await));
    all
}

#[tokio::test]
async fn each_try_carries_an_id_of_its_own_which_the_error_names() {
    let (failed, requests) = with(|_| reply(503, ""), async |store| all_and_copy(&store).await).await;
    let mut sent: Vec<&str> = requests.iter().map(|request| &request.headers["x-request-id"][..]).collect();
    for (what, failed) in failed {
        let error = failed.unwrap_err();
        let id = error.client_request_id().unwrap();
        assert!(sent.contains(&id), "{what}: {error}");
        assert!(error.to_string().contains(&format!("(client request id {id})")), "{what}: {error}");
        assert_eq!(error.request_id(), None, "{what}: {error}");
    }
    let (tries, is_uuid) = (sent.len(), |id: &str| id.len() == 36 && id.as_bytes()[14] == b'4');
    assert!(sent.iter().all(|id| is_uuid(id)), "{sent:?}");
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), tries, "no two tries have the same id");
}

#[tokio::test]
async fn a_request_without_an_answer_has_our_id_alone() {
    let (error, requests) =
        with(|_| None, async |store| store.get("ns/t/0/a", ReadRange::Whole, None).await.unwrap_err()).await;
    let last = &requests.last().unwrap().headers["x-request-id"];
    assert_eq!((error.client_request_id(), error.request_id()), (Some(&**last), None), "{error}");
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn each_request_has_a_span_with_its_partition_and_what_the_store_calls_it() {
    use std::rc::Rc;

    use crate::testing::subscriber::listen;

    let told = Rc::new(std::cell::RefCell::new(Vec::new()));
    let hears = told.clone();
    listen(move |line| hears.borrow_mut().push(line));
    let mut count = 0;
    let script = |request: &Request| {
        count += 1;
        let body = if request.line.starts_with("PUT") { "" } else { "hello" };
        with_id(object(body), &format!("ID{count}"))
    };
    with(script, async |store| {
        let created = store.create("ns/t/0/a", PutPayload::from_static(b""), &Identity::none()).await;
        assert!(matches!(created, Created::Yes(_)), "{created:?}");
        store.get("ns/t/0/a", ReadRange::Whole, None).await.unwrap();
        store.list_page("ns/t/0/", None, 10).await.unwrap_err();
    })
    .await;
    let told = told.borrow();
    let ended: Vec<_> = told.iter().filter(|line| line.contains("a request ended")).collect();
    let [put, get, list] = &ended[..] else { panic!("{told:#?}") };
    for (line, kind, key, id) in
        [(put, "put", "ns/t/0/a", "ID1"), (get, "get", "ns/t/0/a", "ID2"), (list, "list", "ns/t/0/", "ID3")]
    {
        assert!(line.contains(&format!(" request_id=\"{id}\"")), "{line}");
        assert!(line.contains(&format!(" request=\"{kind}\" partition=t/0 key={key} outcome=")), "{line}");
        let (event, span) = line.split_once(" in request ").unwrap();
        assert!(
            span.starts_with(&format!("request=\"{kind}\" partition=t/0 key={key} client_request_id=\"")),
            "{line}"
        );
        assert!(span.ends_with(&format!(" request_id=\"{id}\"")), "{line}");
        let ours = |text: &str| text.split_once("client_request_id=\"").unwrap().1[..36].to_string();
        assert_eq!(ours(event), ours(span), "{line}");
    }
    let count = |what: &str| told.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("NEW"), count("CLOSED"), count("ENTERED")), (3, 3, count("LEFT")));
    assert!(count("ENTERED") > 6, "a request is polled within its span: {told:#?}");
}
