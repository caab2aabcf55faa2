//! Which credentials are used. They are chosen before anything is sent, so that no address is asked that nobody named.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::StaticCredentialProvider;
use object_store::client::CredentialProvider;
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder as Builder};

use crate::error::{Error, ErrorKind, Result};
use crate::store::StoreOptions;
use crate::store::config::{Settings, gcs, shown};
use crate::store::credentials::{CredentialKind, Unfit};
use crate::store::failure::{self, Effect, StoreFailure};
use crate::store::http::{
    AcceptedCredentials, FromSettings, LastResort, OF_CALLER, OF_MACHINE, Secrets, Supplied, bad_character,
    check_credentials_file, unsigned, unusable,
};

/// What the caller's source must give.
const ACCEPTED: AcceptedCredentials = AcceptedCredentials {
    store: "Google Cloud Storage",
    takes: "a bearer token",
    how: "give a bearer token: Credentials::bearer in Rust, kfs_credentials_bearer_token in C, \
          kfs.Credentials(bearer_token=...) in Python",
};

/// Where `gcloud auth application-default login` puts its file.
const OF_GCLOUD: &str = if cfg!(windows) {
    "gcloud/application_default_credentials.json"
} else {
    ".config/gcloud/application_default_credentials.json"
};
const HINT: &str = "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to the file of a service account's key, \
                    or run gcloud auth application-default login; for a public bucket set GOOGLE_SKIP_SIGNATURE=true";
const TRIED: &str = "neither bearer_token, service_account_key, service_account_path nor application_credentials is set, \
                     and gcloud has no file of application default credentials";

/// A way to credentials, with words for where they come from.
type GoogleWay = (GcpCredentialProvider, String);

/// The caller's credentials, or those that the settings choose. With the environment gcloud's file and the machine's metadata
/// count, too.
///
/// # Errors
/// `PermissionDenied` where there are none, `InvalidInput` for what can't be right.
pub(super) fn of(
    builder: Builder,
    settings: &Settings,
    options: &StoreOptions,
    secrets: &Arc<Secrets>,
) -> Result<GoogleWay> {
    let surroundings = options.environment;
    if let Some(source) = &options.credentials {
        let supplied = Supplied::new(source.clone(), of_caller, ACCEPTED, secrets.clone());
        return Ok((Arc::new(supplied), OF_CALLER.into()));
    }
    let fixed = |bearer: &str, from: String| -> GoogleWay {
        (Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: bearer.to_string() })), from)
    };
    let built = |builder: Builder| match builder.build() {
        Ok(client) => Ok(client.credentials().clone()),
        Err(error) => Err(unusable(settings, &error)),
    };
    for row in [&gcs::BEARER_TOKEN, &gcs::SERVICE_ACCOUNT_KEY] {
        if settings.is_set(row) && settings.text(row).is_none_or(str::is_empty) {
            let message = format!("{} is set to nothing", settings.name(row));
            return Err(Error::new(ErrorKind::PermissionDenied, message).with_hint("give it a value, or unset it"));
        }
    }
    if settings.flag(&gcs::SKIP_SIGNATURE) {
        // object_store asks for a token to write, although it would not send it.
        return Ok(fixed("", unsigned(settings, &gcs::SKIP_SIGNATURE)));
    }
    if let Some(token) = settings.text(&gcs::BEARER_TOKEN) {
        return Ok(fixed(token, settings.name_and_origin(&gcs::BEARER_TOKEN)));
    }
    // What `value` of a setting holds.
    let used = |name: &str, shown: &str, value: &str, builder: Builder| -> Result<GoogleWay> {
        let client = builder.build().map_err(|error| {
            let others = settings.texts().filter(|text| *text != value);
            let said = failure::text(&error);
            // This quotes the value, and without quotation marks.
            let said = if said.contains("unknown variant") { "its type is not known" } else { &said };
            let fault = shown::fault(said, others);
            Error::new(ErrorKind::InvalidInput, format!("{shown} can't be used: {fault}"))
        })?;
        let (inner, hint) = (client.credentials().clone(), format!("check {name}"));
        let (settings, server) = (shown.to_string(), name.to_string());
        Ok((Arc::new(FromSettings { inner, settings, server, hint, file: None }), shown.to_string()))
    };
    let of_file = |name: &str, file: &str, builder: Builder| {
        check_credentials_file(name, file)?;
        used(name, &format!("{name}{}", shown::path(file)), file, builder)
    };
    if let Some(key) = settings.text(&gcs::SERVICE_ACCOUNT_KEY) {
        let name = settings.name_and_origin(&gcs::SERVICE_ACCOUNT_KEY);
        return used(&name, &name, key, builder.with_service_account_key(key));
    }
    if let Some(file) = settings.text(&gcs::SERVICE_ACCOUNT_PATH) {
        return of_file(
            &settings.name_and_origin(&gcs::SERVICE_ACCOUNT_PATH),
            file,
            builder.with_service_account_path(file),
        );
    }
    if let Some(file) = settings.text(&gcs::APPLICATION_CREDENTIALS) {
        let name = settings.name_and_origin(&gcs::APPLICATION_CREDENTIALS);
        return of_file(&name, file, builder.with_application_credentials(file));
    }
    if let Some(file) = surroundings.then(of_gcloud).flatten() {
        return of_file("gcloud's file of credentials", &file, builder.with_application_credentials(&file));
    }
    if !surroundings || settings.flag(&gcs::METADATA_DISABLED) {
        return Err(Error::new(ErrorKind::PermissionDenied, "no Google credentials are set").with_hint(HINT));
    }
    let last_resort = LastResort { inner: built(builder)?, store: "Google", tried: TRIED, hint: HINT };
    Ok((Arc::new(last_resort), OF_MACHINE.into()))
}

/// The caller's credentials as Google takes them.
fn of_caller(given: &CredentialKind) -> Result<GcpCredential, Unfit> {
    match given {
        CredentialKind::Bearer(token) => Ok(GcpCredential { bearer: token.reveal().to_string() }),
        _ => Err(Unfit::OtherKind),
    }
}

/// The file of gcloud, if it is there.
fn of_gcloud() -> Option<String> {
    let home = std::env::var_os(if cfg!(windows) { "APPDATA" } else { "HOME" })?;
    let file = PathBuf::from(home).join(OF_GCLOUD);
    file.is_file().then(|| file.to_str().map(str::to_string)).flatten()
}

/// Checks and remembers what it gives out, so that no message repeats it.
#[derive(Debug)]
pub(super) struct NotedBearer {
    pub(super) inner: GcpCredentialProvider,
    pub(super) secrets: Arc<Secrets>,
}

#[async_trait]
impl CredentialProvider for NotedBearer {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let credential = self.inner.get_credential().await?;
        // object_store panics when it puts such a token into a header.
        if let Some(what) = bad_character(&credential.bearer) {
            let message = format!("the token for Google can't be used: it {what}");
            let error = Error::new(ErrorKind::PermissionDenied, message).with_hint("renew the credentials");
            return Err(StoreFailure::new(Effect::None, error).into_object_store(""));
        }
        self.secrets.add(&credential.bearer);
        Ok(credential)
    }
}
