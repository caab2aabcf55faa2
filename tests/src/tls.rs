//! Certificates of a test's own.

use std::path::Path;
use std::process::Command;

/// The domain of servers whose buckets stand in the names of hosts. No system resolves it: see [`ConnectProxy`](crate::ConnectProxy).
pub const DOMAIN: &str = "s3.localhost";

/// Makes in a directory the certificate of a server at 127.0.0.1 and at every host of [`DOMAIN`] (cert.pem, key.pem), the authority that signed it
/// (ca.pem), and one that did not (other.pem). `None`, after a SKIPPED line on stderr, when openssl is not installed.
///
/// # Panics
/// When openssl fails.
pub fn certificates(dir: &Path) -> Option<()> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(
        dir.join("leaf.ext"),
        format!("subjectAltName=IP:127.0.0.1,DNS:{DOMAIN},DNS:*.{DOMAIN}\nbasicConstraints=CA:FALSE\n"),
    )
    .expect("write the extensions");
    for arguments in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=kfs-test-ca"),
        format!("req -x509 {key} -keyout other.key -out other.pem -days 2 -subj /CN=kfs-other-ca"),
        format!("req {key} -keyout key.pem -out leaf.csr -subj /CN=127.0.0.1"),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out cert.pem"
            .into(),
    ] {
        let Ok(output) = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output() else {
            crate::skip("openssl is not installed");
            return None;
        };
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Some(())
}
