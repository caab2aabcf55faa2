//! Maintenance (docs/design.md, "Maintenance"), as kfs-core does it.
//!
//! It runs in a process that fails and is killed as all do.

use std::sync::Arc;
use std::time::Duration;

use kfs_core::format::PartitionId;
use kfs_core::testing::Prng;
use kfs_core::{Error, ErrorKind, MergePolicy, Result, RetentionPolicy};

use crate::config::pick;
use crate::host::Host;
use crate::oracle::brief;

/// Maintains the partition.
pub(crate) struct Maintainer {
    host: Arc<Host>,
    prng: Prng,
    id: PartitionId,
}

impl Maintainer {
    /// In a process.
    pub(crate) fn new(host: Arc<Host>, prng: Prng) -> Self {
        let id = host.id();
        Maintainer { host, prng, id }
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.host.world.note(format_args!("p{} {line}", self.host.number));
    }

    /// One round: one thing is done, or tried.
    pub(crate) async fn round(&mut self) {
        let config = &self.host.world.config;
        let done = match self.prng.below(5) {
            1..=4 if config.merges => {
                match self.prng.below(6) {
                    0 => self.die_soon(),
                    1 => self.host.die_merging(),
                    _ => {}
                }
                self.merge().await
            }
            _ if config.retains => self.retain().await,
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.note(format_args!("maintenance gives up: {}", brief(&error)));
        }
    }

    /// Moves the log's start, to an offset or by the limits of a policy, as kfs-core does it.
    async fn retain(&mut self) -> Result<()> {
        let partition = self.host.bucket.partition_of(self.id.clone());
        let (any, choice) = (self.prng.next_u64(), self.prng.below(4));
        if self.host.world.config.drowsy && self.prng.one_in(2) {
            self.sleep_soon();
        }
        let retained = async {
            let plan = match choice {
                0 => {
                    let range = partition.refresh().await?;
                    // Seldom all of it: the readers are to find something.
                    let half = u64::try_from(range.high_watermark - range.log_start).unwrap_or(0) / 2;
                    let some = range.log_start + (any % (half + 1)) as i64;
                    partition.plan_log_start(if any.is_multiple_of(5) { -1 } else { some }).await?
                }
                1 => partition.plan_retention(&RetentionPolicy::default().max_bytes(any % 20_000)).await?,
                _ => {
                    let age = self.host.world.config.grace + Duration::from_millis(any % 3_600_000);
                    partition.plan_retention(&RetentionPolicy::default().max_age(age)).await?
                }
            };
            self.note(format_args!("maintenance: {plan}"));
            let report = partition.set_log_start(&plan).await?;
            self.note(format_args!("maintenance: {report}"));
            Ok(())
        };
        let late = || Err(Error::new(ErrorKind::TimedOut, "retention takes for ever"));
        self.host.runtime.timeout(Duration::from_secs(3_600), retained).await.unwrap_or_else(late)
    }

    /// The process is killed in the midst of what it does next.
    fn die_soon(&mut self) {
        let (after, host) = (Duration::from_millis(self.prng.below(2_000)), self.host.clone());
        self.host.world.runtime().spawn(async move {
            host.world.sleep(after).await;
            host.kill();
        });
    }

    /// The process sleeps for longer than the bound of maintenance, in the midst of what it does next.
    fn sleep_soon(&mut self) {
        let (after, time) = (Duration::from_millis(self.prng.below(3_000)), self.prng.below(20 * 60_000));
        let (host, wire) = (self.host.clone(), self.prng.one_in(2));
        self.host.world.runtime().spawn(async move {
            host.world.sleep(after).await;
            host.suspend(Duration::from_millis(time), wire);
        });
    }

    /// Merges until the process is killed, soon.
    pub(crate) async fn merge_and_die(mut self) {
        let (host, longest) = (self.host.clone(), Duration::from_millis(self.prng.below(2_000)));
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        if self.prng.one_in(2) {
            host.die_merging();
        }
        host.runtime.spawn(async move {
            let _ended = self.merge().await;
            drop(done);
        });
        let _ended = host.world.runtime().timeout(longest, ended).await;
        host.kill();
    }

    /// Merges small segments, and removes what earlier merges left.
    pub(crate) async fn merge(&mut self) -> Result<()> {
        let partition = self.host.bucket.partition_of(self.id.clone());
        let policy = MergePolicy::default()
            .target_size(pick(&mut self.prng, &[4 << 10, 16 << 10, 1 << 20]))
            .min_size(0)
            .grace(self.host.world.config.grace)
            .time_index(!self.prng.one_in(3))
            .index_interval(1 + self.prng.below(3) as i32);
        let merged = async {
            let plan = partition.plan_merge(&policy).await?;
            self.note(format_args!("maintenance: {plan}"));
            let report = partition.merge(&plan).await?;
            self.note(format_args!("maintenance: {report}"));
            match report.broken.into_iter().next() {
                Some(broken) => Err(broken),
                None => Ok(()),
            }
        };
        let late = || Err(Error::new(ErrorKind::TimedOut, "merging takes for ever"));
        self.host.runtime.timeout(Duration::from_secs(3_600), merged).await.unwrap_or_else(late)
    }
}
