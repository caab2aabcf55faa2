//! A newest segment without a readable end, as a crash or a careless tool leaves it: readers give all that is
//! before it, say what is wrong, and return.

use std::sync::Arc;

use kfs_core::testing::Prng;
use kfs_core::{ErrorKind, OnCorrupt, Partition, ReaderOptions, Result};

use crate::config::pick;
use crate::host::Host;
use crate::oracle::{Range, brief};
use crate::seeded::Faults;
use crate::world::World;

/// Plants such a segment when all is over, and reads up to it: by readers that knew the end, and by others.
pub(crate) async fn broken_end(world: &Arc<World>, prng: &mut Prng) {
    let Range { start: Some(start), end } = world.oracle().range() else { return };
    let host = Host::start(world, 9_998, prng, Faults::none(), true);
    host.spare();
    let partition = host.bucket.partition("t", 0).expect("a good name");
    let id = world.oracle().id.clone();
    if prng.one_in(2) {
        // It learns the end first. What it can't read was judged before.
        let _ = partition.refresh().await;
        let _ = partition.reader().fetch(end, 1).await;
    }
    let length = pick(prng, &[0, 1, 16, 31, 40, 48]);
    world.note(format_args!("a segment of {length} zeros is left at {end}"));
    world.store.leave(&id.segment_key(end), vec![0; length]);
    for on_corrupt in [OnCorrupt::Stop, OnCorrupt::Skip] {
        if let Err(why) = read_up_to(&partition, start, end, on_corrupt).await {
            world.fail(format!("a reader ({on_corrupt:?}) up to {length} zeros at {end}: {why}"));
        }
    }
    host.kill();
}

/// Fetches from a little before the end until that leads no further.
async fn read_up_to(partition: &Partition, start: i64, end: i64, on_corrupt: OnCorrupt) -> Result<(), String> {
    let reader = partition.reader_with(ReaderOptions::default().on_corrupt(on_corrupt));
    let mut at = end;
    if end > start {
        at = reader.fetch(end - 1, 1).await.map_err(|error| brief(&error))?.next_offset;
    }
    for _ in 0..3 {
        match reader.fetch(at, 1 << 20).await {
            Ok(fetch) if fetch.next_offset > end => return Err(format!("it gives what is not there: {fetch:?}")),
            Ok(fetch) if on_corrupt == OnCorrupt::Skip && fetch.next_offset == end => {
                return if fetch.skipped().is_empty() { Err("it says nothing of it".into()) } else { Ok(()) };
            }
            Ok(fetch) => at = fetch.next_offset,
            Err(error) if error.kind() == ErrorKind::Corrupt && on_corrupt == OnCorrupt::Stop => return Ok(()),
            Err(error) => return Err(brief(&error)),
        }
    }
    Err(format!("it goes on and on at {at}"))
}
