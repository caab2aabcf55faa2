//! Maintenance (docs/design.md, "Maintenance"): the log's start and retention as kfs-core does them, and merging by its rules,
//! as small as can be.
//!
//! It runs in a process that fails and is killed as all do. Its clock is right: ages are told by the
//! store's own last-modified.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kfs_core::format::{CrcCheck, Limits, ObjectName, PartitionId, Segment, SegmentBuilder, SparseIndex};
use kfs_core::runtime::Clock;
use kfs_core::store::{Identity, ObjectInfo, ReadRange, Replaced};
use kfs_core::testing::Prng;
use kfs_core::{Error, ErrorKind, Result, RetentionPolicy};
use object_store::{ObjectStore, PutMode, PutOptions};

use crate::host::Host;
use crate::oracle::brief;

/// How long a put may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A segment as maintenance sees it.
struct Seen {
    base: i64,
    segment: Segment,
    info: ObjectInfo,
    /// It lies wholly inside the range of one before: merging left it, or a writer that slept made it.
    inside: bool,
}

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
            1 | 2 if config.merges => self.merge().await,
            3 | 4 if config.merges => self.clear().await,
            _ if config.retains => self.retain().await,
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.note(format_args!("maintenance gives up: {}", brief(&error)));
        }
    }

    /// Makes all indexes right: the last thing when all is quiet.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        for seen in self.look().await? {
            self.make_sidecars_right(seen.base, &seen.segment).await?;
        }
        Ok(())
    }

    fn is_old(&self, info: &ObjectInfo) -> bool {
        let age = self.host.world.clock.wall_ms() - info.modified_ms;
        Duration::from_millis(u64::try_from(age).unwrap_or(0)) > self.host.world.config.grace
    }

    /// All segments, read whole.
    async fn look(&self) -> Result<Vec<Seen>> {
        let store = self.host.bucket.store();
        let (prefix, mut after, mut bases) = (self.id.prefix(), None, Vec::new());
        loop {
            let page = store.list_page(&prefix, after.as_deref(), 1000).await?;
            after = page.objects.last().map(|o| o.key.clone()).or(after);
            let names = page.objects.iter().filter_map(|o| o.key.strip_prefix(&prefix).and_then(ObjectName::parse));
            bases.extend(names.filter_map(|name| if let ObjectName::Segment(base) = name { Some(base) } else { None }));
            if page.complete {
                break;
            }
        }
        let (mut found, mut end) = (Vec::new(), i64::MIN);
        for base in bases {
            let key = self.id.segment_key(base);
            let fetched = store.get(&key, ReadRange::Whole, None).await?;
            let segment = Segment::parse(&fetched.bytes, CrcCheck::Verify).map_err(|e| e.into_error(&key))?;
            // Wholly: a merge that landed late can reach into one that was made since.
            let inside = segment.next_offset() <= end;
            end = end.max(segment.next_offset());
            found.push(Seen { base, segment, info: fetched.info, inside });
        }
        Ok(found)
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

    /// The process sleeps for longer than the bound of maintenance, in the midst of what it does next.
    fn sleep_soon(&mut self) {
        let (after, time) = (Duration::from_millis(self.prng.below(3_000)), self.prng.below(20 * 60_000));
        let (host, wire) = (self.host.clone(), self.prng.one_in(2));
        self.host.world.runtime().spawn(async move {
            host.world.sleep(after).await;
            host.suspend(Duration::from_millis(time), wire);
        });
    }

    /// Removes what merging replaced, a grace after it did.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        let seen = self.look().await?;
        let mut cover: Option<&Seen> = None;
        for seen in &seen {
            if !seen.inside {
                cover = Some(seen);
            } else if cover.is_some_and(|cover| self.is_old(&cover.info)) {
                self.remove(seen.base).await?;
            }
        }
        Ok(())
    }

    /// A segment goes first, and it is certain that it is gone; then what stands beside it.
    async fn remove(&self, base: i64) -> Result<()> {
        let store = self.host.bucket.store();
        for key in [self.id.segment_key(base), self.id.index_key(base), self.id.time_index_key(base)] {
            store.delete(&key).await?;
            match store.head(&key).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(Error::new(ErrorKind::Unavailable, "it is still there").with_key(key)),
            }
        }
        self.note(format_args!("maintenance removed {base}"));
        Ok(())
    }

    async fn merge(&mut self) -> Result<()> {
        match self.merge_segments().await? {
            Some((base, merged)) => self.make_sidecars_right(base, &merged).await,
            None => Ok(()),
        }
    }

    /// Merges some neighbours, never the newest, into the first of them; what stands beside that is as it was.
    pub(crate) async fn merge_segments(&mut self) -> Result<Option<(i64, Segment)>> {
        let seen = self.look().await?;
        let heads: Vec<&Seen> = seen.iter().filter(|s| !s.inside).collect();
        let Some((_, heads)) = heads.split_last() else { return Ok(None) };
        if heads.len() < 2 {
            return Ok(None);
        }
        let from = self.prng.below(heads.len() as u64 - 1) as usize;
        let count = 2 + self.prng.below(4) as usize;
        let run: Vec<&Seen> = heads[from..].iter().take(count).copied().collect();
        let dense = run.windows(2).all(|pair| pair[0].segment.next_offset() == pair[1].base);
        let head = run[0];
        if !dense {
            return Ok(None);
        }
        let mut builder = SegmentBuilder::new(head.base, self.host.clock.wall_ms(), 2)?;
        for batch in run.iter().flat_map(|s| s.segment.batches().map(|at| at.batch)) {
            builder.push_at_own_offset(&batch)?;
        }
        let built = builder.finish()?;
        let bytes: Bytes = built.chunks.concat().into();
        let name = format!("m{}", self.prng.next_u64());
        let key = self.id.segment_key(head.base);
        self.note(format_args!("maintenance merges {} to {}", head.base, built.last_offset));
        let (store, identity) = (self.host.bucket.store(), Identity::none().with_merged(Some(name.clone())));
        let replace = store.replace_if(&key, bytes.clone().into(), &identity, &head.info.version);
        match self.host.runtime.timeout(PATIENCE, replace).await {
            Some(Replaced::Yes(_)) => {}
            // Whatever was answered: it may have been applied. A read tells.
            failed => {
                if store.head(&key).await?.identity.kfsmerged != Some(name) {
                    let message = format!("the merge was not applied: {failed:?}");
                    return Err(Error::new(ErrorKind::Unavailable, message).with_key(key));
                }
            }
        }
        let merged = Segment::parse(&bytes, CrcCheck::Verify).map_err(|e| e.into_error(&key))?;
        Ok(Some((head.base, merged)))
    }

    /// The index, and the time index where there is one.
    async fn make_sidecars_right(&self, base: i64, segment: &Segment) -> Result<()> {
        let store = self.host.bucket.store();
        let key = self.id.index_key(base);
        let there = optional(store.get(&key, ReadRange::Whole, None).await)?;
        let interval = there.as_ref().and_then(|b| SparseIndex::parse(b).ok()).map_or(2, |index| index.interval());
        let right = segment.index(interval).encode();
        if there.as_ref() != Some(&right) {
            self.put(&key, right, PutMode::Overwrite).await?;
        }
        let key = self.id.time_index_key(base);
        let there = optional(store.get(&key, ReadRange::Whole, None).await)?;
        let right = segment.time_range(&Limits::default()).map_err(|e| e.into_error(&key))?;
        match (there, right.map(|right| right.encode())) {
            (Some(there), Some(right)) if there != right => self.put(&key, right, PutMode::Overwrite).await,
            (Some(_), None) => store.delete(&key).await,
            _ => Ok(()),
        }
    }

    /// Puts are not the store's to try again.
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let path = object_store::path::Path::from(key);
        let put = self.host.faults.put_opts(&path, bytes.into(), options);
        match self.host.runtime.timeout(PATIENCE, put).await {
            Some(Ok(_) | Err(object_store::Error::AlreadyExists { .. })) => Ok(()),
            Some(Err(error)) => Err(Error::new(ErrorKind::Unavailable, error.to_string())),
            None => Err(Error::new(ErrorKind::TimedOut, "no answer").with_key(key)),
        }
    }
}

fn optional(fetched: Result<kfs_core::store::Fetched>) -> Result<Option<Bytes>> {
    match fetched {
        Ok(fetched) => Ok(Some(fetched.bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
