//! Which addresses may be asked for credentials.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::{Error, ErrorKind, Result};

/// A URL that may be asked for credentials: encrypted, on this machine, or at an address that leads to this
/// machine's own host, as `is_near` says. To any other a token would go in plain text, and credentials come back so.
pub(in crate::store) fn credentials_url(name: &str, text: &str, is_near: impl Fn(IpAddr) -> bool) -> Result<Url> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, format!("{name} {what}"));
    let url = Url::parse(text).map_err(|_| invalid("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("holds a user or a password"));
    }
    let near = |address: IpAddr| address.is_loopback() || is_near(address);
    let near = match url.host() {
        Some(Host::Ipv4(address)) => near(address.into()),
        Some(Host::Ipv6(address)) => near(address.into()),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if near => Ok(url),
        "http" => Err(invalid("is not encrypted (http:), and its host is not this machine's own")
            .with_hint("give an https: URL, or one of a loopback address")),
        _ => Err(invalid("is neither https: nor http:")),
    }
}
