//! A bucket of each kind, for tests that must hold on all of them.

use kfs_core::store::{Store, StoreOptions};
use tempfile::TempDir;

use crate::{AzureServer, FakeGcs, S3Server};

/// An empty bucket of one kind of store. What serves it ends when this is dropped.
#[derive(Debug)]
pub struct TestBucket {
    /// The kind, for messages.
    pub name: &'static str,
    options: StoreOptions,
    environment: Vec<(&'static str, String)>,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Directory(TempDir),
    /// What was opened once is all that there is of it.
    Memory(Store),
    S3(S3Server),
    Azure(AzureServer),
    Gcs(FakeGcs),
}

/// An empty bucket of each kind whose server is installed: a directory, memory, S3, Azure and GCS. A SKIPPED line on
/// stderr says which are missing.
///
/// # Panics
/// When a server does not start; in CI also when one is not installed.
pub fn each_bucket() -> Vec<TestBucket> {
    let plain = || StoreOptions::default().environment(false);
    let bucket = |name, options, environment, server| TestBucket { name, options, environment, server };
    let directory = tempfile::tempdir().expect("make a directory");
    let memory = Store::open("memory:", &plain()).expect("open memory");
    let gcs = FakeGcs::start();
    let mut buckets = vec![
        bucket("directory", plain(), Vec::new(), Server::Directory(directory)),
        bucket("memory", plain(), Vec::new(), Server::Memory(memory)),
        bucket("gcs", gcs.store_options(), gcs.environment(), Server::Gcs(gcs)),
    ];
    if let Some(s3) = S3Server::start() {
        buckets.push(bucket("s3", s3.store_options(), s3.environment(), Server::S3(s3)));
    }
    if let Some(azure) = AzureServer::start() {
        buckets.push(bucket("azure", azure.store_options(), azure.environment(), Server::Azure(azure)));
    }
    buckets
}

impl TestBucket {
    /// The bucket's URL with this prefix. `None` for memory, which no other process can open.
    pub fn url(&self, prefix: &str) -> Option<String> {
        match &self.server {
            Server::Directory(directory) => Some(format!("file://{}/{prefix}", directory.path().display())),
            Server::Memory(_) => None,
            Server::S3(server) => Some(server.url(prefix)),
            Server::Azure(server) => Some(server.url(prefix)),
            Server::Gcs(server) => Some(server.url(prefix)),
        }
    }

    /// The environment that makes a client use this server: for a child process.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// How many requests the server was asked since the last call, where it is a fake that counts them.
    pub fn asked(&self) -> Option<u64> {
        match &self.server {
            Server::Gcs(server) => Some(server.requests().len() as u64),
            _ => None,
        }
    }

    /// A store of its own on this bucket; the same one each time for memory.
    ///
    /// # Panics
    /// When it can't be opened.
    pub fn store(&self, prefix: &str) -> Store {
        match (&self.server, self.url(prefix)) {
            (Server::Memory(store), _) => store.clone(),
            (_, url) => Store::open(&url.expect("a URL"), &self.options).expect("open the store"),
        }
    }
}
