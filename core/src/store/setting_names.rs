//! How the settings of a store were set, for hints: those name a setting by its variable.

use crate::error::Error;
#[cfg(feature = "_http")]
use crate::store::config::Settings;

/// How the settings of one store were set.
#[derive(Debug, Default)]
pub(super) struct SettingNames {
    /// Variables, and how the setting was set that they stand for.
    set_otherwise: Vec<(String, String)>,
    /// Where the bucket is: its name, its region and its server, as far as they are set.
    pub(super) place: String,
    /// Where the credentials come from.
    pub(super) credentials: String,
}

impl SettingNames {
    #[cfg(feature = "_http")]
    pub(super) fn of(settings: &Settings, credentials: String) -> Self {
        SettingNames { set_otherwise: settings.set_otherwise(), place: place(settings), credentials }
    }

    /// The error, whose hint calls each setting what the user called it.
    pub(super) fn named(&self, error: Error) -> Error {
        match error.hint().map(|hint| self.in_text(hint)) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// The same for a request that the store refused because of its credentials.
    pub(super) fn refused(&self, error: Error) -> Error {
        let error = self.named(error);
        let hint = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
        error.with_hint(format!("{hint}the credentials come from {}", self.credentials))
    }

    /// The text with each variable replaced that stands for a setting that was set otherwise.
    fn in_text(&self, text: &str) -> String {
        let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find(is_of_name) {
            let (before, from) = rest.split_at(begin);
            let (name, after) = from.split_at(from.find(|c| !is_of_name(c)).unwrap_or(from.len()));
            let set = self.set_otherwise.iter().find(|(variable, _)| variable == name);
            named.push_str(before);
            named.push_str(set.map_or(name, |(_, set)| set));
            rest = after;
        }
        named + rest
    }
}

/// Where settings say that a bucket is, for messages.
#[cfg(feature = "_http")]
pub(super) fn place(settings: &Settings) -> String {
    let parts = settings.place().into_iter().map(|(name, value)| format!("{name} {value}"));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_hint_calls_a_setting_what_the_user_called_it() {
        let pair = |variable: &str, set: &str| (variable.to_string(), set.to_string());
        let names = SettingNames {
            set_otherwise: vec![pair("AWS_ENDPOINT_URL", "endpoint of the document"), pair("AWS_REGION", "AWS_REGIO")],
            place: String::new(),
            credentials: "the profile default".into(),
        };
        let error = |hint: &str| Error::new(ErrorKind::PermissionDenied, "no").with_hint(hint);
        let hint = "is AWS_ENDPOINT_URL right, or AWS_REGION? AWS_ENDPOINT_URL_STS=ü stays";
        assert_eq!(
            names.named(error(hint)).hint(),
            Some("is endpoint of the document right, or AWS_REGIO? AWS_ENDPOINT_URL_STS=ü stays")
        );
        let refused = names.refused(error("renew them"));
        assert_eq!(refused.hint(), Some("renew them; the credentials come from the profile default"));
        let refused = names.refused(Error::new(ErrorKind::PermissionDenied, "no"));
        assert_eq!(refused.hint(), Some("the credentials come from the profile default"));
    }
}
