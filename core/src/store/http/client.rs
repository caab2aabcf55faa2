//! Makes the HTTP client beneath object_store's: it follows no redirect, and trusts the certificates that the user names.

use std::sync::Arc;
use std::time::Duration;

use object_store::client::{ClientConfigKey, ClientOptions, HttpClient, HttpConnector};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Protocol;
use super::certificates::{ca_file, check_proxy};
use super::guard::Guarded;
use super::proxy::Proxy;
use super::secrets::Secrets;
use crate::error::Result;
use crate::runtime::{Entropy, SystemEntropy};
use crate::store::config::{Settings, boolean, client as rows};

/// Makes HTTP clients for object_store and for our own requests for credentials.
#[derive(Clone, Debug)]
pub(in crate::store) struct Connector {
    pub(in crate::store) protocol: Arc<dyn Protocol>,
    pub(in crate::store) secrets: Arc<Secrets>,
    /// The only certificates to trust; `None` for those of the system.
    pub(in crate::store) roots: Option<Vec<reqwest::Certificate>>,
    /// The setting that names a proxy, for messages.
    pub(in crate::store) proxy_setting: String,
    /// Whether a proxy is used that the settings or the environment name.
    pub(in crate::store) proxies: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = HttpClient::new(self.client(options)?);
        let proxy = match (options.get_config_value(&ClientConfigKey::ProxyUrl), self.proxies) {
            (_, false) => Proxy::None,
            (Some(_), true) => Proxy::Set(self.proxy_setting.clone()),
            (None, true) => Proxy::OfEnvironment,
        };
        let (protocol, secrets) = (self.protocol.clone(), self.secrets.clone());
        Ok(HttpClient::new(Guarded { client, protocol, secrets, proxy }))
    }
}

impl Connector {
    /// A connector for a cloud's bucket: it knows the secrets that the settings hold, and their file of certificates.
    ///
    /// # Errors
    /// `InvalidInput` for certificates or a proxy that can't be used, by their settings.
    pub(in crate::store) fn of(settings: &Settings, protocol: impl Protocol) -> Result<Self> {
        let secrets = Arc::new(Secrets::default());
        settings.secrets().for_each(|secret| secrets.add(secret));
        let roots = ca_file(settings)?;
        check_proxy(settings)?;
        let proxy_setting = settings.name_and_origin(&rows::PROXY_URL);
        Ok(Connector { protocol: Arc::new(protocol), secrets, roots, proxy_setting, proxies: true })
    }

    /// The client that object_store's own connector would make, but for redirects: those would carry
    /// credentials to whatever address a server names.
    fn client(&self, options: &ClientOptions) -> object_store::Result<reqwest::Client> {
        use ClientConfigKey as Key;
        let value = |key: Key| options.get_config_value(&key);
        let flag = |key: Key| value(key).map_or(Ok(false), |text| boolean(&text).ok_or_else(|| not_read("boolean")));
        let time = |key: Key| value(key).map(|text| duration(&text)).transpose();
        let mut builder = reqwest::ClientBuilder::new()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(value(Key::UserAgent).unwrap_or_else(|| concat!("libkfs/", env!("CARGO_PKG_VERSION")).into()))
            .https_only(!flag(Key::AllowHttp)?)
            // Compression would change what Content-Length says.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(url) = value(Key::ProxyUrl) {
            let mut proxy = reqwest::Proxy::all(url).map_err(not_made)?;
            if let Some(certificate) = value(Key::ProxyCaCertificate) {
                let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).map_err(not_made)?;
                builder = builder.tls_certs_merge([certificate]);
            }
            if let Some(excludes) = value(Key::ProxyExcludes) {
                proxy = proxy.no_proxy(reqwest::NoProxy::from_string(&excludes));
            }
            builder = builder.proxy(proxy);
        }
        if !self.proxies {
            builder = builder.no_proxy();
        }
        builder = match &self.roots {
            Some(roots) => builder.tls_certs_only(roots.iter().cloned()),
            None if flag(Key::NoSystemCertificates)? => builder.tls_certs_only([]),
            None => builder,
        };
        if let Some(time) = time(Key::Timeout)? {
            builder = builder.timeout(time);
        }
        if let Some(time) = time(Key::ConnectTimeout)? {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = time(Key::ReadTimeout)? {
            builder = builder.read_timeout(time);
        }
        if let Some(time) = time(Key::PoolIdleTimeout)? {
            builder = builder.pool_idle_timeout(time);
        }
        if let Some(max) = value(Key::PoolMaxIdlePerHost) {
            builder = builder.pool_max_idle_per_host(max.parse().map_err(|_| not_read("usize"))?);
        }
        if let Some(time) = time(Key::Http2KeepAliveInterval)? {
            builder = builder.http2_keep_alive_interval(time);
        }
        if let Some(time) = time(Key::Http2KeepAliveTimeout)? {
            builder = builder.http2_keep_alive_timeout(time);
        }
        builder = builder.http2_keep_alive_while_idle(flag(Key::Http2KeepAliveWhileIdle)?);
        if let Some(size) = value(Key::Http2MaxFrameSize) {
            builder = builder.http2_max_frame_size(Some(size.parse().map_err(|_| not_read("u32"))?));
        }
        if flag(Key::Http1Only)? {
            builder = builder.http1_only();
        }
        if flag(Key::Http2Only)? {
            builder = builder.http2_prior_knowledge();
        }
        if flag(Key::AllowInvalidCertificates)? {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if flag(Key::RandomizeAddresses)? {
            builder = builder.dns_resolver(Arc::new(AnyAddressFirst));
        }
        builder.build().map_err(not_made)
    }
}

fn not_made(error: reqwest::Error) -> object_store::Error {
    object_store::Error::Generic { store: "HTTP client", source: Box::new(error) }
}

/// The error of a value that can't be read, in object_store's words, without the value.
fn not_read(expected: &str) -> object_store::Error {
    object_store::Error::Generic { store: "Config", source: format!("failed to parse the value as {expected}").into() }
}

fn duration(text: &str) -> object_store::Result<Duration> {
    humantime::parse_duration(text).map_err(|_| not_read("Duration"))
}

/// Begins with any of a name's addresses, so that clients spread over the servers of one name.
struct AnyAddressFirst;

impl Resolve for AnyAddressFirst {
    fn resolve(&self, name: Name) -> Resolving {
        use std::net::{SocketAddr, ToSocketAddrs};
        Box::pin(async move {
            let look_up = move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
            let mut addresses = tokio::task::spawn_blocking(look_up).await??;
            let mut random = [0];
            SystemEntropy.fill(&mut random)?;
            let first = usize::from(random[0]).checked_rem(addresses.len()).unwrap_or(0);
            addresses.rotate_left(first);
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
