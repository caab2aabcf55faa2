//! What the value of a setting may be, and how its text is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::{HIDDEN, Secret};

/// The longest path that is shown, in characters.
const LONGEST_PATH: usize = 255;

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Text without control characters.
    Text,
    /// Text that ends up in an HTTP header: ASCII without control characters.
    Header,
    /// A part of a host's name, which must not become another host: letters, digits, `.`, `-` and `_`.
    HostPart,
    /// A header's text that no output shows.
    Secret,
    /// A secret in base64.
    Base64,
    /// A secret of several lines, such as a key in PEM form or a document in JSON.
    SecretDocument,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// A whole number from the one to the other.
    Within(u64, u64),
    /// A time with its unit, such as `30s`.
    Time,
    /// The path of a file or a directory.
    Path,
    /// A URL with `http:` or `https:`. What could be a secret in it is not shown.
    Url,
    /// The address of a server that gives credentials. Its path may be a secret, which is not shown.
    Address,
    /// Certificates in PEM form.
    Pem,
    /// One of these: how each may be written, in lower case, and what is meant.
    Choice(&'static [(&'static str, &'static str)]),
}

/// What a setting was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Secret(Secret),
    Flag(bool),
    Count(u64),
    Time(Duration),
    Path(PathBuf),
    Url(String),
    Address(String),
    Choice(&'static str),
}

/// Why a text is no value of its kind. It repeats no value: somebody may have put a secret into the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadValue {
    Control,
    NotAscii,
    Expected(String),
}

impl Kind {
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Kind::Secret | Kind::Base64 | Kind::SecretDocument)
    }

    /// Whether an output may have `***` in the place of such a value, or of a part of it.
    pub(crate) fn may_be_hidden(self) -> bool {
        self.is_secret() || matches!(self, Kind::Path | Kind::Address)
    }

    /// Reads a value.
    pub(crate) fn read(self, text: &str) -> Result<Value, BadValue> {
        if !matches!(self, Kind::Pem | Kind::SecretDocument) && text.contains(char::is_control) {
            return Err(BadValue::Control);
        }
        let expected = |what: &str| BadValue::Expected(what.to_string());
        Ok(match self {
            Kind::Header | Kind::Secret | Kind::Base64 if !text.is_ascii() => return Err(BadValue::NotAscii),
            Kind::HostPart if !text.bytes().all(is_of_a_host) => {
                return Err(expected("letters, digits, dots, hyphens and underscores"));
            }
            Kind::Text | Kind::Header | Kind::HostPart | Kind::Pem => Value::Text(text.to_string()),
            Kind::Address => Value::Address(text.to_string()),
            Kind::Base64 if !is_base64(text) => return Err(expected("text in base64")),
            Kind::Secret | Kind::Base64 | Kind::SecretDocument => Value::Secret(Secret::new(text)),
            Kind::Flag => Value::Flag(boolean(text).ok_or_else(|| expected("true or false"))?),
            Kind::Count => Value::Count(text.parse().map_err(|_| expected("a whole number"))?),
            Kind::Within(least, most) => match text.parse() {
                Ok(count) if (least..=most).contains(&count) => Value::Count(count),
                _ => return Err(BadValue::Expected(format!("a whole number from {least} to {most}"))),
            },
            Kind::Time => {
                Value::Time(humantime::parse_duration(text).map_err(|_| expected("a time such as 30s or 5min"))?)
            }
            Kind::Path => Value::Path(Path::new(text).to_path_buf()),
            Kind::Url => match url::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Value::Url(text.to_string()),
                Ok(url) if url.has_host() => return Err(expected("a URL that begins with https: or http:")),
                _ => return Err(expected("a URL such as https://host:9000")),
            },
            Kind::Choice(known) => {
                let found = known.iter().find(|(written, _)| text.eq_ignore_ascii_case(written));
                Value::Choice(found.map(|(_, meant)| *meant).ok_or_else(|| {
                    let mut names: Vec<&str> = known.iter().map(|(_, meant)| *meant).collect();
                    names.dedup();
                    BadValue::Expected(format!("one of {}", names.join(", ")))
                })?)
            }
        })
    }
}

impl fmt::Display for Value {
    /// The value as it may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{}", text.escape_debug()),
            Value::Secret(secret) => secret.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
            Value::Count(count) => count.fmt(f),
            Value::Time(time) => write!(f, "{}", humantime::format_duration(*time)),
            // What is no path may be a secret in the wrong place.
            Value::Path(path) => match path.to_str().is_none_or(is_path) {
                true => write!(f, "{}", path.display()),
                false => f.write_str(HIDDEN),
            },
            Value::Address(address) => f.write_str(&origin(address)),
            Value::Url(url) => f.write_str(&without_secrets(url)),
            Value::Choice(choice) => f.write_str(choice),
        }
    }
}

impl fmt::Display for BadValue {
    /// Follows the setting's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::Control => f.write_str("holds a control character"),
            BadValue::NotAscii => f.write_str("holds a character that is not ASCII"),
            BadValue::Expected(what) => write!(f, "can't be used: expected {what}"),
        }
    }
}

/// How flags are written. `None` for what is none.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" | "y" => Some(true),
        "0" | "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}

fn is_of_a_host(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')
}

/// Whether it is base64 as RFC 4648 writes it, with padding. Nothing at all is left to whoever needs something.
fn is_base64(text: &str) -> bool {
    let unpadded = text.trim_end_matches('=');
    let padding = text.len().saturating_sub(unpadded.len());
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len().is_multiple_of(4) && padding <= 2 && unpadded.bytes().all(is_digit)
}

/// Whether a text begins as a path does, and is no longer than one may be.
pub(crate) fn is_path(text: &str) -> bool {
    let begins = ["/", "./", "../", "~/"].iter().any(|begin| text.starts_with(begin));
    begins && text.chars().count() <= LONGEST_PATH
}

/// An address without what stands after the host's name and the port.
fn origin(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.path(), "" | "/") => url.origin().ascii_serialization(),
        Ok(url) if url.has_host() => format!("{}/{HIDDEN}", url.origin().ascii_serialization()),
        _ => HIDDEN.to_string(),
    }
}

/// A URL without its user, password, query and fragment.
fn without_secrets(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return HIDDEN.to_string() };
    // Both fail only for URLs that can have no user and no password.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
