//! How much memory appends take that were given up. Alone in its process, for it measures the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord};
use kfs_core::object_store::memory::InMemory;
use kfs_core::testing::{Action, Failure, FaultStore, Op};
use kfs_core::{Bucket, BucketOptions};

/// Resident bytes at their highest, from the kernel.
#[cfg(target_os = "linux")]
fn highest() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") << 10
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_appends_given_up_while_the_store_is_down_leave_nothing_behind() {
    const BUFFER: usize = 8 << 20;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let faults = FaultStore::new(Arc::new(InMemory::new()));
        faults.always(Op::Put, ".kfs", Action::Fail(Failure::Unavailable));
        let options = BucketOptions::default().buffer_bytes(BUFFER);
        let bucket = Bucket::from_object_store(faults, options).expect("bucket");
        let mut writers = Vec::new();
        for number in 0..4 {
            let partition = bucket.partition("down", number).expect("name");
            writers.push(partition.writer().await.expect("writer"));
        }
        let value = vec![7_u8; 256 << 10];
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(&NewRecord::new(0).value(&value)).expect("fits");
        let batch: Bytes = builder.finish(0).expect("batch").bytes().clone();
        let start = highest();
        let mut given_up = 0;
        for (n, writer) in (0..10_100).zip(writers.iter().cycle()) {
            // A buffer of its own for each append, as a broker's network reads give.
            let admission = writer.append_batches(Bytes::copy_from_slice(&batch));
            if n % 100 == 0 {
                let wait = bucket.runtime().timeout(Duration::from_millis(1), admission).await;
                given_up += usize::from(wait.is_none());
            } else {
                given_up += usize::from(admission.take_back().is_none());
            }
            assert!(bucket.buffered_bytes() <= BUFFER);
        }
        assert!(given_up >= 10_000, "{given_up} were given up");
        let above = highest().saturating_sub(start);
        println!("{given_up} appends given up, {BUFFER} bytes of buffer: {above} bytes above the start");
        assert!(above <= BUFFER + (16 << 20), "{} MiB above the start", above >> 20);
    });
}
