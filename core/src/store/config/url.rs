//! Reads a store's URL: where the bucket is, and settings after a question mark.

use object_store::path::Path;
use url::Url;

use super::azure;
use super::backend::StoreBackend;
use super::common;
use super::gcs;
use super::row::Row;
use super::s3;
use super::secret::Secret;
use super::settings::{Given, Origin};
use super::unknown::unknown_setting;
use super::value::Kind;
use crate::error::{Error, ErrorKind, Result};

/// What a URL says.
pub(super) struct NamedStore {
    pub(super) backend: StoreBackend,
    pub(super) given: Vec<Given>,
    /// The URL without settings.
    pub(super) url: String,
}

/// The URLs that there are, for messages.
const FORMS: &str = "write file:///path/to/directory, memory:, s3://bucket/prefix, az://container/prefix or \
                     gs://bucket/prefix";
/// How Azure's URLs are written, for messages.
const AZURE_FORMS: &str = "write az://container/prefix, azure://account.blob.core.windows.net/container/prefix or \
                           abfs://container@account.dfs.core.windows.net/prefix";
/// What a setting is called that is a part of the URL before the question mark.
const IN_URL: &str = "the bucket's URL";

/// Reads the URL of a store: a directory's, `memory:`, or that of a bucket.
///
/// No message repeats the URL whole: somebody may have written a secret into it.
pub(super) fn parse(text: &str) -> Result<NamedStore> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message).with_hint(FORMS);
    let no_url = "a directory is given by its whole path, as in file:///tmp/x; or write memory: or s3://bucket/prefix";
    let url = Url::parse(text).map_err(|_| invalid("the bucket is not given as a URL".into()).with_hint(no_url))?;
    // There the container stands in the user's place.
    let names_container = matches!(url.scheme(), "abfs" | "abfss");
    if !url.username().is_empty() && !names_container || url.password().is_some() {
        return Err(invalid("a bucket's URL holds no user and no password".into())
            .with_hint("give credentials in the environment"));
    }
    if url.fragment().is_some() {
        return Err(invalid("a bucket's URL holds no #".into()).with_hint("write it as %23"));
    }
    // The parser would leave out what stands before `..`, and the URL would name another place.
    let address = text.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    if address.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(
            invalid("the path in the bucket's URL holds . or ..".into()).with_hint("write the path that is meant")
        );
    }
    // The parser takes a path that is not absolute as if it were.
    let is_relative = text.split_once(':').is_none_or(|(_, rest)| !rest.starts_with('/'));
    let port = url.port().is_some();
    let (backend, mut given) = match url.scheme() {
        "file" => match url.to_file_path() {
            Ok(path) if !is_relative && matches!(url.host_str(), None | Some("" | "localhost")) => {
                // A path that is no UTF-8 would become another one.
                let path = path.to_str().ok_or_else(|| invalid("a file: URL needs a path in UTF-8".into()))?;
                (StoreBackend::Filesystem, vec![part(&common::PATH, path)])
            }
            _ => return Err(invalid("a file: URL needs an absolute path on this machine".into())),
        },
        "memory" if url.host_str().is_none_or(str::is_empty) => (StoreBackend::Memory, prefix(url.path())?),
        "memory" => return Err(invalid("a memory: URL has no host".into())),
        scheme @ ("s3" | "s3a" | "gs" | "gcs") => {
            let (backend, row, server) = match scheme {
                "gs" | "gcs" => (StoreBackend::Gcs, &gcs::BUCKET, "GOOGLE_BASE_URL"),
                _ => (StoreBackend::S3, &s3::BUCKET, "AWS_ENDPOINT_URL"),
            };
            let bucket = url.host_str().filter(|bucket| !bucket.is_empty() && !port).ok_or_else(|| {
                invalid(format!("a URL with {scheme}: names its bucket first: {scheme}://bucket/prefix"))
                    .with_hint(format!("the server's address is given as {server}, or as endpoint in the URL"))
            })?;
            let mut given = prefix(url.path())?;
            given.push(part(row, bucket));
            (backend, given)
        }
        "az" | "azure" | "abfs" | "abfss" if !port => (StoreBackend::Azure, of_azure(&url)?),
        "az" | "azure" | "abfs" | "abfss" => {
            return Err(invalid("an Azure URL has no port".into())
                .with_hint("the server's address is given as AZURE_ENDPOINT, as in http://127.0.0.1:10000/account"));
        }
        // What has no slashes may be a name and a password.
        other if text.contains("://") => {
            return Err(
                Error::new(ErrorKind::Unsupported, format!("there is no store for {other}: URLs")).with_hint(FORMS)
            );
        }
        _ => return Err(Error::new(ErrorKind::Unsupported, "there is no store for such URLs").with_hint(FORMS)),
    };
    for (name, value) in url.query_pairs() {
        let setting = parameter(backend, &name, &value)?;
        refuse_twice(&given, &setting)?;
        given.push(setting);
    }
    let shown = text.split_once('?').map_or(text, |(before, _)| before).to_string();
    Ok(NamedStore { backend, given, url: shown })
}

/// A setting after the question mark.
fn parameter(backend: StoreBackend, name: &str, value: &str) -> Result<Given> {
    let table = backend.table();
    let named = table.find(name).ok_or_else(|| unknown_setting(name, table))?;
    let refused = |what: &str, hint: &str| {
        Err(Error::new(ErrorKind::InvalidInput, format!("{name} can't stand in a URL: {what}")).with_hint(hint))
    };
    if named.row.kind.is_secret() {
        return refused("it is a secret, and URLs are shown", "give it in the environment or in a document");
    }
    let holds_user = |url: Url| !url.username().is_empty() || url.password().is_some();
    if matches!(named.row.kind, Kind::Url | Kind::Address) && Url::parse(value).is_ok_and(holds_user) {
        let what = "it holds a user or a password, and URLs are shown";
        return refused(what, "give it in the environment or in a document");
    }
    if named.row.is_address && !(backend == StoreBackend::Azure && named.row.name == azure::ACCOUNT_NAME.name) {
        return refused("the URL itself says it", FORMS);
    }
    Ok(Given {
        row: named.row,
        name: name.to_string(),
        text: Secret::new(value),
        origin: Origin::Url,
        rank: named.rank,
        is_opposite: named.is_opposite,
    })
}

/// Refuses a setting that the URL has already said: whether the first or the last one is meant, nobody can know.
fn refuse_twice(given: &[Given], setting: &Given) -> Result<()> {
    let Some(other) = given.iter().find(|other| other.row.name == setting.row.name) else { return Ok(()) };
    let (name, row) = (&setting.name, setting.row.name);
    let message = match other.name.as_str() {
        IN_URL if other.text.reveal() == setting.text.reveal() => return Ok(()),
        IN_URL => format!("the URL names one {row}, and {name} names another one"),
        same if same == name => format!("{name} is given twice"),
        other => format!("{name} and {other} are the same setting"),
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with_hint("give it once"))
}

/// A part of the URL that stands before the question mark.
fn part(row: &'static Row, text: &str) -> Given {
    let name = IN_URL.to_string();
    Given { row, name, text: Secret::new(text), origin: Origin::Url, rank: 0, is_opposite: false }
}

/// Reads a URL of Azure.
fn of_azure(url: &Url) -> Result<Vec<Given>> {
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
    if container.is_empty() {
        return Err(invalid("the URL names no container"));
    }
    if rest.starts_with('/') || url.path().starts_with("//") {
        return Err(invalid("the path in the bucket's URL is not a usable prefix: it has an empty segment"));
    }
    let mut given = prefix(rest)?;
    given.push(part(&azure::CONTAINER_NAME, container));
    given.extend(account.map(|account| part(&azure::ACCOUNT_NAME, &account)));
    Ok(given)
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

/// The prefix that the path of a URL is.
fn prefix(path: &str) -> Result<Vec<Given>> {
    let path = Path::from_url_path(path).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the path in the bucket's URL is not a usable prefix")
            .with_hint("write no empty segment, no . and no .. in it")
            .with_source(e)
    })?;
    Ok(if path.is_root() { Vec::new() } else { vec![part(&common::PREFIX, path.as_ref())] })
}

#[cfg(test)]
mod tests;
