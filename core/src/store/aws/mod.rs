//! S3, by object_store's client: one for reads that tries again, one for commits that does not.

mod credentials;
mod protocol;
mod settings;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::ClientConfigKey;

use self::credentials::Noted;
use self::protocol::S3Protocol;
use self::settings::{S3Keys, S3Settings};
use super::dialect::Dialect;
use super::http::{
    Connector, Keys, NEVER, READ_SILENCE, Secrets, ca_bundle, is_true, retries_of_commits, retries_of_reads,
};
use super::list::Lister;
use super::{Backend, Store, StoreOptions};
use crate::error::{Error, ErrorKind, Result};

/// Opens `s3://bucket/prefix`.
pub(super) fn open(url: &str, bucket: &str, prefix: String, options: &StoreOptions) -> Result<Store> {
    let settings = S3Settings::of(options)?;
    settings.check_characters()?;
    settings.check_flags()?;
    let builder = settings.builder().with_bucket_name(bucket).with_disable_bulk_delete(true);
    settings.check_endpoint(&builder)?;
    check_credentials(&builder).map_err(|error| with_profile(error, options))?;
    let secrets = Arc::new(Secrets::default());
    let roots = ca_bundle(S3Keys::CA_BUNDLE, options)?;
    let connector = Connector { protocol: Arc::new(S3Protocol), secrets: secrets.clone(), roots, proxies: true };
    let own = credentials::of(&builder, &connector)?;
    let builder = builder
        .with_http_connector(connector.clone())
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), NEVER);
    let failed = |error: object_store::Error| settings.unusable(&error, &connector);
    let inner = match own {
        Some(own) => own,
        None => builder.clone().build().map_err(failed)?.credentials().clone(),
    };
    let noted = Noted { inner, source: credentials::of_machine(&builder), secrets: secrets.clone() };
    let builder = builder.with_credentials(Arc::new(noted));

    let silence = AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout);
    let mut reads = builder.clone().with_retry(retries_of_reads());
    if reads.get_config_value(&silence).is_none() {
        reads = reads.with_config(silence, READ_SILENCE);
    }
    let reads = Arc::new(reads.build().map_err(failed)?);

    // The client's silence counts from the beginning of an upload: none here.
    let commits = builder.with_retry(retries_of_commits()).with_config(silence, NEVER);
    let commits = Arc::new(commits.build().map_err(failed)?);

    let backend = Backend {
        dialect: Dialect::S3,
        single_attempt: true,
        counted_on_the_wire: true,
        quoted_e_tags: true,
        ..Backend::default()
    };
    let store = Store::build(url, prefix, reads.clone(), commits, Lister::Pages(reads), backend, options);
    Ok(store.redacting(Box::new(move |text| secrets.strip_from_name(text))))
}

/// Somebody must have said where credentials come from. Without that object_store asks the address
/// of a cloud machine's metadata, which on another machine is anybody's, and takes minutes to fail.
fn check_credentials(builder: &AmazonS3Builder) -> Result<()> {
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key).filter(|value| !value.is_empty());
    let set = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some();
    // As object_store's build decides: once one of the two is set, even to nothing, no other way is
    // taken.
    if set(AmazonS3ConfigKey::AccessKeyId) || set(AmazonS3ConfigKey::SecretAccessKey) {
        let both =
            value(AmazonS3ConfigKey::AccessKeyId).is_some() && value(AmazonS3ConfigKey::SecretAccessKey).is_some();
        let skip = is_true(value(AmazonS3ConfigKey::SkipSignature).as_deref());
        return if both || skip {
            Ok(())
        } else {
            let error = Error::new(ErrorKind::PermissionDenied, "half of the S3 credentials is missing or empty");
            Err(error.with_hint("set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))
        };
    }
    let both = |one, two| value(one).is_some() && value(two).is_some();
    let given = is_true(value(AmazonS3ConfigKey::SkipSignature).as_deref())
        || both(AmazonS3ConfigKey::WebIdentityTokenFile, AmazonS3ConfigKey::RoleArn)
        || value(AmazonS3ConfigKey::ContainerCredentialsRelativeUri).is_some()
        || value(AmazonS3ConfigKey::ContainerCredentialsFullUri).is_some()
        || value(AmazonS3ConfigKey::MetadataEndpoint).is_some();
    if given {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, "no S3 credentials are set").with_hint(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or web identity or container credentials; \
         for those of a cloud machine set AWS_METADATA_ENDPOINT (http://169.254.169.254); \
         for a public bucket AWS_SKIP_SIGNATURE=true",
    ))
}

/// Whoever set a profile believes that credentials are set.
fn with_profile(error: Error, options: &StoreOptions) -> Error {
    let set = options.environment
        && ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].iter().any(|name| std::env::var_os(name).is_some());
    match error.hint() {
        Some(hint) if set => {
            let hint = format!("AWS_PROFILE is set, but profiles and the files in ~/.aws are not read: {hint}");
            error.with_hint(hint)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests;
