//! Which certificates of a server are trusted.

use std::path::Path;
use std::process::Command;

use kfs_core::ErrorKind;
use kfs_core::store::{ReadRange, Store};
use kfs_tests::S3Server;

/// Runs openssl in a directory. False when it is not installed.
fn openssl(dir: &Path, arguments: &str) -> bool {
    let run = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output();
    let Ok(output) = run else { return false };
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

/// A server's certificate (cert.pem, key.pem), who signed it (ca.pem), and somebody else (other.pem).
fn certificates(dir: &Path) -> bool {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=kfs-test-ca"))
        && openssl(dir, &format!("req -x509 {key} -keyout other.key -out other.pem -days 2 -subj /CN=kfs-other-ca"))
        && openssl(dir, &format!("req {key} -keyout key.pem -out leaf.csr -subj /CN=127.0.0.1"))
        && openssl(
            dir,
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out cert.pem",
        )
}

#[tokio::test]
async fn the_certificates_of_aws_ca_bundle_are_trusted_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    if !certificates(dir.path()) {
        return kfs_tests::skip("openssl is not installed");
    }
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
