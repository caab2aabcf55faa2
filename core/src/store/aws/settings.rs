//! The settings of S3's client. Errors name them as the user wrote them.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::ClientConfigKey;

use super::{CA_BUNDLE, is_true, unusable};
use crate::error::{Error, ErrorKind, Result};
use crate::store::http::{BadCharacter, Connector, bad_character, shown};
use crate::store::{StoreOptions, failure};

/// A certificate, which has more than one line.
const PROXY_CERTIFICATE: AmazonS3ConfigKey = AmazonS3ConfigKey::Client(ClientConfigKey::ProxyCaCertificate);
/// Whether object_store puts the setting into a header.
fn is_in_headers(key: AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as Key;
    let credentials = matches!(key, Key::AccessKeyId | Key::SecretAccessKey | Key::Token);
    credentials || matches!(key, Key::Region | Key::DefaultRegion | Key::Encryption(_))
}

/// What was set, in the order in which it counts: a later one of the same key replaces an earlier one.
pub(super) struct Settings(Vec<Setting>);

struct Setting {
    /// As the user wrote it.
    name: String,
    key: AmazonS3ConfigKey,
    value: String,
}

impl Settings {
    /// Those of the environment, and after them the caller's. Variables that object_store does not know are
    /// somebody else's; a name that the caller gives must be known.
    pub(super) fn of(options: &StoreOptions) -> Result<Self> {
        let mut settings = Vec::new();
        if options.environment {
            let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
            for (name, value) in variables.filter(|(name, _)| name.starts_with("AWS_")) {
                if let (Some(key), Ok(value)) = (key(&name), value.into_string()) {
                    settings.push(Setting { name, key, value });
                }
            }
        }
        for (name, value) in options.config.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(CA_BUNDLE)) {
            let key = key(name).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, format!("{} is no setting for S3", shown::name(name, "AWS_")))
                    .with_hint("settings are named as in the environment, such as AWS_REGION")
            })?;
            settings.push(Setting { name: name.clone(), key, value: value.clone() });
        }
        Ok(Settings(settings))
    }

    /// A client with these settings, to be completed.
    pub(super) fn builder(&self) -> AmazonS3Builder {
        let all = self.0.iter();
        all.fold(AmazonS3Builder::new(), |builder, setting| builder.with_config(setting.key, setting.value.as_str()))
    }

    /// Refuses values that can't stand in a header. object_store panics when it puts one there, so all settings are
    /// checked: none is meant to hold a control character, except certificates in PEM form.
    pub(super) fn check_characters(&self) -> Result<()> {
        let mut checked = Vec::new();
        for setting in self.0.iter().rev() {
            // Of the same setting the last value counts.
            if checked.contains(&setting.key) || setting.key == PROXY_CERTIFICATE {
                continue;
            }
            checked.push(setting.key);
            let what = match bad_character(&setting.value) {
                Some(BadCharacter::NotAscii) if !is_in_headers(setting.key) => continue,
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

    /// The name under which something was set.
    fn name(&self, key: AmazonS3ConfigKey) -> String {
        let found = self.0.iter().rev().find(|setting| setting.key == key);
        found.map_or_else(|| key.as_ref().to_ascii_uppercase(), |setting| setting.name.clone())
    }

    pub(super) fn check_endpoint(&self, builder: &AmazonS3Builder) -> Result<()> {
        let given = |key: AmazonS3ConfigKey| Some((self.name(key), builder.get_config_value(&key)?));
        // In the order in which object_store takes them.
        let endpoint = given(AmazonS3ConfigKey::S3Endpoint).or_else(|| given(AmazonS3ConfigKey::Endpoint));
        let Some((name, endpoint)) = endpoint else { return Ok(()) };
        let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, format!("{name} {what}"));
        let endpoint = url::Url::parse(&endpoint).map_err(|_| invalid("is not a URL"))?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() || endpoint.query().is_some() {
            return Err(invalid("holds a user, a password or a query"));
        }
        let plain = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        match endpoint.scheme() {
            "https" => Ok(()),
            "http" if is_true(plain.as_deref()) => Ok(()),
            "http" => Err(invalid("is not encrypted (http:)")
                .with_hint("set AWS_ALLOW_HTTP=true if the way to the server may be read by others")),
            _ => Err(invalid("is neither https: nor http:")),
        }
    }

    /// The error of a client that can't be built. It names the setting that alone gives the same error.
    pub(super) fn unusable(&self, error: &object_store::Error, connector: &Connector) -> Error {
        let text = failure::text(error);
        let alone = |setting: &&Setting| {
            let builder = AmazonS3Builder::new().with_bucket_name("bucket").with_http_connector(connector.clone());
            let built = builder.with_config(setting.key, setting.value.as_str()).build();
            built.err().is_some_and(|error| failure::text(&error) == text)
        };
        match self.0.iter().rev().find(alone) {
            Some(setting) => {
                let fault = shown::fault(&text, [setting.value.as_str()]);
                Error::new(ErrorKind::InvalidInput, format!("{} can't be used: {fault}", setting.name))
            }
            None => unusable(error, self.0.iter().map(|setting| setting.value.as_str())),
        }
    }
}

/// What object_store calls the setting. It knows names without the prefix, too: those are mistakes more
/// often.
fn key(name: &str) -> Option<AmazonS3ConfigKey> {
    Some(name.to_ascii_lowercase()).filter(|lower| lower.starts_with("aws_"))?.parse().ok()
}
