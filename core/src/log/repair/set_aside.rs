//! Setting a broken segment aside.

use object_store::PutPayload;

use super::{changed, is_same};
use crate::error::{Error, ErrorKind, Result};
use crate::format::SegmentFooter;
use crate::log::locate::{find_tail, locate};
use crate::log::partition::Partition;
use crate::log::reader::source::Source;
use crate::log::writer::bounded;
use crate::store::{Created, Identity, ReadRange, Version};

/// What [`Partition::set_aside`] will do, and what that means.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetAside {
    /// The segment's key.
    pub key: String,
    /// Where its bytes will be kept.
    pub kept_as: String,
    /// Bytes of the segment.
    pub size: u64,
    /// The first offset that goes with it.
    pub first_offset: i64,
    /// The last offset that goes with it, as far as can be told.
    pub last_offset: Option<i64>,
    /// Whether it is the newest segment. Then its offsets will be given to what is appended next,
    /// though records at them may have been acknowledged.
    pub is_newest: bool,
    /// The offset that the log's next append gets afterwards; `None` where a writer's start offset
    /// will decide, or where the newest segment does not tell.
    pub next_offset: Option<i64>,
    base: i64,
    version: Version,
}

impl Partition {
    /// Says what setting this segment aside will do. Writes nothing.
    ///
    /// # Errors
    /// Not found; what the store answers.
    pub async fn plan_set_aside(&self, base: i64) -> Result<SetAside> {
        let partition = self.clone();
        self.state().runtime().ask(async move { partition.find_set_aside(base).await }).await
    }

    /// Copies a segment to `KEY.bad`, reads the copy back and compares it, then removes the segment,
    /// its index and its time index. No writer may be at work on the partition meanwhile.
    ///
    /// # Errors
    /// Conflict when a writer is open in this process, when the segment changed since the plan was
    /// made, or when other bytes are kept under that name already; what the store answers. The segment
    /// is removed only after its copy was found right.
    pub async fn set_aside(&self, plan: &SetAside) -> Result<()> {
        let (partition, plan) = (self.clone(), plan.clone());
        self.state().runtime().run(async move { partition.carry_out(&plan).await }).await
    }

    async fn find_set_aside(&self, base: i64) -> Result<SetAside> {
        let state = self.state();
        let key = state.id.segment_key(base);
        let fetched = state.store().head(&key).await?;
        let tail = find_tail(state).await?;
        let is_newest = tail.newest.as_ref().is_none_or(|newest| newest.base <= base);
        let source = Source::new(state.clone(), 0);
        let end_of = async |base: i64| match source.footer(base, None).await {
            Ok((SegmentFooter { last_offset, .. }, _)) => Ok(last_offset.checked_add(1)),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        };
        let own_end = end_of(base).await?.filter(|end| *end > base);
        let next_base = if is_newest { None } else { self.after(base).await? };
        let next_offset = match (is_newest, tail.newest) {
            (false, Some(newest)) => end_of(newest.base).await?,
            _ => match self.before(base).await? {
                Some(before) => end_of(before).await?,
                None if tail.has_log_json => {
                    crate::log::reader::read_log_json(state).await?;
                    state.with_catalog(|c| c.start().and_then(|s| s.log_json_start)).max(tail.log_start_mark)
                }
                None => tail.log_start_mark,
            },
        };
        Ok(SetAside {
            kept_as: format!("{key}.bad"),
            key,
            size: fetched.info.size,
            first_offset: base,
            last_offset: next_base.or(own_end).map(|end| end.saturating_sub(1)),
            is_newest,
            next_offset,
            base,
            version: fetched.info.version,
        })
    }

    /// The base of the segment before this one.
    async fn before(&self, base: i64) -> Result<Option<i64>> {
        let Some(below) = base.checked_sub(1).filter(|below| *below >= 0) else { return Ok(None) };
        locate(self.state(), below, true).await?;
        Ok(self.state().with_catalog(|catalog| catalog.around(below).0))
    }

    /// The base of the segment after this one.
    async fn after(&self, base: i64) -> Result<Option<i64>> {
        locate(self.state(), base, true).await?;
        Ok(self.state().with_catalog(|catalog| catalog.around(base).1))
    }

    async fn carry_out(&self, plan: &SetAside) -> Result<()> {
        let state = self.state();
        let store = state.store();
        if !state.live_writers().iter().all(|writer| !writer.is_live()) {
            return Err(Error::new(ErrorKind::Conflict, format!("a writer of partition {} is open", state.id))
                .with_hint("close it first"));
        }
        let original = match store.get(&plan.key, ReadRange::Whole, Some(&plan.version)).await {
            Ok(fetched) => fetched.bytes,
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(changed(&plan.key)),
            Err(error) => return Err(error),
        };
        let (payload, nobody) = (PutPayload::from_bytes(original.clone()), Identity::none());
        let kept = bounded(state.runtime(), plan.size, store.create(&plan.kept_as, payload, &nobody)).await;
        match kept.map_err(|late| late.with_key(&*plan.kept_as))? {
            // An earlier try may have made it: what is read back decides.
            Created::Yes(_) | Created::Exists => {}
            Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => return Err(error),
        }
        store.settle(&plan.kept_as).await?;
        let copy = store.get(&plan.kept_as, ReadRange::Whole, None).await?;
        if copy.bytes != original {
            return Err(Error::new(ErrorKind::Conflict, "other bytes are kept under this name already")
                .with_key(&plan.kept_as)
                .with_hint("move that object away, then try again"));
        }
        if !is_same(store, &plan.key, &plan.version).await? {
            return Err(changed(&plan.key));
        }
        store.delete(&plan.key).await?;
        store.delete(&state.id.index_key(plan.base)).await?;
        store.delete(&state.id.time_index_key(plan.base)).await?;
        if plan.is_newest {
            // The high watermark goes back.
            state.marks.forget();
        }
        locate(state, plan.base, true).await
    }
}
