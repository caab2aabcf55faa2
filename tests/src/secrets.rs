//! Configurations with a secret in every face, for tests that search all output for them.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::FakeS3;
use crate::fake_http::Answer;

/// How many cases run at a time.
const AT_ONCE: usize = 6;

/// The planted secrets. Each has a run of letters and digits that occurs nowhere else.
pub mod planted {
    /// The id of an access key.
    pub const KEY_ID: &str = "AKIAPL4NT3DKEYIDZ01";
    /// The secret of an access key.
    pub const SECRET_KEY: &str = "q+Pl4nt3dS3cretKeyZ02/x=";
    /// The token of a temporary access key.
    pub const SESSION_TOKEN: &str = "Fwo/Pl4nt3dSessionTokenZ03+w==";
    /// A key in base64: 32 bytes.
    pub const BASE64_KEY: &str = "Pl4nt3dBase64KeyZ04xyPl4nt3dBase64KeyZ04xy0=";
    /// The signature of a shared access signature.
    pub const SIGNATURE: &str = "Pl4nt3dSignatureZ05AbCdEf";
    /// A token.
    pub const BEARER: &str = "ya29.Pl4nt3dBearerTokenZ06-_x";
    /// The secret of a service principal.
    pub const CLIENT_SECRET: &str = "Pl4nt3dClientSecretZ07~q";
    /// The password of a proxy.
    pub const PASSWORD: &str = "Pl4nt3dProxyPasswordZ08";
    /// What is in a private key.
    pub const PRIVATE_KEY: &str = "MIIEvPl4nt3dPrivateKeyZ09QIBADANBgkqhkiG9w0BAQEFAASC";
    /// A secret that stands where it does not belong.
    pub const MISPLACED: &str = "Pl4nt3d/Mispl4cedS3cretZ10+zz";

    /// All of them.
    pub const ALL: [&str; 10] = [
        KEY_ID,
        SECRET_KEY,
        SESSION_TOKEN,
        BASE64_KEY,
        SIGNATURE,
        BEARER,
        CLIENT_SECRET,
        PASSWORD,
        PRIVATE_KEY,
        MISPLACED,
    ];
}

/// A configuration with secrets.
#[derive(Clone, Debug, Default)]
pub struct SecretCase {
    /// What is special in it.
    pub name: String,
    /// The bucket's URL, unless the document says it.
    pub url: Option<String>,
    /// The document.
    pub document: Option<String>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
    /// What a source of credentials of the program's gives: `key`, `bearer`, `account_key`, or `error`.
    pub supplied: Option<String>,
}

impl SecretCase {
    fn new(name: impl Into<String>) -> Self {
        SecretCase { name: name.into(), ..SecretCase::default() }
    }

    fn url(mut self, url: &str) -> Self {
        self.url = Some(url.into());
        self
    }

    fn document(mut self, document: impl Into<String>) -> Self {
        self.document = Some(document.into());
        self
    }

    fn env(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment.extend(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        self
    }

    fn set(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        self
    }

    fn supplied(mut self, what: &str) -> Self {
        self.supplied = Some(what.into());
        self
    }

    /// As JSON, without the environment.
    pub fn to_json(&self) -> Value {
        json!({"url": self.url, "document": self.document, "settings": self.settings, "supplied": self.supplied})
    }
}

/// The servers and the files that the configurations name.
#[derive(Debug)]
pub struct SecretWorld {
    /// It serves whatever it is asked.
    kind: FakeS3,
    /// It refuses each request, and repeats all that it was told.
    hostile: FakeS3,
    directory: TempDir,
}

impl SecretWorld {
    /// Starts the servers.
    ///
    /// # Panics
    /// When no port can be bound, or no file can be written.
    pub fn start() -> Self {
        let hostile = FakeS3::start();
        hostile.script(|request, _| {
            let told = format!("{:?} {:?} {}", request.headers, request.query, String::from_utf8_lossy(&request.body));
            let told = told.replace('&', "&amp;").replace('<', "&lt;");
            let body = format!("<Error><Code>SignatureDoesNotMatch</Code><Message>refused: {told}</Message></Error>");
            Some(Answer::new(403, body).with("Content-Type", "application/xml"))
        });
        SecretWorld { kind: FakeS3::start(), hostile, directory: TempDir::new().expect("make a directory") }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("write a file");
        path.display().to_string()
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// All configurations.
    pub fn cases(&self) -> Vec<SecretCase> {
        let mut cases = self.on_s3();
        cases.extend(self.on_azure());
        cases.extend(self.on_gcs());
        cases.extend(self.refused());
        cases
    }

    fn on_s3(&self) -> Vec<SecretCase> {
        use planted::{KEY_ID, MISPLACED, PASSWORD, SECRET_KEY, SESSION_TOKEN};
        let mut cases = Vec::new();
        let keys = [
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ];
        let of_kafscale = [
            ("KAFSCALE_S3_ACCESS_KEY", KEY_ID),
            ("KAFSCALE_S3_SECRET_KEY", SECRET_KEY),
            ("KAFSCALE_S3_SESSION_TOKEN", SESSION_TOKEN),
        ];
        // A server that serves, one that repeats what it is told, and none.
        for (server, endpoint) in
            [("kind", self.kind.endpoint()), ("hostile", self.hostile.endpoint()), ("away", "http://127.0.0.1:9")]
        {
            let url = format!("s3://logs/p?endpoint={endpoint}&allow_http=true");
            let named = |face: &str| SecretCase::new(format!("S3, {face}, {server}"));
            cases.push(named("environment").url(&url).env(&keys));
            cases.push(named("KafScale's environment").url(&url).env(&of_kafscale));
            cases.push(named("settings").url(&url).set(&keys));
            cases.push(named("callback").url(&url).supplied("key"));
            let section = format!(
                "  backend: s3\n  bucket: logs\n  endpoint: {endpoint}\n  allow_http: true\n  access_key: {KEY_ID}\n  \
                 secret_key: '{SECRET_KEY}'\n  session_token: \"{SESSION_TOKEN}\"\n"
            );
            cases.push(named("YAML").document(format!("storage:\n{section}")));
            let json = json!({
                "backend": "s3", "bucket": "logs", "endpoint": endpoint, "allow_http": true, "accessKey": KEY_ID,
                "secretKey": SECRET_KEY, "sessionToken": SESSION_TOKEN,
            });
            cases.push(named("JSON").document(json.to_string()));
            let profile = format!(
                "[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET_KEY}\naws_session_token = \
                 {SESSION_TOKEN}\n"
            );
            let profile = self.file("credentials", &profile);
            cases.push(named("profile").url(&url).env(&[("AWS_SHARED_CREDENTIALS_FILE", &profile)]));
        }
        let url = format!("s3://logs?endpoint={}&allow_http=true", self.hostile.endpoint());
        cases.push(SecretCase::new("S3, a callback that fails").url(&url).supplied("error"));
        cases.push(SecretCase::new("S3, a callback that gives another kind").url(&url).supplied("bearer"));
        let torn = self.file("torn", &format!("[default\naws_access_key_id {MISPLACED}\n{MISPLACED}\n"));
        cases.push(SecretCase::new("S3, a torn profile").url(&url).env(&[("AWS_SHARED_CREDENTIALS_FILE", &torn)]));
        let proxy = format!("http://user:{PASSWORD}@127.0.0.1:9");
        let with_proxy = |name: &str| SecretCase::new(name).url(&url).env(&keys);
        cases.push(with_proxy("S3, a proxy by a setting").set(&[("proxy_url", &proxy)]));
        cases.push(with_proxy("S3, a proxy by AWS_PROXY_URL").env(&[("AWS_PROXY_URL", &proxy)]));
        cases.push(with_proxy("S3, a proxy of the environment").env(&[("http_proxy", &proxy)]));
        let proxy = format!("http://user:{PASSWORD}@[nonsense");
        cases.push(with_proxy("S3, a proxy that is no URL").env(&[("AWS_PROXY_URL", &proxy)]));
        cases.push(
            SecretCase::new("S3, a customer's key")
                .url("s3://logs?endpoint=https://127.0.0.1:9&encryption=sse-c")
                .env(&keys)
                .env(&[("AWS_SSE_CUSTOMER_KEY_BASE64", planted::BASE64_KEY)]),
        );
        // A secret stands in the place of another setting.
        for name in [
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_ALLOW_HTTP",
            "AWS_CONNECT_TIMEOUT",
            "AWS_POOL_MAX_IDLE_PER_HOST",
            "AWS_CHECKSUM_ALGORITHM",
            "AWS_CA_BUNDLE",
            "AWS_CA_FILE",
            "AWS_SSE_CUSTOMER_KEY_BASE64",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_METADATA_ENDPOINT",
        ] {
            let case = SecretCase::new(format!("S3, a secret as {name}")).url("s3://logs");
            let case = if name.contains("FILE") || name.contains("URI") { case } else { case.env(&keys) };
            cases.push(case.env(&[(name, MISPLACED), ("AWS_ROLE_ARN", "arn:x")]));
        }
        cases
    }

    fn on_azure(&self) -> Vec<SecretCase> {
        use planted::{BASE64_KEY, BEARER, CLIENT_SECRET, SIGNATURE};
        let mut cases = Vec::new();
        let sas = format!("?sv=2024-01-01&sr=c&sig={SIGNATURE}%3D&se=2030-01-01");
        let connection = format!(
            "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={BASE64_KEY};EndpointSuffix=core.windows.net"
        );
        for (server, endpoint) in
            [("kind", self.kind.endpoint()), ("hostile", self.hostile.endpoint()), ("away", "http://127.0.0.1:9")]
        {
            let url = format!("az://logs/p?account_name=acc&endpoint={endpoint}/acc&allow_http=true");
            for (name, secret) in [
                ("AZURE_STORAGE_KEY", BASE64_KEY),
                ("AZURE_STORAGE_SAS_TOKEN", sas.as_str()),
                ("AZURE_STORAGE_TOKEN", BEARER),
                ("AZURE_STORAGE_CONNECTION_STRING", connection.as_str()),
            ] {
                cases.push(SecretCase::new(format!("Azure, {name}, {server}")).url(&url).env(&[(name, secret)]));
                cases.push(
                    SecretCase::new(format!("Azure, {name} as a setting, {server}")).url(&url).set(&[(name, secret)]),
                );
            }
            cases.push(SecretCase::new(format!("Azure, callback with a token, {server}")).url(&url).supplied("bearer"));
            cases.push(
                SecretCase::new(format!("Azure, callback with a key, {server}")).url(&url).supplied("account_key"),
            );
            let document = json!({"storage": {
                "backend": "azure", "container": "logs", "account": "acc", "endpoint": format!("{endpoint}/acc"),
                "allow_http": true, "account_key": BASE64_KEY,
            }});
            cases.push(SecretCase::new(format!("Azure, JSON, {server}")).document(document.to_string()));
        }
        cases.push(SecretCase::new("Azure, a service principal").url("az://logs?account_name=acc").env(&[
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_SECRET", CLIENT_SECRET),
            ("AZURE_AUTHORITY_HOST", "https://127.0.0.1:9"),
        ]));
        cases.push(
            SecretCase::new("Azure, a key that is none")
                .url("az://logs?account_name=acc")
                .env(&[("AZURE_STORAGE_KEY", planted::MISPLACED)]),
        );
        cases
    }

    fn on_gcs(&self) -> Vec<SecretCase> {
        use planted::{BEARER, MISPLACED, PRIVATE_KEY};
        let mut cases = Vec::new();
        let account = json!({
            "type": "service_account", "client_email": "a@b", "private_key_id": "1",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE_KEY}\n-----END PRIVATE KEY-----\n"),
        })
        .to_string();
        let file = self.file("account.json", &account);
        let torn = self.file("torn.json", &format!("{{\"private_key\": \"{PRIVATE_KEY}"));
        for (server, endpoint) in
            [("kind", self.kind.endpoint()), ("hostile", self.hostile.endpoint()), ("away", "http://127.0.0.1:9")]
        {
            let url = format!("gs://logs/p?endpoint={endpoint}&allow_http=true");
            cases.push(
                SecretCase::new(format!("GCS, a token, {server}")).url(&url).env(&[("GOOGLE_BEARER_TOKEN", BEARER)]),
            );
            cases.push(SecretCase::new(format!("GCS, callback, {server}")).url(&url).supplied("bearer"));
        }
        let url = "gs://logs?endpoint=https://127.0.0.1:9";
        for (name, value) in [
            ("GOOGLE_SERVICE_ACCOUNT_KEY", account.as_str()),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", MISPLACED),
            ("GOOGLE_SERVICE_ACCOUNT", &file),
            ("GOOGLE_SERVICE_ACCOUNT", &torn),
            ("GOOGLE_APPLICATION_CREDENTIALS", &torn),
            ("GOOGLE_APPLICATION_CREDENTIALS", MISPLACED),
        ] {
            cases.push(SecretCase::new(format!("GCS, {name}")).url(url).env(&[(name, value)]));
        }
        let document = json!({"backend": "gcs", "bucket": "logs", "service_account_key": account});
        cases.push(SecretCase::new("GCS, JSON").document(document.to_string()));
        cases
    }

    /// URLs and documents that nobody can read.
    fn refused(&self) -> Vec<SecretCase> {
        use planted::{KEY_ID, MISPLACED, SECRET_KEY};
        let mut cases = Vec::new();
        for url in [
            format!("s3://logs?secret_key={SECRET_KEY}&access_key={KEY_ID}"),
            format!("s3://{KEY_ID}:{SECRET_KEY}@logs/p"),
            format!("s3://logs/p#{MISPLACED}"),
            format!("s3://logs?{MISPLACED}=x"),
            format!("s3://logs?connect_timeout={MISPLACED}"),
            format!("az://logs?sas_token=sig%3D{}", planted::SIGNATURE),
            format!("https://acc.blob.core.windows.net/logs?sig={}", planted::SIGNATURE),
            MISPLACED.to_string(),
        ] {
            cases.push(SecretCase::new("a URL that is refused").url(&url));
        }
        for document in [
            format!("storage:\n  backend: {MISPLACED}\n"),
            format!("storage:\n  {MISPLACED}: s3\n"),
            format!("storage:\n  backend: s3\n  bucket: logs\n  {MISPLACED}: x\n"),
            format!("storage:\n  backend: s3\n  bucket: logs\n  secret_key: [{MISPLACED}]\n"),
            format!("storage:\n  backend: s3\n  bucket: logs\n  access_key: {{{MISPLACED}: {MISPLACED}}}\n"),
            format!("storage:\n  backend: s3\n  bucket: logs\n  allow_http: {MISPLACED}\n"),
            format!("storage:\n  backend: s3\n  secret_key: {MISPLACED}\n"),
            format!("storage: {MISPLACED}"),
            format!("storage:\n  backend: s3\n secret_key: \"{MISPLACED}\n"),
            format!("{{\"backend\": \"s3\", \"secret_key\": \"{MISPLACED}\""),
            format!("secret_key: &{MISPLACED} *{MISPLACED}"),
            MISPLACED.to_string(),
        ] {
            cases.push(SecretCase::new("a document that can't be read").document(document));
        }
        cases
    }
}

/// Finds the planted secrets in a text: as they are, and in base64, percent-encoded or escaped. Gives the secret and the
/// place.
pub fn leaks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for secret in planted::ALL {
        for form in forms(secret) {
            if let Some(at) = text.find(&form) {
                let is_boundary = |at: &usize| text.is_char_boundary(*at);
                let begin = (0..=at.saturating_sub(300)).rev().find(is_boundary).unwrap_or(0);
                let end = (at + form.len() + 100..text.len()).find(is_boundary).unwrap_or(text.len());
                found.push(format!("{secret} (as {form}): ...{}...", &text[begin..end]));
            }
        }
    }
    found
}

/// How a secret looks in a text. Its longest run of letters and digits stays as it is in a URL, in JSON and in XML.
fn forms(secret: &str) -> Vec<String> {
    let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
    let mut forms: Vec<String> = runs.max_by_key(|run| run.len()).map(str::to_string).into_iter().collect();
    // As a part of something longer that is in base64, it begins at any of three places.
    for skipped in 0..3 {
        let text = base64(&secret.as_bytes()[skipped..]);
        // The last letters depend on what follows.
        forms.push(text[..(secret.len() - skipped) / 3 * 4].to_string());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        text.extend([18, 12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize])));
    }
    text
}

/// Does the same with each case, with several at a time, for most of them wait. Each has a number of its own.
pub fn on_each<'a, T: Send>(
    cases: &'a [SecretCase],
    act: impl Fn(usize, &'a SecretCase) -> T + Sync,
) -> Vec<(&'a SecretCase, T)> {
    let act = &act;
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    let mut done = Vec::new();
    for some in numbered.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                some.iter().map(|&(number, case)| (case, scope.spawn(move || act(number, case)))).collect();
            done.extend(threads.into_iter().map(|(case, thread)| (case, thread.join().expect("a case panicked"))));
        });
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_encoded() {
        for text in [
            "x q+Pl4nt3dS3cretKeyZ02/x= y",
            "q%2BPl4nt3dS3cretKeyZ02%2Fx%3D",
            // user:SECRET, and with one and two letters before it.
            "dXNlcjpxK1BsNG50M2RTM2NyZXRLZXlaMDIveD0=",
            "cStQbDRudDNkUzNjcmV0S2V5WjAyL3g9",
            "eHhxK1BsNG50M2RTM2NyZXRLZXlaMDIveD0=",
        ] {
            assert!(!leaks(text).is_empty(), "{text}");
        }
        assert!(leaks("nothing of the kind").is_empty());
    }
}
