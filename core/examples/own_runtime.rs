//! A bucket with the caller's own clock, randomness and task spawner.
//!
//! Simulations need this to replay a run, and programs that must not start threads need it to decide where work
//! runs. Here the wall clock stands still and the random bytes come from a counter, so two runs write the same
//! `log.json` and the same segment, byte for byte.
//!
//! Run it with `cargo run -p kfs-core --example own_runtime`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::object_store::memory::InMemory;
use kfs_core::object_store::{ObjectStore, ObjectStoreExt};
use kfs_core::runtime::{BoxFuture, Clock, Entropy, Runtime, Spawn, SystemClock};
use kfs_core::{Bucket, BucketOptions, Result};

/// A wall clock that stands still. Time still passes for waits: those follow the system's clock.
#[derive(Debug)]
struct StoppedClock(i64);

impl Clock for StoppedClock {
    fn wall_ms(&self) -> i64 {
        self.0
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        SystemClock.sleep(duration)
    }
}

/// The same bytes in every run. A real program needs real randomness: writers tell their segments apart by it.
#[derive(Debug, Default)]
struct CountedEntropy(AtomicU64);

impl Entropy for CountedEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// Starts tasks on a runtime that the caller chose, and counts them.
#[derive(Debug)]
struct CountingSpawn {
    tokio: tokio::runtime::Handle,
    tasks: Arc<AtomicU64>,
}

impl Spawn for CountingSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        // Dropping the handle lets the task go on by itself.
        drop(self.tokio.spawn(task));
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // One thread does all the work of the bucket, while `block_on` waits for it.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let first = tokio.block_on(run(tokio.handle()))?;
    let second = tokio.block_on(run(tokio.handle()))?;
    println!("log.json: {}", String::from_utf8_lossy(&first[0].1));
    for ((key, first), (_, second)) in first.iter().zip(&second) {
        println!("{key}: {} bytes, the same in both runs: {}", first.len(), first == second);
    }
    Ok(())
}

/// Appends a record under the given runtime. Returns all objects of the bucket by their keys.
async fn run(
    tokio: &tokio::runtime::Handle,
) -> std::result::Result<Vec<(String, Vec<u8>)>, Box<dyn std::error::Error>> {
    let tasks = Arc::new(AtomicU64::new(0));
    let runtime = Runtime::new(
        Arc::new(StoppedClock(1_767_225_600_000)),
        Arc::new(CountedEntropy::default()),
        Arc::new(CountingSpawn { tokio: tokio.clone(), tasks: tasks.clone() }),
    );
    let store = Arc::new(InMemory::new());
    let bucket = Bucket::from_object_store(store.clone(), BucketOptions::default().runtime(runtime))?;
    let writer = bucket.partition("orders", 0)?.writer().await?;
    let record = NewRecord::new(bucket.runtime().clock().wall_ms()).value(b"paid");
    writer.append(&[record]).await?.durable().await?;
    writer.close(None).await?;
    println!("a run with {} tasks", tasks.load(Ordering::Relaxed));

    let mut objects = Vec::new();
    for meta in store.list_with_delimiter(Some(&"default/orders/0".into())).await?.objects {
        objects.push((meta.location.to_string(), store.get(&meta.location).await?.bytes().await?.to_vec()));
    }
    objects.sort();
    Ok(objects)
}
