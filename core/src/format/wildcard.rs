//! Names with wildcards.

use super::PartitionId;

impl PartitionId {
    /// Whether the partition goes by this name: `topic/partition`, or a topic, which names all its partitions. `*` stands for
    /// any characters, also none, and `?` for one.
    ///
    /// ```
    /// # use kfs_core::format::{Namespace, PartitionId};
    /// # fn main() -> Result<(), kfs_core::Error> {
    /// let id = PartitionId::parse("orders-eu/12", Namespace::default())?;
    /// assert!(id.is_called("orders-eu") && id.is_called("orders-*") && id.is_called("*/1?"));
    /// assert!(!id.is_called("orders") && !id.is_called("orders-*/1"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_called(&self, name: &str) -> bool {
        match name.contains('/') {
            true => matches(name, &self.to_string()),
            false => matches(name, self.topic().as_str()),
        }
    }
}

/// Whether a text matches a pattern in which * stands for any characters and ? for one.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What is left to match after the last *, where it was tried last.
    let mut after_star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (wanted, found) = (pattern.clone().next(), text.clone().next());
        match (wanted, found) {
            (None, None) => return true,
            (Some('*'), _) => {
                pattern.next();
                after_star = Some((pattern.clone(), text.clone()));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern.next();
                text.next();
            }
            _ => {
                // The last * stands for one character more.
                let Some((rest, tried)) = &mut after_star else { return false };
                if tried.next().is_none() {
                    return false;
                }
                (pattern, text) = (rest.clone(), tried.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("ord*", "orders", true),
            ("*", "", true),
            ("*-eu", "orders-eu", true),
            ("o?d*s", "orders", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
