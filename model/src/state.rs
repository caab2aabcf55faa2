//! A state of the model: the store, the writers, what became of each append.

use crate::config::{Budget, Config, WRITERS};
use crate::store::{Content, LogJson, Segment, Slot, Store};

/// Appends of a run, the former owner's included. Number 0 stands for no append.
pub(crate) const FATES: usize = 16;

/// What became of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    #[default]
    Unsent,
    InFlight,
    /// Reported durable at this offset.
    Acked(u8),
    /// Reported as *not stored*.
    NotStored,
    /// Reported as *perhaps stored*, or nobody is left to be told.
    Perhaps,
    /// Acked, and the partition was deleted since.
    Deleted,
}

/// A bit for each property that was violated on the way here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken(pub(crate) u16);

/// A state of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) store: Store,
    pub(crate) writers: [Writer; WRITERS],
    pub(crate) fates: [Fate; FATES],
    /// A bit for each append that was at the end of the log once: if it is not there, it was retained.
    pub(crate) kept: u16,
    pub(crate) left: Budget,
    pub(crate) broken: Broken,
}

/// A writer (`Chain`, `Flight` and what `commit` holds in the code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// Times opened.
    pub(crate) opened: u8,
    /// Appends begun.
    pub(crate) begun: u8,
    /// Slots lost in a row.
    pub(crate) losses: u8,
    /// An append of it failed since it was opened.
    pub(crate) failed: bool,
    pub(crate) step: Step,
    pub(crate) chain: Chain,
    pub(crate) flight: Flight,
}

/// Where a writer stands: which request comes next, or which is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Not open: not yet, or crashed, closed, fenced, poisoned.
    #[default]
    Closed,
    /// `find`, again, from within a commit.
    Reopen,
    /// `adopt` comes next, of the newest segment that `find` listed, or (`follows`) of the one that won a lost
    /// slot. `stale`: the bound has passed since the LIST, or since the last look.
    ReadNewest {
        base: u8,
        stale: bool,
        follows: bool,
    },
    /// Open, with nothing more to append.
    Idle,
    FixStart,
    AwaitLogJson,
    ReadLogJson,
    /// The head of the loop in `fly`: a look or a try comes next.
    Fly,
    /// An owner saw a claim before it sent anything of this flight: it waits, and reads its next slot.
    Yield,
    /// A try is on its way.
    AwaitPut {
        segment: Answer,
        index: Answer,
    },
    /// The slot is read next. `listed`: from within `look_before`.
    Inspect {
        listed: Option<Listed>,
    },
    FinishIndex,
    /// The segment is in with its index: acked at once, or after `look_after`.
    Settle,
}

/// What the LIST of `look_before` saw alone after the previous segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listed {
    pub(crate) version: Content,
    /// The bound passed since.
    pub(crate) stale: bool,
}

/// What came back for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Awaited,
    Yes,
    Exists,
    Refused,
    Unknown,
    SyncFailed { visible: bool },
}

/// `Chain` in the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Chain {
    /// `Start::Fixed`.
    pub(crate) fixed: bool,
    pub(crate) next: u8,
    pub(crate) previous: Option<Previous>,
    /// Which `log.json` it obeys; kept while there is no segment before the next slot.
    pub(crate) log_json: Option<LogJson>,
    /// The bound has passed since `seen`.
    pub(crate) stale: bool,
    pub(crate) committed: bool,
}

/// `Previous` in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Previous {
    pub(crate) base: u8,
    pub(crate) version: Content,
}

/// `Flight` in the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    /// The one append in it; 0 without a flight.
    pub(crate) append: u8,
    /// The offset that its caller was told is final.
    pub(crate) told: Option<u8>,
    pub(crate) first_try: Option<Try>,
    /// Of the time that a commit counts as a sight of the tail: the bound has passed since.
    pub(crate) sent_is_stale: bool,
    pub(crate) may_have_landed: bool,
    pub(crate) was_unsure: bool,
    pub(crate) index_done: bool,
    pub(crate) empty_conflicts: u8,
}

/// When the first try was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Try {
    Fresh,
    Stale,
}

impl State {
    /// The state in which a run begins.
    pub(crate) fn first(config: &Config) -> Self {
        let mut state = State {
            store: Store::default(),
            writers: [Writer::default(); WRITERS],
            fates: [Fate::Unsent; FATES],
            kept: 0,
            left: config.budget,
            broken: Broken::default(),
        };
        for number in 0..config.old {
            let append = config.old_append(number);
            let content = Content::of(append);
            let segment = Segment { content, merged: false, replaced: None, old: true, ghost: false };
            *state.store.slot_mut(number) = Slot { segment: Some(segment), index: content };
            state.fates[usize::from(append)] = Fate::Acked(number);
        }
        if config.old > 0 {
            state.store.log_json = Some(LogJson { start_offset: 0, made: 0 });
        }
        state
    }

    /// Whether any writer waits for an answer.
    pub(crate) fn awaits(&self) -> bool {
        self.writers.iter().any(|writer| match writer.step {
            Step::AwaitLogJson => true,
            Step::AwaitPut { segment, index } => segment == Answer::Awaited || index == Answer::Awaited,
            _ => false,
        })
    }
}
