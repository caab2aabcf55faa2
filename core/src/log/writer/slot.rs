//! One flight: a built segment on its way into one slot, over as many tries as it takes (docs/design.md, "States").

use object_store::PutPayload;

use super::chain::{Chain, Committed, Previous};
use super::env::{Env, is_hopeless, not_created};
use super::hedge;
use super::outcome::{SlotEnd, Stop, if_there};
use super::winner::Winner;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{BuiltSegment, FOOTER_LEN, MAX_SEGMENT_LEN};
use crate::log::seen::Seen;
use crate::mutant::mutant;
use crate::store::{Created, Fetched, Identity, ReadRange, Store, SyncFailure, Version, may_pass};

/// Refusals of the index in a row before the writer is poisoned: its segment is in.
const MOST_INDEX_REFUSALS: u32 = 8;

/// The requests of one try.
const SEGMENT_AND_INDEX: u32 = 2;

pub(super) struct Flight {
    built: BuiltSegment,
    pub(super) slot: i64,
    key: String,
    identity: Identity,
    /// When the first try was sent.
    pub(super) first_try: Option<Seen>,
    /// A try was sent whose outcome is not known: the slot must be read before anything is said.
    pub(super) may_have_landed: bool,
    pub(super) segment: Option<Version>,
    index_done: bool,
}

/// What is in the slot.
enum SlotContent {
    Ours(Version),
    Absent,
    Merged,
    /// Our bytes without an identity. Whether this writer stored them is unknown.
    Unknown,
    Other(Box<Winner>),
}

impl Flight {
    pub(super) fn new(chain: &Chain, env: &Env<'_>, built: BuiltSegment) -> Self {
        let kfsid = format!("{}.{}", chain.writer_id, chain.flush_number);
        let identity = Identity::of(kfsid).with_name(env.options.name.clone());
        Flight {
            built,
            slot: chain.next,
            key: env.id().segment_key(chain.next),
            identity,
            first_try: None,
            may_have_landed: false,
            segment: None,
            index_done: false,
        }
    }

    /// Flies until the slot is won or lost.
    ///
    /// # Errors
    /// What ends the flush, with what is known of the bytes.
    pub(super) async fn win(mut self, chain: &mut Chain, env: &Env<'_>) -> Result<SlotEnd, Stop> {
        let end = self.fly(chain, env).await;
        let stored = if self.may_have_landed { Stored::Perhaps } else { Stored::Not };
        end.map_err(|stop| stop.or_stored(stored))
    }

    /// The protocol of one slot (docs/design.md, "States"). What an error says of the bytes is what `may_have_landed`
    /// says when it ends this.
    async fn fly(&mut self, chain: &mut Chain, env: &Env<'_>) -> Result<SlotEnd, Stop> {
        let mut retry = env.retry("writing a segment");
        let mut sent = env.now();
        // LOOKING, PUTTING, INSPECTING: tries, until one of them turns out to have won the slot.
        let version = loop {
            if let Some(version) = &self.segment {
                break version.clone();
            }
            // Invariant 2: a slot in the middle of the past must not be won by a writer that slept.
            if env.is_stale(chain.seen) {
                if let Some(gone) = Box::pin(self.look_before(chain, env)).await? {
                    return Ok(SlotEnd::Gone(gone));
                }
                // The look may have taken long: the clocks are read again just before the request.
                continue;
            }
            // A writer that commits all the time never has to look, and its last segment says nothing of what came
            // before its own.
            if (env.is_stale(chain.confirmed) || env.store().is_directory())
                && let Some(gone) = Box::pin(self.confirm_log(chain, env)).await?
            {
                return Ok(SlotEnd::Gone(gone));
            }
            // The places come before the clock is read: a request that waits for its turn is not sent yet.
            let places = env.hold(SEGMENT_AND_INDEX).await?;
            // The wait for a place may have taken long, too.
            if env.is_stale(chain.seen) {
                continue;
            }
            // From this moment on the tail counts as seen if the slot is won: it was free after this.
            sent = env.now();
            let was_unsure = self.may_have_landed;
            chain.tries += 1;
            let created = self.put(env, places.store(), chain.seen).await?;
            drop(places);
            match &created {
                // The slot was free, and is ours.
                Created::Yes(version) => self.segment = Some(version.clone()),
                // A segment is in the slot. Only reading it tells whose.
                Created::Exists => {
                    // A client that tries again by itself may have met its own first try.
                    self.may_have_landed = was_unsure || !env.store().sends_once();
                    if let Some(winner) = Box::pin(self.read_winner(env)).await? {
                        return Ok(SlotEnd::Lost(winner));
                    }
                    // An earlier try won, and others may have followed it before this one was sent.
                    sent = self.first_try.unwrap_or(sent);
                }
                // No try can succeed. This one changed nothing, so the bytes are where they were before it.
                Created::Refused(error) if is_hopeless(error) => {
                    self.may_have_landed = was_unsure;
                    return Err(error.clone().into());
                }
                // This try changed nothing, and the next may succeed.
                Created::Refused(_) => self.may_have_landed = was_unsure,
                // The reply was lost. The next try finds the slot taken if this one landed.
                Created::Unknown(_) => self.lost_reply(),
                // The kernel reports a lost write once, so no later try could be believed.
                Created::SyncFailed { visible, error } => {
                    self.may_have_landed = was_unsure || *visible;
                    return Err(error.clone().into());
                }
            }
            if self.segment.is_none() {
                let error = not_created(created, &self.key);
                env.again(&mut retry, error).await?;
            }
        };
        retry.done();
        // INDEXING. The index of a segment that is not in its place must not be written over, so a writer that slept
        // looks first.
        if !self.index_done && env.is_stale(chain.seen) {
            Box::pin(self.look_after(chain, env, &version)).await?;
        }
        Box::pin(self.finish_index(env)).await?;
        self.put_time_index(env).await?;
        // CONFIRMING. Invariant 1: the log may have been deleted or retained while the request was on its way.
        if env.is_stale(chain.seen) {
            sent = Box::pin(self.look_after(chain, env, &version)).await?;
        }
        // In a directory that costs next to nothing, so what is acked is in this log.
        if env.store().is_directory()
            && let Some(gone) = Box::pin(self.confirm_log(chain, env)).await?
        {
            return Ok(SlotEnd::Gone(gone));
        }
        // DURABLE.
        Ok(SlotEnd::Won(self.committed(chain, env, version, sent)))
    }

    /// The reply to a try was lost: nothing is known. Only the mutant takes that for a success.
    fn lost_reply(&mut self) {
        if mutant!(TakeLostReplyForSuccess) {
            self.segment = Some(Version::new(None, self.built.size, None));
        }
    }

    /// The slot is taken. Reads by whom. Only the mutant takes it for another's unread.
    async fn read_winner(&mut self, env: &Env<'_>) -> Result<Option<Box<Winner>>, Stop> {
        if mutant!(MoveWithoutReading) {
            return Ok(Some(Box::new(Winner::merged(&self.key))));
        }
        Box::pin(self.inspect(env)).await
    }

    fn committed(&self, chain: &mut Chain, env: &Env<'_>, version: Version, sent: Seen) -> Committed {
        let end = self.built.last_offset.saturating_add(1);
        let previous = chain.previous.take().map(|p| p.base);
        let leader_epoch = env.options.leader_epoch.unwrap_or(-1);
        chain.previous = Some(Previous { base: self.slot, version: version.clone(), leader_epoch });
        chain.next = end;
        chain.seen = sent;
        Committed { base: self.slot, end, size: self.built.size, version, previous }
    }

    /// Sends segment and index together; the answer is the segment's.
    async fn put(&mut self, env: &Env<'_>, store: &Store, seen: Seen) -> Result<Created, Stop> {
        env.state.bucket.fork.check_process()?;
        self.first_try.get_or_insert_with(|| env.now());
        let was_unsure = self.begin_try();
        let payload: PutPayload = self.built.chunks.iter().cloned().collect();
        // Invariant 2 holds for a create that is sent a second time, too.
        let may_send = || !env.is_stale(seen);
        let segment = hedge::create(env, store, (&self.key, payload, &self.identity), may_send);
        let segment = env.bounded(self.built.size, segment);
        let index = self.put_index(env, store, may_send);
        let (segment, index) = futures_util::future::join(segment, index).await;
        match index? {
            Ok(Created::Yes(_)) => self.index_done = true,
            Ok(Created::Exists) if keeps_leftover_index() => self.index_done = true,
            Ok(Created::SyncFailed { error, .. }) => {
                // A failed fsync poisons the writer, whichever file it was.
                let no_news = matches!(segment, Ok(Ok(Created::Exists | Created::Refused(_))));
                self.may_have_landed = was_unsure || !no_news;
                return Err(error.into());
            }
            // There already (a leftover, or another writer's), refused, or unknown: written over when the slot is ours.
            _ => {}
        }
        Ok(match segment? {
            Ok(created) => created,
            Err(timed_out) => Created::Unknown(timed_out),
        })
    }

    /// Until its reply comes a try may have landed. Returns whether an earlier one may have.
    fn begin_try(&mut self) -> bool {
        std::mem::replace(&mut self.may_have_landed, !mutant!(SayNotStored))
    }

    async fn put_index(
        &self,
        env: &Env<'_>,
        store: &Store,
        may_send: impl Fn() -> bool,
    ) -> Result<Result<Created>, Stop> {
        if self.index_done {
            return Ok(Ok(Created::Exists));
        }
        let key = env.id().index_key(self.slot);
        let payload = PutPayload::from_bytes(self.built.index.clone());
        let identity = Identity::default();
        let create = hedge::create(env, store, (&key, payload, &identity), may_send);
        env.bounded(self.built.index.len() as u64, create).await
    }

    /// Once the slot is ours, so that a loser leaves none beside the winner's segment. Best effort: readers
    /// do without it. But a failed fsync poisons the writer, whichever file it was.
    async fn put_time_index(&self, env: &Env<'_>) -> Result<(), Stop> {
        let Some(time_index) = &self.built.time_index else { return Ok(()) };
        let key = env.id().time_index_key(self.slot);
        let payload = PutPayload::from_bytes(time_index.encode());
        let created = env.bounded(0, env.store().create(&key, payload.clone(), &Identity::default())).await;
        let failed = match created {
            // A leftover of another segment; create-only first, for a late one must not replace a merged segment's.
            Ok(Ok(Created::Exists)) => match env.bounded(0, env.store().put(&key, payload)).await {
                Ok(Ok(Err(error))) if SyncFailure::of(&error).is_some() => error,
                _ => return Ok(()),
            },
            Ok(Ok(Created::SyncFailed { error, .. })) => error,
            _ => return Ok(()),
        };
        Err(Stop::from(failed).or_stored(Stored::Perhaps))
    }

    /// Reads whose segment is in the slot. `Some` is another writer's; with `None` it is ours, or the slot is empty after
    /// all. The object's last bytes and its metadata tell, unless it may be ours: then all bytes count.
    pub(super) async fn inspect(&mut self, env: &Env<'_>) -> Result<Option<Box<Winner>>, Stop> {
        let mut read = self.read(env, ReadRange::Suffix(FOOTER_LEN as u64)).await?;
        if read.as_ref().is_some_and(|end| self.may_be_ours(end)) {
            read = self.read(env, ReadRange::AtMost(MAX_SEGMENT_LEN)).await?;
        }
        let held = match read {
            Some(fetched) => self.identify(env, fetched)?,
            None => SlotContent::Absent,
        };
        match held {
            SlotContent::Ours(version) => {
                env.control.unless_aborted(env.store().settle(&self.key)).await??;
                self.segment = Some(version);
                Ok(None)
            }
            SlotContent::Absent => {
                // The answer was a conflict and nothing is there: it can have been an earlier try's own
                // landing in progress, so nothing is certain.
                self.may_have_landed = true;
                Ok(None)
            }
            SlotContent::Unknown => {
                Err(self.unknown("the slot holds our bytes, but the store keeps no metadata that says whose they are"))
            }
            SlotContent::Merged if self.may_have_landed => {
                Err(self.unknown("the slot was merged before it was known whether ours was in it"))
            }
            SlotContent::Other(_) if self.may_have_landed => {
                Err(self.unknown("the slot holds another segment now, and ours may have been there before"))
            }
            SlotContent::Merged => Ok(Some(Box::new(Winner::merged(&self.key)))),
            SlotContent::Other(winner) => Ok(Some(winner)),
        }
    }

    /// What is in the slot; `None` if there is nothing.
    async fn read(&self, env: &Env<'_>, range: ReadRange) -> Result<Option<Fetched>, Stop> {
        if_there(env.patiently("reading the slot", || env.store().get(&self.key, range.clone(), None)).await)
    }

    fn may_be_ours(&self, end: &Fetched) -> bool {
        let Identity { kfsid, kfsmerged, .. } = &end.identity;
        let unnamed = kfsid.is_none() && kfsmerged.is_none();
        let our_size = end.info.size == self.built.size;
        *kfsid == self.identity.kfsid || (our_size && (unnamed || takes_equal_bytes_for_ours()))
    }

    fn identify(&mut self, env: &Env<'_>, fetched: Fetched) -> Result<SlotContent, Stop> {
        let has_our_bytes = self.has_bytes(&fetched.bytes);
        let has_our_id = fetched.identity.kfsid == self.identity.kfsid;
        if (has_our_id && has_our_bytes) || mistaken_for_ours(has_our_id, has_our_bytes) {
            return Ok(SlotContent::Ours(fetched.info.version));
        }
        if has_our_id {
            // A copy of this process (a VM snapshot, CRIU, a fork) has the same id, and other bytes.
            return Err(
                self.unknown("the slot holds other bytes under this writer's id: a copy of this process writes")
            );
        }
        if fetched.identity.kfsmerged.is_some() {
            return Ok(SlotContent::Merged);
        }
        if fetched.identity.kfsid.is_none() && has_our_bytes {
            return Ok(SlotContent::Unknown);
        }
        // A slot is won once: ours is not there and can't be, unless so much time has passed that it may have been
        // removed and won again.
        self.may_have_landed &= self.first_try.is_none_or(|first| env.is_stale(first));
        Ok(SlotContent::Other(Box::new(Winner::of(&self.key, fetched)?)))
    }

    fn has_bytes(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.built.chunks.iter().all(|chunk| match rest.split_at_checked(chunk.len()) {
            Some((head, tail)) => {
                rest = tail;
                head == &chunk[..]
            }
            None => false,
        }) && rest.is_empty()
    }

    /// The segment is in: its index must be, before it is acked.
    async fn finish_index(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        if mutant!(AckBeforeIndex) {
            return Ok(());
        }
        self.may_have_landed = true;
        let key = env.id().index_key(self.slot);
        let (mut refused, mut retry) = (0_u32, env.retry("writing an index"));
        while !self.index_done {
            let payload = PutPayload::from_bytes(self.built.index.clone());
            let written = env.bounded(self.built.index.len() as u64, env.store().put(&key, payload)).await;
            let error = match written? {
                Ok(Ok(_)) => {
                    self.index_done = true;
                    continue;
                }
                Ok(Err(error)) | Err(error) => error,
            };
            // The kernel reports a lost write once: a later fsync that succeeds proves nothing.
            if SyncFailure::of(&error).is_some() {
                return Err(error.into());
            }
            if !may_pass(&error) {
                refused += 1;
                if refused >= MOST_INDEX_REFUSALS || is_hopeless(&error) {
                    let error = error.with_hint(
                        "the segment is in the log, its index could not be written; opening a writer repairs it",
                    );
                    return Err(error.into());
                }
            }
            env.again(&mut retry, error).await?;
        }
        retry.done();
        Ok(())
    }

    /// It is unknown whether the bytes are in the log.
    fn unknown(&self, why: &str) -> Stop {
        Stop::from(Error::new(ErrorKind::Fenced, why).with_key(&*self.key)).or_stored(Stored::Perhaps)
    }
}

/// `true` only as the mutant.
fn keeps_leftover_index() -> bool {
    mutant!(KeepLeftoverIndex)
}

/// `true` only as the mutant.
fn takes_equal_bytes_for_ours() -> bool {
    mutant!(TakeEqualBytesForOurs)
}

/// `true` only as one of the mutants that take another writer's segment for ours.
fn mistaken_for_ours(has_our_id: bool, has_our_bytes: bool) -> bool {
    let by_id = mutant!(TakeEqualIdForOurs);
    let by_conflict = mutant!(TakeConflictForOurs);
    by_conflict || (has_our_bytes && takes_equal_bytes_for_ours()) || (has_our_id && by_id)
}
