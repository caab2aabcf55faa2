//! Reads a store's URL.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Directory(PathBuf),
    Memory {
        prefix: String,
    },
    S3 {
        bucket: String,
        prefix: String,
    },
    /// The settings name the account where the URL does not.
    Azure {
        account: Option<String>,
        container: String,
        prefix: String,
    },
}

/// How Azure's URLs are written, for messages.
const AZURE_FORMS: &str = "write az://container/prefix, azure://account.blob.core.windows.net/container/prefix or \
                           abfs://container@account.dfs.core.windows.net/prefix";

/// Reads the URL of a store: a directory's, `memory:`, or that of a bucket. Prefixes end with `/` or are empty.
///
/// No message repeats the URL whole: somebody may have written a secret into it.
pub(crate) fn parse(text: &str) -> Result<Location> {
    let hint = "write file:///path/to/directory, memory:, s3://bucket/prefix or az://container/prefix";
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message).with_hint(hint);
    let no_url = "a directory is given by its whole path, as in file:///tmp/x; or write memory: or s3://bucket/prefix";
    let url = Url::parse(text).map_err(|_| invalid("the bucket is not given as a URL".into()).with_hint(no_url))?;
    // There the container stands in the user's place.
    let names_container = matches!(url.scheme(), "abfs" | "abfss");
    if !url.username().is_empty() && !names_container || url.password().is_some() {
        return Err(invalid("a bucket's URL holds no user and no password".into())
            .with_hint("give credentials in the environment"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a bucket's URL holds no ? and no #".into()).with_hint("write them as %3F and %23"));
    }
    // The parser takes a path that is not absolute as if it were.
    let is_relative = text.split_once(':').is_none_or(|(_, rest)| !rest.starts_with('/'));
    let port = url.port().is_some();
    match url.scheme() {
        "file" => match url.to_file_path() {
            Ok(path) if !is_relative && matches!(url.host_str(), None | Some("" | "localhost")) => {
                Ok(Location::Directory(path))
            }
            _ => Err(invalid("a file: URL needs an absolute path on this machine".into())),
        },
        "memory" if url.host_str().is_none_or(str::is_empty) => Ok(Location::Memory { prefix: prefix(&url)? }),
        "memory" => Err(invalid("a memory: URL has no host".into())),
        "s3" | "s3a" => match url.host_str() {
            Some(bucket) if !bucket.is_empty() && !port => {
                Ok(Location::S3 { bucket: bucket.to_string(), prefix: prefix(&url)? })
            }
            _ => Err(invalid("an s3: URL names its bucket first: s3://bucket/prefix".into())
                .with_hint("the server's address is given as AWS_ENDPOINT_URL")),
        },
        "az" | "azure" | "abfs" | "abfss" if !port => azure(&url),
        "az" | "azure" | "abfs" | "abfss" => Err(invalid("an Azure URL has no port".into())
            .with_hint("the server's address is given as AZURE_ENDPOINT, as in http://127.0.0.1:10000/account")),
        // What has no slashes may be a name and a password.
        other if text.contains("://") => {
            Err(Error::new(ErrorKind::Unsupported, format!("there is no store for {other}: URLs")).with_hint(hint))
        }
        _ => Err(Error::new(ErrorKind::Unsupported, "there is no store for such URLs").with_hint(hint)),
    }
}

/// Reads a URL of Azure.
fn azure(url: &Url) -> Result<Location> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, what).with_hint(AZURE_FORMS);
    let (host, path) = (url.host_str().unwrap_or_default(), url.path().trim_start_matches('/'));
    let (account, container, rest) = match url.scheme() {
        "az" => (None, host, path),
        "azure" => {
            let (container, rest) = path.split_once('/').unwrap_or((path, ""));
            (Some(account_of(host)?), container, rest)
        }
        _ => (Some(account_of(host)?), url.username(), path),
    };
    if !is_container(container) {
        return Err(invalid(match container {
            "" => "the URL names no container",
            _ => "the container's name is not one: a name has 3 to 63 lower-case letters, digits and hyphens",
        }));
    }
    if rest.starts_with('/') || url.path().starts_with("//") {
        return Err(invalid("the path in the bucket's URL is not a usable prefix: it has an empty segment"));
    }
    Ok(Location::Azure { account, container: container.to_string(), prefix: prefix_of(rest)? })
}

/// The account that a host of Azure's public cloud belongs to.
fn account_of(host: &str) -> Result<String> {
    let account = [".blob.core.windows.net", ".dfs.core.windows.net"].iter().find_map(|end| host.strip_suffix(end));
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    account.filter(is_name).map(str::to_string).ok_or_else(|| {
        let message = "the URL does not name an account of Azure as account.blob.core.windows.net";
        Error::new(ErrorKind::InvalidInput, message).with_hint(format!(
            "{AZURE_FORMS}; for another cloud or server write az://container/prefix, and set AZURE_STORAGE_ACCOUNT and \
             AZURE_ENDPOINT"
        ))
    })
}

/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
fn is_container(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn prefix(url: &Url) -> Result<String> {
    prefix_of(url.path())
}

fn prefix_of(path: &str) -> Result<String> {
    let path = Path::from_url_path(path).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the path in the bucket's URL is not a usable prefix")
            .with_hint("write no empty segment, no . and no .. in it")
            .with_source(e)
    })?;
    Ok(if path.is_root() { String::new() } else { format!("{path}/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> ErrorKind {
        parse(text).unwrap_err().kind()
    }

    #[test]
    fn urls_name_stores() {
        assert_eq!(parse("file:///a/b%20c").unwrap(), Location::Directory("/a/b c".into()));
        assert_eq!(parse("file://localhost/a").unwrap(), Location::Directory("/a".into()));
        for text in ["memory:", "memory:/", "memory://", "memory:///"] {
            assert_eq!(parse(text).unwrap(), Location::Memory { prefix: String::new() }, "{text}");
        }
        assert_eq!(parse("memory:///a/b/").unwrap(), Location::Memory { prefix: "a/b/".into() });
        let s3 = |prefix: &str| Location::S3 { bucket: "logs".into(), prefix: prefix.into() };
        assert_eq!(parse("s3://logs").unwrap(), s3(""));
        assert_eq!(parse("s3://logs/").unwrap(), s3(""));
        assert_eq!(parse("s3a://logs/some/pre%20fix").unwrap(), s3("some/pre fix/"));
    }

    #[test]
    fn urls_of_azure_name_container_account_and_prefix() {
        let azure = |account: Option<&str>, prefix: &str| Location::Azure {
            account: account.map(str::to_string),
            container: "logs-1".into(),
            prefix: prefix.into(),
        };
        for (text, account, prefix) in [
            ("az://logs-1", None, ""),
            ("az://logs-1/some/pre%20fix", None, "some/pre fix/"),
            ("azure://acc.blob.core.windows.net/logs-1", Some("acc"), ""),
            ("azure://acc.blob.core.windows.net/logs-1/", Some("acc"), ""),
            ("azure://acc.blob.core.windows.net/logs-1/a/b", Some("acc"), "a/b/"),
            ("abfs://logs-1@acc.dfs.core.windows.net/a", Some("acc"), "a/"),
            ("abfss://logs-1@acc.dfs.core.windows.net", Some("acc"), ""),
        ] {
            assert_eq!(parse(text).unwrap(), azure(account, prefix), "{text}");
        }
        for wrong in [
            "az:///a",
            "az://Logs_1/a",
            "az://-logs/a",
            "az://ab",
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
            let error = parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
            assert!(error.hint().is_some() && !format!("{error:?}").contains("hunter2"), "{wrong} {error:?}");
        }
    }

    #[test]
    fn wrong_urls_are_typed() {
        assert_eq!(kind("/a/b"), ErrorKind::InvalidInput);
        assert_eq!(kind("file://elsewhere/a"), ErrorKind::InvalidInput);
        for relative in ["file:a", "file:", "file:./a", "file:../a", "FILE:a", " file:a"] {
            assert_eq!(kind(relative), ErrorKind::InvalidInput, "{relative}");
        }
        assert_eq!(kind("memory://host/a"), ErrorKind::InvalidInput);
        assert_eq!(kind("s3:///a"), ErrorKind::InvalidInput);
        assert_eq!(kind("s3://bucket:9000/a"), ErrorKind::InvalidInput);
        assert_eq!(kind("s3://bucket/a//b"), ErrorKind::InvalidInput);
        assert_eq!(kind("s3://bucket/a?b=c"), ErrorKind::InvalidInput);
        assert_eq!(kind("ftp://host/a"), ErrorKind::Unsupported);
        assert_eq!(kind("gs://bucket"), ErrorKind::Unsupported);
    }

    #[test]
    fn what_is_no_url_is_told_what_a_url_looks_like() {
        for text in ["/tmp/x", "tmp/x", "./x", "", "hunter2"] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error:?}");
            assert!(shown.contains("file:///tmp/x") && shown.contains("s3://bucket/prefix"), "{shown}");
            assert!(!shown.contains("without a base") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        for text in
            ["s3://AKID:hunter2@bucket/x", "s3://bucket/x?secret=hunter2", "ftp://u:hunter2@host", "hunter2hunter2:x"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
