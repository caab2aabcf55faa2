//! What S3 says in its requests and answers.

use object_store::client::HttpRequest;
use reqwest::Method;

use crate::store::http::{PageShape, Protocol};

/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-s3session-token",
    "x-aws-ec2-metadata-token",
    "x-amz-server-side-encryption-customer-key",
];

/// S3, and the servers that give credentials for it.
#[derive(Debug)]
pub(super) struct S3Protocol;

impl Protocol for S3Protocol {
    fn store(&self) -> &'static str {
        "S3"
    }

    fn a_store(&self) -> &'static str {
        "an S3 store"
    }

    fn endpoint_setting(&self) -> &'static str {
        "AWS_ENDPOINT_URL"
    }

    fn request_id_header(&self) -> &'static str {
        "x-amz-request-id"
    }

    fn client_request_id_header(&self, _request: &HttpRequest) -> Option<&'static str> {
        Some("x-request-id")
    }

    fn secrets_of(&self, request: &HttpRequest) -> Vec<String> {
        let header = |name: &'static str| Some((name, request.headers().get(name)?.to_str().ok()?));
        let values = SECRET_HEADERS.into_iter().filter_map(header);
        let secrets = values.flat_map(|(name, value)| match name {
            "authorization" => secrets_of_authorization(value),
            _ => vec![value],
        });
        secrets.map(str::to_string).collect()
    }

    fn is_listing(&self, request: &HttpRequest) -> bool {
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "list-type=2"))
    }

    fn has_no_body(&self, method: &Method) -> bool {
        method == Method::PUT
    }

    fn header_prefix(&self) -> &'static str {
        "x-amz-"
    }

    fn page_shape(&self) -> &'static PageShape {
        &PageShape::OF_S3
    }
}

/// The key id and the signature of `AWS4-HMAC-SHA256 Credential=<key id>/<date>/..., SignedHeaders=..., Signature=<hex>`;
/// of another scheme all that comes after its name. The other words are no secrets, and stand in other messages too.
fn secrets_of_authorization(value: &str) -> Vec<&str> {
    let of_name = |(name, end)| value.split_once(name).and_then(|(_, rest): (&str, &str)| rest.split(end).next());
    let named: Vec<&str> = [("Credential=", '/'), ("Signature=", ',')].into_iter().filter_map(of_name).collect();
    match value.split_once(' ') {
        _ if !named.is_empty() => named,
        Some((_, rest)) => vec![rest],
        None => vec![value],
    }
}
