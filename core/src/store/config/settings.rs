//! The settings of one store: which of those that were given count, and what they say.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::common;
use super::row::{Row, SettingsTable};
use super::s3;
use super::secret::Secret;
use super::value::{BadValue, Kind, Value};
use crate::error::{Error, ErrorKind, Result};

/// How KafScale's variables begin.
const KAFSCALE: &str = "KAFSCALE_";

/// Who set a setting. A later one counts more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody: it is libkfs's own.
    Default,
    /// A variable of the process's environment.
    Environment,
    /// A document in YAML or JSON.
    Document,
    /// The bucket's URL.
    Url,
    /// The caller, by its name.
    Explicit,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Origin::Default => "default",
            Origin::Environment => "environment",
            Origin::Document => "document",
            Origin::Url => "URL",
            Origin::Explicit => "caller",
        })
    }
}

/// A setting as somebody gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) row: &'static Row,
    /// As it was written.
    pub(super) name: String,
    /// It may be a secret, whatever the row says.
    pub(super) text: Secret,
    pub(super) origin: Origin,
    /// Of two variables the one of the lower rank counts.
    pub(super) rank: usize,
    /// The name means the opposite of the flag.
    pub(super) is_opposite: bool,
}

impl Given {
    /// Text that is empty says nothing. A secret or a flag that is empty is a mistake, and so is a URL, whose default
    /// would be another server; but KafScale's documents have `endpoint: ""` for none.
    fn says_nothing(&self) -> bool {
        let is_text = match self.row.kind {
            Kind::Text | Kind::Header | Kind::HostPart | Kind::Path | Kind::Address | Kind::Pem => true,
            Kind::Url => self.origin == Origin::Document,
            _ => false,
        };
        is_text && self.text.reveal().is_empty()
    }
}

/// What tells settings apart, without holding them: see [`Settings::fingerprint_without`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u64; 2]);

/// The settings of one store, as they count.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    table: &'static SettingsTable,
    values: Vec<Set>,
}

#[derive(Clone, Debug)]
struct Set {
    row: &'static Row,
    name: String,
    value: Value,
    origin: Origin,
}

impl Settings {
    /// Chooses what counts of what was given, in the order in which it was given, and reads it.
    ///
    /// # Errors
    /// `InvalidInput` for a value that can't be read. Only the values that count are read.
    pub(super) fn of(table: &'static SettingsTable, given: &[Given]) -> Result<Self> {
        let given: Vec<&Given> = given.iter().filter(|given| !given.says_nothing()).collect();
        let keys = strongest_keys(&given);
        let counts = |given: &&&Given| !is_key(given.row) || Some(strength_of_keys(given)) == keys;
        let mut values = Vec::new();
        for row in table.rows() {
            // Of several that are equally strong the last one counts.
            let found = given.iter().filter(|given| given.row.name == row.name).filter(counts);
            if let Some(found) = found.max_by_key(|given| (given.origin, std::cmp::Reverse(variable_rank(given)))) {
                values.push(Set { row, name: found.name.clone(), value: read(found)?, origin: found.origin });
            }
        }
        Ok(Settings { table, values })
    }

    /// The same settings where each of the pairs' first setting, if it is set, takes the place of the second one. Errors
    /// name it as it was set.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub(crate) fn moved(&self, pairs: &[(&Row, &'static Row)]) -> Self {
        let mut moved = self.clone();
        for (from, to) in pairs {
            if let Some(set) = self.set(from) {
                moved.values.retain(|other| other.row.name != to.name);
                moved.values.push(Set { row: to, ..set.clone() });
            }
        }
        moved
    }

    /// A hash of all that was set, secrets too, except for some settings. Its keys are random, and known to this process
    /// alone: so nobody can find out a secret from it.
    pub(crate) fn fingerprint_without(&self, left_out: &[&Row]) -> Fingerprint {
        static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
        let counts = |set: &&Set| !left_out.iter().any(|row| row.name == set.row.name);
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for Set { row, value, .. } in self.values.iter().filter(counts) {
                row.name.hash(&mut hasher);
                match value {
                    Value::Secret(secret) => secret.reveal().hash(&mut hasher),
                    // What is shown of these may leave something out.
                    Value::Text(text) | Value::Url(text) | Value::Address(text) => text.hash(&mut hasher),
                    Value::Path(path) => path.hash(&mut hasher),
                    value => value.to_string().hash(&mut hasher),
                }
            }
            hasher.finish()
        };
        Fingerprint(KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]).each_ref().map(hash))
    }

    /// Where it is: bucket, region and server, as far as they are set.
    pub(crate) fn place(&self) -> Vec<(&'static str, String)> {
        let is_place = |set: &&Set| {
            let name = set.row.name;
            set.row.is_address && name != common::PREFIX.name || ["region", "endpoint"].contains(&name)
        };
        let set = self.table.rows().filter_map(|row| self.set(row));
        set.filter(is_place).map(|set| (set.row.name, set.value.to_string())).collect()
    }

    pub(crate) fn table(&self) -> &'static SettingsTable {
        self.table
    }

    fn set(&self, row: &Row) -> Option<&Set> {
        self.values.iter().find(|set| set.row.name == row.name)
    }

    /// Whether somebody set it.
    pub(crate) fn is_set(&self, row: &Row) -> bool {
        self.set(row).is_some()
    }

    /// Who set it.
    pub(crate) fn origin(&self, row: &Row) -> Origin {
        self.set(row).map_or(Origin::Default, |set| set.origin)
    }

    /// The name under which it was set, or would be.
    pub(crate) fn name(&self, row: &Row) -> String {
        self.set(row).map_or_else(|| self.table.name_of(row), |set| set.name.clone())
    }

    /// A setting for a message: as it was written, and where.
    #[cfg(feature = "_http")]
    pub(crate) fn name_and_origin(&self, row: &Row) -> String {
        let name = self.name(row);
        match self.origin(row) {
            Origin::Environment => format!("{name} of the environment"),
            Origin::Document => format!("{name} of the document"),
            Origin::Url => format!("{name} of the bucket's URL"),
            Origin::Default | Origin::Explicit => name,
        }
    }

    /// Each variable that stands for a setting that was set by another name, and how that was set.
    #[cfg(feature = "_http")]
    pub(crate) fn set_otherwise(&self) -> Vec<(String, String)> {
        let of = |set: &Set| {
            let variables = set.row.environment.iter().map(|variable| (*variable).to_string());
            let mut others: Vec<String> = variables.chain([self.table.name_of(set.row)]).collect();
            others.retain(|variable| *variable != set.name);
            let shown = self.name_and_origin(set.row);
            others.into_iter().map(move |variable| (variable, shown.clone()))
        };
        self.values.iter().flat_map(of).collect()
    }

    /// Settings that belong together, for a message: their names, and where the last one was set.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub(crate) fn names_and_origin(&self, rows: &[&Row]) -> String {
        let Some((last, others)) = rows.split_last() else { return String::new() };
        let names: Vec<String> = others.iter().map(|row| self.name(row)).chain([self.name_and_origin(last)]).collect();
        names.join(" and ")
    }

    /// The value that counts, which may be the default, and who set it. `None` where there is neither.
    pub(crate) fn value(&self, row: &Row) -> Option<(Value, Origin)> {
        match self.set(row) {
            Some(set) => Some((set.value.clone(), set.origin)),
            None => Some((row.kind.read(row.default?).ok()?, Origin::Default)),
        }
    }

    /// What was set, a secret included, or the default.
    pub(crate) fn text(&self, row: &Row) -> Option<&str> {
        match self.set(row).map(|set| &set.value) {
            Some(Value::Text(text) | Value::Url(text) | Value::Address(text)) => Some(text),
            Some(Value::Secret(secret)) => Some(secret.reveal()),
            Some(Value::Choice(choice)) => Some(choice),
            Some(Value::Path(path)) => path.to_str(),
            Some(_) => None,
            None => row.default,
        }
    }

    pub(crate) fn flag(&self, row: &Row) -> bool {
        matches!(self.value(row), Some((Value::Flag(true), _)))
    }

    pub(crate) fn count(&self, row: &Row) -> Option<u64> {
        match self.value(row) {
            Some((Value::Count(count), _)) => Some(count),
            _ => None,
        }
    }

    /// The time that is set, or the default.
    pub(crate) fn time(&self, row: &Row) -> Option<Duration> {
        match self.value(row) {
            Some((Value::Time(time), _)) => Some(time),
            _ => None,
        }
    }

    pub(crate) fn path(&self, row: &Row) -> Option<&Path> {
        match &self.set(row)?.value {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }

    /// What must be set.
    ///
    /// # Errors
    /// `InvalidInput` where it is not.
    pub(crate) fn required(&self, row: &Row) -> Result<&str> {
        self.text(row).filter(|text| !text.is_empty()).ok_or_else(|| {
            let message = format!("{} is missing: the backend {} needs it", row.name, self.table.backend);
            Error::new(ErrorKind::InvalidInput, message).with_hint(row.about)
        })
    }

    /// The error of a setting that can't be used, by its name as it was written.
    pub(crate) fn bad(&self, row: &Row, what: &str) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("{} {what}", self.name(row)))
    }

    /// A setting's name in the style in which another one was set: in a document's or the environment's.
    pub(crate) fn name_like(&self, row: &Row, other: &Row) -> String {
        match self.set(other) {
            Some(set) if matches!(set.origin, Origin::Document | Origin::Url) => row.name.to_string(),
            Some(set) if set.name.starts_with(KAFSCALE) => {
                let own = row.environment.iter().find(|name| name.starts_with(KAFSCALE));
                own.map_or_else(|| self.name(row), |name| (*name).to_string())
            }
            _ => self.name(row),
        }
    }

    /// The text of all that was set and may be repeated by a client's error.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|set| self.text(set.row))
    }

    /// The secrets among the values, so that no message repeats them.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|set| match &set.value {
            Value::Secret(secret) => Some(secret.reveal()),
            _ => None,
        })
    }
}

fn is_key(row: &Row) -> bool {
    s3::KEYS.iter().any(|key| std::ptr::eq(*key, row))
}

/// How strongly a key was given: by whom, and by which family of variables.
fn strength_of_keys(given: &Given) -> (Origin, bool) {
    (given.origin, given.name.starts_with(KAFSCALE))
}

/// Where the keys come from: all of them from one place, because half of one credential with half of another is none.
fn strongest_keys(given: &[&Given]) -> Option<(Origin, bool)> {
    given.iter().filter(|given| is_key(given.row)).map(|given| strength_of_keys(given)).max()
}

/// Only variables have an order of their own.
fn variable_rank(given: &Given) -> usize {
    if given.origin == Origin::Environment { given.rank } else { 0 }
}

fn read(given: &Given) -> Result<Value> {
    let text = given.text.reveal();
    match given.row.kind.read(text) {
        Ok(Value::Flag(flag)) => Ok(Value::Flag(flag != given.is_opposite)),
        Ok(value) => Ok(value),
        Err(bad) => Err(bad_value(given, text, &bad)),
    }
}

/// The error of a value that is none of its kind.
fn bad_value(given: &Given, text: &str, bad: &BadValue) -> Error {
    let error = Error::new(ErrorKind::InvalidInput, format!("{} {bad}", given.name));
    match bad {
        BadValue::Expected(_) => error.with_hint(given.row.about),
        _ if text.trim_end_matches('\n').ends_with('\r') => error.with_hint(
            "the value ends in a carriage return: remove it, and save the file that it comes from with line ends of \
             LF alone, without CRLF",
        ),
        _ if text.ends_with('\n') => error.with_hint("the value ends in a line feed: remove it"),
        _ => error.with_hint("set it again without that character"),
    }
}
