//! The store's own words, fit for a message.

use std::error::Error as StdError;

use crate::error::causes;
use crate::store::secrets::strip_by_pattern;

/// How much of a store's own text a message holds, in characters.
pub(super) const TEXT_LIMIT: usize = 400;
/// The longest name of a request, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

/// The `<Code>` of an answer in S3's or Azure's XML.
pub(super) fn code(text: &str) -> Option<&str> {
    between(text, "<Code>", "</Code>")
}

/// What a refusal in XML calls the request: `<RequestId>` on S3, a line of the message on Azure.
pub(super) fn request_id(text: &str) -> Option<&str> {
    let of_azure = || text.split_once("\nRequestId:")?.1.lines().next().map(str::trim);
    between(text, "<RequestId>", "</RequestId>").or_else(of_azure).filter(|id| is_request_id(id))
}

/// Whether this may be what a store calls a request: a word, and not a long one.
pub(in crate::store) fn is_request_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=".contains(c);
    !text.is_empty() && text.len() <= REQUEST_ID_LIMIT && text.chars().all(plain)
}

pub(in crate::store) fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

/// The store's own words, fit for a message. An XML answer is cut to its code and message, for S3
/// repeats the string to sign and the signature in it; a URL loses user and query, where signed
/// URLs carry theirs.
pub(in crate::store) fn text(error: &(dyn StdError + 'static)) -> String {
    let whole = error.to_string();
    let short = match code(&whole) {
        Some(code) => match between(&whole, "<Message>", "</Message>") {
            Some(message) => format!("{code}: {}", without_entities(message)),
            None => code.to_string(),
        },
        // The outermost words are object_store's own, and say less than the kind of our error.
        None => without_effort(&causes::line(error.source().unwrap_or(error))),
    };
    let mut words = String::new();
    for word in short.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&without_secrets(word));
    }
    causes::bounded(strip_by_pattern(&words), TEXT_LIMIT)
}

/// Without what object_store says of its own tries: `Error performing GET URL in 3ms, after 2
/// retries, ...  - REASON`. It differs from try to try, and the reason does not. For some requests, such as
/// listings, another `Error performing ...: ` comes first and says less.
fn without_effort(text: &str) -> String {
    let parted = text.split_once(" - ").and_then(|(effort, reason)| {
        let (_, effort) = effort.rsplit_once("Error performing ")?;
        let request = effort.split_once(" in ").map_or(effort, |(request, _)| request);
        Some(format!("{request}: {reason}"))
    });
    parted.unwrap_or_else(|| text.to_string())
}

/// Writes XML's named and numbered characters out.
fn without_entities(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail))) {
            Some((character, tail)) => {
                plain.push(character);
                rest = tail;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

pub(in crate::store) fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

fn without_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_string() };
    let (rest, query) = match rest.find('?') {
        // The colon after a request's URL is ours.
        Some(at) if rest.ends_with(':') => (rest.get(..at).unwrap_or_default(), "?...:"),
        Some(at) => (rest.get(..at).unwrap_or_default(), "?..."),
        None => (rest, ""),
    };
    let host = rest.find('/').unwrap_or(rest.len());
    let rest = match rest.get(..host).and_then(|authority| authority.rfind('@')) {
        Some(at) => rest.get(at..).map(|tail| format!("...{tail}")).unwrap_or_default(),
        None => rest.to_string(),
    };
    format!("{scheme}://{rest}{query}")
}
