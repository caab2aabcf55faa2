//! Reads a store's URL.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Directory(PathBuf),
    Memory { prefix: String },
    S3 { bucket: String, prefix: String },
}

/// Reads `file:///dir`, `memory:` or `s3://bucket/prefix`. Prefixes end with `/` or are empty.
///
/// No message repeats the URL whole: somebody may have written a secret into it.
pub(crate) fn parse(text: &str) -> Result<Location> {
    let hint = "write file:///path/to/directory, memory: or s3://bucket/prefix";
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message).with_hint(hint);
    let no_url = "a directory is given by its whole path, as in file:///tmp/x; or write memory: or s3://bucket/prefix";
    let url = Url::parse(text).map_err(|_| invalid("the bucket is not given as a URL".into()).with_hint(no_url))?;
    if !url.username().is_empty() || url.password().is_some() {
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
        // What has no slashes may be a name and a password.
        other if text.contains("://") => {
            Err(Error::new(ErrorKind::Unsupported, format!("there is no store for {other}: URLs")).with_hint(hint))
        }
        _ => Err(Error::new(ErrorKind::Unsupported, "there is no store for such URLs").with_hint(hint)),
    }
}

fn prefix(url: &Url) -> Result<String> {
    let path = Path::from_url_path(url.path()).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the path in the bucket's URL is not a usable prefix").with_source(e)
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
