//! The settings of a cloud store's client. Errors name them as the user wrote them.
//!
//! What differs between stores is their [`Keys`].

#[cfg(feature = "azure")]
use object_store::ClientOptions;
use object_store::client::ClientConfigKey;

use super::{BadCharacter, Connector, bad_character, boolean, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{StoreOptions, failure};

/// The names of one kind of store's settings, and the builder of object_store that takes them.
pub(in crate::store) trait Keys {
    /// What object_store calls a setting.
    type Key: Copy + PartialEq + AsRef<str> + 'static;
    /// What makes the client.
    type Builder;

    /// The store's name, for messages.
    const STORE: &'static str;
    /// How the names of all settings begin, in upper case.
    const PREFIX: &'static str;
    /// A setting, for messages.
    const EXAMPLE: &'static str;
    /// The setting for the certificates to trust, which object_store does not know.
    const CA_BUNDLE: &'static str;
    /// The settings for the server's address. The first one that is set counts.
    const ENDPOINTS: &'static [Self::Key];
    /// The flags, besides that for plain HTTP, that are read before object_store makes a client and checks them.
    const FLAGS: &'static [Self::Key] = &[];

    /// What object_store calls the setting with this name, which is in lower case and has the prefix.
    fn key(lower: &str) -> Option<Self::Key>;

    /// What this store calls a setting of the HTTP client.
    fn of_client(key: ClientConfigKey) -> Self::Key;

    /// The setting of the HTTP client that this is.
    #[cfg(feature = "azure")]
    fn as_client(key: Self::Key) -> Option<ClientConfigKey>;

    /// Whether object_store puts the setting into a header.
    fn is_in_headers(key: Self::Key) -> bool;

    /// A builder without settings.
    fn empty() -> Self::Builder;

    /// The builder with a setting.
    fn with(builder: Self::Builder, key: Self::Key, value: &str) -> Self::Builder;

    /// What the builder has for a setting.
    fn value(builder: &Self::Builder, key: Self::Key) -> Option<String>;

    /// Makes a client, which is thrown away, for a bucket of any name.
    ///
    /// # Errors
    /// What object_store says.
    fn try_build(builder: Self::Builder, connector: &Connector) -> object_store::Result<()>;
}

/// What was set, in the order in which it counts: a later one of the same key replaces an earlier one.
pub(in crate::store) struct Settings<K: Keys>(Vec<Setting<K::Key>>);

struct Setting<Key> {
    /// As the user wrote it.
    name: String,
    key: Key,
    value: String,
}

impl<K: Keys> Settings<K> {
    /// Those of the environment, and after them the caller's. Variables that object_store does not know are
    /// somebody else's; a name that the caller gives must be known.
    pub(in crate::store) fn of(options: &StoreOptions) -> Result<Self> {
        let mut settings = Vec::new();
        if options.environment {
            let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
            for (name, value) in variables.filter(|(name, _)| name.starts_with(K::PREFIX)) {
                if let (Some(key), Ok(value)) = (key::<K>(&name), value.into_string()) {
                    settings.push(Setting { name, key, value });
                }
            }
        }
        for (name, value) in options.config.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(K::CA_BUNDLE)) {
            let key = key::<K>(name).ok_or_else(|| {
                let (shown, store) = (shown::name(name, K::PREFIX), K::STORE);
                Error::new(ErrorKind::InvalidInput, format!("{shown} is no setting for {store}"))
                    .with_hint(format!("settings are named as in the environment, such as {}", K::EXAMPLE))
            })?;
            settings.push(Setting { name: name.clone(), key, value: value.clone() });
        }
        Ok(Settings(settings))
    }

    /// A client with these settings, to be completed.
    pub(in crate::store) fn builder(&self) -> K::Builder {
        self.0.iter().fold(K::empty(), |builder, setting| K::with(builder, setting.key, &setting.value))
    }

    /// The settings of the HTTP client, for one of our own.
    #[cfg(feature = "azure")]
    pub(in crate::store) fn client_options(&self) -> ClientOptions {
        let of_client = self.0.iter().filter_map(|setting| Some((K::as_client(setting.key)?, &setting.value)));
        of_client.fold(ClientOptions::new(), |options, (key, value)| options.with_config(key, value))
    }

    /// Refuses values that can't stand in a header. object_store panics when it puts one there, so all settings are
    /// checked: none is meant to hold a control character, except certificates in PEM form.
    pub(in crate::store) fn check_characters(&self) -> Result<()> {
        // A certificate has more than one line.
        let mut checked = vec![K::of_client(ClientConfigKey::ProxyCaCertificate)];
        for setting in self.0.iter().rev() {
            // Of the same setting the last value counts.
            if checked.contains(&setting.key) {
                continue;
            }
            checked.push(setting.key);
            let what = match bad_character(&setting.value) {
                Some(BadCharacter::NotAscii) if !K::is_in_headers(setting.key) => continue,
                Some(what) => what,
                None => continue,
            };
            let error = Error::new(ErrorKind::InvalidInput, format!("{} {what}", setting.name));
            return Err(error.with_hint(match setting.value.trim_end_matches('\n').ends_with('\r') {
                true => {
                    "the value ends in a carriage return: remove it, and save the file that it comes from with line \
                         ends of LF alone, without CRLF"
                }
                false if setting.value.ends_with('\n') => "the value ends in a line feed: remove it",
                false => "set it again without that character",
            }));
        }
        Ok(())
    }

    /// Refuses a flag that is neither true nor false. It would pass for false, and the error would blame another setting.
    pub(in crate::store) fn check_flags(&self) -> Result<()> {
        let allow_http = K::of_client(ClientConfigKey::AllowHttp);
        for key in K::FLAGS.iter().copied().chain([allow_http]) {
            let set = self.0.iter().rev().find(|setting| setting.key == key);
            if let Some(setting) = set.filter(|setting| boolean(&setting.value).is_none()) {
                let message = format!("{} can't be used: expected true or false", setting.name);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }

    /// The name under which something was set.
    pub(in crate::store) fn name(&self, key: K::Key) -> String {
        let found = self.0.iter().rev().find(|setting| setting.key == key);
        found.map_or_else(|| key.as_ref().to_ascii_uppercase(), |setting| setting.name.clone())
    }

    /// Refuses an address of a server that can't be right, or that is not encrypted without leave.
    pub(in crate::store) fn check_endpoint(&self, builder: &K::Builder) -> Result<()> {
        let given = |key: &K::Key| Some((self.name(*key), K::value(builder, *key)?));
        let Some((name, endpoint)) = K::ENDPOINTS.iter().find_map(given) else { return Ok(()) };
        let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, format!("{name} {what}"));
        let endpoint = url::Url::parse(&endpoint).map_err(|_| invalid("is not a URL"))?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() || endpoint.query().is_some() {
            return Err(invalid("holds a user, a password or a query"));
        }
        let plain = K::value(builder, K::of_client(ClientConfigKey::AllowHttp));
        match endpoint.scheme() {
            "https" => Ok(()),
            "http" if is_true(plain.as_deref()) => Ok(()),
            "http" => Err(invalid("is not encrypted (http:)")
                .with_hint(format!("set {}ALLOW_HTTP=true if the way to the server may be read by others", K::PREFIX))),
            _ => Err(invalid("is neither https: nor http:")),
        }
    }

    /// The error of a client that can't be built. It names the setting that alone gives the same error.
    pub(in crate::store) fn unusable(&self, error: &object_store::Error, connector: &Connector) -> Error {
        let text = failure::text(error);
        let alone = |setting: &&Setting<K::Key>| {
            let built = K::try_build(K::with(K::empty(), setting.key, &setting.value), connector);
            built.err().is_some_and(|error| failure::text(&error) == text)
        };
        match self.0.iter().rev().find(alone) {
            Some(setting) => {
                let fault = shown::fault(&text, [setting.value.as_str()]);
                Error::new(ErrorKind::InvalidInput, format!("{} can't be used: {fault}", setting.name))
            }
            None => unusable(K::STORE, error, self.0.iter().map(|setting| setting.value.as_str())),
        }
    }
}

/// The error of a client of `store` that can't be built, without these values.
pub(in crate::store) fn unusable<'a>(
    store: &str,
    error: &object_store::Error,
    values: impl IntoIterator<Item = &'a str>,
) -> Error {
    let fault = shown::fault(&failure::text(error), values);
    Error::new(ErrorKind::InvalidInput, format!("the {store} settings can't be used: {fault}"))
}

/// Whether a flag is set. [`Settings::check_flags`] has refused one that is neither true nor false.
pub(in crate::store) fn is_true(value: Option<&str>) -> bool {
    value.and_then(boolean).unwrap_or(false)
}

/// What object_store calls the setting. It knows names without the prefix, too: those are mistakes more
/// often.
fn key<K: Keys>(name: &str) -> Option<K::Key> {
    let begins = name.get(..K::PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(K::PREFIX));
    if begins { K::key(&name.to_ascii_lowercase()) } else { None }
}
