//! The error of a name that is no setting.

use super::backend::StoreBackend;
use super::row::SettingsTable;
use crate::error::{Error, ErrorKind};

/// The longest name that is shown, in bytes.
const LONGEST_NAME: usize = 64;

/// The error of a name that the table does not have. It says what may be meant.
pub(super) fn unknown_setting(name: &str, table: &SettingsTable) -> Error {
    let shown = shown(name, table);
    let error = Error::new(ErrorKind::InvalidInput, format!("{shown} is no setting for {}", table.store));
    if let Some(other) = StoreBackend::ALL.map(StoreBackend::table).into_iter().find(|other| other.find(name).is_some())
    {
        return error.with_hint(format!("it is a setting for {}: is the backend right?", other.store));
    }
    match nearest(name, table) {
        Some(nearest) => error.with_hint(format!("is {nearest} meant?")),
        None => error.with_hint(format!("settings are named as in the environment, such as {}", table.example)),
    }
}

/// The name, unless it may be a secret: a name and a value are exchanged easily.
fn shown<'a>(name: &'a str, table: &SettingsTable) -> &'a str {
    let begins = |begin: &str| name.get(..begin.len()).is_some_and(|head| head.eq_ignore_ascii_case(begin));
    let is_variable = !table.prefix.is_empty() && begins(table.prefix) || begins("KAFSCALE_");
    let fits = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.') || is_variable && b.is_ascii_digit();
    let is_backend = StoreBackend::named(name).is_some();
    let is_name = is_backend || !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(fits);
    if is_name { name } else { "the given name" }
}

/// The name of the table that differs least, if it differs by a letter or two.
fn nearest(name: &str, table: &SettingsTable) -> Option<String> {
    const CLOSE: usize = 2;
    let name = name.get(..name.len().min(LONGEST_NAME))?.to_ascii_lowercase();
    let known = table.rows().flat_map(|row| {
        row.aliases.iter().chain(row.environment).map(|name| (*name).to_string()).chain([row.name.to_string()])
    });
    let measured = known.map(|known| (distance(&name, &known.to_ascii_lowercase()), known));
    measured.filter(|(far, _)| *far <= CLOSE).min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

/// How many letters must be changed, added or removed to make one text of the other (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut before = std::mem::replace(row.first_mut().unwrap_or(&mut 0), i.saturating_add(1));
        let mut left = i.saturating_add(1);
        for (cell, b) in row.iter_mut().skip(1).zip(other.bytes()) {
            let changed = before.saturating_add(usize::from(a != b));
            before = *cell;
            *cell = changed.min(left.saturating_add(1)).min(before.saturating_add(1));
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, expected) in
            [("", "ab", 2), ("region", "region", 0), ("regoin", "region", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
