//! The store's own time, for ages: the clocks of this machine may be wrong.

use std::time::Duration;

use object_store::PutPayload;

use crate::error::{Error, ErrorKind, Result};
use crate::log::identity::random_id;
use crate::log::retry::{Retries, patiently};
use crate::log::state::{BucketInner, PartitionState};
use crate::log::writer::bounded;
use crate::store::ObjectInfo;

/// How the names of the objects begin that are put to ask a store for its time. They stand beside the namespaces, and belong to
/// no log.
const CLOCK_PREFIX: &str = "kfs-clock-";

/// Segments that are younger are spared, and what a look showed is believed for so long: the largest bound that a writer may
/// have, and a minute more.
pub(super) const BOUND: Duration = Duration::from_secs(6 * 60);

/// So long no copy is put in the place of a log that was deleted.
pub(super) const GRACE: Duration = Duration::from_secs(24 * 3600);

/// The time by the store's clock at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreTime {
    ms: i64,
    /// When that was, by the monotonic clock.
    at: Duration,
}

impl StoreTime {
    /// Puts an object, reads when it was last modified, and deletes it.
    pub(super) async fn ask(state: &PartitionState) -> Result<Self> {
        Self::ask_of(&state.bucket, &state.retries).await
    }

    /// The same for what belongs to no partition.
    pub(super) async fn ask_of(bucket: &BucketInner, retries: &Retries) -> Result<Self> {
        let (runtime, store) = (&bucket.runtime, &bucket.reads);
        let key = format!("{CLOCK_PREFIX}{}", random_id(runtime)?);
        let put = || async { bounded(runtime, 0, store.put(&key, PutPayload::new())).await? };
        patiently(retries, runtime, "asking the store for its time", put).await?;
        let read = || store.head(&key);
        let found = patiently(retries, runtime, "asking the store for its time", read).await;
        let at = runtime.clock().elapsed();
        // What is left does no harm, so it is told and does not end the work.
        if let Err(error) = bounded(runtime, 0, store.delete(&key)).await.and_then(|deleted| deleted) {
            bucket.observer.clock_left(&key, &error);
        }
        let ms = found?.info.modified_ms;
        if ms <= 0 {
            let message = "the store does not say when an object was last modified, so no age can be told";
            return Err(Error::new(ErrorKind::Unsupported, message).with_key(key));
        }
        Ok(StoreTime { ms, at })
    }

    /// The store's time now, in Unix milliseconds. Time that this machine slept since the store was asked does not count.
    pub(super) fn now_ms(&self, elapsed: Duration) -> i64 {
        let since = i64::try_from(elapsed.saturating_sub(self.at).as_millis()).unwrap_or(i64::MAX);
        self.ms.saturating_add(since)
    }

    /// How old an object is at least. Time that this machine slept since the store was asked does not count.
    pub(super) fn age(&self, object: &ObjectInfo, elapsed: Duration) -> Duration {
        self.since(object.modified_ms, elapsed)
    }

    /// How long ago a time by the store's clock is at least, in Unix milliseconds.
    pub(super) fn since(&self, ms: i64, elapsed: Duration) -> Duration {
        let then = u64::try_from(self.ms.saturating_sub(ms)).unwrap_or(0);
        Duration::from_millis(then).saturating_add(elapsed.saturating_sub(self.at))
    }
}
