//! `kfs check`: one clear line for each thing that can be wrong with a bucket.

#![cfg(feature = "aws")]

mod common;

use std::net::TcpListener;
use std::process::Command;

use common::{Bucket, Ended, finish, kfs};
use kfs_tests::fake_http::Answer;
use kfs_tests::{FakeS3, S3Server};
use serde_json::Value;

/// The command on a bucket with these settings, which later ones replace.
fn check(url: &str, settings: &[(&'static str, String)], arguments: &str) -> Command {
    let mut command = kfs();
    command.args(["check", "--bucket", url]).args(arguments.split_whitespace());
    command.envs(settings.iter().map(|(name, value)| (*name, value)));
    command
}

fn with(mut settings: Vec<(&'static str, String)>, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    settings.push((name, value.to_string()));
    settings
}

fn on_fake(server: &FakeS3) -> Ended {
    finish(check("s3://logs/p", &server.environment(), ""), b"")
}

/// One line that says what is wrong, and one that says what to do.
#[track_caller]
fn told(ended: Ended, code: i32, message: &str, hint: &str) {
    let said = ended.failed(code);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("kfs: ") && lines[0].contains(message), "{said}");
    assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{said}");
    assert!(!said.contains("fake-secret-key") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_good_server_passes_and_all_is_fine() {
    let Some(server) = S3Server::start() else { return };
    let printed = finish(check(&server.url("p"), &server.environment(), ""), b"").ok();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 14, "{printed}");
    assert!(lines[0].starts_with("check ") && lines[1].starts_with("list ") && lines[1].ends_with("fine"), "{printed}");
    assert!(lines[1..].iter().all(|line| line.contains("  fine")), "{printed}");
    let printed = finish(check(&server.url("p"), &server.environment(), "--json"), b"").ok();
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 14, "{printed}");
    assert_eq!((lines[0]["check"].as_str(), lines[0]["verdict"].as_str()), (Some("list"), Some("fine")));
    assert_eq!((lines[13]["fit"].as_bool(), lines[13]["requests"].as_u64()), (Some(true), Some(43)));
}

#[test]
fn directories_and_memory_pass() {
    let bucket = Bucket::new();
    let printed = bucket.run("check").ok();
    assert_eq!(printed.lines().filter(|line| line.contains("  fine")).count(), 13, "{printed}");
    let left = std::fs::read_dir(bucket.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".kfs-tmp"], "the place where files are staged");
    let printed = finish(check("memory:", &[], ""), b"").ok();
    assert_eq!(printed.lines().filter(|line| line.contains("  fine")).count(), 13, "{printed}");
}

#[test]
fn a_server_that_ignores_the_condition_of_a_create_is_told() {
    let server = FakeS3::start();
    server.ignore_header("if-none-match");
    let ended = on_fake(&server);
    let printed = String::from_utf8(ended.stdout.clone()).unwrap();
    let line = printed.lines().find(|line| line.starts_with("create if absent")).unwrap();
    assert!(
        line.contains("failed") && line.contains("8 of 8 writers") && line.contains("overwrite each other"),
        "{line}"
    );
    told(ended, 5, "the store ignores the condition of a create", "single_writer");
}

#[test]
fn a_server_that_refuses_the_condition_of_a_create_is_told() {
    for status in [501, 400] {
        let server = FakeS3::start();
        server.script(move |request, serve| match request.header("if-none-match") {
            Some(_) => Some(Answer::error(status, "NotImplemented")),
            None => Some(serve()),
        });
        told(on_fake(&server), 5, "refuses a create on the condition that the name is free", "single_writer");
    }
}

#[test]
fn a_server_that_drops_metadata_is_told() {
    let server = FakeS3::start();
    server.script(|_, serve| {
        let mut answer = serve();
        answer.headers.retain(|(name, _)| !name.starts_with("x-amz-meta-"));
        Some(answer)
    });
    told(on_fake(&server), 5, "without the metadata it was put with", "use another store");
}

#[test]
fn wrong_credentials_and_a_missing_bucket_are_told() {
    let Some(server) = S3Server::start() else { return };
    let wrong = with(server.environment(), "AWS_SECRET_ACCESS_KEY", "hunter2hunter2");
    let secret = finish(check(&server.url("p"), &wrong, ""), b"");
    told(secret, 5, "permission denied", "come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment");
    let wrong = with(server.environment(), "AWS_ACCESS_KEY_ID", "nobody");
    told(
        finish(check(&server.url("p"), &wrong, ""), b""),
        5,
        "No user exists with the provided access key",
        "does not know this access key",
    );
    let missing = finish(check("s3://no-such-bucket/p", &server.environment(), ""), b"");
    told(missing, 3, "does not exist", "check the bucket's name");
}

#[test]
fn an_expired_token_and_a_wrong_region_are_told() {
    for (status, code, message, hint) in [
        (400, "ExpiredToken", "refused the credentials: ExpiredToken", "renew the credentials"),
        (301, "PermanentRedirect", "the store answered 301, a redirect", "AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "AuthorizationHeaderMalformed", "AWS_REGION"),
        (400, "IllegalLocationConstraintException", "IllegalLocationConstraint", "AWS_REGION"),
    ] {
        let server = FakeS3::start();
        server.script(move |_, _| Some(Answer::error(status, code)));
        told(on_fake(&server), 5, message, hint);
        assert_eq!(server.requests().len(), 1, "{code}: nothing is sent again");
    }
}

#[test]
fn credentials_that_may_only_read_are_told() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "PUT" | "DELETE" => Some(Answer::error(403, "AccessDenied")),
        _ => Some(serve()),
    });
    told(on_fake(&server), 5, "ended at \"put\": permission denied", "may be listed, and not written");
}

#[test]
fn http_without_leave_is_told() {
    let server = FakeS3::start();
    let mut settings = server.environment();
    settings.retain(|(name, _)| *name != "AWS_ALLOW_HTTP");
    let ended = finish(check("s3://logs/p", &settings, ""), b"");
    told(ended, 2, "AWS_ENDPOINT_URL is not encrypted", "AWS_ALLOW_HTTP");
    assert!(server.requests().is_empty());
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(()) = kfs_tests::tls::certificates(dir.path()) else { return };
    let Some(server) = S3Server::start_tls(path("cert.pem"), path("key.pem")) else { return };
    for name in ["other.pem", "ca.pem"] {
        let settings = with(server.environment(), "AWS_CA_BUNDLE", path(name).to_str().unwrap());
        let ended = finish(check(&server.url("p"), &settings, ""), b"");
        match name {
            "ca.pem" => assert!(ended.ok().contains("create if absent")),
            _ => told(ended, 5, "certificate", "the server's certificate is not trusted"),
        }
    }
}

#[test]
fn an_unknown_host_a_dead_endpoint_and_a_silent_one_are_told() {
    let settings = FakeS3::start().environment();
    let unknown = with(settings.clone(), "AWS_ENDPOINT_URL", "https://no-such-host.invalid");
    told(finish(check("s3://logs/p", &unknown, ""), b""), 5, "dns error", "the host's name is not known");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let settings = with(settings, "AWS_ENDPOINT_URL", &address);
    // Connections are taken by the system's backlog; nobody reads them.
    let ended = finish(check("s3://logs/p", &settings, "--timeout 300ms"), b"");
    told(ended, 5, "the store did not answer within 300.0ms", "firewall");
    drop(listener);
    told(finish(check("s3://logs/p", &settings, ""), b""), 5, "unavailable", "nothing listens there");
}

#[test]
fn what_could_not_be_deleted_is_named() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "DELETE" => Some(Answer::error(403, "AccessDenied")),
        _ => Some(serve()),
    });
    let ended = on_fake(&server);
    assert_eq!(ended.code, Some(0), "a warning is no failure");
    assert_eq!(
        ended.stderr.lines().filter(|line| line.contains("could not be deleted")).count(),
        4,
        "{}",
        ended.stderr
    );
}

#[test]
fn append_refuses_a_bucket_that_fails_unless_it_is_told_otherwise() {
    let server = FakeS3::start();
    server.ignore_header("if-none-match");
    let append = |options: &str| {
        let mut command = kfs();
        command.args(format!("append --lines t/0 --bucket s3://logs/p {options}").split_whitespace());
        command.envs(server.environment());
        finish(command, b"x\n")
    };
    told(append(""), 5, "the store ignores the condition of a create", "single_writer");
    append("--single-writer").ok();
    append("--no-preflight").ok();
}

#[cfg(feature = "azure")]
#[test]
fn azure_passes_with_a_warning_and_its_failures_are_told() {
    let Some(server) = kfs_tests::AzureServer::start() else { return };
    let printed = finish(check(&server.url("p"), &server.environment(), ""), b"").ok();
    assert_eq!(printed.lines().filter(|line| line.contains("  fine")).count(), 12, "{printed}");
    assert!(printed.contains("warning  this kind of store serves no range of the last bytes"), "{printed}");
    let wrong = with(server.environment(), "AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMmh1bnRlcjI=");
    told(
        finish(check(&server.url("p"), &wrong, ""), b""),
        5,
        "permission denied",
        "AZURE_STORAGE_ACCOUNT_KEY of the environment",
    );
    let missing = finish(check("az://no-such-container/p", &server.environment(), ""), b"");
    told(missing, 3, "does not exist", "make the container");
}

#[test]
fn what_a_check_could_not_delete_is_named_by_its_whole_key_also_by_append() {
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "DELETE" => Some(Answer::error(403, "AccessDenied")),
        _ => Some(serve()),
    });
    let mut append = kfs();
    append.args(["append", "--lines", "t/0", "--bucket", "s3://logs/p"]).envs(server.environment());
    for ended in [on_fake(&server), finish(append, b"one\n")] {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("p/kfs-preflight-") && ended.stderr.contains("could"), "{}", ended.stderr);
    }
}

#[test]
fn a_replica_is_checked_and_one_that_is_away_is_told_without_v() {
    let server = FakeS3::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = with(server.environment(), "KAFSCALE_S3_READ_ENDPOINT", &format!("http://{nobody}"));
    let ended = finish(check("s3://logs/p", &settings, ""), b"");
    let printed = String::from_utf8(ended.stdout.clone()).unwrap();
    let rows = printed.lines().filter(|line| line.starts_with("replica ") && line.contains("warning"));
    assert_eq!((rows.count(), ended.code), (2, Some(0)), "{printed}{}", ended.stderr);

    let run = |arguments: &str, input: &'static [u8]| {
        let mut command = kfs();
        command.args(arguments.split_whitespace()).args(["--bucket", "s3://logs/p"]);
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        finish(command, input)
    };
    for _ in 0..3 {
        assert_eq!(run("append --lines t/0", b"one\n").code, Some(0));
    }
    let ended = run("cat t/0", b"");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = ended.stderr.lines().filter(|line| line.contains("the replica is of no use"));
    assert_eq!(told.count(), 1, "{}", ended.stderr);
}

#[test]
fn a_server_that_has_no_time_for_a_check_is_told_without_advice_that_does_not_help() {
    let server = FakeS3::start();
    server.script(|_, _| Some(Answer::error(503, "SlowDown")));
    let said = on_fake(&server).failed(5);
    assert!(said.contains("try again") && said.contains("--timeout only shortens that"), "{said}");
    assert_eq!(server.requests().len(), 1);
}
