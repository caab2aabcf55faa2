//! Which certificates of a server are trusted.

use kfs_core::ErrorKind;
use kfs_core::store::{ReadRange, Store};
use kfs_tests::S3Server;

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
        let error = ask(options).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        // That is neither an unknown host nor a refused connection, and is told apart.
        let shown = format!("{error:#}");
        assert!(shown.contains("certificate"), "{shown}");
        assert!(!shown.contains("dns error") && !shown.contains("refused"), "{shown}");
        assert!(error.hint().is_some_and(|hint| hint.contains("certificate is not trusted")), "{error:?}");
    }
}
