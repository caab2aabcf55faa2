//! Sparse indexes of all partitions of a bucket, held within a bound of bytes.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use crate::error::Result;
use crate::format::{PartitionId, SparseIndex};
use crate::store::Version;

const INDEX_BYTES: usize = 256;
const ENTRY_BYTES: usize = 12;

/// An index, with the version of the segment that it is believed to describe.
#[derive(Clone, Debug)]
struct Held {
    version: Version,
    index: Arc<SparseIndex>,
}

type Key = (PartitionId, i64);

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Held> for Weight {
    fn weight(&self, _: &Key, held: &Held) -> u64 {
        let entries = held.index.len().saturating_mul(ENTRY_BYTES);
        let fixed = size_of::<Key>().saturating_add(size_of::<Held>()).saturating_add(INDEX_BYTES);
        u64::try_from(entries.saturating_add(fixed)).unwrap_or(u64::MAX)
    }
}

type Loaded = Result<Option<Arc<SparseIndex>>>;

/// A GET of an index under way.
struct Flight {
    version: Version,
    landed: Shared<oneshot::Receiver<Loaded>>,
}

/// The cache of indexes, by segment and version.
pub(crate) struct Indexes {
    cache: Cache<Key, Held, Weight>,
    flights: Mutex<HashMap<Key, Flight>>,
}

impl Indexes {
    /// A cache of at most so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        Indexes { cache: Cache::with_weighter(items, bytes, Weight), flights: Mutex::default() }
    }

    pub(crate) fn get(&self, id: &PartitionId, base: i64, version: &Version) -> Option<Arc<SparseIndex>> {
        self.held(&(id.clone(), base), version)
    }

    fn held(&self, key: &Key, version: &Version) -> Option<Arc<SparseIndex>> {
        let held = self.cache.get(key)?;
        held.version.same_as(version).then_some(held.index)
    }

    pub(crate) fn put(&self, id: &PartitionId, base: i64, version: &Version, index: Arc<SparseIndex>) {
        self.cache.insert((id.clone(), base), Held { version: version.clone(), index });
    }

    /// The index that is held, or what one GET brings to all who want it now.
    ///
    /// # Errors
    /// What the GET answers. All who wait for it are told; nobody later is.
    pub(crate) async fn load<F: Future<Output = Loaded>>(
        &self,
        id: &PartitionId,
        base: i64,
        version: &Version,
        get: impl FnOnce() -> F,
    ) -> Loaded {
        let key = (id.clone(), base);
        let loading = loop {
            match self.claim(&key, version) {
                Claim::Held(index) => return Ok(Some(index)),
                Claim::Load(loading) => break loading,
                // Whose loader is gone is claimed anew.
                Claim::Wait(landed) => {
                    if let Ok(loaded) = landed.await {
                        return loaded;
                    }
                }
            }
        };
        let loaded = get().await;
        if let Ok(Some(index)) = &loaded {
            self.put(id, base, version, index.clone());
        }
        loading.land(loaded)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, key: &Key, version: &Version) -> Claim<'_> {
        let mut flights = self.flights();
        // What landed is put into the cache before its flight ends, so one of the two is seen.
        if let Some(index) = self.held(key, version) {
            return Claim::Held(index);
        }
        match flights.get(key) {
            Some(flight) if flight.version.same_as(version) => Claim::Wait(flight.landed.clone()),
            // Who wants another version asks alone: that happens once, when a segment was merged.
            Some(_) => Claim::Load(Loading { indexes: self, key: None, send: None }),
            None => {
                let (send, landed) = oneshot::channel();
                flights.insert(key.clone(), Flight { version: version.clone(), landed: landed.shared() });
                Claim::Load(Loading { indexes: self, key: Some(key.clone()), send: Some(send) })
            }
        }
    }

    /// Bytes held, about.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// What is to be done about an index.
enum Claim<'a> {
    Held(Arc<SparseIndex>),
    Wait(Shared<oneshot::Receiver<Loaded>>),
    Load(Loading<'a>),
}

/// The right to load an index. When it is dropped, those who wait look anew.
struct Loading<'a> {
    indexes: &'a Indexes,
    key: Option<Key>,
    send: Option<oneshot::Sender<Loaded>>,
}

impl Loading<'_> {
    /// Ends the flight and tells those who wait.
    fn land(mut self, loaded: Loaded) -> Loaded {
        let send = self.send.take();
        drop(self);
        if let Some(send) = send {
            let _ = send.send(loaded.clone());
        }
        loaded
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.indexes.flights().remove(key);
        }
    }
}
