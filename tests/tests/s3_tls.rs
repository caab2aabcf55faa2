//! Stores over https with an authority of the test's own: which certificates are trusted, the bucket in the name of the
//! host, and bodies that are not signed.

use std::path::Path;

use kfs_core::format::NewRecord;
use kfs_core::store::{ReadRange, Store, StoreOptions};
use kfs_core::{Bucket, BucketOptions, ErrorKind};
use kfs_tests::s3::BUCKET;
use kfs_tests::tls::DOMAIN;
use kfs_tests::{AzureServer, ConnectProxy, S3Server};

fn pem(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

#[tokio::test]
async fn the_certificates_of_aws_ca_bundle_are_trusted_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(()) = kfs_tests::tls::certificates(dir.path()) else { return };
    let Some(server) = S3Server::start_tls(path("cert.pem"), path("key.pem")) else { return };
    let bundle = |names: &[&str]| {
        let all: String = names.iter().map(|name| std::fs::read_to_string(path(name)).unwrap()).collect();
        std::fs::write(path("bundle.pem"), all).unwrap();
        server.store_options().config("AWS_CA_BUNDLE", path("bundle.pem").display().to_string())
    };
    let ask = async |options| {
        let store = Store::open(&server.url(""), &options).unwrap();
        store.get("a", ReadRange::Whole, None).await.unwrap_err()
    };
    // The server answers: it is trusted.
    assert_eq!(ask(bundle(&["other.pem", "ca.pem"])).await.kind(), ErrorKind::NotFound);
    for options in [bundle(&["other.pem"]), server.store_options()] {
        not_trusted(&ask(options).await);
    }
}

/// What is said of a server whose certificate is not trusted: it is neither an unknown host nor a refused connection.
fn not_trusted(error: &kfs_core::Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let shown = format!("{error:#}");
    assert!(shown.contains("certificate"), "{shown}");
    assert!(!shown.contains("dns error") && !shown.contains("refused"), "{shown}");
    assert!(error.hint().is_some_and(|hint| hint.contains("certificate is not trusted")), "{error:?}");
}

/// Appends, reads and lists, with the check of the bucket before that.
async fn a_log_works(url: &str, options: &StoreOptions) {
    let options = BucketOptions::default().store(options.clone().preflight(true));
    let bucket = Bucket::open_with(url, options).unwrap();
    let partition = bucket.partition("t", 0).unwrap();
    let writer = partition.writer().await.unwrap();
    for n in 0..3 {
        let value = format!("value {n} {}", "x".repeat(300_000));
        let append = writer.append(&[NewRecord::new(n).value(value.as_bytes())]).await.unwrap();
        assert_eq!(append.durable().await.unwrap().base, n);
    }
    writer.close(None).await.unwrap();
    let mut records = partition.reader().records(0);
    for n in 0..3 {
        let record = records.next().await.unwrap().unwrap();
        assert!(record.offset() == n && record.value().unwrap().starts_with(format!("value {n} x").as_bytes()));
    }
    assert!(records.next().await.unwrap().is_none());
    assert_eq!(bucket.topics().await.unwrap()[0].as_str(), "t");
    let found = partition.verify(Default::default()).all().await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    // An object of parts.
    let store = bucket.store();
    let pieces = (0..20).map(|n| Ok(vec![n; 1 << 20].into()));
    store.put_stream("large", futures_util::stream::iter(pieces)).await.unwrap();
    assert_eq!(store.size("large").await.unwrap(), 20 << 20);
    let end = store.get("large", ReadRange::Range((19 << 20) - 1..(19 << 20) + 1), None).await.unwrap();
    assert_eq!(&end.bytes[..], [18, 19]);
}

#[tokio::test]
async fn a_log_over_https_with_the_bucket_in_the_hosts_name_and_bodies_that_are_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(()) = kfs_tests::tls::certificates(dir.path()) else { return };
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let Some(server) = S3Server::start_tls(certificate, key) else { return };
    // No system resolves the name, but a proxy connects to what it likes.
    let proxy = ConnectProxy::start(server.address());
    let host = format!("{DOMAIN}:{}", server.address().port());
    let options = server
        .store_options()
        .config("AWS_ENDPOINT_URL", format!("https://{host}"))
        .config("AWS_ALLOW_HTTP", "false")
        .config("path_style", "false")
        .config("proxy_url", proxy.url());
    let trusting = |name| options.clone().config("ca_file", pem(dir.path(), name));
    a_log_works(&server.url("signed"), &trusting("ca.pem")).await;
    for checksum in ["crc64nvme", "sha256", "none"] {
        let options = trusting("ca.pem").config("unsigned_payload", "true").config("checksum", checksum);
        a_log_works(&server.url(checksum), &options).await;
    }
    let asked = proxy.hosts();
    assert!(asked.iter().all(|asked| *asked == format!("{BUCKET}.{host}")) && !asked.is_empty(), "{asked:?}");
    let store = Store::open(&server.url("signed"), &trusting("other.pem")).unwrap();
    not_trusted(&store.get("a", ReadRange::Whole, None).await.unwrap_err());
}

#[tokio::test]
async fn a_log_on_azure_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(()) = kfs_tests::tls::certificates(dir.path()) else { return };
    let server = AzureServer::start_tls(&path("cert.pem"), &path("key.pem"), &path("ca.pem")).await;
    let Some(server) = server else { return };
    let options = server.store_options().config("AZURE_ALLOW_HTTP", "false");
    let trusting = |name| options.clone().config("AZURE_CA_FILE", pem(dir.path(), name));
    a_log_works(&server.url("p"), &trusting("ca.pem")).await;
    for options in [trusting("other.pem"), options.clone()] {
        let store = Store::open(&server.url("p"), &options).unwrap();
        not_trusted(&store.get("a", ReadRange::Whole, None).await.unwrap_err());
    }
}
