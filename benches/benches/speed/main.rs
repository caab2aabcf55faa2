//! What takes time. `cargo bench -p kfs-benches --bench speed -- append` measures what has that in
//! its name.

mod append;
mod copy;
mod crc;
mod decode;
mod directory;
mod durable;
mod locate;
mod segment;
mod wake;

use std::time::{Duration, SystemTime};

use criterion::Criterion;
use kfs_benches::{asked_for, figures, measures, named, table};

type Benchmark = fn(&mut Criterion, &str);

/// By the row that each measures.
const ROWS: &[(&str, Benchmark)] = &[
    ("append 16 KiB batches", append::large),
    ("append 1 KiB batches", append::small),
    ("append 100-byte records", append::records),
    ("append with the produce check", append::produce),
    ("append with the decode check", append::decode),
    ("append lz4 with the produce check", append::produce_lz4),
    ("decode 100-byte values", decode::small),
    ("decode 1 KiB values", decode::large),
    ("decode lz4, 100-byte values", decode::lz4),
    ("fetch a hot 4 KiB batch", directory::fetch),
    ("scan hot 16 KiB batches", directory::scan),
    ("locate a segment among 100,000", locate::locate),
    ("durable append to a directory", durable::append),
    ("copy 1 GiB between directories", copy::directories),
    ("wake 100 fetches of 1,000 partitions", wake::wake),
];

/// No rows, but they explain some: measured when they are named.
const PARTS: &[(&str, Benchmark)] = &[("crc", crc::crc), ("segment", segment::segment)];

#[allow(clippy::disallowed_methods, reason = "what is older was measured by another run")]
fn main() {
    let begun = SystemTime::now();
    let mut criterion = Criterion::default()
        .output_directory(&figures::criterion())
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let parts = PARTS.iter().filter(|(part, _)| !measures() || named(part));
    for (name, benchmark) in ROWS.iter().filter(|(row, _)| asked_for(row)).chain(parts) {
        benchmark(&mut criterion, name);
    }
    criterion.final_summary();
    if measures() {
        println!("\n{}", table::markdown(Some(begun)));
    }
}
