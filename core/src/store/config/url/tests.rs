use super::super::{StoreBackend, StoreConfig};
use crate::error::ErrorKind;

fn kind(text: &str) -> ErrorKind {
    StoreConfig::from_url(text).unwrap_err().kind()
}

/// The kind, what the address says, and the prefix.
fn address(text: &str, rows: &[&str]) -> (StoreBackend, Vec<Option<String>>, String) {
    let config = StoreConfig::from_url(text).unwrap();
    let shown = config.shown(false).unwrap();
    let value = |row: &&str| shown.iter().find(|setting| setting.name == *row).unwrap().value.clone();
    (config.backend(), rows.iter().map(value).collect(), config.prefix().unwrap())
}

#[test]
fn urls_name_stores() {
    let directory = |path: &str| (StoreBackend::Filesystem, vec![Some(path.to_string())], String::new());
    assert_eq!(address("file:///a/b%20c", &["path"]), directory("/a/b c"));
    assert_eq!(address("file://localhost/a", &["path"]), directory("/a"));
    for text in ["memory:", "memory:/", "memory://", "memory:///"] {
        assert_eq!(address(text, &[]), (StoreBackend::Memory, vec![], String::new()), "{text}");
    }
    assert_eq!(address("memory:///a/b/", &[]).2, "a/b/");
    for (scheme, backend) in
        [("s3", StoreBackend::S3), ("s3a", StoreBackend::S3), ("gs", StoreBackend::Gcs), ("gcs", StoreBackend::Gcs)]
    {
        let of = |prefix: &str| (backend, vec![Some("logs".to_string())], prefix.to_string());
        assert_eq!(address(&format!("{scheme}://logs"), &["bucket"]), of(""));
        assert_eq!(address(&format!("{scheme}://logs/"), &["bucket"]), of(""));
        assert_eq!(address(&format!("{scheme}://logs/some/pre%20fix"), &["bucket"]), of("some/pre fix/"));
    }
}

#[test]
fn urls_of_azure_name_container_account_and_prefix() {
    let azure = |account: Option<&str>, prefix: &str| {
        (StoreBackend::Azure, vec![account.map(str::to_string), Some("logs-1".into())], prefix.to_string())
    };
    for (text, account, prefix) in [
        ("az://logs-1", None, ""),
        ("az://logs-1/some/pre%20fix", None, "some/pre fix/"),
        ("az://logs-1/a?account_name=acc", Some("acc"), "a/"),
        ("azure://acc.blob.core.windows.net/logs-1", Some("acc"), ""),
        ("azure://acc.blob.core.windows.net/logs-1/", Some("acc"), ""),
        ("azure://acc.blob.core.windows.net/logs-1/a/b", Some("acc"), "a/b/"),
        ("abfs://logs-1@acc.dfs.core.windows.net/a", Some("acc"), "a/"),
        ("abfss://logs-1@acc.dfs.core.windows.net", Some("acc"), ""),
    ] {
        assert_eq!(address(text, &["account_name", "container_name"]), azure(account, prefix), "{text}");
    }
    for wrong in [
        "az:///a",
        "az://logs-1:10000/a",
        "az://logs-1/a//b",
        "az://logs-1//b",
        "az://logs-1/a?sig=hunter2",
        "az://logs-1@acc.blob.core.windows.net/a",
        "azure://logs-1/a",
        "azure://acc.blob.core.windows.net",
        "azure://acc.blob.core.windows.net//logs-1",
        "azure://acc.blob.core.windows.net/logs-1//b",
        "azure://a.b.blob.core.windows.net/logs-1",
        "azure://acc.blob.core.windows.net.example.com/logs-1",
        "azure://127.0.0.1/logs-1",
        "abfs://acc.dfs.core.windows.net/logs-1",
        "abfs://logs-1:hunter2@acc.dfs.core.windows.net/a",
    ] {
        let error = StoreConfig::from_url(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        assert!(error.hint().is_some() && !format!("{error:?}").contains("hunter2"), "{wrong} {error:?}");
    }
}

#[test]
fn wrong_urls_are_typed() {
    for wrong in [
        "/a/b",
        "file://elsewhere/a",
        "file:a",
        "file:",
        "file:./a",
        "file:../a",
        "FILE:a",
        " file:a",
        "memory://host/a",
        "s3:///a",
        "s3://bucket:9000/a",
        "s3://bucket/a//b",
        "s3://bucket/a#b",
        "gs:///a",
        "file:///a?path=/b",
        "memory:?region=x",
        "s3://b/a/../c",
        "s3://b/%2E%2e/c",
        "s3://b/./c",
        "file:///a/../b",
    ] {
        assert_eq!(kind(wrong), ErrorKind::InvalidInput, "{wrong}");
    }
    assert_eq!(kind("ftp://host/a"), ErrorKind::Unsupported);
    assert_eq!(kind("https://host/a"), ErrorKind::Unsupported);
}

#[test]
fn what_is_no_url_is_told_what_a_url_looks_like() {
    for text in ["/tmp/x", "tmp/x", "./x", "", "hunter2"] {
        let error = StoreConfig::from_url(text).unwrap_err();
        let shown = format!("{error:?}");
        assert!(shown.contains("file:///tmp/x") && shown.contains("s3://bucket/prefix"), "{shown}");
        assert!(!shown.contains("without a base") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn settings_follow_a_question_mark_and_are_no_part_of_the_shown_url() {
    let text = "s3://logs/a?region=eu-west-1&endpoint=http%3A%2F%2Fh:9000&path_style=false&allow_http=true";
    let config = StoreConfig::from_url(text).unwrap();
    assert_eq!(config.url().unwrap(), "s3://logs/a");
    let settings = config.settings(false).unwrap();
    let s3 = |row| settings.text(row).unwrap();
    assert_eq!((s3(&super::s3::REGION), s3(&super::s3::ENDPOINT)), ("eu-west-1", "http://h:9000"));
    assert!(!settings.flag(&super::s3::PATH_STYLE));
    assert!(settings.flag(&super::super::client::ALLOW_HTTP));
}

#[test]
fn a_setting_that_is_unknown_or_belongs_elsewhere_is_named_as_it_was_written() {
    for (url, named, hint) in [
        ("s3://logs?regoin=x", "regoin is no setting for S3", "is region meant?"),
        ("s3://logs?container_name=x", "container_name is no setting for S3", "a setting for Azure"),
        ("s3://logs?bucket=x", "bucket can't stand in a URL", "s3://"),
        ("gs://logs?access_key=x", "access_key is no setting for Google", "is the backend right?"),
    ] {
        let error = StoreConfig::from_url(url).unwrap_err();
        assert!(error.message().contains(named), "{error:?}");
        assert!(error.hint().is_some_and(|said| said.contains(hint)), "{error:?}");
    }
    let config = StoreConfig::from_url("s3://logs?path_style=maybe").unwrap();
    let error = config.url().unwrap_err();
    assert_eq!(error.message(), "path_style can't be used: expected true or false");
}

#[test]
fn a_secret_in_a_url_is_refused_and_not_repeated() {
    for text in [
        "s3://AKID:hunter2@bucket/x",
        "s3://bucket/x?secret=hunter2",
        "s3://bucket/x?secret_key=hunter2",
        "s3://bucket/x?AWS_SECRET_ACCESS_KEY=hunter2",
        "s3://bucket/x?hunter2=1",
        "az://bucket/x?sas_token=hunter2",
        "ftp://u:hunter2@host",
        "hunter2hunter2:x",
    ] {
        let error = StoreConfig::from_url(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_setting_that_a_url_gives_twice_is_refused_and_named_as_it_was_written() {
    for (url, expected) in [
        ("s3://logs?region=a&region=b", "region is given twice"),
        ("s3://logs?region=a&region=a", "region is given twice"),
        ("s3://logs?region=a&AWS_REGION=b", "AWS_REGION and region are the same setting"),
        (
            "s3://logs?path_style=true&virtual_hosted_style=true",
            "virtual_hosted_style and path_style are the same setting",
        ),
        (
            "azure://acc.blob.core.windows.net/logs-1?account_name=other",
            "the URL names one account_name, and account_name names another one",
        ),
    ] {
        let error = StoreConfig::from_url(url).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, expected), "{url}");
    }
    StoreConfig::from_url("azure://acc.blob.core.windows.net/logs-1?account_name=acc").unwrap();
}
