//! Makes text that comes from outside fit for a terminal, a log or a message.

use std::borrow::Cow;

/// Escapes what a terminal or a reader of logs would act on instead of showing it: control characters (C0
/// with line ends and tabs, DEL, C1), line and paragraph separators, and the characters that change the
/// direction of text. They are written as Rust writes them in a literal, such as `\n` and `\u{1b}`.
///
/// Everything else is left as it is, backslashes too, so text that was escaped before does not change.
/// [`Error`](crate::Error) does this for its own parts. Whoever prints a name, a key or a server's words
/// by another way must do it.
///
/// ```
/// assert_eq!(kfs_core::text::printable("Access\u{1b}[2JDenied"), r"Access\u{1b}[2JDenied");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_a_terminal) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_a_terminal(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Like [`printable`], for text that is owned already.
pub(crate) fn into_printable(text: String) -> String {
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

/// Whether a terminal or a reader of logs would act on the character instead of showing it: what
/// [`printable`] escapes. All of these characters have at most 16 bits.
pub fn acts_on_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many there are of something, in words: `1 offset`, `2 batches`.
pub fn counted(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 {
        return format!("1 {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None if what.ends_with(['h', 'x']) => format!("{number} {what}es"),
        None => format!("{number} {what}s"),
    }
}

/// The offsets from the first to the last, in words: `offset 5`, `offsets 5 to 9`.
pub fn offset_range(first: i64, last: i64) -> String {
    if first == last { format!("offset {first}") } else { format!("offsets {first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_counted_in_the_singular() {
        let shown = [counted(1_u32, "offset"), counted(0_usize, "batch"), counted(2_u64, "index"), counted(3, "entry")];
        assert_eq!(shown, ["1 offset", "0 batches", "2 indexes", "3 entries"]);
        assert_eq!([offset_range(5, 5), offset_range(5, 9)], ["offset 5", "offsets 5 to 9"]);
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_all_else_is_kept() {
        let hostile = "a\u{0}\n\r\t\u{1b}[2J\u{1b}]0;x\u{7}\u{7f}\u{80}\u{9b}\u{9f}\u{202e}\u{2066}\u{2028}z";
        let shown = printable(hostile);
        assert_eq!(
            shown,
            "a\\u{0}\\n\\r\\t\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{7f}\\u{80}\\u{9b}\\u{9f}\\u{202e}\\u{2066}\\u{2028}z"
        );
        assert_eq!(printable(&shown), shown);
        for plain in ["", "naïve café 日本 \\ \"'", "\u{a0}\u{301}"] {
            assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain), "{plain}");
        }
    }
}
