//! Setting a broken segment aside.

use bytes::Bytes;
use object_store::PutPayload;

use super::cover::{Around, Readable, SegmentEnd, covering, end_of, is_cover};
use super::indexes::is_same;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, DEFAULT_INDEX_INTERVAL, HEADER_LEN, MAX_SEGMENT_LEN, Segment, SegmentFooter};
use crate::log::locate::{find_tail, locate};
use crate::log::partition::Partition;
use crate::log::pieces::{PIECE_BYTES, PieceReader, PieceTries, same_bytes};
use crate::log::reader::source::BlockSource;
use crate::log::writer::{bounded, covered_by};
use crate::store::{Created, Fetched, Identity, ReadRange, Version};

/// An index is never larger: 12 bytes for each batch of at least 61.
const MAX_INDEX: u64 = MAX_SEGMENT_LEN / 5;

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
    /// The last offset that is lost with it, if that is known.
    pub last_offset: Option<i64>,
    /// Whether it is the newest segment. Then a segment of empty batches takes its place and covers its offsets, so
    /// that none is given again: records at them may have been acknowledged.
    pub is_newest: bool,
    /// The last offset of the segment before it, if that one holds offsets of this segment as well. Those stay
    /// readable, and nothing takes this segment's place.
    pub covered_to: Option<i64>,
    /// Whether the bytes of the newest segment tell where it ends. If not, more is covered than it can have held.
    pub end_is_known: bool,
    /// Whether an earlier try has put the empty batches in place. Then only the objects beside them are repaired.
    pub was_begun: bool,
    /// The offset that the log's next append gets afterwards; `None` where the newest segment does not tell.
    pub next_offset: Option<i64>,
    base: i64,
    leader_epoch: i32,
    version: Version,
}

impl SetAside {
    /// The first offset that the segment before it does not hold.
    fn free_from(&self) -> i64 {
        self.covered_to.map_or(self.base, |last| last.saturating_add(1))
    }
}

impl Partition {
    /// Says what setting this segment aside will do. Writes nothing.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found; what the store answers.
    pub async fn plan_set_aside(&self, base: i64) -> Result<SetAside> {
        let partition = self.clone();
        self.state().runtime().ask(async move { partition.find_set_aside(base).await }).await
    }

    /// Copies a segment to `KEY.bad`, reads the copy back and compares it, then removes the segment,
    /// its index and its time index. In the place of the newest segment empty batches are left, which cover its
    /// offsets, but for those that the segment before it holds as well. No writer may be at work on the partition
    /// meanwhile. After an interruption a new plan goes on where it stopped.
    ///
    /// A segment of more than 16 MiB is copied in parts, as [`Store::put_stream`](crate::store::Store::put_stream) does
    /// it, in the memory that that takes. So an object of 2 GiB or more, which is no segment, can be set aside as well.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
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
        state.check_has_segments()?;
        let key = state.id.segment_key(base);
        let kept_as = format!("{key}.bad");
        let fetched = state.store().head(&key).await?;
        let tail = find_tail(state, state.store()).await?;
        let mut plan = SetAside {
            kept_as,
            size: fetched.info.size,
            first_offset: base,
            last_offset: None,
            is_newest: tail.newest.as_ref().is_none_or(|newest| newest.base <= base),
            covered_to: covered_by(state, state.store(), base, tail.log_start_mark).await?.map(|(_, last)| last),
            end_is_known: true,
            was_begun: false,
            next_offset: None,
            base,
            leader_epoch: -1,
            version: fetched.info.version,
            key,
        };
        if plan.is_newest {
            self.find_end(&mut plan).await?;
        } else {
            plan.last_offset = self.after(base).await?.map(|next| next.saturating_sub(1));
            if let Some(newest) = &tail.newest {
                plan.next_offset = self.footers_end(newest.base).await?;
            }
        }
        Ok(plan)
    }

    /// Of the newest segment: which offsets the empty batches must cover.
    async fn find_end(&self, plan: &mut SetAside) -> Result<()> {
        let (state, base) = (self.state(), plan.base);
        let mut reader = PieceReader::of_version(&plan.key, plan.version.clone(), PieceTries::UntilAnswered);
        let (first, last) = (reader.read(state, 0, HEADER_LEN).await?, reader.footer(state).await?);
        let mut readable = Readable::new(base, plan.size);
        let is_one_piece = plan.size <= PIECE_BYTES;
        // Empty batches that were put in place are few.
        let may_be_cover = is_one_piece && is_cover(&first);
        reader.each(state, |piece| readable.push(piece)).await?;
        let index = if_there(state.get(&state.id.index_key(base), ReadRange::AtMost(MAX_INDEX), None).await)?;
        let time_index = if_there(state.get(&state.id.time_index_key(base), ReadRange::AtMost(4096), None).await)?;
        let around = Around { first: &first, last: &last, index: index.as_ref(), time_index: time_index.as_ref() };
        let SegmentEnd { next, known, leader_epoch } = end_of(base, &readable, around);
        (plan.end_is_known, plan.leader_epoch) = (known, leader_epoch);
        (plan.last_offset, plan.next_offset) = (Some(next.saturating_sub(1)), Some(next.max(plan.free_from())));
        plan.was_begun = may_be_cover && if_there(state.store().head(&plan.kept_as).await)?.is_some();
        Ok(())
    }

    async fn footers_end(&self, base: i64) -> Result<Option<i64>> {
        match BlockSource::new(self.state().clone(), 0).footer(base, None).await {
            Ok((SegmentFooter { last_offset, .. }, _)) => Ok(last_offset.checked_add(1)),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The base of the segment after this one.
    async fn after(&self, base: i64) -> Result<Option<i64>> {
        locate(self.state(), base, true).await?;
        Ok(self.state().with_catalog(|catalog| catalog.around(base).1))
    }

    async fn carry_out(&self, plan: &SetAside) -> Result<()> {
        let state = self.state();
        let store = state.writes();
        if !state.live_writers().iter().all(|writer| !writer.is_live()) {
            return Err(Error::new(ErrorKind::Conflict, format!("a writer of partition {} is open", state.id))
                .with_hint("close it first"));
        }
        state.allow_writing().await?;
        if plan.was_begun {
            return self.finish_cover(plan.base).await;
        }
        self.keep(plan).await?;
        if !is_same(store, &plan.key, &plan.version).await? {
            return Err(changed(&plan.key));
        }
        let tell = |step| state.observer().set_aside(&state.id, &plan.key, step);
        tell("its bytes are kept");
        if plan.is_newest && plan.covered_to.is_none() {
            let next = plan.next_offset.unwrap_or(plan.base);
            let cover = covering(plan.base, next, plan.leader_epoch, state.now_ms(), DEFAULT_INDEX_INTERVAL)?;
            // In one step: a slot that were free for a moment could be won again.
            self.write_over(&plan.key, cover.chunks.concat().into()).await?;
            tell("empty batches took its place");
            return self.finish_cover(plan.base).await;
        }
        if plan.is_newest {
            self.cover_the_rest(plan).await?;
        }
        store.delete(&plan.key).await?;
        store.delete(&state.id.index_key(plan.base)).await?;
        store.delete(&state.id.time_index_key(plan.base)).await?;
        tell("it is removed");
        if plan.is_newest {
            state.watermarks.forget();
        }
        locate(state, plan.base, true).await
    }

    /// Keeps the segment's bytes under another name, and makes certain that they are there.
    async fn keep(&self, plan: &SetAside) -> Result<()> {
        let (state, store, tries) = (self.state(), self.state().writes(), PieceTries::AsAnyRequest);
        let mut original = PieceReader::of_version(&plan.key, plan.version.clone(), tries);
        if plan.size <= PIECE_BYTES {
            let bytes = original.read(state, 0, 1).await.map_err(|error| if_changed(error, &plan.key))?;
            let (payload, nobody) = (PutPayload::from_bytes(bytes), Identity::none());
            let kept = bounded(state.runtime(), plan.size, store.create(&plan.kept_as, payload, &nobody)).await;
            match kept.map_err(|late| late.with_key(&*plan.kept_as))? {
                // An earlier try may have made it: what is read back decides.
                Created::Yes(_) | Created::Exists => {}
                Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => {
                    return Err(error);
                }
            }
        } else if !store.exists(&plan.kept_as).await? {
            // It would replace what another one has kept since that look, but with the same bytes: no other version
            // of the segment is read.
            let pieces = original.clone().into_stream(state);
            // The time for reading comes to that for writing.
            let size = plan.size.saturating_mul(2);
            let kept = bounded(state.runtime(), size, store.put_stream(&plan.kept_as, pieces)).await;
            let kept = kept.map_err(|late| late.with_key(&*plan.kept_as))?;
            kept.map_err(|error| if_changed(error, &plan.key))?;
        }
        store.settle(&plan.kept_as).await?;
        let mut copy = PieceReader::open(state, &plan.kept_as, u64::MAX, tries).await?;
        let is_right = copy.size() == plan.size
            && same_bytes(state, (&mut original, 0), (&mut copy, 0), plan.size)
                .await
                .map_err(|error| if_changed(error, &plan.key))?;
        if !is_right {
            return Err(Error::new(ErrorKind::Conflict, "other bytes are kept under this name already")
                .with_key(&plan.kept_as)
                .with_hint("move that object away, then try again"));
        }
        Ok(())
    }

    /// The newest segment begins inside the one before it. What it holds beyond that one is covered by a segment at
    /// that one's end, for those offsets may have been acknowledged. After that it is the newest no longer.
    async fn cover_the_rest(&self, plan: &SetAside) -> Result<()> {
        let state = self.state();
        let (from, next) = (plan.free_from(), plan.next_offset.unwrap_or(plan.base));
        if next <= from {
            return Ok(());
        }
        let cover = covering(from, next, plan.leader_epoch, state.now_ms(), DEFAULT_INDEX_INTERVAL)?;
        let key = state.id.segment_key(from);
        let (payload, nobody) = (PutPayload::from_bytes(cover.chunks.concat().into()), Identity::none());
        let put = bounded(state.runtime(), cover.size, state.writes().create(&key, payload, &nobody)).await;
        match put.map_err(|late| late.with_key(&*key))? {
            Created::Yes(_) => {
                state.observer().set_aside(&state.id, &key, "empty batches cover what only it held");
                self.finish_cover(from).await
            }
            Created::Exists => Err(changed(&plan.key)),
            Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => Err(error),
        }
    }

    /// The empty batches are in place: makes right what stands beside them.
    async fn finish_cover(&self, base: i64) -> Result<()> {
        let state = self.state();
        let key = state.id.segment_key(base);
        let cover = state.get(&key, ReadRange::AtMost(PIECE_BYTES), None).await?.bytes;
        let segment = Segment::parse(&cover, CrcCheck::Verify).map_err(|malformed| malformed.into_error(&key))?;
        self.write_over(&state.id.index_key(base), segment.index(DEFAULT_INDEX_INTERVAL).encode()).await?;
        state.writes().delete(&state.id.time_index_key(base)).await?;
        // The segment's bytes are others now, and its end may be.
        state.watermarks.forget();
        locate(state, base, true).await
    }

    async fn write_over(&self, key: &str, bytes: Bytes) -> Result<()> {
        let size = bytes.len() as u64;
        let put = self.state().writes().put(key, PutPayload::from_bytes(bytes));
        bounded(self.state().runtime(), size, put).await.map_err(|late| late.with_key(key))??;
        Ok(())
    }
}

/// What is there; nothing where it is not, or is larger than it may be.
fn if_there(read: Result<Fetched>) -> Result<Option<Bytes>> {
    match read {
        Ok(fetched) => Ok(Some(fetched.bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error of a read that found another version of the object with this key.
fn if_changed(error: Error, key: &str) -> Error {
    let is_changed = error.kind() == ErrorKind::Conflict && error.key() == Some(key);
    if is_changed { changed(key) } else { error }
}

fn changed(key: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the object changed since the plan was made")
        .with_key(key)
        .with_hint("make a new plan")
}

#[cfg(test)]
mod tests;
