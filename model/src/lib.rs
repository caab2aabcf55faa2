//! The commit protocol of libkfs as a model that is checked exhaustively. [`Maintenance`] is a second model: maintenance, taken
//! apart into its requests.
//!
//! The model follows `core/src/log/writer` request by request, in its words: an [`Action`] is called what
//! the code calls the step (`put`, `inspect`, `look_before`, `finish_index`, `follow`, `reopen` ...), a
//! writer's state has the fields of `Chain` and `Flight`. [stateright] visits every state that any order
//! of actions leads to, and checks each against the invariants of `docs/design.md` ([`Rule`]). Each run also
//! names what it must come by ([`Event`]), so that no rule holds for want of anything happening. And each
//! known way to get the protocol wrong is a [`Mutation`], which must break a rule.
//!
//! ```text
//! cargo test -p kfs-model                              # all runs and mutations, about half a minute on two cores
//! cargo test -p kfs-model -- --nocapture               # and the way into each mutation's trap
//! cargo test -p kfs-model -- --ignored --nocapture     # larger runs: four minutes, some 4 GiB
//! ```
//!
//! # What is modelled
//!
//! - One partition: slots that are created once, each with its index, `log.json`, the log start mark, the
//!   metadata that tells whose a segment is (and stores that lose it).
//! - A create acts at once and is answered; is refused before it acts; loses its reply and acts at any time up
//!   to the grace, after other writers, maintenance and its own writer's end; is answered with a
//!   conflict and keeps nothing; acts and is answered with a conflict, for the client sent it twice; or its
//!   fsync fails, visible or not. Segment and index are two requests.
//! - Up to three writers of every policy, with start offsets and leader epochs, whose appends take one
//!   or two offsets. They lose slots, follow, jump, reopen, are fenced, poisoned and contended, give up at a close's
//!   deadline, crash between any two requests and come back.
//! - Sleep. Two actions pass time for everybody: `BoundPasses`, longer than `stale_after`; `GracePasses`,
//!   longer than the grace, after which no request sent before acts any more. In `pausing process` one does: the process
//!   paused between its last look at the clock and the send.
//! - `claim.json`, of which every read may return anything: nothing, an old claim, or any other. So the marker is no
//!   part of the state. An owner may see a claim that it does not know before any of its flights, and yield; a
//!   writer that loses slots may write one at any time, and its losses so far do not count.
//! - Maintenance by its rules: the mark first, then the oldest segment, never the newest, never one younger than
//!   the bound; merging of old segments, with what was replaced left in place for the grace and deleted from the
//!   oldest up.
//! - A partition that is deleted while everybody sleeps, and made again, with another start offset too.
//!
//! # What is left out
//!
//! - Bytes. A segment is the list of its appends, an index the content that it belongs to. So parsing and
//!   corruption are not here, nor are readers, except that what was acked is looked up as they do it: by the
//!   greatest name at or below an offset.
//! - Batching. A flush holds one append, for all in a segment share its fate. A claim is such an append.
//! - Reads, listings and overwrites of indexes are one step each: retried, they are answered some time. Between two of
//!   them anything can happen. Merging replaces a segment and its index in one step.
//! - Time is coarse. All clocks jump at once, so nothing is said about a moment *just* within the bound: what is
//!   replaced must be kept for the grace *and* the bound, as a try may leave that long after its look.
//! - Liveness. Nothing is said about how soon a writer wins.
//! - Deletion of a partition while somebody writes to it. A log that is deleted and made again under a
//!   writer that has seen the old one within the bound can get two chains; whoever deletes stops the writers or
//!   waits for the grace.
//! - In `pausing process` what was acked is looked up along the chain, not by names: a segment that gets into a slot
//!   after the grace hides merged bytes from who reads by names, until it is repaired. It is never acked.
//!
//! # Sizes
//!
//! What may happen how often is in [`runs`]. States that are different, and transitions between them:
//!
//! | run | states | transitions |
//! |---|---|---|
//! | empty partition | 1,336,870 | 3,635,932 |
//! | start offsets | 1,328,167 | 5,121,896 |
//! | three policies | 2,067,744 | 8,507,871 |
//! | takeover and back | 2,193,141 | 5,451,446 |
//! | contention | 206,728 | 599,985 |
//! | leader epochs | 3,461,142 | 10,813,060 |
//! | yielding | 474,701 | 1,118,266 |
//! | yielding under retention | 168,000 | 460,959 |
//! | empty conflicts | 767,028 | 1,803,042 |
//! | repeating store | 154,453 | 506,340 |
//! | no metadata | 410,192 | 1,368,826 |
//! | directory | 169,505 | 446,792 |
//! | merging | 1,999,103 | 6,009,508 |
//! | retention | 1,404,780 | 4,433,875 |
//! | pausing process | 1,293,342 | 4,092,900 |
//! | deletion | 383,520 | 904,237 |
//! | made again | 702,752 | 2,085,497 |
//!
//! The larger runs, some minutes together (before a writer that lost twice jumped to the tail):
//!
//! | run | states | transitions |
//! |---|---|---|
//! | crashes under maintenance | 11,060,374 | 37,768,744 |
//! | three writers | 29,221,620 | 97,836,677 |
//! | merging under three writers | 5,406,825 | 18,012,294 |
//! | merging twice | 4,711,892 | 16,202,192 |
//! | made again under three writers | 15,391,585 | 49,020,631 |

mod action;
mod commit;
mod config;
mod flight;
mod maintainers;
mod maintenance;
mod model;
mod mutation;
mod reached;
mod requests;
mod rules;
pub mod runs;
mod state;
mod store;
mod yielding;

pub use action::{Action, Request};
pub use config::{APPENDS, Budget, Config, OFFSETS, Policy, WRITERS, WriterConfig};
pub use maintainers::{
    Chances, Flaw, Maintenance, MaintenanceAction, MaintenanceRule, MaintenanceRun, MaintenanceState, maintenance_runs,
};
pub use model::Commit;
pub use mutation::Mutation;
pub use reached::{Event, Reached};
pub use rules::Rule;
pub use state::State;
