//! The settings that several kinds of stores have, and the tables of those in no cloud.

use super::row::{Row, SettingsTable};
use super::value::Kind;

pub(crate) static PREFIX: Row =
    Row::new("prefix", Kind::Text, "How the keys of all objects begin, such as cluster/team.").address();
pub(crate) static STORAGE_CLASS: Row = Row::new(
    "storage_class",
    Kind::Header,
    "The class of storage that objects are put into, such as STANDARD_IA. Without one the bucket's default counts.",
);
pub(crate) static CREDENTIALS_REF: Row = Row::new(
    "credentials_ref",
    Kind::Text,
    "A name for credentials that are kept elsewhere. It is carried along; libkfs does not look it up.",
)
.aliases(&["credentials_secret_ref", "credentials_secret"]);
pub(crate) static CONCURRENCY: Row = Row::new(
    "concurrency",
    Kind::Count,
    "How many requests may be under way at once. Commits have a bound of their own of the same size.",
)
.environment(&["KAFSCALE_S3_CONCURRENCY"])
.default("64");
pub(crate) static COLD_READS: Row = Row::new(
    "cold_reads",
    Kind::Count,
    "How many reads of old data may be under way at once, beside those of `concurrency`: of bytes of segments other than the \
     newest eight of their log. Without it half of `concurrency`.",
);
pub(crate) static REPLICA_WAIT: Row = Row::new(
    "replica_wait",
    Kind::Time,
    "How long a read of data waits for the replica. After that the bucket itself is asked.",
)
.default("5s");
pub(crate) static PATH: Row =
    Row::new("path", Kind::Path, "The absolute path of the directory. It is required.").address();

pub(crate) static FILESYSTEM: SettingsTable = SettingsTable {
    backend: "filesystem",
    aliases: &["file", "local"],
    store: "a directory",
    prefix: "",
    example: "path",
    rows: &[&PATH, &CONCURRENCY, &COLD_READS],
    client: &[],
};

pub(crate) static MEMORY: SettingsTable = SettingsTable {
    backend: "memory",
    aliases: &[],
    store: "memory",
    prefix: "",
    example: "prefix",
    rows: &[&PREFIX, &CONCURRENCY, &COLD_READS],
    client: &[],
};
