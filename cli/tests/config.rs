//! `kfs config show`, and buckets that a file or the environment names.

mod common;

use common::{finish, kfs};

const SECRET: &str = "hunter2hunter2hunter2";

/// The lines of `kfs config show` on this, with blanks squeezed.
fn shown(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = kfs();
    command.args(["config", "show"]).args(arguments).envs(environment.iter().copied());
    let text = finish(command, b"").ok();
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn each_setting_is_shown_with_what_set_it_and_no_secret() {
    let url = "s3://logs/team?region=eu-west-1&connect_timeout=3s";
    let environment =
        [("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_ACCESS_KEY_ID", SECRET), ("AWS_REGION", "us-west-2"), ("AWS_X", "y")];
    let lines = shown(&["--bucket", url], &environment);
    for expected in [
        "bucket logs URL the bucket's URL",
        "prefix team URL the bucket's URL",
        "region eu-west-1 URL region",
        "connect_timeout 3s URL connect_timeout",
        "secret_key *** environment AWS_SECRET_ACCESS_KEY",
        "allow_http false default",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
    }
    assert!(!lines.concat().contains(SECRET), "{lines:#?}");
}

#[test]
fn where_credentials_come_from_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let profiles = dir.path().join("profiles");
    std::fs::write(&profiles, format!("[team]\naws_access_key_id=id\naws_secret_access_key={SECRET}\n"))
        .expect("write");
    let file = profiles.to_str().expect("a path in UTF-8");
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let profile = [("AWS_PROFILE", "team"), ("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_CONFIG_FILE", "/none")];
    let of_profile = format!(
        "the profile team (AWS_SHARED_CREDENTIALS_FILE of the environment ({file}) and AWS_CONFIG_FILE of the environment (/none))"
    );
    for (url, environment, from) in [
        ("s3://logs", &keys[..], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment"),
        ("s3://logs", &profile, &of_profile),
        (
            "s3://logs?skip_signature=true",
            &[],
            "nowhere: skip_signature of the bucket's URL says that no request is signed",
        ),
        ("azure://account.blob.core.windows.net/logs", &[("AZURE_METADATA_DISABLED", "true")], "nowhere: no Azure"),
        ("gs://logs", &[("GOOGLE_BEARER_TOKEN", SECRET)], "GOOGLE_BEARER_TOKEN of the environment"),
    ] {
        let lines = shown(&["--bucket", url], environment);
        let line = lines.iter().find(|line| line.starts_with("credentials ")).unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(line.contains(from) && !lines.concat().contains(SECRET), "{lines:#?}");
    }
    assert!(!shown(&["--bucket", "memory:"], &keys).iter().any(|line| line.starts_with("credentials")));
}

#[test]
fn a_file_or_the_environment_may_name_the_bucket() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("storage.yaml");
    let logs = dir.path().join("logs");
    std::fs::write(&file, format!("storage:\n  backend: filesystem\n  path: {}\n", logs.display())).expect("write");
    let file = file.to_str().expect("a path in UTF-8");
    let mut append = kfs();
    append.args(["--config", file, "append", "--lines", "t/0"]);
    finish(append, b"one\ntwo\n");
    let mut cat = kfs();
    cat.args(["cat", "t/0", "--bucket", &format!("file://{}", logs.display())]);
    assert_eq!(finish(cat, b"").ok(), "one\ntwo\n");

    let lines = shown(&[], &[("KAFSCALE_S3_BUCKET", "logs"), ("KAFSCALE_S3_PATH_STYLE", "false")]);
    assert!(lines.contains(&"bucket logs environment KAFSCALE_S3_BUCKET".to_string()), "{lines:#?}");
    assert!(lines.contains(&"path_style false environment KAFSCALE_S3_PATH_STYLE".to_string()), "{lines:#?}");

    let mut both = kfs();
    both.args(["config", "show", "--config", file, "--bucket", "memory:"]);
    assert!(finish(both, b"").failed(2).contains("--bucket and --config both name a bucket"));
}

#[test]
fn a_wrong_setting_is_named_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("storage.json");
    std::fs::write(&file, "{\"backend\": \"s3\",\n \"bucket\": \"b\", \"regoin\": \"x\"}").expect("write");
    let mut command = kfs();
    command.args(["config", "show", "--config", file.to_str().expect("a path in UTF-8")]);
    let said = finish(command, b"").failed(2);
    assert!(said.contains("line 2: regoin is no setting for S3") && said.contains("is region meant?"), "{said}");
}

#[test]
fn what_is_missing_or_wrong_is_told_after_the_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("storage.yaml");
    for (document, said) in [
        ("storage:\n  backend: s3\n  region: eu-west-1\n", "bucket is missing: the backend s3 needs it"),
        ("storage:\n  backend: azure\n  container: logs\n", "no Azure account is named"),
        ("storage:\n  backend: filesystem\n", "path is missing"),
        ("storage:\n  backend: s3\n  bucket: logs\n  endpoint: http://127.0.0.1:9\n", "endpoint is not encrypted"),
    ] {
        std::fs::write(&file, document).expect("write");
        for form in [&[][..], &["--json"]] {
            let mut command = kfs();
            command.args(["config", "show", "--config", file.to_str().expect("a path in UTF-8")]).args(form);
            let ended = finish(command, b"");
            assert!(!ended.stdout.is_empty(), "{document}");
            let told = ended.failed(2);
            assert!(told.contains(said) && !told.contains("--help"), "{told}");
        }
    }
}

#[test]
#[cfg(unix)]
fn a_pipe_that_gives_no_configuration_yet_is_named() {
    use std::io::{BufRead, BufReader, Read};
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("run mkfifo").success());
    let mut child = kfs().args(["config", "show", "--config"]).arg(&pipe).spawn().expect("run kfs");
    let mut stderr = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.contains("waiting for ") && line.contains("/pipe, which is no regular file"), "{line}");
    std::fs::write(&pipe, "backend: memory\n").expect("write into the pipe");
    assert!(child.wait().expect("wait for kfs").success());
    line.clear();
    stderr.read_to_string(&mut line).expect("read");
    assert_eq!(line, "");
}

#[test]
fn the_namespace_of_kafscale_counts_where_none_is_given() {
    let variable = ("KAFSCALE_S3_NAMESPACE", "prod");
    let bucket = ["--bucket", "memory:"];
    let has = |lines: &[String], expected: &str| assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
    has(&shown(&bucket, &[]), "namespace default default");
    has(&shown(&bucket, &[variable]), "namespace prod environment KAFSCALE_S3_NAMESPACE");
    let given = ["--bucket", "memory:", "--namespace", "mine"];
    has(&shown(&given, &[variable]), "namespace mine caller --namespace");

    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", dir.path().display());
    let mut append = kfs();
    append.args(["append", "--bucket", &url, "--lines", "t/0"]).env(variable.0, variable.1);
    finish(append, b"one\n");
    assert!(dir.path().join("prod/t/0").is_dir());

    let mut wrong = kfs();
    wrong.args(["ls", "--bucket", &url]).env(variable.0, "a/b");
    let said = finish(wrong, b"").failed(2);
    assert!(said.contains("KAFSCALE_S3_NAMESPACE can't be used"), "{said}");
}
