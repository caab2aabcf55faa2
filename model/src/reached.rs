//! What a run came by, so that its properties are known not to hold for want of anything happening.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Something that a run should come by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[$doc])* $name,)*
        }

        impl Event {
            /// All events.
            pub const ALL: &'static [Event] = &[$(Event::$name,)*];

            /// Its name as a property.
            pub fn name(self) -> &'static str {
                match self {
                    $(Event::$name => $text,)*
                }
            }

            /// Whether a model has reached it. A property takes no closure, so each event has a function of its own.
            pub(crate) fn condition<M: AsRef<Reached>, S>(self) -> fn(&M, &S) -> bool {
                match self {
                    $(Event::$name => |model, _| model.as_ref().times(Event::$name) > 0,)*
                }
            }
        }
    };
}

events! {
    /// The try before the one that won had no answer.
    AckedAfterLostReply => "an ack after a lost reply",
    /// A conflict, and the slot holds ours.
    OursByConflict => "a conflict with our own earlier try",
    /// The look before a try shows our own segment alone at the end.
    OursByLook => "our own earlier try found by the look",
    /// A conflict, and the slot is empty.
    ConflictKeptNothing => "a conflict that kept nothing",
    /// A first commit while another owner believes that it holds the partition.
    TookOver => "a takeover from a live owner",
    /// A slot lost, and followed.
    Followed => "a lost slot, followed",
    /// Lost again, and found the tail by a listing.
    Jumped => "a jump to the tail after a second loss",
    /// An owner lost its next slot.
    FencedAfterCommit => "an owner fenced by a lost slot",
    /// `Fence` lost a slot.
    FencedAtFirstLoss => "fenced at the first loss",
    /// Fenced by a look.
    FencedByLook => "fenced by a look",
    /// Fenced by a leader epoch.
    FencedByEpoch => "fenced by a higher leader epoch",
    /// An owner saw a claim and yielded.
    Yielded => "an owner that yields to a claim",
    /// An owner that yielded found its next slot taken.
    FencedWhileYielding => "an owner fenced by the slot that it left to a claim",
    /// An owner that yielded found its next slot empty, and went on.
    WentOnAfterYielding => "an owner that goes on because no claim came",
    /// A writer that lost slots wrote a claim.
    LossesForgiven => "losses that a claim forgives",
    /// Lost too often.
    Contended => "contended",
    /// The lost slot holds a merged segment.
    ReopenedBehindMerged => "opened again after a merged segment",
    /// The look says that the log went on.
    ReopenedAfterLook => "opened again after a look",
    /// A look before a try found nothing new.
    LookBeforeClear => "a look before a try that found nothing new",
    /// Between the LIST of a look and its read of the slot the slot changed.
    SlotChangedWithinLook => "a slot that changed within a look",
    /// A look after a try found it at the end.
    LookAfterOk => "a look after a try that found it in place",
    /// A look after a try found it in place, and more after it.
    LookAfterBuiltUpon => "a look after a try that found it built upon",
    /// A look after a try did not find it where it was put.
    LookAfterFenced => "fenced by the look after a try",
    /// The slot was merged before the outcome was known.
    MergedBeforeKnown => "a slot merged before the outcome was known",
    /// It can't be told whose the slot's segment is.
    OutcomeUnknown => "an outcome that nobody can tell",
    /// *Perhaps stored* was reported.
    PerhapsStored => "perhaps stored",
    /// *Not stored* was reported.
    NotStored => "not stored",
    /// The index could not be written.
    Poisoned => "poisoned by an index",
    /// The winner of a slot found another's index there.
    IndexOverwritten => "another's index written over by the winner",
    /// An index was made right by who opens or follows.
    IndexRepaired => "an index repaired",
    /// A create acted that nobody waited for.
    LandedLate => "a late landing",
    /// A create acted whose writer is gone, or has gone on.
    LandedOfFormerOwner => "a late landing of a former owner",
    /// A segment landed in the middle of the past.
    GhostLanded => "a ghost",
    /// `log.json` was read and obeyed.
    LogJsonObeyed => "another's log.json obeyed",
    /// Another start offset was asked for.
    StartConflict => "a conflict of start offsets",
    /// A process ended.
    Crashed => "a crash",
    /// Retention removed a segment.
    Retained => "retention",
    /// Segments were merged.
    Merged => "merging",
    /// A segment that was merged into another was deleted.
    ReplacedDeleted => "a replaced segment deleted",
    /// The partition was deleted.
    PartitionDeleted => "the partition deleted",
    /// A merge found another segment than it had read.
    MergeRefused => "a merge that came too late",
    /// A writer made the partition again.
    MadeAgain => "the partition made again",
    /// A copy was put in the place of a partition that was deleted.
    Copied => "the partition copied back",
}

/// How often each event was reached, over all transitions of a run.
pub struct Reached([AtomicU64; Event::ALL.len()]);

impl Default for Reached {
    fn default() -> Self {
        Reached([const { AtomicU64::new(0) }; Event::ALL.len()])
    }
}

impl Reached {
    pub(crate) fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often an event was reached.
    pub fn times(&self, event: Event) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = Event::ALL.iter().filter(|event| self.times(**event) > 0);
        f.debug_map().entries(seen.map(|event| (event.name(), self.times(*event)))).finish()
    }
}
