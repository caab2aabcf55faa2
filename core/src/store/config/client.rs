//! The settings of the client and of how it treats a store that is slow or away, the same for each store in a cloud.

use super::row::Row;
use super::value::Kind;

pub(crate) static ALLOW_HTTP: Row =
    Row::new("allow_http", Kind::Flag, "Whether the server may be reached without encryption (http:).")
        .default("false");
pub(crate) static CA_FILE: Row = Row::new(
    "ca_file",
    Kind::Path,
    "A file with the only certificates to trust, in PEM form. Without one those of the system are trusted.",
)
.aliases(&["ca_bundle"]);
pub(crate) static NO_SYSTEM_CERTIFICATES: Row =
    Row::new("no_system_certificates", Kind::Flag, "Whether the system's certificates are not trusted.")
        .aliases(&["disable_system_certificates"])
        .default("false");
pub(crate) static ALLOW_INVALID_CERTIFICATES: Row = Row::new(
    "allow_invalid_certificates",
    Kind::Flag,
    "Whether any certificate is taken. Anybody can then read along.",
)
.default("false");
pub(crate) static CONNECT_TIMEOUT: Row =
    Row::new("connect_timeout", Kind::Time, "How long a connection may take to be made.").default("30s");
pub(crate) static READ_TIMEOUT: Row =
    Row::new("read_timeout", Kind::Time, "How long a read may go on without a byte.").default("30s");
pub(crate) static RETRIES: Row = Row::new(
    "retries",
    Kind::Count,
    "How many times a call of the storage interface is tried again after a failure that may pass: at most 20. A log asks \
     again by itself.",
)
.default("3");
pub(crate) static OPERATION_TIMEOUT: Row = Row::new(
    "operation_timeout",
    Kind::Time,
    "How long a call of the storage interface may take, with all its tries. Each request of a stream is a call.",
)
.default("5min");
pub(crate) static POOL_IDLE_TIMEOUT: Row =
    Row::new("pool_idle_timeout", Kind::Time, "How long an idle connection is kept.").default("90s");
pub(crate) static POOL_MAX_IDLE_PER_HOST: Row = Row::new(
    "pool_max_idle_per_host",
    Kind::Count,
    "How many idle connections are kept for a host. Without one all are.",
);
pub(crate) static PROXY_URL: Row = Row::new(
    "proxy_url",
    Kind::Url,
    "The proxy. Without one the variables https_proxy, http_proxy and all_proxy count.",
);
pub(crate) static PROXY_CA_CERTIFICATE: Row =
    Row::new("proxy_ca_certificate", Kind::Pem, "A certificate to trust for the proxy.");
pub(crate) static PROXY_EXCLUDES: Row =
    Row::new("proxy_excludes", Kind::Text, "The hosts to reach without the proxy, with commas between them.");
pub(crate) static USER_AGENT: Row =
    Row::new("user_agent", Kind::Header, "What the client calls itself. Without one it is libkfs and its version.");
pub(crate) static RANDOMIZE_ADDRESSES: Row =
    Row::new("randomize_addresses", Kind::Flag, "Whether clients begin with any of the addresses of a host.")
        .default("true");
pub(crate) static HTTP1_ONLY: Row =
    Row::new("http1_only", Kind::Flag, "Whether only HTTP/1.1 is spoken.").default("true");
pub(crate) static HTTP2_ONLY: Row =
    Row::new("http2_only", Kind::Flag, "Whether only HTTP/2 is spoken.").default("false");
pub(crate) static HTTP2_KEEP_ALIVE_INTERVAL: Row =
    Row::new("http2_keep_alive_interval", Kind::Time, "How often a connection of HTTP/2 is tried.");
pub(crate) static HTTP2_KEEP_ALIVE_TIMEOUT: Row =
    Row::new("http2_keep_alive_timeout", Kind::Time, "How long the answer to that may take.");
pub(crate) static HTTP2_KEEP_ALIVE_WHILE_IDLE: Row =
    Row::new("http2_keep_alive_while_idle", Kind::Flag, "Whether idle connections of HTTP/2 are tried, too.")
        .default("false");
/// The bounds are HTTP/2's own: <https://www.rfc-editor.org/rfc/rfc9113#SETTINGS_MAX_FRAME_SIZE>.
pub(crate) static HTTP2_MAX_FRAME_SIZE: Row = Row::new(
    "http2_max_frame_size",
    Kind::Within(1 << 14, (1 << 24) - 1),
    "The largest frame of HTTP/2 that is taken, in bytes.",
);

pub(crate) static BREAKER_FAILURES: Row = Row::new(
    "breaker_failures",
    Kind::Count,
    "After how many failed requests in a row the store is taken to be away, so that requests fail at once and unsent. \
     0 turns that off.",
)
.default("10");
pub(crate) static BREAKER_PAUSE: Row = Row::new(
    "breaker_pause",
    Kind::Time,
    "How long a store that is away is not asked before one request is sent to it. After each one that fails the next pause \
     is twice as long, up to 5s, or up to this where it is longer.",
)
.default("1s");

pub(crate) static HEDGE_CREATES: Row = Row::new(
    "hedge_creates",
    Kind::Flag,
    "Whether the create of a segment or an index is sent a second time when it has no answer for longer than 99 of the last \
     100 of about its size took, and at least 50 ms. At most a tenth are.",
)
.default("false");

pub(super) static ROWS: [&Row; 24] = [
    &ALLOW_HTTP,
    &CA_FILE,
    &NO_SYSTEM_CERTIFICATES,
    &ALLOW_INVALID_CERTIFICATES,
    &CONNECT_TIMEOUT,
    &READ_TIMEOUT,
    &RETRIES,
    &OPERATION_TIMEOUT,
    &POOL_IDLE_TIMEOUT,
    &POOL_MAX_IDLE_PER_HOST,
    &PROXY_URL,
    &PROXY_CA_CERTIFICATE,
    &PROXY_EXCLUDES,
    &USER_AGENT,
    &RANDOMIZE_ADDRESSES,
    &HTTP1_ONLY,
    &HTTP2_ONLY,
    &HTTP2_KEEP_ALIVE_INTERVAL,
    &HTTP2_KEEP_ALIVE_TIMEOUT,
    &HTTP2_KEEP_ALIVE_WHILE_IDLE,
    &HTTP2_MAX_FRAME_SIZE,
    &BREAKER_FAILURES,
    &BREAKER_PAUSE,
    &HEDGE_CREATES,
];
