//! Credentials: those that are set, and temporary ones of containers and web identities. object_store's own ways send a token to any host in
//! plain text, put one into a URL, and panic where a token's file ends in a newline.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::client::{
    CredentialProvider, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
};
use tokio::sync::Mutex;
use url::Url;

use super::profile::{Profile, ProfileKeys};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Clock, SystemClock};
use crate::store::StoreOptions;
use crate::store::config::{Secret, Settings, s3, shown};
use crate::store::credentials::{CredentialKind, Unfit};
use crate::store::failure::{Effect, StoreFailure, between, text};
use crate::store::hint;
use crate::store::http::{
    AcceptedCredentials, CREDENTIALS_FILE_LIMIT, Connector, FromSettings, LastResort, OF_CALLER, OF_MACHINE, Secrets,
    Supplied, bad_character, credentials_url, read_file, short, unsigned, unusable,
};

/// What the caller's source must give.
const ACCEPTED: AcceptedCredentials = AcceptedCredentials {
    store: "S3",
    takes: "an access key",
    how: "give an access key: Credentials::access_key in Rust, kfs_credentials_access_key in C, \
          kfs.Credentials(access_key_id=..., secret_access_key=...) in Python",
};

/// What to do where there are none.
const HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or web identity or container \
                    credentials; on a cloud machine its metadata is asked unless AWS_EC2_METADATA_DISABLED is true; for a \
                    public bucket set AWS_SKIP_SIGNATURE=true";
/// What to do when an agent refuses a request without a token.
const NO_TOKEN: &str = "none was sent: if the server asks for a token, set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE to \
                        the file that holds it (AWS_CONTAINER_AUTHORIZATION_TOKEN is not read)";
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Credentials are renewed this long before they run out, as object_store does.
const EARLIER_MS: i64 = 300_000;
/// Where the agents of ECS and EKS give credentials to containers.
const CONTAINER_V4: [[u8; 4]; 2] = [[169, 254, 170, 2], [169, 254, 170, 23]];
const CONTAINER_V6: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23];
/// Where a cloud machine gives its own.
const MACHINE_V4: [[u8; 4]; 1] = [[169, 254, 169, 254]];
const MACHINE_V6: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];

/// The way to credentials that the settings choose.
pub(super) struct SigningKeys {
    /// `None` where requests are not signed.
    pub(super) provider: Option<AwsCredentialProvider>,
    /// Where they come from, for messages.
    pub(super) from: String,
}

impl SigningKeys {
    fn of(provider: impl CredentialProvider<Credential = AwsCredential> + 'static, from: impl Into<String>) -> Self {
        SigningKeys { provider: Some(Arc::new(provider)), from: from.into() }
    }
}

/// The provider that the settings choose. It is chosen before anything is sent:
/// the caller's source, keys that are set, then a profile in the shared files, a web identity, a container, a cloud machine. With the
/// environment the files in the home directory and the machine's metadata count though nobody named them.
///
/// # Errors
/// `PermissionDenied` where there are none, `InvalidInput` for what can't be right.
pub(super) fn of(
    builder: &AmazonS3Builder,
    settings: &Settings,
    connector: &Connector,
    options: &StoreOptions,
) -> Result<SigningKeys> {
    let surroundings = options.environment;
    if let Some(source) = &options.credentials {
        let supplied = Supplied::new(source.clone(), of_caller, ACCEPTED, connector.secrets.clone());
        return Ok(SigningKeys::of(supplied, OF_CALLER));
    }
    let value = |row| settings.text(row).filter(|text| !text.is_empty()).map(str::to_string);
    if settings.flag(&s3::SKIP_SIGNATURE) {
        return Ok(SigningKeys { provider: None, from: unsigned(settings, &s3::SKIP_SIGNATURE) });
    }
    if !settings.flag(&s3::USE_IAM_ROLE) {
        if let Some(keys) = keys_set(settings)? {
            let from = settings.names_and_origin(&[&s3::ACCESS_KEY, &s3::SECRET_KEY]);
            return Ok(SigningKeys::of(StaticCredentialProvider::new(keys), from));
        }
        let profile = Profile::of(settings, surroundings);
        if profile.keys()?.is_some() {
            let from = profile.to_string();
            return Ok(SigningKeys::of(ProfileKeys::new(profile), from));
        }
    }
    let is_container = |address| is_one_of(address, &CONTAINER_V4, CONTAINER_V6);
    let source = if let (Some(file), Some(role)) = (value(&s3::WEB_IDENTITY_TOKEN_FILE), value(&s3::ROLE_ARN)) {
        let region = value(&s3::REGION).unwrap_or_default();
        let endpoint = value(&s3::STS_ENDPOINT).unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
        let session = value(&s3::ROLE_SESSION_NAME).unwrap_or_default();
        let url = credentials_url(&settings.name(&s3::STS_ENDPOINT), &endpoint, |_| false)?;
        let file = TokenFile { setting: settings.name_and_origin(&s3::WEB_IDENTITY_TOKEN_FILE), path: file };
        let setting = settings.name_and_origin(&s3::STS_ENDPOINT);
        CredentialServer::WebIdentity { setting, url, file, role, session }
    } else if let Some(path) = value(&s3::CONTAINER_RELATIVE_URI) {
        let name = settings.name(&s3::CONTAINER_RELATIVE_URI);
        if !path.starts_with('/') {
            return Err(Error::new(ErrorKind::InvalidInput, format!("{name} does not begin with /")));
        }
        let url = credentials_url(&name, &format!("http://169.254.170.2{path}"), is_container)?;
        let setting = settings.name_and_origin(&s3::CONTAINER_RELATIVE_URI);
        CredentialServer::Container { setting, url, file: None }
    } else if let Some(url) = value(&s3::CONTAINER_FULL_URI) {
        let url = credentials_url(&settings.name(&s3::CONTAINER_FULL_URI), &url, is_container)?;
        let setting = settings.name_and_origin(&s3::CONTAINER_TOKEN_FILE);
        let file = value(&s3::CONTAINER_TOKEN_FILE).map(|path| TokenFile { setting, path });
        CredentialServer::Container { setting: settings.name_and_origin(&s3::CONTAINER_FULL_URI), url, file }
    } else {
        return of_metadata(builder, settings, surroundings);
    };
    let near = source.url().scheme() == "http";
    let options =
        ClientOptions::new().with_allow_http(near).with_timeout(ANSWER_LIMIT).with_connect_timeout(CONNECT_LIMIT);
    let connector = Connector { proxies: !near && connector.proxies, ..connector.clone() };
    let client = connector.connect(&options).map_err(|error| unusable(settings, &error))?;
    let from = format!("{source} ({})", source.setting());
    Ok(SigningKeys::of(Temporary { source, client, held: Mutex::new(None) }, from))
}

/// The caller's credentials as S3 takes them.
fn of_caller(given: &CredentialKind) -> Result<AwsCredential, Unfit> {
    let CredentialKind::AccessKey { id, secret, session_token } = given else { return Err(Unfit::OtherKind) };
    let text = |secret: &Secret| secret.reveal().to_string();
    Ok(AwsCredential { key_id: text(id), secret_key: text(secret), token: session_token.as_ref().map(text) })
}

/// The keys that are set. Once one of them is set, even to nothing, no other way is taken.
fn keys_set(settings: &Settings) -> Result<Option<AwsCredential>> {
    let rows = [&s3::ACCESS_KEY, &s3::SECRET_KEY];
    if !rows.iter().any(|row| settings.is_set(row)) {
        return Ok(None);
    }
    let value = |row| settings.text(row).filter(|text| !text.is_empty()).map(str::to_string);
    if let (Some(key_id), Some(secret_key)) = (value(&s3::ACCESS_KEY), value(&s3::SECRET_KEY)) {
        return Ok(Some(AwsCredential { key_id, secret_key, token: value(&s3::SESSION_TOKEN) }));
    }
    let set = if settings.is_set(&s3::ACCESS_KEY) { &s3::ACCESS_KEY } else { &s3::SECRET_KEY };
    let [one, other] = rows.map(|row| settings.name_like(row, set));
    let error = Error::new(ErrorKind::PermissionDenied, "half of the S3 credentials is missing or empty");
    Err(error.with_hint(format!("set both {one} and {other}, in the same place")))
}

/// The credentials of a cloud machine, from the address that is set, or as the last resort from the usual one.
fn of_metadata(builder: &AmazonS3Builder, settings: &Settings, surroundings: bool) -> Result<SigningKeys> {
    let built = || match builder.clone().build() {
        Ok(client) => Ok(client.credentials().clone()),
        Err(error) => Err(unusable(settings, &error)),
    };
    if let Some(url) = settings.text(&s3::METADATA_ENDPOINT) {
        let is_machine = |address| is_one_of(address, &MACHINE_V4, MACHINE_V6);
        credentials_url(&settings.name(&s3::METADATA_ENDPOINT), url, is_machine)?;
        let server = settings.name_and_origin(&s3::METADATA_ENDPOINT);
        let hint = format!("check {server}");
        let from = format!("{} ({server})", of_machine(settings));
        let inner = built()?;
        return Ok(SigningKeys::of(FromSettings { inner, settings: server.clone(), server, hint, file: None }, from));
    }
    let by_role = settings.flag(&s3::USE_IAM_ROLE);
    if settings.flag(&s3::METADATA_DISABLED) || !(surroundings || by_role) {
        return Err(Error::new(ErrorKind::PermissionDenied, "no S3 credentials are set").with_hint(HINT));
    }
    let tried = match by_role {
        true => "neither a web identity nor a container's credentials are set",
        false => "no access key, no profile with keys, no web identity and no container's credentials are set",
    };
    Ok(SigningKeys::of(LastResort { inner: built()?, store: "S3", tried, hint: HINT }, OF_MACHINE))
}

/// Whether this is one of these addresses.
fn is_one_of(address: IpAddr, v4: &[[u8; 4]], v6: [u16; 8]) -> bool {
    match address {
        IpAddr::V4(address) => v4.contains(&address.octets()),
        IpAddr::V6(address) => v6 == address.segments(),
    }
}

enum CredentialServer {
    /// An agent's answer to a GET, with a token where a file holds one.
    Container { setting: String, url: Url, file: Option<TokenFile> },
    /// STS gives credentials for a token that somebody else signed.
    WebIdentity { setting: String, url: Url, file: TokenFile, role: String, session: String },
}

/// A file with a token, and the setting that names it.
#[derive(Clone)]
struct TokenFile {
    setting: String,
    path: String,
}

impl fmt::Display for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.setting, shown::path(&self.path))
    }
}

impl CredentialServer {
    fn url(&self) -> &Url {
        match self {
            CredentialServer::Container { url, .. } | CredentialServer::WebIdentity { url, .. } => url,
        }
    }

    /// The setting that names the server, for messages.
    fn setting(&self) -> &str {
        match self {
            CredentialServer::Container { setting, .. } | CredentialServer::WebIdentity { setting, .. } => setting,
        }
    }
}

impl fmt::Display for CredentialServer {
    /// Without the path, which may be a secret of the container.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url().origin().ascii_serialization())
    }
}

/// Credentials that run out, held until shortly before they do.
struct Temporary {
    source: CredentialServer,
    client: HttpClient,
    /// With the Unix time in milliseconds when they run out.
    held: Mutex<Option<(Arc<AwsCredential>, i64)>>,
}

impl fmt::Debug for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Temporary({})", self.source.url())
    }
}

#[async_trait]
impl CredentialProvider for Temporary {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some((credential, ends)) = held.as_ref()
            && SystemClock.wall_ms().saturating_add(EARLIER_MS) < *ends
        {
            return Ok(credential.clone());
        }
        let (credential, ends) =
            self.ask().await.map_err(|error| StoreFailure::new(Effect::None, error).into_object_store(""))?;
        let credential = Arc::new(credential);
        *held = Some((credential.clone(), ends));
        Ok(credential)
    }
}

impl Temporary {
    async fn ask(&self) -> Result<(AwsCredential, i64)> {
        let (request, read): (_, fn(&str) -> Option<CredentialAnswer>) = match &self.source {
            CredentialServer::Container { url, file, .. } => {
                let mut request = request("GET", url, HttpRequestBody::empty())?;
                if let Some(file) = file {
                    let token = token(file).await?.parse().map_err(|_| unusable_token(file))?;
                    request.headers_mut().insert("authorization", token);
                }
                (request, |text| serde_json::from_str(text).ok())
            }
            CredentialServer::WebIdentity { url, file, role, session, .. } => {
                let form = web_identity_form(role, session, &token(file).await?);
                let mut request = request("POST", url, form.into())?;
                let kind = "application/x-www-form-urlencoded".parse().map_err(|_| unusable_token(file))?;
                request.headers_mut().insert("content-type", kind);
                (request, CredentialAnswer::of_xml)
            }
        };
        let answer = self.client.execute(request).await.map_err(|error| self.not_answered(&error))?;
        let status = answer.status().as_u16();
        let said = self.said(answer).await?;
        let answer = read(&said).filter(|_| status == 200);
        let Some((answer, ends)) = answer.and_then(|answer| answer.ends_ms().map(|ends| (answer, ends))) else {
            let error = refused(status, &said);
            let error = match error.hint() {
                Some(_) => error,
                None => error.with_hint(format!("check {}", self.source.setting())),
            };
            return Err(match &self.source {
                CredentialServer::Container { file: None, .. } if matches!(status, 401 | 403) => {
                    error.with_hint(NO_TOKEN)
                }
                _ => error,
            });
        };
        let credential =
            AwsCredential { key_id: answer.key_id, secret_key: answer.secret_key, token: Some(answer.token) };
        check(&credential, &self.source.to_string())?;
        Ok((credential, ends))
    }

    async fn said(&self, answer: HttpResponse) -> Result<String> {
        short(answer).await.map_err(|error| self.not_answered(&error))
    }

    fn not_answered(&self, error: &HttpError) -> Error {
        let kind = match error.kind() {
            HttpErrorKind::Timeout => ErrorKind::TimedOut,
            _ => ErrorKind::Unavailable,
        };
        let (source, setting) = (&self.source, self.source.setting());
        let message = format!("credentials could not be had from {source} ({setting}): {}", text(error));
        let hint = hint::of_credentials(error, setting).unwrap_or_else(|| format!("check {setting}"));
        Error::new(kind, message).with_hint(hint)
    }
}

fn request(method: &str, url: &Url, body: HttpRequestBody) -> Result<HttpRequest> {
    let unusable =
        |()| Error::new(ErrorKind::InvalidInput, "credentials can't be asked for: their address is not HTTP's");
    let mut request = HttpRequest::new(body);
    *request.uri_mut() = url.as_str().parse().map_err(|_| unusable(()))?;
    *request.method_mut() = method.parse().map_err(|_| unusable(()))?;
    Ok(request)
}

fn web_identity_form(role: &str, session: &str, token: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("DurationSeconds", "3600")
        .append_pair("RoleArn", role)
        .append_pair("RoleSessionName", session)
        .append_pair("WebIdentityToken", token)
        .finish()
}

/// A token as its file holds it, without the line end that editors and shells put there.
async fn token(file: &TokenFile) -> Result<String> {
    let path = file.path.clone();
    let read = move || {
        let bytes = read_file(path.as_ref(), CREDENTIALS_FILE_LIMIT)?;
        String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
    };
    let text = tokio::task::spawn_blocking(read).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    let unread = |error: std::io::Error| format!("{file} can't be read: {error}");
    let text = text.map_err(|error| Error::new(ErrorKind::InvalidInput, unread(error)))?;
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(unusable_token(file));
    }
    Ok(token.to_string())
}

fn unusable_token(file: &TokenFile) -> Error {
    let message = format!("{file} holds no token: expected one line without spaces");
    Error::new(ErrorKind::PermissionDenied, message)
}

fn refused(status: u16, said: &str) -> Error {
    let said = text(&std::io::Error::other(said.to_string()));
    match status {
        200 => Error::new(ErrorKind::Unavailable, "the answer to a request for credentials can't be read"),
        300..400 => Error::new(
            ErrorKind::InvalidInput,
            format!("a request for credentials was answered with {status}, a redirect, which is not followed"),
        ),
        401 | 403 | 400 | 404 => {
            Error::new(ErrorKind::PermissionDenied, format!("no credentials were given ({status}): {said}"))
        }
        _ => Error::new(ErrorKind::Unavailable, format!("credentials could not be had ({status}): {said}")),
    }
}

/// Credentials as an agent or STS gives them.
#[derive(serde::Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
struct CredentialAnswer {
    key_id: String,
    secret_key: String,
    token: String,
    /// RFC 3339.
    expiration: String,
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for CredentialAnswer {
    type Error = &'static str;

    fn try_from(fields: serde_json::Map<String, serde_json::Value>) -> Result<Self, Self::Error> {
        CredentialAnswer::of_fields(|name| fields.get(name)?.as_str().map(str::to_string)).ok_or("a field is missing")
    }
}

impl CredentialAnswer {
    fn of_fields(field: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(CredentialAnswer {
            key_id: field("AccessKeyId")?,
            secret_key: field("SecretAccessKey")?,
            // Agents of containers and STS name it differently.
            token: field("Token").or_else(|| field("SessionToken"))?,
            expiration: field("Expiration")?,
        })
    }

    fn of_xml(text: &str) -> Option<Self> {
        Self::of_fields(|name| {
            between(text, &format!("<{name}>"), &format!("</{name}>")).map(|value| value.trim().to_string())
        })
    }

    fn ends_ms(&self) -> Option<i64> {
        chrono::DateTime::parse_from_rfc3339(&self.expiration).ok().map(|time| time.timestamp_millis())
    }
}

/// The source of the credentials that object_store gets by itself, for a message.
pub(super) fn of_machine(settings: &Settings) -> String {
    let origin = settings.text(&s3::METADATA_ENDPOINT).and_then(|url| Url::parse(url).ok());
    origin.map_or(OF_MACHINE.to_string(), |url| url.origin().ascii_serialization())
}

/// Refuses credentials that can't stand in a header, because object_store panics when it puts them there.
fn check(credential: &AwsCredential, source: &str) -> Result<()> {
    let AwsCredential { key_id, secret_key, token } = credential;
    let fields = [("AccessKeyId", Some(key_id)), ("SecretAccessKey", Some(secret_key)), ("Token", token.as_ref())];
    let found = fields.into_iter().find_map(|(name, value)| Some((name, bad_character(value?)?)));
    found.map_or(Ok(()), |(name, what)| {
        let message = format!("the credentials from {source} can't be used: {name} {what}");
        Err(Error::new(ErrorKind::PermissionDenied, message).with_hint("renew the credentials there"))
    })
}

/// Checks and remembers what it gives out, so that no message repeats it.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) inner: AwsCredentialProvider,
    /// Who gave the credentials, where they were not checked before.
    pub(super) source: String,
    pub(super) secrets: Arc<Secrets>,
}

#[async_trait]
impl CredentialProvider for Noted {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let credential = self.inner.get_credential().await?;
        check(&credential, &self.source)
            .map_err(|error| StoreFailure::new(Effect::None, error).into_object_store(""))?;
        let AwsCredential { key_id, secret_key, token } = credential.as_ref();
        [key_id, secret_key].into_iter().chain(token).for_each(|value| self.secrets.add(value));
        Ok(credential)
    }
}
