//! `kfs` on S3 over https, with an authority of the test's own and the bucket in the name of the host.

#![cfg(feature = "aws")]

mod common;

use common::{Ended, finish, kfs};
use kfs_tests::tls::DOMAIN;
use kfs_tests::{ConnectProxy, S3Server};

#[test]
fn a_partition_is_used_over_https_with_the_bucket_in_the_hosts_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(()) = kfs_tests::tls::certificates(dir.path()) else { return };
    let Some(server) = S3Server::start_tls(path("cert.pem"), path("key.pem")) else { return };
    // No system resolves the name, but a proxy connects to what it likes.
    let proxy = ConnectProxy::start(server.address());
    let run = |authority: &str, arguments: &str, input: &[u8]| -> Ended {
        let mut command = kfs();
        command.env("KFS_BUCKET", server.url("logs")).envs(server.environment()).env_remove("AWS_ALLOW_HTTP").envs([
            ("AWS_ENDPOINT_URL", format!("https://{DOMAIN}:{}", server.address().port())),
            ("AWS_S3_FORCE_PATH_STYLE", "false".into()),
            ("AWS_PROXY_URL", proxy.url()),
            ("AWS_CA_BUNDLE", path(authority).display().to_string()),
            ("AWS_UNSIGNED_PAYLOAD", "true".into()),
            ("AWS_CHECKSUM_ALGORITHM", "crc64nvme".into()),
        ]);
        command.args(arguments.split_whitespace());
        finish(command, input)
    };
    let trusted = |arguments: &str, input: &[u8]| run("ca.pem", arguments, input);
    let input: String = (0..500).map(|n| format!("record {n}\n")).collect();
    trusted("append --lines t/0 --flush-bytes 4KiB", input.as_bytes()).ok();
    assert_eq!(trusted("cat t/0", b"").ok(), input);
    assert_eq!(trusted("ls --json", b"").ok(), "{\"partitions\":1,\"topic\":\"t\"}\n");
    trusted("verify t/0", b"").ok();
    let report = trusted("check", b"").ok();
    assert!(report.contains("create"), "{report}");
    for arguments in ["check", "ls --timeout 2s"] {
        let message = run("other.pem", arguments, b"").failed(5);
        assert!(message.contains("the server's certificate is not trusted"), "{arguments}: {message}");
        assert!(!message.contains("can't be reached"), "{arguments}: {message}");
    }
}
