//! What the settings of a cloud store say of its HTTP client, and errors that name them as the user wrote them.

use object_store::ClientOptions;
use object_store::client::ClientConfigKey;

use crate::error::{Error, ErrorKind, Result};
use crate::store::config::{Row, Settings, Value, client, shown};
use crate::store::failure;

/// The client's options in object_store's form. Certificates to trust are not among them, see [`ca_file`](super::ca_file).
pub(in crate::store) fn client_options(settings: &Settings) -> ClientOptions {
    let mut options = ClientOptions::new();
    for row in settings.table().client_rows() {
        // object_store calls these settings as we do.
        if let (Ok(key), Some((value, _))) = (row.name.parse::<ClientConfigKey>(), settings.value(row)) {
            let text = match value {
                Value::Text(text) | Value::Url(text) => text,
                other => other.to_string(),
            };
            options = options.with_config(key, text);
        }
    }
    if settings.flag(&client::NO_SYSTEM_CERTIFICATES) {
        options = options.with_config(ClientConfigKey::NoSystemCertificates, "true");
    }
    options
}

/// Refuses an address of a server that can't be right, or that is not encrypted without leave.
pub(in crate::store) fn check_endpoint(settings: &Settings, row: &Row) -> Result<()> {
    let Some(endpoint) = settings.text(row) else { return Ok(()) };
    let endpoint = url::Url::parse(endpoint).map_err(|_| settings.bad(row, "is not a URL"))?;
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err(settings.bad(row, "holds a user or a password"));
    }
    if endpoint.query().is_some() || endpoint.fragment().is_some() {
        return Err(settings.bad(row, "holds a query"));
    }
    if endpoint.scheme() == "https" || settings.flag(&client::ALLOW_HTTP) {
        return Ok(());
    }
    let allow = settings.name_like(&client::ALLOW_HTTP, row);
    Err(settings
        .bad(row, "is not encrypted (http:)")
        .with_hint(format!("set {allow} to true if the way to the server may be read by others")))
}

/// The error of a client that can't be built with these settings.
pub(in crate::store) fn unusable(settings: &Settings, error: &object_store::Error) -> Error {
    let fault = shown::fault(&failure::text(error), settings.texts());
    Error::new(ErrorKind::InvalidInput, format!("the {} settings can't be used: {fault}", settings.table().store))
}
