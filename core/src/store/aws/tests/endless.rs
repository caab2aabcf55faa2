//! Listings that do not go on.

use super::*;

#[tokio::test]
async fn a_listing_that_gives_the_same_token_twice_is_unavailable() {
    for keys in [&["t/0/a"][..], &[]] {
        let script = |_: &Request| listing(keys, Some("again"));
        let ((pages, asked), _) = with(bounded(4 * 8, script), async |store| {
            let mut pages = vec![store.list_page("t/0/", None, 5).await];
            if let Ok(page) = &pages[0] {
                assert_eq!((page.objects.len(), page.complete), (1, false));
                pages = vec![store.list_page("t/0/", Some("t/0/a"), 5).await];
            }
            pages.push(store.list_dirs("t").await.map(|_| unreachable!()));
            (pages, store.requests().list)
        })
        .await;
        assert!(asked <= 4 * 6);
        for error in pages.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.message().contains("the same continuation token twice"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_listing_of_empty_pages_without_end_is_unavailable() {
    let mut n = 0;
    let script = |_: &Request| {
        n += 1;
        listing(&[], Some(&format!("token-{n}")))
    };
    let (errors, _) = with(bounded(4 * 2_100, script), async |store| {
        [store.list_page("t/0/", None, 5).await.unwrap_err(), store.list_dirs("t").await.unwrap_err()]
    })
    .await;
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("1000 pages in a row"), "{error}");
    }
}

#[tokio::test]
async fn folders_without_end_are_given_up_before_they_fill_the_memory() {
    let name = "x".repeat(900);
    let mut n = 0;
    let script = |_: &Request| {
        n += 1;
        let mut xml = String::from("<ListBucketResult>");
        for i in 0..10_000 {
            xml.push_str(&format!(
                "<CommonPrefixes><Prefix>some/prefix/{n:05}-{i:05}{name}/</Prefix></CommonPrefixes>"
            ));
        }
        xml.push_str(&format!("<NextContinuationToken>{n}</NextContinuationToken></ListBucketResult>"));
        reply(200, &xml)
    };
    let (error, _) = with(bounded(40, script), async |store| store.list_dirs("").await.unwrap_err()).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("too many"), "{error}");
}

/// Fails a test that asks more often than `most` times.
fn bounded(most: usize, mut script: impl FnMut(&Request) -> Reply) -> impl FnMut(&Request) -> Reply {
    let mut asked = 0;
    move |request| {
        asked += 1;
        assert!(asked <= most, "asked without end");
        script(request)
    }
}
