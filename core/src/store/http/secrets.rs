//! Removes the store's own secrets from what a server says: it may repeat what it was sent.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use crate::store::secrets::{PART, REMOVED, is_plain};

/// How many values are remembered. Temporary credentials are renewed for as long as a process lives.
const REMEMBERED: usize = 32;
/// Values from this length on are found in parts too, as when a server cuts them.
const IN_PARTS: usize = 16;

/// Secret values of one store.
#[derive(Default)]
pub(in crate::store) struct Secrets(RwLock<VecDeque<String>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Remembers a value.
    pub(in crate::store) fn add(&self, value: &str) {
        if value.is_empty() || self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|one| one == value) {
            return;
        }
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if values.len() >= REMEMBERED {
            values.pop_front();
        }
        values.push_back(value.to_string());
    }

    /// Removes the remembered values, and `more` of them.
    pub(in crate::store) fn strip(&self, text: &str, more: &[String]) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        strip(text, known.iter().chain(more).map(String::as_str).collect())
    }

    /// Removes the remembered values from a name. Short ones stay: real secrets are long, and what a test server takes
    /// for one, such as `test`, is somebody's topic too.
    pub(in crate::store) fn strip_from_name(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        strip(text, known.iter().map(String::as_str).filter(|value| value.len() >= IN_PARTS).collect())
    }
}

fn strip(text: &str, mut values: Vec<&str>) -> String {
    values.retain(|value| !value.is_empty());
    // A value may be a part of another.
    values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
    let mut text = text.to_string();
    for value in &values {
        text = remove(&text, value);
    }
    for part in values.iter().filter(|value| value.len() >= IN_PARTS).flat_map(|value| parts(value)) {
        text = remove(&text, part);
    }
    text
}

/// The runs of letters and digits in a value.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| part.len() >= PART)
}

/// Removes a value, encoded or not: one that is short, or a plain word, where it stands as a word of its own; any
/// other anywhere.
fn remove(text: &str, value: &str) -> String {
    let anywhere = value.len() >= PART && !is_plain(value);
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = without(rest, value)
            .filter(|after| anywhere || !(word(kept.chars().next_back()) || word(after.chars().next())));
        rest = match after {
            Some(after) => {
                kept.push_str(REMOVED);
                after
            }
            None => {
                kept.push(c);
                rest.get(c.len_utf8()..).unwrap_or_default()
            }
        };
    }
    kept
}

/// What follows a value that the text begins with.
fn without<'a>(text: &'a str, value: &str) -> Option<&'a str> {
    let mut rest = text;
    for c in value.chars() {
        rest = match rest.strip_prefix(c) {
            Some(after) => after,
            None if c.is_ascii_alphanumeric() => return None,
            None => encodings(c).iter().find_map(|encoded| {
                let found = rest.get(..encoded.len())?;
                found.eq_ignore_ascii_case(encoded).then(|| rest.get(encoded.len()..))?
            })?,
        };
    }
    Some(rest)
}

/// A character as URLs, XML and JSON may write it.
fn encodings(c: char) -> [String; 4] {
    let code = u32::from(c);
    [format!("%{code:02x}"), format!("&#{code};"), format!("&#x{code:x};"), format!("\\u{code:04x}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_removed_however_they_are_encoded() {
        let secrets = Secrets::default();
        secrets.add("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        secrets.add("ak");
        let text = "ak taken wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY wJalrXUtnFEMI%2FK7MDENG&#47;bPxRfiCYEXAMPLEKEY \
                    cut: wJalrXUtnFEMI/K7 tok";
        let stripped = secrets.strip(text, &["tok".into()]);
        assert_eq!(stripped, "[removed] taken [removed] [removed] cut: [removed]/K7 [removed]");
        assert_eq!(secrets.strip_from_name("ak-wJalrXUtnFEMI"), "ak-[removed]");
    }

    #[test]
    fn a_secret_of_plain_words_is_removed_and_words_that_hold_one_are_kept() {
        let secrets = Secrets::default();
        secrets.add("Development-Signature-2x");
        secrets.add("password");
        let text = "SignatureDoesNotMatch, PasswordExpired: passwordless. Development-Signature-2x password! \
                    cut: Development-Sig";
        let stripped = secrets.strip(text, &[]);
        let expected = "SignatureDoesNotMatch, PasswordExpired: passwordless. [removed] [removed]! cut: [removed]-Sig";
        assert_eq!(stripped, expected);
    }

    #[test]
    fn only_the_newest_values_are_remembered() {
        let secrets = Secrets::default();
        (0..100).for_each(|n| secrets.add(&format!("secret-number-{n}")));
        assert_eq!(secrets.0.read().unwrap().len(), REMEMBERED);
        assert_eq!(secrets.strip("secret-number-99", &[]), REMOVED);
    }
}
