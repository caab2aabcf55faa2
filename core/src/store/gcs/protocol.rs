//! What Google Cloud Storage says in its requests and answers: the XML API.

use object_store::client::HttpRequest;
use reqwest::Method;

use crate::store::http::{PageShape, Protocol};

/// Google Cloud Storage, and the servers that give credentials for it.
#[derive(Debug)]
pub(super) struct GcsProtocol;

impl Protocol for GcsProtocol {
    fn store(&self) -> &'static str {
        "Google Cloud Storage"
    }

    fn a_store(&self) -> &'static str {
        "a store of Google Cloud"
    }

    fn endpoint_setting(&self) -> &'static str {
        "GOOGLE_BASE_URL"
    }

    fn request_id_header(&self) -> &'static str {
        "x-guploader-uploadid"
    }

    fn client_request_id_header(&self, _request: &HttpRequest) -> Option<&'static str> {
        Some("x-request-id")
    }

    fn secrets_of(&self, request: &HttpRequest) -> Vec<String> {
        let value = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        value.map(|value| value.strip_prefix("Bearer ").unwrap_or(value).to_string()).into_iter().collect()
    }

    fn is_listing(&self, request: &HttpRequest) -> bool {
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "list-type=2"))
    }

    fn has_no_body(&self, method: &Method) -> bool {
        method == Method::PUT
    }

    fn header_prefix(&self) -> &'static str {
        "x-goog-"
    }

    fn page_shape(&self) -> &'static PageShape {
        &PageShape::OF_S3
    }
}
