//! A claim against an owner that commits without a pause, on a store that answers: it must win soon.

use std::sync::Arc;
use std::time::Duration;

use kfs_core::testing::Prng;
use kfs_core::{OnConflict, Result, Writer, WriterOptions};
use tokio::sync::oneshot;

use crate::host::Host;
use crate::oracle::{Content, brief};
use crate::seeded::Faults;
use crate::world::World;

/// By then a claim must have displaced the owner.
const SOON: Duration = Duration::from_secs(10);

/// Two last processes: one owns the partition and commits without a pause, the other claims it.
pub(crate) async fn displacement(world: &Arc<World>, prng: &mut Prng) {
    // Clocks that were wrong may have left a claim of next year.
    let key = world.oracle().id.claim_json_key();
    world.store.plant(&key, "");
    let mut start = |number| {
        let host = Host::start(world, number, prng, Faults::calm(), true);
        host.spare();
        host
    };
    let (old, new) = (start(9_997), start(9_998));
    let (done, ended) = oneshot::channel::<()>();
    let owner = old.clone();
    old.runtime.spawn(async move {
        commit_without_a_pause(&owner).await;
        drop(done);
    });
    world.sleep(Duration::from_secs(4)).await;
    let taken = async {
        let claimant = Claimant::open(&new).await?;
        claimant.claim().await?;
        Ok::<_, kfs_core::Error>(claimant)
    };
    match new.runtime.timeout(SOON, taken).await {
        Some(Ok(_claimant)) => {
            if new.runtime.timeout(SOON, ended).await.is_none() {
                world.fail("an owner that was displaced goes on".into());
            }
        }
        Some(Err(error)) => world.fail(format!("a claim does not displace a busy owner: {}", brief(&error))),
        None => world.fail(format!("a claim does not displace a busy owner within {SOON:?}")),
    }
    old.kill();
    new.kill();
}

async fn commit_without_a_pause(host: &Arc<Host>) {
    match Claimant::open(host).await {
        // Its first commit makes it the owner; from then on a claim is a commit like any other.
        Ok(owner) => while owner.claim().await.is_ok() {},
        Err(error) => host.world.fail(format!("a writer does not open: {}", brief(&error))),
    }
}

/// A writer that commits claims, of which the oracle knows.
struct Claimant {
    host: Arc<Host>,
    number: usize,
    writer: Writer,
}

impl Claimant {
    async fn open(host: &Arc<Host>) -> Result<Self> {
        let number = host.world.oracle().open(OnConflict::Takeover, None, 64);
        let partition = host.bucket.partition("t", 0).expect("a good name");
        let writer = partition.writer_with(WriterOptions::default().name(format!("w{number}"))).await?;
        Ok(Claimant { host: host.clone(), number, writer })
    }

    async fn claim(&self) -> Result<()> {
        let world = &self.host.world;
        let append = world.oracle().append(self.number, None, Content::Claim);
        let claimed = self.writer.claim().await;
        world.judge(|oracle| oracle.settled(&world.store, append, &claimed));
        claimed.map(drop)
    }
}
