//! What open and idle partitions cost. Alone in its process, for it counts the process's threads.

use std::sync::Arc;
use std::time::Duration;

use kfs_core::runtime::{Clock, Runtime};
use kfs_core::{Bucket, BucketOptions};
use kfs_tests::{LocalSpawn, PausedClock, SeededEntropy};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_open_and_idle_partitions_cost_no_thread_and_no_request() {
    let clock = PausedClock::new(1_700_000_000_000);
    let runtime = Runtime::new(clock.clone(), Arc::new(SeededEntropy::new(1)), Arc::new(LocalSpawn));
    let bucket = Bucket::open_with("memory:", BucketOptions::default().runtime(runtime)).expect("bucket");
    let before = threads();
    let mut open = Vec::new();
    for n in 0..10_000 {
        let partition = bucket.partition("many", n).expect("name");
        let reader = partition.reader();
        open.push((partition.writer().await.expect("writer"), reader));
    }
    let opened = bucket.requests();
    clock.sleep(Duration::from_secs(86_400)).await;
    assert_eq!(bucket.requests().since(&opened).total(), 0);
    assert_eq!(threads(), before);
    assert_eq!(open.len(), 10_000);
}
