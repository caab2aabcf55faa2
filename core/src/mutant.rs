//! Faults put into the commit and read paths on purpose, to show that the simulation finds them:
//! `make mutants`.
//!
//! Only this project's own simulation switches the feature `mutants` on. Without it `mutant!(Name)`
//! is `false` and nothing of this is in the library, not with the feature `testing` either.

/// Whether a mutant is on, in this thread.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::Mutant::$name.is_on()
    };
}

/// This build has no mutants.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

pub(crate) use mutant;

#[cfg(not(feature = "mutants"))]
const _: () = assert!(!mutant!(AnyName), "a build without the feature has no mutants");

/// Makes the enum and the list of all.
#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A fault that can be switched on. Each says what is left out and what that breaks:
        /// the invariants are those of docs/design.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),+];
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    /// An append is acked when its segment is in, whether or not the index is: KafScale can't open such a log.
    AckBeforeIndex,
    /// Whatever is in a slot that is taken is ours: another writer's bytes are acked (invariant 3).
    TakeConflictForOurs,
    /// A segment with our bytes is ours: two writers ack one copy (invariant 3).
    TakeEqualBytesForOurs,
    /// A segment with our writer's id is ours, whatever its bytes: a copy of the process acks what is not stored
    /// (invariant 1).
    TakeEqualIdForOurs,
    /// A put without an answer has landed: acked and not kept (invariant 1).
    TakeLostReplyForSuccess,
    /// What is sent again in another slot leaves out its last batch (invariant 4).
    DropBatchesOnFailure,
    /// Segments are put without a condition: the winner of a slot is overwritten (invariant 3).
    OverwriteInsteadOfCreate,
    /// The first segment is written without `log.json`: two chains can start (invariant 3).
    SkipLogJson,
    /// Who loses the race for `log.json` starts where it wanted (invariant 3).
    DisobeyLogJson,
    /// A writer that slept tries without a look at the tail: segments in the midst of the past.
    SkipLookBefore,
    /// A try that took longer than the bound is acked without a second look (invariant 1).
    SkipLookAfter,
    /// The age of what a writer saw is told by the monotonic clock alone, which stands still while a
    /// machine sleeps.
    TrustMonotonicClock,
    /// A try without an answer is moved on without reading its slot: kept twice (invariant 2).
    MoveWithoutReading,
    /// A slot lost after the first commit does not fence: two owners write in turn.
    GoOnAfterLoss,
    /// The index of the segment that won a lost slot is not made right before it is followed.
    SkipIndexOfWinner,
    /// Opening leaves the newest segment's index as it is.
    SkipIndexAtOpen,
    /// An index that is there already is taken for that of the segment just written.
    KeepLeftoverIndex,
    /// After a flush that failed the next one is committed: what follows a failed append is acked (invariant 4).
    GoOnAfterFailedFlush,
    /// Of outcomes that are decided together only the first is told: a close ends, and appends wait for ever.
    LoseOutcomes,
    /// A writer that loses every slot never says so.
    LoseForEver,
    /// A writer that is behind goes on slot by slot, and loses each of them.
    WalkSlotBySlot,
    /// A failed append is *not stored* whatever became of its puts.
    SayNotStored,
    /// A higher leader epoch fences nobody.
    IgnoreLeaderEpoch,
    /// An owner never yields: a claim does not displace a busy one.
    NeverYield,
    /// A claimant takes the partition for its own because its marker stands there, whoever has the slot (invariant 3).
    BelieveMarker,
    /// Offsets are called final before the first commit (invariant 2).
    PromiseTooEarly,

    /// A reader starts where the index says, whatever it finds there (invariant 5).
    BelieveIndex,
    /// A batch whose last offset is the one that is asked for is passed over.
    StartOneBatchLate,
    /// What a writer has buffered is served to all who ask for what is stored.
    ServeBuffered,
    /// Log start marks are not looked at.
    IgnoreLogStartMarks,
    /// A segment that is gone is a hole, without a fresh look.
    TakeMissingForHole,
    /// Bytes are held by key, and not by version: a merged segment is not seen.
    HoldByKeyAlone,
    /// A 404 of the next key is believed for ever.
    Believe404ForEver,
    /// A segment without a batch is taken for one that ends where it begins (invariant 6).
    TakeNoBatchForTheEnd,
    /// A body that ends early is filled up with zeros (invariant 7).
    FillUpCutBody,
    /// A listing that breaks off is complete.
    TakeCutListingForWhole,
    /// A time index is believed, though it ends before its segment does (invariant 5).
    BelieveTimeIndex,
    /// The last segment that the manifest names is the newest, without a listing from there (invariant 5).
    TrustManifestTail,
    /// A search by time passes over a segment whose greatest timestamp is the one that is sought.
    SearchTooLate,

    /// Segments are removed before a mark says that the log starts above them.
    RemoveBeforeMark,
    /// Removal takes the newest segment, too, when all of it lies below the mark.
    RemoveNewest,
    /// Removal goes by the mark, wherever a segment ends.
    RemoveAcrossMark,
    /// Removal takes segments that are younger than the bound.
    RemoveYoung,
    /// What a merge replaced goes at once, while readers may need it.
    ClearAtOnce,
    /// What a merge replaced goes though the index of the merged segment is not right.
    ClearWithoutIndex,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Switches to this mutant, or to none, what runs on this thread from now on.
    pub fn switch(to: Option<Mutant>) {
        ON.set(to);
    }

    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }
}
