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
        let span = format!(" in request request=\"{kind}\" partition=t/0 key={key} request_id=\"{id}\"");
        assert!(line.ends_with(&span), "{line}");
    }
    let count = |what: &str| told.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("NEW"), count("CLOSED"), count("ENTERED")), (3, 3, count("LEFT")));
    assert!(count("ENTERED") > 6, "a request is polled within its span: {told:#?}");
}
