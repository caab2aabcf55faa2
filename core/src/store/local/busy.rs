//! One write of a key at a time. A try that hangs in the disk holds one thread: the tries that follow wait
//! for it without one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The keys that are written now, or waited for.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>);

/// The right to write a key, until it is dropped.
pub(super) struct Turn {
    busy: Busy,
    key: String,
    /// Until it is dropped.
    held: Option<OwnedMutexGuard<()>>,
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody writes the key.
    pub(super) async fn turn(&self, key: &str) -> Turn {
        let gate = self.lock().entry(key.to_string()).or_default().clone();
        // Made before the wait: dropping the future must forget the key as well.
        let mut turn = Turn { busy: self.clone(), key: key.to_string(), held: None };
        turn.held = Some(gate.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut keys = self.busy.lock();
        // Nobody else has or waits for it.
        if keys.get(&self.key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            keys.remove(&self.key);
        }
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Busy({} keys)", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_key_is_written_by_one_at_a_time_and_forgotten_after_the_last() {
        let busy = Busy::default();
        let first = busy.turn("a").now_or_never().unwrap();
        assert!(busy.turn("a").now_or_never().is_none());
        drop(busy.turn("b").now_or_never().unwrap());
        assert_eq!(busy.lock().len(), 1, "what was given up is forgotten");
        let mut waits = Box::pin(busy.turn("a"));
        assert!((&mut waits).now_or_never().is_none());
        drop(first);
        drop(waits.now_or_never().unwrap());
        assert!(busy.lock().is_empty());
    }
}
