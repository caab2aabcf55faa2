//! The certificates and the proxy that the settings name.

use std::fmt::Display;

use super::read_file;
use crate::error::{Error, Result};
use crate::store::config::{Settings, client as rows, shown};
use crate::store::failure;

/// The largest file of certificates, in bytes.
const CA_FILE_LIMIT: u64 = 16 << 20;

/// The certificates of the PEM file that the settings name. Only these are trusted then.
pub(super) fn ca_file(settings: &Settings) -> Result<Option<Vec<reqwest::Certificate>>> {
    let Some(file) = settings.path(&rows::CA_FILE) else { return Ok(None) };
    let shown = shown::path(&file.display().to_string());
    let invalid = |what: String| settings.bad(&rows::CA_FILE, format!("{shown} {what}").trim_start());
    let bytes = read_file(file, CA_FILE_LIMIT).map_err(|error| invalid(format!("can't be read: {error}")))?;
    certificates(&bytes).map(Some).map_err(invalid)
}

/// Refuses a proxy that can't be used, by its settings.
pub(super) fn check_proxy(settings: &Settings) -> Result<()> {
    let unusable = |row, what: &dyn Display| -> Error {
        settings.bad(row, &format!("can't be used: {}", shown::fault(&what.to_string(), settings.texts())))
    };
    if let Some(certificate) = settings.text(&rows::PROXY_CA_CERTIFICATE) {
        certificates(certificate.as_bytes()).map_err(|what| settings.bad(&rows::PROXY_CA_CERTIFICATE, &what))?;
    }
    match settings.text(&rows::PROXY_URL).map(reqwest::Proxy::all) {
        Some(Err(error)) => Err(unusable(&rows::PROXY_URL, &failure::text(&error))),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Certificates in PEM form that a client takes, or what is wrong with them.
fn certificates(pem: &[u8]) -> std::result::Result<Vec<reqwest::Certificate>, String> {
    let not_understood = |error: reqwest::Error| format!("can't be understood: {}", failure::text(&error));
    let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(not_understood)?;
    if certificates.is_empty() {
        return Err("holds no certificate in PEM form".into());
    }
    // What stands in the PEM form is looked at only here.
    let client = reqwest::ClientBuilder::new().no_proxy().tls_certs_only(certificates.iter().cloned()).build();
    client.map(|_| certificates).map_err(not_understood)
}
