//! Credentials in the shared files, `~/.aws/credentials` and `~/.aws/config`.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html> describes the files.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use object_store::client::CredentialProvider;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Clock, SystemClock};
use crate::store::config::{Origin, Settings, s3, shown};
use crate::store::failure::{Effect, StoreFailure};
use crate::store::http::read_file;

/// The largest file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// How long keys that were read are used before the files are read again: other programs renew them there.
const READ_AGAIN_MS: i64 = 10_000;
/// What a profile may have in place of keys, and libkfs does not follow.
const NOT_FOLLOWED: [&str; 4] = ["role_arn", "credential_process", "sso_session", "sso_start_url"];

/// A profile, and the files that it may stand in.
#[derive(Clone)]
pub(super) struct Profile {
    name: String,
    /// Somebody named the profile.
    is_named: bool,
    /// Somebody named the profile or a file of it, so that a file that can't be read is an error.
    needs_files: bool,
    config: ProfileFile,
    credentials: ProfileFile,
}

/// One of the two files of profiles.
#[derive(Clone)]
struct ProfileFile {
    /// The setting that names it, or which of the two it is.
    called: String,
    path: Option<PathBuf>,
}

impl fmt::Display for ProfileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|path| shown::path(&path.display().to_string()));
        write!(f, "{}{}", self.called, path.unwrap_or_default())
    }
}

impl Profile {
    /// The profile that the settings name. The files in the home directory count with `surroundings`.
    pub(super) fn of(settings: &Settings, surroundings: bool) -> Self {
        let is_given = |row| settings.origin(row) != Origin::Default;
        let is_named = is_given(&s3::PROFILE);
        let needs_files = is_named || is_given(&s3::CREDENTIALS_FILE) || is_given(&s3::CONFIG_FILE);
        let home = if surroundings || needs_files { std::env::home_dir() } else { None };
        let in_home = |name| home.as_ref().map(|home| home.join(".aws").join(name));
        let file = |row, name: &'static str| match settings.path(row) {
            Some(path) => ProfileFile { called: settings.name_and_origin(row), path: Some(path.to_path_buf()) },
            None => ProfileFile { called: format!("the {name} file of profiles"), path: in_home(name) },
        };
        Profile {
            name: settings.text(&s3::PROFILE).unwrap_or_default().to_string(),
            is_named,
            needs_files,
            config: file(&s3::CONFIG_FILE, "config"),
            credentials: file(&s3::CREDENTIALS_FILE, "credentials"),
        }
    }

    /// The keys of the profile. `None` where nobody named it, and it has none.
    ///
    /// # Errors
    /// `PermissionDenied` for a named profile without keys, `Unsupported` for one that has its keys elsewhere.
    pub(super) fn keys(&self) -> Result<Option<AwsCredential>> {
        let (mut settings, mut lacking) = (Vec::new(), Vec::new());
        for (file, section) in [
            (
                &self.config,
                if self.name == "default" { "default".to_string() } else { format!("profile {}", self.name) },
            ),
            (&self.credentials, self.name.clone()),
        ] {
            let Some(text) = self.read(file)? else {
                lacking.push(format!("{file} is not there"));
                continue;
            };
            match section_of(&text, &section) {
                Some(of_section) => {
                    lacking.push(format!("{file} has {} in [{section}]", keys_in(&of_section)));
                    settings.extend(of_section);
                }
                None => lacking.push(format!("{file} has no section [{section}]")),
            }
        }
        // Of a setting in both files that of the credentials counts.
        let value = |name: &str| settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        if let (Some(key_id), Some(secret_key)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
            return Ok(Some(AwsCredential { key_id, secret_key, token: value("aws_session_token") }));
        }
        if let Some(other) = NOT_FOLLOWED.into_iter().find(|name| value(name).is_some()) {
            let message =
                format!("the profile {} has {other} in place of keys, which libkfs does not follow", self.name);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("put keys into the profile, or give credentials of the environment or by a callback"));
        }
        match self.is_named {
            false => Ok(None),
            true => {
                let message = format!("the profile {} has no keys: {}", self.name, lacking.join(", "));
                let hint = "check AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE";
                Err(Error::new(ErrorKind::PermissionDenied, message).with_hint(hint))
            }
        }
    }

    /// The text of a file, if it is there.
    fn read(&self, file: &ProfileFile) -> Result<Option<String>> {
        let Some(path) = &file.path else { return Ok(None) };
        let read = read_file(path, FILE_LIMIT).and_then(|bytes| match bytes.contains(&0) {
            true => Err(std::io::Error::other("it is not text in UTF-8")),
            false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        });
        match read {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // A file that nobody named may be somebody else's.
            Err(_) if !self.needs_files => Ok(None),
            Err(error) => Err(Error::new(ErrorKind::InvalidInput, format!("{file} can't be read: {error}"))),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the profile {} ({} and {})", self.name, self.credentials, self.config)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({})", self.name)
    }
}

/// What a section has of the two keys, for messages.
fn keys_in(settings: &[(String, String)]) -> &'static str {
    let has = |name: &str| settings.iter().any(|(known, _)| known == name);
    match (has("aws_access_key_id"), has("aws_secret_access_key")) {
        (true, false) => "aws_access_key_id and no aws_secret_access_key",
        (false, true) => "aws_secret_access_key and no aws_access_key_id",
        _ => "no keys",
    }
}

/// The settings of a section. `None` where there is no such section.
fn section_of(text: &str, section: &str) -> Option<Vec<(String, String)>> {
    let (mut is_in, mut is_there) = (false, false);
    let mut settings = Vec::new();
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            is_in = title.split_whitespace().eq(section.split_whitespace());
            is_there |= is_in;
        } else if let Some((name, value)) = line.split_once('=')
            && is_in
            && !is_nested
            && !line.starts_with(['#', ';'])
        {
            // A comment may follow after a blank.
            let value = value.split(" #").next().unwrap_or_default();
            settings.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
        }
    }
    is_there.then_some(settings)
}

/// Gives out the keys of a profile, and reads them again from time to time.
pub(super) struct ProfileKeys {
    pub(super) profile: Profile,
    /// With the Unix time in milliseconds when they were read.
    held: Mutex<Option<(Arc<AwsCredential>, i64)>>,
}

impl ProfileKeys {
    pub(super) fn new(profile: Profile) -> Self {
        ProfileKeys { profile, held: Mutex::new(None) }
    }
}

impl fmt::Debug for ProfileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.profile.fmt(f)
    }
}

#[async_trait]
impl CredentialProvider for ProfileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now = SystemClock.wall_ms();
        if let Some((keys, read)) = held.as_ref()
            && (0..READ_AGAIN_MS).contains(&now.saturating_sub(*read))
        {
            return Ok(keys.clone());
        }
        let profile = self.profile.clone();
        let keys = tokio::task::spawn_blocking(move || profile.keys()).await;
        let gone = || Error::new(ErrorKind::PermissionDenied, format!("the profile {} has no keys", self.profile.name));
        let keys = match keys {
            Ok(Ok(Some(keys))) => Arc::new(keys),
            Ok(Ok(None)) => return Err(failed(gone())),
            Ok(Err(error)) => return Err(failed(error)),
            Err(panicked) => return Err(failed(gone().with_source(panicked))),
        };
        *held = Some((keys.clone(), now));
        Ok(keys)
    }
}

fn failed(error: Error) -> object_store::Error {
    StoreFailure::new(Effect::None, error).into_object_store("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_its_own_settings_only() {
        let text = "a = 0\n[default]\nAWS_Access_Key_Id = one # mine\n; b = 1\n#c = 2\ns3 =\n  nested = 3\n\n\
                    [ profile  other ]\naws_access_key_id=two=\n[default]x\nd=4\n";
        let of = |section| section_of(text, section).unwrap_or_default();
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(of("default"), [pair("aws_access_key_id", "one"), pair("s3", ""), pair("d", "4")]);
        assert_eq!(of("profile other"), [pair("aws_access_key_id", "two=")]);
        assert!(section_of(text, "none").is_none());
    }

    #[test]
    fn keys_come_from_either_file_and_what_is_not_followed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [credentials, config] = ["credentials", "config"].map(|name| dir.path().join(name));
        std::fs::write(&credentials, "[one]\naws_access_key_id=id\naws_secret_access_key=key\naws_session_token=t\n")
            .unwrap();
        std::fs::write(
            &config,
            "[profile two]\naws_access_key_id=id2\naws_secret_access_key=key2\n[profile three]\nrole_arn=x\n[default]\nregion=y\n",
        )
        .unwrap();
        let keys = |name: &str, is_named| {
            let [config, credentials] =
                [&config, &credentials].map(|path| ProfileFile { called: "file".into(), path: Some(path.clone()) });
            Profile { name: name.into(), is_named, needs_files: is_named, credentials, config }.keys()
        };
        let one = keys("one", true).unwrap().unwrap();
        assert_eq!((one.key_id.as_str(), one.secret_key.as_str(), one.token.as_deref()), ("id", "key", Some("t")));
        assert_eq!(keys("two", true).unwrap().unwrap().key_id, "id2");
        let error = keys("three", true).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("role_arn"), "{error}");
        assert!(keys("default", false).unwrap().is_none());
        assert_eq!(keys("default", true).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
