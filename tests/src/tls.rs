//! Certificates of a test's own.

use std::path::Path;
use std::process::Command;

/// Makes in a directory the certificate of a server at 127.0.0.1 (cert.pem, key.pem), the authority that signed it
/// (ca.pem), and one that did not (other.pem). `None`, after a SKIPPED line on stderr, when openssl is not installed.
///
/// # Panics
/// When openssl fails.
pub fn certificates(dir: &Path) -> Option<()> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
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
