//! A second place to read data from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use object_store::ObjectStore;
#[cfg(any(feature = "aws", feature = "azure"))]
use object_store::list::PaginatedListStore;
use tokio::sync::Semaphore;

use super::StoreReader;
#[cfg(any(feature = "aws", feature = "azure"))]
use super::config::{Settings, common};
use super::list::Lister;
#[cfg(any(feature = "aws", feature = "azure"))]
use super::options::StoreOptions;
use super::reads::ReadFrom;
#[cfg(any(feature = "aws", feature = "azure"))]
use super::setting_names::place;
use super::types::{Fetched, ReadRange};
use super::version::Version;
use crate::error::{Error, ErrorKind};
use crate::recorder::ReplicaOutcome;

/// After this many failures in a row the replica is not asked for a while.
const FAILURES: u32 = 3;
/// How long it is not asked then. After that one read asks it again.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// How long it is not asked after it gave broken bytes. Those of one version do not mend by themselves.
const DISTRUST: Duration = Duration::from_secs(3600);
/// What is said of settings that name no second place.
#[cfg(any(feature = "aws", feature = "azure"))]
pub(super) const ITSELF: &str = "names the bucket itself, which is no replica";
#[cfg(any(feature = "aws", feature = "azure"))]
pub(super) const NO_REPLICA: &str = "leave the settings of the replica out, or name another bucket, region or server";
/// A warning says no more often than this that it is of no use.
const WARN_EVERY: Duration = Duration::from_secs(3600);
/// How long a read waits for it, unless the settings say otherwise.
#[cfg(any(test, feature = "testing"))]
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// A copy of a place, which may lag behind it or be away. It answers reads of data, and nothing else.
pub(super) struct Replica {
    /// Where it is, for messages.
    pub(super) place: String,
    pub(super) client: Arc<dyn ObjectStore>,
    /// For checks of it.
    pub(super) lister: Lister,
    /// How long a read waits for it.
    wait: Duration,
    /// Its own places: a replica that hangs takes none of the bucket's.
    places: Semaphore,
    state: Mutex<ReplicaState>,
}

/// How it has answered of late.
#[derive(Debug, Default)]
struct ReplicaState {
    /// In a row.
    failures: u32,
    /// It is not asked before this time.
    paused_until: Option<Duration>,
    /// When a warning last said that it is of no use.
    warned: Option<Duration>,
}

impl Replica {
    #[cfg(any(test, feature = "testing", feature = "aws", feature = "azure"))]
    pub(super) fn new(
        place: String,
        client: Arc<dyn ObjectStore>,
        lister: Lister,
        wait: Duration,
        most: usize,
    ) -> Self {
        let places = Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS));
        Replica { place, client, lister, wait, places, state: Mutex::default() }
    }

    /// One that the settings of a bucket name, and that is where these other settings say.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub(super) fn of<C>(client: Arc<C>, elsewhere: &Settings, options: &StoreOptions) -> Self
    where
        C: ObjectStore + PaginatedListStore,
    {
        let wait = elsewhere.time(&common::REPLICA_WAIT).unwrap_or_default();
        let place = format!("the replica ({})", place(elsewhere));
        Replica::new(place, client.clone(), Lister::Pages(client), wait, options.max_in_flight)
    }

    fn lock(&self) -> MutexGuard<'_, ReplicaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to ask it now. At the end of a pause one caller is told to, and the others wait for what it finds.
    fn is_to_be_asked(&self, now: Duration) -> bool {
        let mut state = self.lock();
        match state.paused_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.paused_until = Some(now.saturating_add(PAUSE));
                true
            }
            None => true,
        }
    }

    /// It answered. Tells whether that ends a pause.
    fn answered(&self) -> bool {
        let mut state = self.lock();
        state.failures = 0;
        state.paused_until.take().is_some()
    }

    /// Whether a failure is to be told as a warning: once an hour.
    fn warns(&self, now: Duration) -> bool {
        let mut state = self.lock();
        let is_due = state.warned.is_none_or(|warned| now.saturating_sub(warned) >= WARN_EVERY);
        if is_due {
            state.warned = Some(now);
        }
        is_due
    }

    /// It failed. Tells whether a pause begins with that.
    fn failed(&self, now: Duration) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let pauses = state.failures >= FAILURES;
        let begins = pauses && state.paused_until.is_none();
        if pauses {
            state.paused_until = Some(now.saturating_add(PAUSE));
        }
        begins
    }
}

impl StoreReader {
    /// Whether reads of data may be answered by a replica.
    pub(crate) fn has_replica(&self) -> bool {
        self.inner.client.replica.is_some()
    }

    /// Bytes of data were broken. Where a replica may have given them, it is not asked for an hour, so that the store itself
    /// is. `false` where there is no replica.
    pub(crate) fn distrust_replica(&self, broken: &Error) -> bool {
        let Some(replica) = &self.inner.client.replica else { return false };
        let now = self.observer.clock().elapsed();
        let until = now.saturating_add(DISTRUST);
        let begins = replica.lock().paused_until.replace(until).is_none_or(|before| before < until);
        if begins {
            if replica.warns(now) {
                self.observer.replica_fails(ReplicaOutcome::Failed, Some(broken));
            }
            self.observer.replica_paused(DISTRUST, ReplicaOutcome::Failed, Some(broken));
        }
        true
    }

    /// What the replica has, if it has what is asked for and says so in time. `None` if the store itself is to be asked.
    pub(super) async fn read_from_replica(
        &self,
        replica: &Replica,
        key: &str,
        range: &ReadRange,
        if_match: Option<&Version>,
    ) -> Option<Fetched> {
        let clock = self.observer.clock();
        // Where it is not asked, nothing is learned of it either.
        let place = match replica.is_to_be_asked(clock.elapsed()) {
            true => replica.places.try_acquire().ok(),
            false => None,
        };
        let Some(_place) = place else {
            self.observer.replica_read(key, ReplicaOutcome::NotAsked, None);
            return None;
        };
        let from = ReadFrom { client: replica.client.as_ref(), breaker: None, is_replica: true };
        let read = std::pin::pin!(self.read_placed(from, key, range.clone(), if_match));
        let read = match select(read, clock.sleep(replica.wait)).await {
            Either::Left((read, _)) => Some(read),
            Either::Right(_) => None,
        };
        let (outcome, error) = match &read {
            Some(Ok(_)) => (ReplicaOutcome::Answered, None),
            Some(Err(error)) => match error.kind() {
                ErrorKind::NotFound => (ReplicaOutcome::Missing, Some(error)),
                ErrorKind::Conflict => (ReplicaOutcome::OtherVersion, Some(error)),
                _ => (ReplicaOutcome::Failed, Some(error)),
            },
            None => (ReplicaOutcome::TimedOut, None),
        };
        self.observer.replica_read(key, outcome, error);
        match outcome {
            // A replica that lags has answered.
            ReplicaOutcome::Answered | ReplicaOutcome::Missing => {
                if replica.answered() {
                    self.observer.replica_answers_again();
                }
            }
            // One whose versions are all others is of no use either.
            _ => {
                if replica.warns(clock.elapsed()) {
                    self.observer.replica_fails(outcome, error);
                }
                if replica.failed(clock.elapsed()) {
                    self.observer.replica_paused(PAUSE, outcome, error);
                }
            }
        }
        read.and_then(Result::ok)
    }
}
