//! What to do about an answer of a store, by its error code or by what the system said.

use std::error::Error as StdError;

use rustix::io::Errno;

use super::dialect::Dialect;
use crate::error::{ErrorKind, causes};

/// What hints call the settings of one kind of store.
struct Names<'a> {
    /// The store's server, with its article.
    a_server: &'a str,
    endpoint: &'a str,
    allow_http: &'a str,
    ca_file: &'a str,
    /// The settings that say where the bucket is.
    place: &'a str,
}

const S3: Names<'static> = Names {
    a_server: "an S3 server",
    endpoint: "AWS_ENDPOINT_URL",
    allow_http: "AWS_ALLOW_HTTP",
    ca_file: "AWS_CA_BUNDLE",
    place: "AWS_ENDPOINT_URL, AWS_REGION",
};
const AZURE: Names<'static> = Names {
    a_server: "an Azure Blob server",
    endpoint: "AZURE_ENDPOINT",
    allow_http: "AZURE_ALLOW_HTTP",
    ca_file: "AZURE_CA_FILE",
    place: "the account's name, AZURE_ENDPOINT",
};

const GCS: Names<'static> = Names {
    a_server: "a server of Google Cloud Storage",
    endpoint: "GOOGLE_BASE_URL",
    allow_http: "GOOGLE_ALLOW_HTTP",
    ca_file: "GOOGLE_CA_FILE",
    place: "GOOGLE_BASE_URL",
};

fn names(dialect: Dialect) -> &'static Names<'static> {
    match dialect {
        Dialect::Azure => &AZURE,
        Dialect::Gcs => &GCS,
        Dialect::S3 | Dialect::Unknown => &S3,
    }
}

const CREDENTIALS: &str = "check the credentials, and what they are allowed to do in this bucket";
const REGION: &str = "the bucket is in another region, or not on this server: set AWS_REGION to the bucket's region";
pub(super) const LACKING: &str = "a log needs a store that creates an object only if its name is free (If-None-Match: * on S3): \
                       use another store, or a newer version of this one";
pub(super) const NO_E_TAG: &str = "a log needs a store that answers PUTs and GETs with an ETag: use another store, or check \
                                   whether a proxy removes that header";
pub(super) const CONFLICT: &str = "if no other writer is at work, the store answers conditional PUTs wrongly: use another store, or a \
                        newer version of this one";
const PROXY: &str = "is the proxy running, and is its address right? no_proxy, or proxy_excludes beside \
                     proxy_url, names the hosts to reach without it";
pub(super) const PROXY_CREDENTIALS: &str = "give them in the variable that names the proxy, as in https_proxy=http://user:password@host:port; proxy_url takes none";
/// What to do about a conflict of which the store says more.
pub(super) const IN_THE_WAY: &str =
    "something that is no object is in the way of this name: remove it, and the write goes on";
const HTTP2: &str = "the server may speak HTTP/1.1 only: set http2_only to false, or leave it out";
const OPEN_FILES: &str = "this process has too many open files: raise the limit (ulimit -n)";

/// By the `<Code>` of an answer in XML.
fn by_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "RequestTimeTooSkewed" => "the clock of this machine differs too much from the store's: set it, by NTP for one",
        "InvalidAccessKeyId" | "XAdminUserNotFound" => {
            "the store does not know this access key: check it, and AWS_ENDPOINT_URL"
        }
        "SignatureDoesNotMatch" => "the secret key is not the one of this access key",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "renew the credentials",
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => REGION,
        "AccessDenied" => "the credentials are not allowed to do this: check the policies of user and bucket",
        "InvalidBucketName" => {
            "the bucket's name is not allowed: on S3 a name has 3 to 63 lower-case letters, digits, dots and hyphens"
        }
        "NoSuchBucket" => "check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION",
        "InvalidObjectState" => {
            "the object is archived: restore it, and keep lifecycle rules from moving a log's objects to an archive"
        }
        _ => return by_code_of_azure(code),
    })
}

/// By a code of <https://cloud.google.com/storage/docs/xml-api/reference-status>.
fn by_code_of_gcs(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthenticationRequired" | "InvalidSecurity" | "InvalidToken" | "ExpiredToken" => {
            "the token is wrong or has run out: renew the credentials"
        }
        "SignatureDoesNotMatch" => "the key of the service account is wrong",
        "AccessDenied" => {
            "the credentials are not allowed to do this: check the role in this bucket (Storage Object Admin, or Storage \
             Object Viewer to read)"
        }
        "NoSuchBucket" => "check the bucket's name and GOOGLE_BASE_URL",
        "UserProjectMissing" | "UserProjectAccountProblem" => {
            "the bucket wants its requester to pay, which libkfs does not support on Google Cloud Storage"
        }
        _ => return by_code(code),
    })
}

/// By a code of <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes> and
/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>.
fn by_code_of_azure(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => {
            "the key, the signature or the token is wrong or has run out: check it, AZURE_STORAGE_ACCOUNT, and the clock \
             of this machine"
        }
        "AuthorizationFailure" => {
            "check the key and AZURE_STORAGE_ACCOUNT, and whether the account's firewall lets this machine in"
        }
        "NoAuthenticationInformation" | "PublicAccessNotPermitted" => {
            "the container is not public: give credentials, such as AZURE_STORAGE_KEY"
        }
        "ResourceNotFound" => {
            "check AZURE_STORAGE_ACCOUNT, and whether AZURE_ENDPOINT has the account in its path, as azurite wants it; if no \
             credentials are given, the container is not public: give some, such as AZURE_STORAGE_KEY"
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "the account takes no key: use a service principal or a managed identity (AZURE_CLIENT_ID and the like)"
        }
        "AuthorizationPermissionMismatch"
        | "InsufficientAccountPermissions"
        | "AuthorizationProtocolMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch"
        | "AuthorizationSourceIPMismatch" => {
            "the credentials are not allowed to do this: check the role (Storage Blob Data Contributor) or what the \
             shared access signature permits"
        }
        "ContainerNotFound" => "make the container, or check its name, the account's name and AZURE_ENDPOINT",
        "ContainerBeingDeleted" => "the container is being deleted: wait some minutes, and make it again",
        "InvalidResourceName" => {
            "the container's name is not allowed: on Azure a name has 3 to 63 lower-case letters, digits and hyphens"
        }
        "BlobImmutableDueToPolicy" => "an immutability policy of the container protects this blob",
        _ if code.starts_with("Lease") => "somebody has leased this blob: break the lease, or wait for its end",
        _ => return None,
    })
}

/// What to do about an error of an HTTP request.
pub(super) fn of(
    error: &object_store::Error,
    code: Option<&str>,
    status: Option<u16>,
    dialect: Dialect,
) -> Option<String> {
    let by_code = if dialect == Dialect::Gcs { by_code_of_gcs } else { by_code };
    if let Some(hint) = code.and_then(by_code) {
        return Some(hint.into());
    }
    match status {
        Some(401 | 403) => return Some(CREDENTIALS.into()),
        Some(_) => return None,
        None => {}
    }
    if matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) {
        return Some(CREDENTIALS.into());
    }
    causes::chain(Some(error)).find_map(|cause| by_system(cause, names(dialect)))
}

/// What to do about a request for credentials that failed, by what the system said. `server` is the setting that says who
/// is asked.
#[cfg(feature = "_http")]
pub(super) fn of_credentials(error: &(dyn StdError + 'static), server: &str) -> Option<String> {
    let names = Names { a_server: "", endpoint: server, allow_http: "", ca_file: "ca_file", place: server };
    // The advice for a store without TLS is none for a server of credentials.
    let is_plain = |cause: &(dyn StdError + 'static)| cause.to_string().contains("InvalidContentType");
    causes::chain(Some(error)).filter(|cause| !is_plain(*cause)).find_map(|cause| by_system(cause, &names))
}

/// What to do about a store that refused a request with this kind of error.
pub(super) fn of_kind(kind: ErrorKind, dialect: Dialect) -> Option<String> {
    let Names { a_server, endpoint, .. } = names(dialect);
    match kind {
        ErrorKind::InvalidInput => Some(format!(
            "the server does not take what libkfs sends it: is {endpoint} the address of {a_server}, and do its log or \
             its manual say more?"
        )),
        ErrorKind::Unsupported => Some(LACKING.into()),
        _ => None,
    }
}

/// What to do about a redirect.
pub(super) fn of_redirect(dialect: Dialect) -> String {
    let own = match dialect {
        Dialect::Azure => "name the server's own address (AZURE_ENDPOINT)",
        Dialect::Gcs => "name the server's own address (GOOGLE_BASE_URL)",
        _ => "name the bucket's own region (AWS_REGION) and the server's own address (AWS_ENDPOINT_URL)",
    };
    format!("{own}: credentials are sent to no other")
}

/// By what the system says of a connection that could not be made.
fn by_system(cause: &(dyn StdError + 'static), names: &Names<'_>) -> Option<String> {
    let Names { endpoint, allow_http, ca_file, place, .. } = names;
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        match Errno::from_io_error(io) {
            Some(Errno::MFILE | Errno::NFILE) => return Some(OPEN_FILES.into()),
            Some(Errno::CONNREFUSED) => {
                return Some(format!("nothing listens there: is the server running, and is {endpoint} right?"));
            }
            _ => {}
        }
    }
    let text = cause.to_string();
    if text.contains("asks for a user and a password") {
        return Some(PROXY_CREDENTIALS.into());
    }
    if text.starts_with("the proxy that ") {
        return Some(PROXY.into());
    }
    // The last is what the HTTP/2 client says when it writes to a server that has ended the connection.
    let of_http2 = ["NoApplicationProtocol", "closed because of a broken pipe"];
    if text.starts_with("http2 error") || of_http2.iter().any(|part| text.contains(part)) {
        return Some(HTTP2.into());
    }
    if text.contains("connection closed before message completed") {
        return Some(format!(
            "the server ended the connection without an answer: if that lasts, is {endpoint} right, and does the server \
             speak TLS there, so that the address is one of https:?"
        ));
    }
    if text.contains("InvalidContentType") {
        return Some(format!(
            "the server speaks plain HTTP: set {endpoint} to its http: address, and {allow_http}=true if others may read \
             what is sent"
        ));
    }
    if text.starts_with("dns error") {
        return Some(format!("the host's name is not known: check {place} and the name service"));
    }
    if text.contains("CaUsedAsEndEntity") {
        return Some(format!(
            "the server's certificate is one of a certificate authority (CA:TRUE), as openssl req -x509 makes it by itself. \
             Clients do not take such a one for a server's own: give the server one with CA:FALSE, and name the authority's \
             file in {ca_file}"
        ));
    }
    if text.contains("certificate") {
        return Some(format!(
            "the server's certificate is not trusted: check {endpoint}, the file of certificates ({ca_file}) and this \
             machine's clock"
        ));
    }
    // object_store reports a redirect without an address as a cause of its own.
    text.contains("Received redirect without LOCATION").then(|| REGION.into())
}
