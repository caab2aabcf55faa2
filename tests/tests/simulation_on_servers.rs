//! The simulation beside a real store of each kind, so that its oracle judges these stores, too.

use kfs_core::store::{Store, StoreOptions};
use kfs_sim::{run, run_on};
use kfs_tests::{FakeS3, each_bucket};

/// Short ones with faults. In each, several processes append, claim and read. The first has leader epochs. In the second,
/// processes sleep and readers look on. The third merges segments, deletes old ones, and has large records.
const SEEDS: [u64; 3] = [27, 54, 86];

#[test]
fn a_simulation_on_a_server_is_the_simulation_in_memory() {
    for bucket in each_bucket() {
        for seed in SEEDS {
            let store = match bucket.url("") {
                Some(_) => bucket.store(&format!("seed-{seed}")),
                None => Store::open("memory:", &StoreOptions::default()).expect("open memory"),
            };
            let report = run_on(seed, store.clone());
            assert_eq!(report.violation, None, "{}: {report}", bucket.name);
            assert_eq!(report.hash, run(seed, false).hash, "{}: {report}", bucket.name);
            println!("{}: {report}; {:?}", bucket.name, store.requests());
        }
    }
}

#[test]
fn a_server_that_ignores_create_if_absent_is_found() {
    let server = FakeS3::start();
    server.ignore_header("if-none-match");
    let store = Store::open("s3://logs/p", &server.store_options()).expect("open the store");
    let violation = run_on(SEEDS[0], store).violation.expect("two that win one name");
    assert!(violation.starts_with("create default/t/0/"), "{violation}");
    assert!(violation.ends_with("s3://logs/p answers Done, expected was NameTaken"), "{violation}");
}
