//! Which setting names the proxy that a request goes through, for messages.

use std::error::Error as StdError;
use std::fmt;

use object_store::client::{HttpError, HttpErrorKind};

use crate::error::causes;

/// Where a client learns of its proxy.
#[derive(Clone, Debug)]
pub(super) enum Proxy {
    None,
    /// From the setting with this name.
    Set(String),
    OfEnvironment,
}

impl Proxy {
    /// The name of what names the proxy for this URL.
    pub(super) fn name(&self, scheme: Option<&str>, host: Option<&str>) -> Option<String> {
        match self {
            Proxy::None => None,
            Proxy::Set(name) => Some(name.clone()),
            Proxy::OfEnvironment => of_environment(scheme?, host?, |name| std::env::var(name).ok()).map(str::to_string),
        }
    }
}

/// A connection that failed where a proxy is set.
#[derive(Debug)]
struct ThroughProxy {
    name: String,
    source: HttpError,
}

impl fmt::Display for ThroughProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if causes::chain(Some(&self.source)).any(|cause| cause.to_string().contains("proxy authorization required")) {
            return write!(f, "the proxy that {} names asks for a user and a password", self.name);
        }
        if is_of_tls(&self.source) {
            // Somebody was reached, and its hint is found by the source.
            return write!(f, "through the proxy that {} names", self.name);
        }
        // The hint is found by these words.
        write!(f, "the proxy that {} names can't be reached, or does not connect", self.name)
    }
}

impl StdError for ThroughProxy {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// Whether a connection was made and TLS failed on it: with the server, or with the proxy if that speaks TLS.
fn is_of_tls(error: &HttpError) -> bool {
    causes::chain(Some(error)).any(|cause| {
        let text = cause.to_string();
        text.contains("certificate") || text.contains("InvalidContentType")
    })
}

/// The error of a request that goes through the proxy that `name` names.
pub(super) fn named(error: HttpError, name: String) -> HttpError {
    match error.kind() {
        HttpErrorKind::Connect => HttpError::new(HttpErrorKind::Connect, ThroughProxy { name, source: error }),
        _ => error,
    }
}

/// The environment's variable that names the proxy for a URL, as the client reads them.
fn of_environment(scheme: &str, host: &str, value: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let given = |name: &str| value(name).filter(|value| !value.is_empty());
    let without = given("no_proxy").or_else(|| given("NO_PROXY")).unwrap_or_default();
    let covers = |entry: &str| {
        let entry = entry.trim().trim_start_matches('.');
        let before = host.strip_suffix(entry);
        entry == "*" || !entry.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    if without.split(',').any(covers) {
        return None;
    }
    let own = match scheme {
        "https" => ["https_proxy", "HTTPS_PROXY"],
        _ => ["http_proxy", "HTTP_PROXY"],
    };
    own.into_iter().chain(["all_proxy", "ALL_PROXY"]).find(|name| given(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_that_names_a_requests_proxy_is_found() {
        let of = |scheme: &str, host: &str, set: &[(&str, &str)]| {
            of_environment(scheme, host, |name| {
                set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.to_string())
            })
        };
        let http = ("http_proxy", "http://p");
        assert_eq!(of("http", "h", &[http]), Some("http_proxy"));
        assert_eq!(of("https", "h", &[http]), None);
        assert_eq!(of("https", "h", &[http, ("ALL_PROXY", "http://q")]), Some("ALL_PROXY"));
        assert_eq!(of("http", "h", &[("http_proxy", ""), ("HTTP_PROXY", "http://p")]), Some("HTTP_PROXY"));
        for without in ["*", "x, h.example", ".example", "example"] {
            assert_eq!(of("http", "h.example", &[http, ("no_proxy", without)]), None, "{without}");
        }
        for other in ["", "ample", "g.example", "xh.example"] {
            assert_eq!(of("http", "h.example", &[http, ("NO_PROXY", other)]), Some("http_proxy"), "{other}");
        }
    }
}
