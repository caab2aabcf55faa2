//! An error and what caused it, as one line.

use std::error::Error as StdError;

/// How many causes are followed. A chain that is longer is a loop, or is of no use to a reader.
const MOST_CAUSES: usize = 16;
/// How many characters a line holds. What is too long loses its middle: the first words say what
/// failed, the last ones say why.
const LONGEST: usize = 1000;

/// The error and its causes, outermost first, separated by colons. A cause that the line holds
/// already is left out, for many errors repeat their source. Line breaks become blanks.
pub(crate) fn line(error: &(dyn StdError + 'static)) -> String {
    continued(String::new(), Some(error))
}

/// The text, and then this error and its causes.
pub(crate) fn continued(mut text: String, error: Option<&(dyn StdError + 'static)>) -> String {
    for cause in chain(error).take(MOST_CAUSES) {
        let said = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if said.is_empty() || text.contains(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&said);
    }
    bounded(text, LONGEST)
}

/// The error and the causes beneath it.
pub(crate) fn chain<'a>(
    error: Option<&'a (dyn StdError + 'static)>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error, |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// The text, without its middle where it has more characters than this.
pub(crate) fn bounded(text: String, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text;
    }
    let head = text.chars().take(most / 2);
    let tail = text.chars().skip(length.saturating_sub(most / 2));
    head.chain(" ... ".chars()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, ErrorKind};

    #[test]
    fn a_line_names_every_cause_once() {
        let refused = std::io::Error::other("connection refused");
        let inner = Error::new(ErrorKind::Unavailable, "the store failed at once").with_source(refused);
        let message = format!("no progress for 3s: {inner}");
        let outer = Error::new(ErrorKind::TimedOut, message).with_key("k").with_source(inner);
        let line = format!("{outer:#}");
        assert_eq!(
            line,
            "timed out: no progress for 3s: unavailable: the store failed at once [k]: connection refused"
        );
        assert!(!format!("{outer}").contains("refused"), "the plain form leaves causes to the caller");
    }

    #[test]
    fn a_long_line_keeps_its_last_cause() {
        let inner = std::io::Error::other(format!("{}connection refused", "x".repeat(5000)));
        let line = format!("{:#}", Error::new(ErrorKind::Unavailable, "the store failed").with_source(inner));
        assert!(line.starts_with("unavailable: the store failed") && line.ends_with("connection refused"));
        assert!(line.chars().count() < 1100);
    }
}
