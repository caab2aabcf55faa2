//! One GET for all callers that want what it brings: each cache asks the store once, however many readers miss the
//! same thing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use crate::error::Result;

/// What a GET under way will answer. It is an error of the channel if its loader was dropped.
pub(super) type Landing<T> = Shared<oneshot::Receiver<Result<T>>>;

/// The GETs under way, by key. `B` says what a GET brings, and `T` is its answer.
pub(super) struct SharedGets<K, B, T>(Mutex<UnderWay<K, B, T>>);

struct UnderWay<K, B, T> {
    next: u64,
    by_key: HashMap<K, Vec<SharedGet<B, T>>>,
}

/// A GET under way.
pub(super) struct SharedGet<B, T> {
    number: u64,
    pub(super) brings: B,
    landing: Landing<T>,
}

/// What to do about something that is wanted.
pub(super) enum Claim<'a, H, K: Clone + Eq + Hash, B, T> {
    /// The cache holds it.
    Held(H),
    /// Another GET brings it. If its loader was dropped, claim again.
    Wait(Landing<T>),
    /// The caller loads it.
    Load(LoadPermit<'a, K, B, T>),
}

impl<K, B, T> Default for SharedGets<K, B, T> {
    fn default() -> Self {
        SharedGets(Mutex::new(UnderWay { next: 0, by_key: HashMap::new() }))
    }
}

impl<K, B, T> SharedGets<K, B, T> {
    fn lock(&self) -> MutexGuard<'_, UnderWay<K, B, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, B, T: Clone> SharedGets<K, B, T> {
    /// Finds what is wanted: by `held` in the cache, by `is_brought` among the GETs under way. Else the caller sends
    /// a GET, which brings what `begin` says, given the other GETs under way.
    ///
    /// A loader puts its answer into the cache before its GET ends here, so one of the two is always seen.
    pub(super) fn claim<H>(
        &self,
        key: K,
        held: impl FnOnce() -> Option<H>,
        is_brought: impl Fn(&B) -> bool,
        begin: impl FnOnce(&[SharedGet<B, T>]) -> B,
    ) -> Claim<'_, H, K, B, T> {
        let mut under_way = self.lock();
        if let Some(held) = held() {
            return Claim::Held(held);
        }
        let number = under_way.next;
        under_way.next = number.wrapping_add(1);
        let gets = under_way.by_key.entry(key.clone()).or_default();
        if let Some(get) = gets.iter().find(|get| is_brought(&get.brings)) {
            return Claim::Wait(get.landing.clone());
        }
        let brings = begin(gets);
        let (send, landing) = oneshot::channel();
        gets.push(SharedGet { number, brings, landing: landing.shared() });
        Claim::Load(LoadPermit { gets: self, key, number, send: Some(send) })
    }
}

/// The permit to load what others wait for. When it is dropped, one of the callers that wait loads it.
pub(super) struct LoadPermit<'a, K: Clone + Eq + Hash, B, T> {
    gets: &'a SharedGets<K, B, T>,
    key: K,
    number: u64,
    send: Option<oneshot::Sender<Result<T>>>,
}

impl<K: Clone + Eq + Hash, B, T: Clone> LoadPermit<'_, K, B, T> {
    /// The GET has ended: all callers that wait for it get its answer, and later ones ask again.
    pub(super) fn land(mut self, loaded: Result<T>) -> Result<T> {
        let send = self.send.take();
        drop(self);
        if let Some(send) = send {
            let _ = send.send(loaded.clone());
        }
        loaded
    }
}

impl<K: Clone + Eq + Hash, B, T> Drop for LoadPermit<'_, K, B, T> {
    fn drop(&mut self) {
        let mut under_way = self.gets.lock();
        if let Some(gets) = under_way.by_key.get_mut(&self.key) {
            gets.retain(|get| get.number != self.number);
            if gets.is_empty() {
                under_way.by_key.remove(&self.key);
            }
        }
    }
}
