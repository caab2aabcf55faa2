//! Where fetches wait for logs to grow. Kafka calls such a place a purgatory.
//!
//! A bucket has one `table` of the fetches that wait, and one task, the `poller`, while there are any. The task keeps
//! their deadlines and asks the store about the tails that no writer of this process owns. A fetch that waits has no
//! task of its own. It leaves `tags` with the watermarks of its partitions, which wake it when they move.

mod pace;
mod poller;
mod table;
mod tags;
mod tail;

pub(crate) use self::pace::{PollPace, TooEarly};
pub(crate) use self::poller::delay;
pub(crate) use self::table::{DelayedFetch, Purgatory, Woken};
pub(crate) use self::tags::WaitTags;
pub(crate) use self::tail::{NextPoll, Tail};
