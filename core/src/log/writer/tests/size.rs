//! How large the writer's futures are. A build without optimisation keeps several copies of a future on the stack for each one
//! that awaits it, and a thread of tokio has 2 MiB.

use super::*;
use crate::log::writer::env::Control;
use crate::log::writer::open::{find, open_chain};

/// Bytes of the largest future that a task of the writer awaits unboxed.
const LIMIT: usize = 16 << 10;

#[tokio::test(start_paused = true)]
async fn no_future_of_a_writer_is_larger_than_16_kib() {
    let world = World::new();
    let process = world.process(1);
    let partition = process.partition();
    let (state, options, control) = (partition.state().clone(), options(), Control::default());
    let mut chain = open_chain(&state, &options).await.unwrap();
    let cover = std::mem::size_of_val(&chain.cover_up_to(&state, &options, 0));
    let sizes = [
        ("find", std::mem::size_of_val(&find(&state, state.store(), &options))),
        ("open_chain", std::mem::size_of_val(&open_chain(&state, &options))),
        ("open", std::mem::size_of_val(&crate::log::writer::open(state.clone(), options.clone()))),
        ("cover_up_to", cover),
        ("commit", std::mem::size_of_val(&chain.commit(&state, &options, &control, &[], false))),
    ];
    println!("{sizes:?}");
    assert!(sizes.iter().all(|(_, size)| *size <= LIMIT), "{sizes:?}");
}
