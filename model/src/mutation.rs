//! Faults that are built into the protocol on purpose, one at a time. Each must be caught by a
//! property, which shows that the model has teeth (`tests/mutations.rs`).

/// A fault built into the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A stale writer tries its slot without a look.
    SkipLookBefore,
    /// A try that took longer than the bound is acked without a look.
    SkipLookAfter,
    /// The log that the second look sees going on after the own segment counts as seen.
    LookAfterCountsBeyondOwn,
    /// The read of a lost slot counts as a look at the tail.
    FollowCountsAsLook,
    /// What is read in the slot within a look is taken for what the look listed there.
    AnySegmentIsTheListed,
    /// The index is written over what is there after the bound too, without a look.
    FinishIndexUnseen,
    /// An empty partition is looked at without `log.json`, which may be another's by now.
    LookWithoutLogJson,
    /// `log.json` is not written: each writer starts where it likes.
    SkipLogJson,
    /// A segment is put whether the slot is taken or not.
    OverwriteInsteadOfCreate,
    /// A conflict is taken for an earlier try of ours.
    ConflictIsOurs,
    /// A segment of our size in the slot is taken for ours, whatever its `kfsid`.
    EqualBytesAreOurs,
    /// A try without an answer is taken for a lost slot and moved.
    MoveUnsureTry,
    /// A merged segment in the slot of a try that may have landed is taken for a loss.
    MergedIsLost,
    /// Appends of a flush that may have landed are reported as not stored.
    UnsureIsNotStored,
    /// After a flush that failed the next one is tried.
    GoOnAfterFailedFlush,
    /// A definite answer to this try is taken for an answer to all earlier ones.
    ForgetEarlierTries,
    /// A conflict counts as definite though the store's client may have sent the request twice.
    ConflictIsCertain,
    /// A failed fsync of the index reports by this try's answer alone.
    FailedIndexSyncForgets,
    /// An append is acked when its segment is in, whether its index is or not.
    AckBeforeIndex,
    /// A conflict on the index is taken for our own index.
    IndexConflictIsOurs,
    /// The loser of a slot writes its index over the winner's.
    LoserWritesIndex,
    /// Who follows another's segment leaves its index as it is.
    FollowWithoutIndex,
    /// Who opens leaves the newest segment's index as it is.
    OpenWithoutIndex,
    /// An owner that loses a slot moves on as if it held nothing.
    OwnerMovesOn,
    /// The leader epoch in the log is not looked at.
    IgnoreLeaderEpoch,
    /// An owner that yields takes its read of an empty next slot for a look at the tail.
    ProbeCountsAsLook,
    /// An owner yields between two tries of one flight, and takes whatever is in its slot for a rival's.
    YieldInFlight,
    /// A claimant takes the marker for ownership: its offsets are called final once it is written.
    MarkerIsOwnership,
    /// Retention removes segments younger than the bound.
    RetainYoung,
    /// Retention removes the newest segment too.
    RetainNewest,
    /// What merging replaced is deleted without waiting for the grace.
    DeleteReplacedAtOnce,
    /// What merging replaced is deleted from the newest down.
    DeleteReplacedFromTheNewest,
    /// Merging takes the newest segment too.
    MergeNewest,
}

impl Mutation {
    /// All mutations.
    pub const ALL: &'static [Mutation] = &[
        Mutation::SkipLookBefore,
        Mutation::SkipLookAfter,
        Mutation::LookAfterCountsBeyondOwn,
        Mutation::FollowCountsAsLook,
        Mutation::AnySegmentIsTheListed,
        Mutation::FinishIndexUnseen,
        Mutation::LookWithoutLogJson,
        Mutation::SkipLogJson,
        Mutation::OverwriteInsteadOfCreate,
        Mutation::ConflictIsOurs,
        Mutation::EqualBytesAreOurs,
        Mutation::MoveUnsureTry,
        Mutation::MergedIsLost,
        Mutation::UnsureIsNotStored,
        Mutation::GoOnAfterFailedFlush,
        Mutation::ForgetEarlierTries,
        Mutation::ConflictIsCertain,
        Mutation::FailedIndexSyncForgets,
        Mutation::AckBeforeIndex,
        Mutation::IndexConflictIsOurs,
        Mutation::LoserWritesIndex,
        Mutation::FollowWithoutIndex,
        Mutation::OpenWithoutIndex,
        Mutation::OwnerMovesOn,
        Mutation::IgnoreLeaderEpoch,
        Mutation::ProbeCountsAsLook,
        Mutation::YieldInFlight,
        Mutation::MarkerIsOwnership,
        Mutation::RetainYoung,
        Mutation::RetainNewest,
        Mutation::DeleteReplacedAtOnce,
        Mutation::DeleteReplacedFromTheNewest,
        Mutation::MergeNewest,
    ];
}
