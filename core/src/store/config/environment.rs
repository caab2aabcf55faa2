//! Settings in the variables of the process's environment.

use super::backend::StoreBackend;
use super::row::SettingsTable;
use super::secret::Secret;
use super::settings::{Given, Origin};
use crate::error::{Error, ErrorKind, Result};

/// The variables of the process. Those whose name or value is no UTF-8 are nobody's settings.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The variables that set something of this table. Those that it does not know belong to somebody else.
pub(super) fn given(table: &SettingsTable, variables: impl Iterator<Item = (String, String)>) -> Vec<Given> {
    let known = variables.filter_map(|(name, text)| {
        let named = table.find_variable(&name)?;
        Some(Given {
            row: named.row,
            name,
            text: Secret::new(text),
            origin: Origin::Environment,
            rank: named.rank,
            is_opposite: named.is_opposite,
        })
    });
    known.collect()
}

/// The kind of store whose bucket a variable names.
///
/// # Errors
/// `InvalidInput` where none does, or several do.
pub(super) fn backend(variables: impl Iterator<Item = (String, String)>) -> Result<StoreBackend> {
    use StoreBackend::{Azure, Gcs, S3};
    let set: Vec<String> = variables.filter(|(_, value)| !value.is_empty()).map(|(name, _)| name).collect();
    let names = |backend: StoreBackend| {
        let bucket = match backend {
            S3 => &super::s3::BUCKET,
            Azure => &super::azure::CONTAINER_NAME,
            _ => &super::gcs::BUCKET,
        };
        bucket.environment.iter().find(|name| set.iter().any(|set| set == *name))
    };
    let found: Vec<(StoreBackend, &str)> =
        [S3, Azure, Gcs].into_iter().filter_map(|backend| Some((backend, *names(backend)?))).collect();
    match found.as_slice() {
        [(backend, _)] => Ok(*backend),
        [] => Err(Error::new(ErrorKind::InvalidInput, "no variable of the environment names a bucket")
            .with_hint("set KAFSCALE_S3_BUCKET, AZURE_CONTAINER_NAME or GOOGLE_BUCKET, or give the bucket's URL")),
        [(_, one), (_, other), ..] => {
            Err(Error::new(ErrorKind::InvalidInput, format!("{one} and {other} both name a bucket"))
                .with_hint("unset one of them, or give the bucket's URL"))
        }
    }
}
