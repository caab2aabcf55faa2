//! Must hold: a server that is killed and started again under load costs nothing that was acked, and nobody has to be
//! started again for it.
//!
//! `KFS_KILL_ROUNDS` (default 20) and `KFS_KILL_SEED` change the run; a failure prints the seed.

use kfs_core::store::Store;
use kfs_tests::load::Load;
use kfs_tests::{Prng, S3Server};

fn number_from(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_lost_and_everyone_goes_on_when_the_server_is_killed() {
    let Some(mut server) = S3Server::start() else { return };
    let rounds = number_from("KFS_KILL_ROUNDS", 20);
    let seed = number_from("KFS_KILL_SEED", 20_260_102);
    println!("KFS_KILL_SEED={seed}");
    let mut prng = Prng::new(seed);
    let (url, options) = (server.url("killed"), server.store_options());
    let open = move || Store::open(&url, &options).expect("store");
    let store = open();
    let mut load = Load::begin(open, seed).await;
    for round in 0..rounds {
        // Never by time: by what was appended, acked or read since everyone went on.
        let (from, more) = (load.progress(), 1 + prng.below(40));
        let kind = prng.below(4);
        load.until(&format!("round {round}, {more} more of kind {kind}"), |now| match kind {
            0 => now.begun >= from.begun + more,
            1 => now.acked >= from.acked + more,
            2 => now.followed >= from.followed + more,
            _ => now.read >= from.read + more,
        })
        .await;
        server.kill();
        // It comes back at once, or after somebody has missed it.
        let (from, more) = (load.progress(), prng.below(10));
        load.until(&format!("round {round}, {more} more retries"), |now| now.retried >= from.retried + more).await;
        server.restart();
        let from = load.progress();
        load.until(&format!("round {round}, all go on"), |now| {
            now.acked > from.acked && now.followed > from.followed && now.read > from.read
        })
        .await;
    }
    let told = load.end(&store).await;
    println!("{rounds} kills: {told:?}");
    assert!(told.acked >= rounds && told.retried >= rounds, "{told:?}");
}
