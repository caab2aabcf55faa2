//! What is true: which appends were acked where, and which segments were ever in the log.
//!
//! It watches the shared store itself, and is told what the processes were told. It trusts nobody.

mod appends;
mod chain;
mod content;
mod reads;

use std::collections::BTreeMap;
use std::time::Duration;

use kfs_core::Error;
use kfs_core::format::{ObjectName, PartitionId};

use self::appends::{AppendFacts, Payload};
pub(crate) use self::appends::{Outcome, WriterFacts};
use self::chain::Chain;
pub(crate) use self::chain::Slot;
pub(crate) use self::content::{Content, Image, value};
pub(crate) use self::reads::Range;
use crate::shared::{Change, SharedStore};

/// A judgement: what is wrong, if something is.
pub(crate) type Judged<T = ()> = Result<T, String>;

/// The oracle of one partition.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// The partition.
    pub(crate) id: PartitionId,
    chain: Chain,
    appends: Vec<AppendFacts>,
    payloads: Vec<Payload>,
    writers: Vec<WriterFacts>,
    /// Acked appends by their first offset.
    acked: BTreeMap<i64, (i64, usize)>,
}

impl Oracle {
    /// Knows nothing yet.
    pub(crate) fn new(id: PartitionId, grace: Duration) -> Self {
        Oracle {
            id,
            chain: Chain::new(grace),
            appends: Vec::new(),
            payloads: Vec::new(),
            writers: Vec::new(),
            acked: BTreeMap::new(),
        }
    }

    /// An object of the store changed.
    pub(crate) fn changed(&mut self, store: &SharedStore, change: Change, key: &str, now: Duration) -> Judged {
        let Some(name) = key.strip_prefix(&self.id.prefix()).and_then(ObjectName::parse) else { return Ok(()) };
        match (name, change) {
            (ObjectName::LogJson, Change::Created) => self.chain.identity_created(store, key),
            (_, Change::Lost(_)) if !matches!(name, ObjectName::Segment(_)) => Ok(()),
            (ObjectName::LogJson, _) => Err(format!("log.json was {change:?}")),
            (ObjectName::LogStart(mark), Change::Created) => self.chain.marked(mark),
            (ObjectName::Index(base), _) => {
                self.chain.index_changed(base, false);
                Ok(())
            }
            (ObjectName::Segment(base), Change::Created) => {
                let added = self.chain.created(&self.id, store, base, now)?;
                self.stored(&added)
            }
            (ObjectName::Segment(base), Change::Lost(writer)) => self.lost(writer, base, now),
            (ObjectName::Segment(base), Change::Replaced) => self.chain.replaced(store, key, base),
            (ObjectName::Segment(base), Change::Deleted) => self.chain.deleted(&self.id, store, base),
            _ => Ok(()),
        }
    }

    /// A create of a segment is sent: not into the past by who last looked longer ago than `bound`.
    pub(crate) fn segment_sent(&self, base: i64, now: Duration, bound: Duration) -> Judged {
        match self.chain.slot(base).and_then(|slot| slot.passed_at) {
            Some(passed) if now.saturating_sub(passed) > bound.saturating_add(Duration::from_millis(2)) => {
                Err(format!(
                    "a segment is sent into slot {base}, which the log passed {:?} ago; the writer may look away for {bound:?}",
                    now.saturating_sub(passed)
                ))
            }
            _ => Ok(()),
        }
    }

    /// All slots that were ever in the chain, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (i64, &Slot)> {
        self.chain.slots()
    }

    /// Segments that landed where the log had long passed.
    pub(crate) fn ghosts(&self) -> usize {
        self.chain.ghosts()
    }

    /// Segments without `log.json` are accepted while this is on: they were there before.
    pub(crate) fn plant(&mut self, planting: bool) {
        self.chain.plant(planting);
    }

    /// Somebody else wrote this segment's index last.
    pub(crate) fn vandalised(&mut self, base: i64) {
        self.chain.index_changed(base, true);
    }

    /// Since when a segment holds this offset, if one does.
    pub(crate) fn there_since(&self, offset: i64) -> Option<Duration> {
        self.chain.slot_of(offset).map(|(_, slot)| slot.won_at)
    }

    /// The number of a payload that was there before.
    pub(crate) fn planted_payload(&mut self) -> usize {
        self.payloads.push(Payload { may: 1, copies: 0 });
        self.payloads.len() - 1
    }

    /// The checks of the end, when nothing is on its way any more.
    pub(crate) fn at_the_end(&self, store: &SharedStore) -> Judged {
        self.chain.whole_at_the_end(&self.id, store)?;
        if self.chain.ghosts() == 0 { self.kafscale_reads(store) } else { Ok(()) }
    }

    /// Counts: appends begun, acked, failed as not stored, failed as perhaps stored.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let count = |is: fn(&Outcome) -> bool| self.appends.iter().filter(|a| is(&a.outcome)).count();
        [
            self.appends.len(),
            count(|o| matches!(o, Outcome::Acked(..))),
            count(|o| *o == Outcome::NotStored),
            count(|o| *o == Outcome::Perhaps),
        ]
    }
}

/// An error in one line, without what differs between builds.
pub(crate) fn brief(error: &Error) -> String {
    let stored = error.stored().map(|stored| format!("/{stored:?}")).unwrap_or_default();
    format!("{}{stored}: {}", error.kind().name(), error.message())
}
