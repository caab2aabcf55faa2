//! What a message shows of a setting: its name, and what is expected of it.
//!
//! It repeats no value, because a secret may have been set in the wrong place. Only a path is shown, where the value is
//! short and begins like one.

use super::value::is_path;

/// A word of a value that is shorter is no secret.
const WORD: usize = 4;

const NUMBER: &str = "a whole number";
/// How object_store's words for a value that it can't read end, and what it expects then.
const EXPECTED: [(&str, &str); 4] = [
    (" as boolean", "true or false"),
    (" as Duration", "a time such as 30s"),
    (" as usize", NUMBER),
    (" as u32", NUMBER),
];

/// The file that a setting names, in parentheses after a blank. Nothing, where the value may be something else.
pub(in crate::store) fn path(value: &str) -> String {
    if is_path(value) { format!(" ({value})") } else { String::new() }
}

/// Why a client can't use its settings, by what it said of it, without these values.
pub(in crate::store) fn fault<'a>(said: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    if let Some((_, expected)) = EXPECTED.iter().find(|(end, _)| said.ends_with(end)) {
        return format!("expected {expected}");
    }
    let lower = said.to_lowercase();
    let repeats = |value: &str| {
        let words = value.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() >= WORD);
        words.map(str::to_lowercase).any(|word| lower.contains(&word))
    };
    // object_store puts quotes around a value.
    if said.contains('"') || values.into_iter().any(repeats) {
        return "the value is not one of those that are allowed".into();
    }
    said.to_string()
}
