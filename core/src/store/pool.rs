//! Clients that several stores share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::breaker::BreakerOptions;
use super::client::StoreClient;
use super::config::{Fingerprint, Settings, StoreBackend, StoreConfig, common};
use super::credentials::CredentialSource;
use super::hedge::HedgeOptions;
use super::{Store, StoreOptions};
use crate::error::Result;
use crate::fork::ForkGuard;

/// Opens stores that share clients: those of the same bucket, region and server, with the same credentials and the same
/// other settings, differ in their prefixes and storage classes alone. They share connections, the limits on concurrent
/// requests, the breaker, and what is known of the server. Cheap to clone; a client lives as long as one of its stores.
///
/// Directories and memory are not shared: each store has its own.
#[derive(Clone)]
pub struct StorePool {
    fork: ForkGuard,
    clients: Arc<Mutex<HashMap<ClientKey, Weak<StoreClient>>>>,
}

/// What a client reaches, and as whom. Credentials are in it as a hash with keys that only this process knows.
#[derive(PartialEq, Eq, Hash)]
struct ClientKey {
    backend: StoreBackend,
    /// Bucket, region and server, as far as they are set.
    place: Vec<(&'static str, String)>,
    settings: Fingerprint,
    max_in_flight: usize,
    cold_places: usize,
    breaker: Option<BreakerOptions>,
    hedge: Option<HedgeOptions>,
    environment: bool,
    supplied: Supplier,
}

/// Who supplies credentials. Held, so that no other one gets its address.
struct Supplier(Option<Arc<dyn CredentialSource>>);

impl Supplier {
    fn address(&self) -> Option<*const ()> {
        self.0.as_ref().map(|source| Arc::as_ptr(source).cast())
    }
}

impl PartialEq for Supplier {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Supplier {}

impl std::hash::Hash for Supplier {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl StorePool {
    /// A pool without clients.
    pub fn new() -> Self {
        StorePool { fork: ForkGuard::here(), clients: Arc::default() }
    }

    /// Opens a store as [`Store::open_config`] does, with a client of the pool if one fits. It sends no request.
    ///
    /// # Errors
    /// As [`Store::open_config`]; closed in a forked child.
    pub fn open(&self, config: &StoreConfig, options: &StoreOptions) -> Result<Store> {
        self.fork.check()?;
        Store::open_in(config, options, Some(self))
    }

    /// How many clients are in use.
    pub fn clients(&self) -> usize {
        if self.fork.is_forked() {
            return 0;
        }
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.values().filter(|client| client.strong_count() > 0).count()
    }

    /// The client that fits, or the one that `make` makes.
    pub(super) fn client(
        &self,
        backend: StoreBackend,
        settings: &Settings,
        options: &StoreOptions,
        make: impl FnOnce() -> Result<StoreClient>,
    ) -> Result<Arc<StoreClient>> {
        if matches!(backend, StoreBackend::Filesystem | StoreBackend::Memory) {
            return make().map(Arc::new);
        }
        let key = ClientKey {
            backend,
            place: settings.place(),
            settings: settings.fingerprint_without(&[
                &common::PREFIX,
                &common::STORAGE_CLASS,
                &common::CREDENTIALS_REF,
            ]),
            max_in_flight: options.max_in_flight,
            cold_places: options.cold_places(options.max_in_flight),
            breaker: options.breaker,
            hedge: options.hedge,
            environment: options.environment,
            supplied: Supplier(options.credentials.clone()),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key).and_then(Weak::upgrade) {
            return Ok(client);
        }
        clients.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(make()?);
        clients.insert(key, Arc::downgrade(&client));
        Ok(client)
    }
}

impl Default for StorePool {
    fn default() -> Self {
        StorePool::new()
    }
}

impl fmt::Debug for StorePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorePool").field("clients", &self.clients()).finish_non_exhaustive()
    }
}
