//! The check of a bucket: what it finds on good and bad servers, what it costs, and what a writer makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kfs_core::format::NewRecord;
use kfs_core::runtime::{Runtime, SystemEntropy};
use kfs_core::store::preflight::{Preflight, PreflightCheck, PreflightOptions, PreflightVerdict};
use kfs_core::store::{Store, StoreOptions};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, MergePolicy, Result, WriterOptions};
use kfs_tests::fake_http::{Answer, Request};
use kfs_tests::{AzureServer, FakeGcs, FakeS3, KnownWrongS3, LocalSpawn, ManualClock, S3Server};

const URL: &str = "s3://logs/p";

async fn check_store(url: &str, options: &StoreOptions) -> Preflight {
    let store = Store::open(url, options).unwrap();
    let runtime = Runtime::current_or_own().unwrap();
    let before = store.requests();
    let report = store.preflight(&runtime, &PreflightOptions::default()).await.unwrap();
    let counted = store.requests().since(&before);
    assert_eq!(counted.total(), report.requests.total(), "the store counts them too");
    assert!(counted.total() <= 60, "{counted:?}");
    report
}

async fn check(server: &FakeS3) -> Preflight {
    check_store(URL, &server.store_options()).await
}

/// The checks with this verdict.
fn with(report: &Preflight, verdict: PreflightVerdict) -> Vec<PreflightCheck> {
    report.steps.iter().filter(|step| step.verdict == verdict).map(|step| step.check).collect()
}

/// The fake's objects are all of one time long ago.
fn besides_the_clock(mut checks: Vec<PreflightCheck>) -> Vec<PreflightCheck> {
    checks.retain(|check| *check != PreflightCheck::Clock);
    checks
}

fn is_race(request: &Request) -> bool {
    request.method == "PUT" && request.key().contains("-race-")
}

#[tokio::test]
async fn a_good_bucket_passes_with_43_requests_and_nothing_is_left() {
    let server = FakeS3::start();
    let report = check(&server).await;
    assert_eq!(with(&report, PreflightVerdict::Warning), [PreflightCheck::Clock]);
    assert_eq!(with(&report, PreflightVerdict::Fine).len(), report.steps.len() - 1, "{report:?}");
    assert!(report.failure().is_none());
    let requests = server.requests();
    assert_eq!((requests.len(), report.requests.total()), (43, 43));
    assert_eq!(requests.iter().filter(|request| is_race(request)).count(), 24);
    assert!(requests.iter().all(|request| request.is_list() || request.key().starts_with("p/kfs-preflight-")));
    assert!(server.keys().is_empty() && report.left.is_empty());
    let clock = report.step(PreflightCheck::Clock).unwrap();
    assert!(clock.found.contains(" s behind this machine's"), "{clock:?}");
}

#[tokio::test]
async fn versitygw_passes() {
    let Some(server) = S3Server::start() else { return };
    let report = check_store(&server.url("p"), &server.store_options()).await;
    assert_eq!(with(&report, PreflightVerdict::Fine).len(), 13, "{report:?}");
    assert_eq!(report.steps.len(), 13, "{report:?}");
    assert_eq!(report.requests.total(), 43);
    let store = Store::open(&server.url(""), &server.store_options()).unwrap();
    assert!(store.list_page("", None, 10).await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn azurite_passes_with_a_warning_about_suffix_ranges() {
    let Some(server) = AzureServer::start() else { return };
    let report = check_store(&server.url("p"), &server.store_options()).await;
    assert_eq!(with(&report, PreflightVerdict::Warning), [PreflightCheck::SuffixGet], "{report:?}");
    assert!(report.failure().is_none() && report.left.is_empty());
    assert_eq!(report.requests.total(), 42);
    let store = Store::open(&server.url(""), &server.store_options()).unwrap();
    assert!(store.list_page("", None, 10).await.unwrap().objects.is_empty());
}

#[tokio::test]
#[ignore = "needs a server that takes minutes to install: make known-wrong"]
async fn a_real_server_that_is_known_to_be_wrong_fails() {
    let Some(server) = KnownWrongS3::start() else { return };
    let report = check_store(&server.url(), &server.store_options()).await;
    let error = report.failure().unwrap();
    assert!(error.message().contains("create if absent"), "{error}");
    let bucket = Bucket::open_with(&server.url(), BucketOptions::default().store(server.store_options())).unwrap();
    assert_eq!(append(&bucket, "t").await.unwrap_err().kind(), ErrorKind::Unsupported);
    println!("{report:#?}");
}

#[tokio::test]
async fn the_fake_of_google_cloud_storage_passes() {
    let server = FakeGcs::start();
    let report = check_store(&server.url("p"), &server.store_options()).await;
    assert_eq!(with(&report, PreflightVerdict::Failed), [], "{report:?}");
    assert_eq!(besides_the_clock(with(&report, PreflightVerdict::Warning)), [], "{report:?}");
    let options = BucketOptions::default().store(server.store_options().preflight(true));
    assert_eq!(append(&Bucket::open_with(&server.url("p"), options).unwrap(), "t").await.unwrap(), 0);
}

/// The report of a server that does something wrong, which fails one check and no other.
async fn fails_at(server: &FakeS3, check: PreflightCheck) -> Error {
    let report = self::check(server).await;
    assert_eq!(with(&report, PreflightVerdict::Failed), [check], "{report:?}");
    assert!(server.keys().is_empty() && report.left.is_empty(), "{report:?}");
    report.failure().unwrap()
}

#[tokio::test]
async fn a_server_that_ignores_if_none_match_fails() {
    let server = FakeS3::start();
    server.ignore_header("if-none-match");
    let error = fails_at(&server, PreflightCheck::CreateIfAbsent).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("8 of 8 writers") && error.message().contains("acked records"), "{error}");
    assert!(error.is_from_store() && error.hint().unwrap().contains("single_writer"), "{error:?}");
}

/// Refuses each create on a condition.
fn refuse_creates(server: &FakeS3, status: u16, code: &'static str) {
    server.script(move |request, serve| match request.header("if-none-match") {
        Some(_) => Some(Answer::error(status, code)),
        None => Some(serve()),
    });
}

#[tokio::test]
async fn a_server_that_refuses_if_none_match_fails() {
    for (status, code) in [(501, "NotImplemented"), (400, "InvalidArgument"), (400, "NotImplemented")] {
        let server = FakeS3::start();
        refuse_creates(&server, status, code);
        let error = fails_at(&server, PreflightCheck::CreateIfAbsent).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("refuses a create") && error.message().contains(code), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_drops_metadata_fails() {
    let server = FakeS3::start();
    server.script(|_, serve| {
        let mut answer = serve();
        answer.headers.retain(|(name, _)| !name.starts_with("x-amz-meta-"));
        Some(answer)
    });
    let error = fails_at(&server, PreflightCheck::Metadata).await;
    assert!(error.message().contains("without the metadata"), "{error}");
}

#[tokio::test]
async fn a_server_that_hides_what_was_just_put_fails() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method == "GET" && !request.is_list() {
        true => Some(Answer::error(404, "NoSuchKey")),
        false => Some(serve()),
    });
    let error = fails_at(&server, PreflightCheck::Get).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let server = FakeS3::start();
    server.script(|request, serve| {
        let listed = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        if request.is_list() { Some(Answer::new(200, listed)) } else { Some(serve()) }
    });
    let error = fails_at(&server, PreflightCheck::ListAfterPut).await;
    assert!(error.message().contains("leaves out 4 of 4"), "{error}");
}

#[tokio::test]
async fn a_404_to_a_listing_is_no_missing_object_and_a_501_to_one_is_not_about_creates() {
    for (status, code) in [(404, ""), (501, "NotImplemented")] {
        let server = FakeS3::start();
        server.script(move |_, _| {
            Some(if code.is_empty() { Answer::new(status, "") } else { Answer::error(status, code) })
        });
        let error = check(&server).await.failure().unwrap();
        let hint = error.hint().unwrap();
        assert!(!error.to_string().contains("no such object"), "{error}");
        assert!(hint.contains("the address of an S3 server") && !hint.contains("If-None-Match"), "{hint}");
    }
}

#[tokio::test]
async fn a_storage_class_that_can_not_be_read_is_refused() {
    let server = FakeS3::start();
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let error = Store::open(URL, &server.store_options().config("storage_class", class)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("storage_class can't be"), "{error}");
    }
}

/// Takes the ETag out of the answers to requests with this method.
fn without_e_tags(server: &FakeS3, method: &'static str) {
    server.script(move |request, serve| {
        let mut answer = serve();
        if request.method == method {
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
        }
        Some(answer)
    });
}

#[tokio::test]
async fn a_server_that_answers_without_e_tags_fails_and_is_refused_at_once() {
    for (method, check) in [("PUT", PreflightCheck::Put), ("GET", PreflightCheck::Get)] {
        let server = FakeS3::start();
        without_e_tags(&server, method);
        let error = fails_at(&server, check).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("without an ETag"), "{error}");
        let options = BucketOptions::default().store(server.store_options().preflight(true));
        let refused = append(&Bucket::open_with(URL, options).unwrap(), "t").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    }
}

#[tokio::test]
async fn a_listing_that_tells_other_versions_than_reads_fails() {
    let server = FakeS3::start();
    server.script(|request, serve| {
        let mut answer = serve();
        if request.is_list() {
            let body = String::from_utf8(answer.body).unwrap();
            answer.body = body.replace("<ETag>&quot;", "<ETag>&quot;0").replace("<ETag>\"", "<ETag>\"0").into();
        }
        Some(answer)
    });
    let error = fails_at(&server, PreflightCheck::ListAfterPut).await;
    assert!(error.message().contains("tells another version of an object"), "{error}");
}

#[tokio::test]
async fn the_winner_of_a_race_may_lose_its_answer() {
    let server = FakeS3::start();
    // Each first PUT of a name is applied, and its answer is lost.
    let mut seen = BTreeSet::new();
    server.script(move |request, serve| {
        let answer = serve();
        let lost = request.method == "PUT" && seen.insert(request.key.clone());
        if lost { None } else { Some(answer) }
    });
    let report = check(&server).await;
    assert_eq!(with(&report, PreflightVerdict::Failed), [], "{report:?}");
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn a_conflict_that_keeps_nothing_is_no_failure_if_a_lone_writer_then_succeeds() {
    let server = FakeS3::start();
    let mut races = 0;
    server.script(move |request, serve| {
        races += usize::from(is_race(request));
        match is_race(request) && races % 9 != 0 {
            true => Some(Answer::error(409, "ConditionalRequestConflict")),
            false => Some(serve()),
        }
    });
    let report = check(&server).await;
    assert_eq!(with(&report, PreflightVerdict::Failed), [], "{report:?}");
    server.script(move |request, serve| match is_race(request) {
        true => Some(Answer::error(409, "ConditionalRequestConflict")),
        false => Some(serve()),
    });
    let error = fails_at(&server, PreflightCheck::CreateIfAbsent).await;
    assert!(error.message().contains("holds no object there"), "{error}");
}

#[tokio::test]
async fn a_winner_whose_bytes_are_not_there_is_no_winner() {
    let server = FakeS3::start();
    // The first of a race is served, and told that it lost, and the second is told that it won.
    let mut races = 0;
    server.script(move |request, serve| {
        races += usize::from(is_race(request));
        match races % 8 {
            1 if is_race(request) => {
                serve();
                Some(Answer::error(412, "PreconditionFailed"))
            }
            2 if is_race(request) => Some(Answer::new(200, "").with("ETag", "\"other\"")),
            _ => Some(serve()),
        }
    });
    let report = check(&server).await;
    let failed = report.failure().unwrap();
    assert!(failed.message().contains("bytes of another writer"), "{failed}");
}

#[tokio::test]
async fn missing_suffix_ranges_a_missing_right_to_delete_and_an_ignored_if_match_are_warnings() {
    let server = FakeS3::start();
    server.ignore_header("if-match");
    server.script(|request, serve| match request.header("range") {
        _ if request.method == "DELETE" => Some(Answer::error(403, "AccessDenied")),
        Some(range) if range.starts_with("bytes=-") => Some(Answer::error(400, "InvalidArgument")),
        _ => Some(serve()),
    });
    let report = check(&server).await;
    let warned = besides_the_clock(with(&report, PreflightVerdict::Warning));
    let expected = [PreflightCheck::SuffixGet, PreflightCheck::ConditionalReplace, PreflightCheck::Delete];
    assert_eq!(warned, expected, "{report:?}");
    assert!(report.failure().is_none());
    assert_eq!(with(&report, PreflightVerdict::NotTried), [PreflightCheck::ListAfterDelete]);
    let there: Vec<_> = server.keys().into_iter().map(|key| String::from_utf8(key).unwrap()).collect();
    assert_eq!(report.left.iter().cloned().collect::<BTreeSet<_>>(), there.into_iter().collect());
    assert_eq!(report.left.len(), 4);
    // What is left is no topic, whatever the namespace is called.
    let bucket = Bucket::open_with(URL, BucketOptions::default().store(server.store_options())).unwrap();
    assert!(bucket.topics().await.unwrap().is_empty());
    assert!(bucket.store().list_dirs("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_ignores_if_match_merges_nothing() {
    let server = FakeS3::start();
    server.ignore_header("if-match");
    let bucket =
        Bucket::open_with(URL, BucketOptions::default().store(server.store_options().preflight(true))).unwrap();
    let partition = bucket.partition("t", 0).unwrap();
    let writer = partition.writer().await.unwrap();
    writer.append(&[NewRecord::new(0).value(b"v")]).await.unwrap().durable().await.unwrap();
    let error = partition.plan_merge(&MergePolicy::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let told = "this one does not: the store replaces an object though it is not the version that was named";
    assert!(error.message().ends_with(told), "{error}");
}

#[tokio::test]
async fn the_worst_server_costs_no_more_than_60_requests() {
    let server = FakeS3::start();
    server.ignore_header("if-match");
    let mut races = 0;
    let mut first = true;
    server.script(move |request, serve| {
        races += usize::from(is_race(request));
        if is_race(request) && races % 9 != 0 {
            return Some(Answer::error(409, "ConditionalRequestConflict"));
        }
        if request.method == "DELETE" {
            return Some(Answer::error(503, "SlowDown"));
        }
        if request.method == "PUT" && std::mem::take(&mut first) {
            serve();
            return None;
        }
        // Ranges are ignored.
        let whole = request.method == "GET" && request.headers.contains_key("range");
        let answer = serve();
        Some(if whole { Answer { status: 200, ..answer } } else { answer })
    });
    let report = check(&server).await;
    assert!(with(&report, PreflightVerdict::Failed).contains(&PreflightCheck::RangedGet), "{report:?}");
    assert!(server.requests().len() <= 60);
}

#[tokio::test]
async fn what_a_failed_check_made_is_deleted() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.header("if-none-match") {
        Some(_) if request.key().ends_with("-race-2") => Some(Answer::error(503, "SlowDown")),
        _ => Some(serve()),
    });
    let report = check(&server).await;
    let error = report.failure().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.message().contains("ended at \"create if absent\"") && error.message().contains("SlowDown"),
        "{error}"
    );
    assert!(server.keys().is_empty() && report.left.is_empty(), "{report:?}");
    assert_eq!(with(&report, PreflightVerdict::NotTried).len(), 4, "{report:?}");
}

#[tokio::test]
async fn credentials_that_may_only_read_are_told_so() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "PUT" => Some(Answer::error(403, "AccessDenied")),
        _ => Some(serve()),
    });
    let error = fails_at(&server, PreflightCheck::Put).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.hint().unwrap().contains("may be listed, and not written"), "{error:?}");
}

fn open(server: &FakeS3, change: impl Fn(StoreOptions) -> StoreOptions) -> Bucket {
    let store = change(server.store_options().preflight(true));
    Bucket::open_with(URL, BucketOptions::default().store(store)).unwrap()
}

async fn append(bucket: &Bucket, topic: &str) -> Result<i64> {
    let writer = bucket.partition(topic, 0)?.writer_with(WriterOptions::default()).await?;
    let offsets = writer.append(&[NewRecord::new(1).value(b"x")]).await?.durable().await?;
    writer.close(None).await?;
    Ok(offsets.base)
}

fn checks(server: &FakeS3) -> usize {
    let races = server.requests().into_iter().filter(is_race);
    races.map(|request| request.key).collect::<BTreeSet<_>>().len().div_ceil(3)
}

#[tokio::test]
async fn writers_of_one_bucket_share_one_check_and_it_is_remembered() {
    let server = FakeS3::start();
    let buckets = [open(&server, |options| options), open(&server, |options| options)];
    let appends = buckets.iter().flat_map(|bucket| ["a", "b", "c"].map(|topic| append(bucket, topic)));
    // Two buckets of one process write each topic, and either may lose a slot to the other.
    let ended = join_all(appends).await;
    assert!(ended.iter().any(Result::is_ok), "{ended:?}");
    assert_eq!(checks(&server), 1);
    append(&open(&server, |options| options), "d").await.unwrap();
    assert_eq!(checks(&server), 0, "remembered");
    append(&open(&server, |options| options.config("AWS_SECRET_ACCESS_KEY", "another/secret")), "e").await.unwrap();
    assert_eq!(checks(&server), 1, "other credentials");
    buckets[0].partition("f", 0).unwrap().create(7).await.unwrap();
    assert_eq!(checks(&server), 0);
}

#[test]
fn a_check_on_a_runtime_that_stands_still_keeps_no_other_writer_waiting() {
    let server = FakeS3::start();
    let [still, moving] = [(); 2].map(|()| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    still.block_on(async {
        let bucket = open(&server, |options| options);
        let append = append(&bucket, "a");
        let begun = async {
            while server.requests().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = append => panic!("{ended:?}"),
            () = begun => {}
        }
    });
    moving.block_on(async {
        let clock = ManualClock::new(0);
        let runtime = Runtime::new(clock.clone(), Arc::new(SystemEntropy), Arc::new(LocalSpawn));
        let options = BucketOptions::default().runtime(runtime).store(server.store_options().preflight(true));
        let bucket = Bucket::open_with(URL, options).unwrap();
        let open = bucket.partition("b", 0).unwrap();
        let passing = async {
            clock.until(|sleepers| sleepers.contains(&Duration::from_secs(60))).await;
            clock.advance(Duration::from_secs(60));
        };
        let (opened, ()) = tokio::join!(open.writer(), passing);
        opened.unwrap();
    });
    assert_eq!(checks(&server), 1);
}

#[tokio::test]
async fn a_check_that_is_switched_off_sends_nothing_and_readers_need_none() {
    let server = FakeS3::start();
    let bucket = open(&server, |options| options);
    assert!(bucket.topics().await.unwrap().is_empty());
    bucket.partition("t", 0).unwrap().reader().fetch(0, 1).await.unwrap_err();
    append(&open(&server, |options| options.preflight(false)), "t").await.unwrap();
    assert_eq!(checks(&server), 0);
    bucket.partition("other", 0).unwrap().create(0).await.unwrap();
    assert_eq!(checks(&server), 1, "creating a log is a write");
}

#[tokio::test]
async fn no_writer_opens_in_a_bucket_that_fails_and_the_finding_is_remembered() {
    let server = FakeS3::start();
    server.ignore_header("if-none-match");
    let bucket = open(&server, |options| options);
    for _ in 0..2 {
        let error = append(&bucket, "t").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("create if absent") && error.hint().is_some(), "{error:?}");
    }
    assert_eq!(bucket.partition("t", 0).unwrap().create(0).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|request| is_race(request)).count(), 8, "one round of one check");
    assert!(requests.iter().all(|request| !request.key().contains("default/")), "no log was touched");
}

#[tokio::test]
async fn a_check_that_a_failed_request_ended_is_not_remembered() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "PUT" => Some(Answer::error(403, "AccessDenied")),
        _ => Some(serve()),
    });
    let bucket = open(&server, |options| options);
    assert_eq!(append(&bucket, "t").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // A store that is away is waited for.
    let mut away = 3;
    server.script(move |request, serve| match request.is_list() && away > 0 {
        true => {
            away -= 1;
            Some(Answer::error(503, "SlowDown"))
        }
        false => Some(serve()),
    });
    assert_eq!(append(&bucket, "t").await.unwrap(), 0);
}

#[tokio::test]
async fn a_single_writer_writes_to_a_store_without_create_if_absent() {
    for refuses in [false, true] {
        let server = FakeS3::start();
        match refuses {
            true => refuse_creates(&server, 501, "NotImplemented"),
            false => server.ignore_header("if-none-match"),
        }
        let bucket = open(&server, |options| options.single_writer(true));
        let mut bases = Vec::new();
        for _ in 0..3 {
            bases.push(append(&bucket, "t").await.unwrap());
        }
        assert_eq!(bases, [0, 1, 2]);
        let reader = bucket.partition("t", 0).unwrap().reader();
        for offset in bases {
            assert_eq!(reader.fetch(offset, 1).await.unwrap().batches().count(), 1, "{offset}");
        }
        let requests = server.requests();
        let of_log = requests.iter().filter(|request| request.key().contains("default/"));
        assert!(of_log.clone().all(|request| request.header("if-none-match").is_none()), "refuses: {refuses}");
        // Each create of the first append and of later ones: a HEAD, then a PUT.
        let [heads, puts] = ["HEAD", "PUT"].map(|method| of_log.clone().filter(|r| r.method == method).count());
        assert!(heads >= 4 && puts == 7, "{heads} {puts}");
        // Without a check nothing finds out whether the store can do it, so it is not asked to.
        let unchecked = open(&server, |options| options.single_writer(true).preflight(false));
        assert_eq!(append(&unchecked, "t").await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_single_writer_on_a_good_store_keeps_all_promises_and_on_a_forgetful_one_is_refused() {
    let server = FakeS3::start();
    let bucket = open(&server, |options| options.single_writer(true));
    append(&bucket, "t").await.unwrap();
    let segment = |request: &&Request| request.method == "PUT" && request.key().ends_with(".kfs");
    assert!(server.requests().iter().filter(segment).all(|request| request.header("if-none-match").is_some()));

    let server = FakeS3::start();
    server.script(|request, serve| {
        if request.header("if-none-match").is_some() {
            return Some(Answer::error(501, "NotImplemented"));
        }
        let mut answer = serve();
        answer.headers.retain(|(name, _)| !name.starts_with("x-amz-meta-"));
        Some(answer)
    });
    let error = append(&open(&server, |options| options.single_writer(true)), "t").await.unwrap_err();
    assert!(error.message().contains("metadata"), "{error}");
}
