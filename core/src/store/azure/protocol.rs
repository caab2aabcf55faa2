//! What Azure Blob storage says in its requests and answers.

use object_store::client::HttpRequest;
use reqwest::Method;

use super::credentials::percent_decoded;
use crate::store::http::{PageShape, Protocol};

/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 4] =
    ["authorization", "x-ms-encryption-key", "x-identity-header", "x-ms-copy-source-authorization"];

/// Azure, and the servers that give credentials for it.
#[derive(Debug)]
pub(super) struct AzureProtocol;

impl Protocol for AzureProtocol {
    fn store(&self) -> &'static str {
        "Azure"
    }

    fn a_store(&self) -> &'static str {
        "an Azure Blob store"
    }

    fn endpoint_setting(&self) -> &'static str {
        "AZURE_ENDPOINT"
    }

    fn request_id_header(&self) -> &'static str {
        "x-ms-request-id"
    }

    /// The signature of an account key covers every header whose name begins with `x-ms-`
    /// (<https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>).
    fn client_request_id_header(&self, request: &HttpRequest) -> Option<&'static str> {
        let is_by_key =
            request.headers().get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"SharedKey"));
        (!is_by_key).then_some("x-ms-client-request-id")
    }

    fn secrets_of(&self, request: &HttpRequest) -> Vec<String> {
        let header = |name: &'static str| Some((name, request.headers().get(name)?.to_str().ok()?));
        let headers = SECRET_HEADERS.into_iter().filter_map(header).map(|(name, value)| match name {
            "authorization" => secret_of_authorization(value),
            _ => value,
        });
        let query = request.uri().query().unwrap_or_default();
        let signatures = query.split('&').filter_map(|pair| pair.strip_prefix("sig="));
        headers.map(str::to_string).chain(signatures.map(percent_decoded)).collect()
    }

    fn is_listing(&self, request: &HttpRequest) -> bool {
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "comp=list"))
    }

    fn has_no_body(&self, method: &Method) -> bool {
        method == Method::PUT
    }

    fn header_prefix(&self) -> &'static str {
        "x-ms-"
    }

    fn page_shape(&self) -> &'static PageShape {
        &PAGE_SHAPE
    }
}

/// <https://learn.microsoft.com/rest/api/storageservices/list-blobs>
const PAGE_SHAPE: PageShape = PageShape {
    root: "EnumerationResults",
    list: Some("Blobs"),
    object: ["Blob", "Name"],
    folder: ["BlobPrefix", "Name"],
};

/// The signature of `SharedKey <account>:<signature>`, the token of `Bearer <token>`.
fn secret_of_authorization(value: &str) -> &str {
    match value.split_once(' ') {
        Some(("SharedKey", rest)) => rest.split_once(':').map_or(rest, |(_, signature)| signature),
        Some((_, rest)) => rest,
        None => value,
    }
}
