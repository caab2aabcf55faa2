//! What the checks found.

use std::fmt;

/// What the checks of [`conformance`](super::conformance) found. It prints as a table, with one line for each check.
#[derive(Clone, Debug)]
#[must_use = "a report says whether the store conforms"]
#[non_exhaustive]
pub struct ConformanceReport {
    /// The store's URL.
    pub store: String,
    /// The checks in the order in which they ran.
    pub checks: Vec<CheckResult>,
}

/// One check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckResult {
    /// Its name, which says what a store does that passes it.
    pub name: &'static str,
    /// What the store does instead; `None` where it passed.
    pub deviation: Option<Deviation>,
}

/// What a store does, and what it should do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The object's key.
    pub key: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl ConformanceReport {
    /// Whether all checks passed.
    pub fn is_ok(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The checks that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(|check| check.deviation.is_some())
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed().count();
        writeln!(f, "{}: {} of {} checks failed", self.store, failed, self.checks.len())?;
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deviation {
            None => write!(f, "ok    {}", self.name),
            Some(deviation) => write!(f, "FAIL  {}: {deviation}", self.name),
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.key, self.found, self.expected)
    }
}
