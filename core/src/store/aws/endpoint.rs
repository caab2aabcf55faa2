//! Where the server is, with the bucket in the name of its host if that is asked for.

use url::{Host, Url};

use crate::error::Result;
use crate::store::config::{Settings, s3};

/// The address to give to object_store, which puts the bucket into the path of a request, but not into a host that it is
/// given. `None`: AWS's own.
pub(super) fn of(settings: &Settings, bucket: &str, in_path: bool) -> Result<Option<String>> {
    let Some(text) = settings.text(&s3::ENDPOINT) else { return Ok(None) };
    let text = text.trim_end_matches('/').to_string();
    if in_path {
        return Ok(Some(text));
    }
    let mut url = Url::parse(&text).map_err(|_| settings.bad(&s3::ENDPOINT, "is not a URL"))?;
    let Some(Host::Domain(host)) = url.host() else {
        let style = settings.name(&s3::PATH_STYLE);
        let error = settings.bad(&s3::ENDPOINT, "is an address of numbers, which can't have the bucket before it");
        return Err(error.with_hint(format!("give the host's name, or set {style} so that the bucket is in the path")));
    };
    if host.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.')) {
        return Ok(Some(text));
    }
    let host = format!("{bucket}.{host}");
    url.set_host(Some(&host)).map_err(|_| settings.bad(&s3::BUCKET, "can't stand in the name of a host"))?;
    Ok(Some(url.as_str().trim_end_matches('/').to_string()))
}
