//! What is known of one setting: its names, its kind, its default, and what it is for.

use super::value::Kind;

/// One setting. The tables of rows are what errors, `kfs config show` and the documentation are made from.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name in documents and URLs.
    pub(crate) name: &'static str,
    /// Other names there.
    pub(crate) aliases: &'static [&'static str],
    /// Its names in the environment. Of those that are set the first one counts.
    pub(crate) environment: &'static [&'static str],
    /// Names, anywhere, that mean the opposite of the flag.
    pub(crate) opposites: &'static [&'static str],
    pub(crate) kind: Kind,
    /// What counts if it is not set. `None`: nothing, or what `about` says.
    pub(crate) default: Option<&'static str>,
    /// A sentence.
    pub(crate) about: &'static str,
    /// It belongs to the address of the bucket.
    pub(crate) is_address: bool,
}

impl Row {
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        let none: &[&str] = &[];
        Row { name, aliases: none, environment: none, opposites: none, kind, default: None, about, is_address: false }
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn environment(mut self, names: &'static [&'static str]) -> Self {
        self.environment = names;
        self
    }

    pub(super) const fn opposites(mut self, names: &'static [&'static str]) -> Self {
        self.opposites = names;
        self
    }

    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub(super) const fn address(mut self) -> Self {
        self.is_address = true;
        self
    }
}

/// The settings of one kind of store.
#[derive(Debug)]
pub(crate) struct SettingsTable {
    /// What documents call it: `backend: s3`.
    pub(crate) backend: &'static str,
    /// Other names there.
    pub(super) aliases: &'static [&'static str],
    /// The store's name, for messages.
    pub(crate) store: &'static str,
    /// How its variables begin, such as `AWS_`. Nothing for a store without any.
    pub(crate) prefix: &'static str,
    /// A setting, for messages.
    pub(crate) example: &'static str,
    pub(super) rows: &'static [&'static Row],
    /// The settings of the HTTP client. Their variables are the prefix and the name: `AWS_CONNECT_TIMEOUT`.
    pub(super) client: &'static [&'static Row],
}

/// A setting that was found by one of its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedRow {
    pub(super) row: &'static Row,
    /// Of two variables of the environment the one of the lower rank counts.
    pub(super) rank: usize,
    /// The name means the opposite of the flag.
    pub(super) is_opposite: bool,
}

impl SettingsTable {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().chain(self.client).copied()
    }

    pub(crate) fn client_rows(&self) -> impl Iterator<Item = &'static Row> {
        self.client.iter().copied()
    }

    /// The setting with this name, in upper or lower case, with or without underscores: `path_style`, `pathStyle`.
    pub(super) fn find(&self, name: &str) -> Option<NamedRow> {
        self.find_by(name, &same_name)
    }

    /// The setting with this name, if the name is one of a variable of the environment.
    pub(super) fn find_variable(&self, name: &str) -> Option<NamedRow> {
        let is_variable = !self.prefix.is_empty() && begins(name, self.prefix) || begins(name, "KAFSCALE_");
        if is_variable { self.find_by(name, &|one, other| one.eq_ignore_ascii_case(other)) } else { None }
    }

    fn find_by(&self, name: &str, is: &dyn Fn(&str, &str) -> bool) -> Option<NamedRow> {
        for row in self.rows() {
            let of = |rank, is_opposite| Some(NamedRow { row, rank, is_opposite });
            if is(name, row.name) || row.aliases.iter().any(|alias| is(name, alias)) {
                return of(0, false);
            }
            if let Some(rank) = row.environment.iter().position(|variable| is(name, variable)) {
                return of(rank, false);
            }
            if let Some(rank) = row.opposites.iter().position(|opposite| is(name, opposite)) {
                return of(row.environment.len().saturating_add(rank), true);
            }
        }
        let rest = name.get(self.prefix.len()..).filter(|_| !self.prefix.is_empty() && begins(name, self.prefix))?;
        let is_of_client = |row: &&'static Row| row.aliases.iter().chain([&row.name]).any(|name| is(rest, name));
        let row = self.client_rows().find(is_of_client)?;
        Some(NamedRow { row, rank: 0, is_opposite: false })
    }

    /// What the setting is called where nobody has named it: its variable, or its name.
    pub(crate) fn name_of(&self, row: &Row) -> String {
        if let Some(variable) = row.environment.iter().find(|name| name.starts_with(self.prefix)) {
            return (*variable).to_string();
        }
        match self.client.iter().any(|of_client| of_client.name == row.name) {
            true => format!("{}{}", self.prefix, row.name.to_ascii_uppercase()),
            false => row.environment.first().map_or(row.name, |name| name).to_string(),
        }
    }
}

fn begins(name: &str, with: &str) -> bool {
    name.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

/// Whether two names are the same but for upper and lower case, underscores and hyphens.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    let letters = |name: &str| {
        name.bytes().filter(|b| !matches!(b, b'_' | b'-')).map(|b| b.to_ascii_lowercase()).collect::<Vec<u8>>()
    };
    letters(one) == letters(other)
}
