//! What takes time. `cargo bench -p kfs-benches --bench speed -- append` measures what has that in
//! its name.

mod append;
mod crc;
mod decode;
mod directory;
mod durable;
mod locate;
mod segment;

use std::time::{Duration, SystemTime};

use criterion::Criterion;
use kfs_benches::{asked_for, figures, measures, table};

type Benchmark = fn(&mut Criterion, &str);

/// By the row that each measures; the last two are no rows, but explain some.
const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("append 16 KiB batches", append::large),
    ("append 1 KiB batches", append::small),
    ("append 100-byte records", append::records),
    ("decode 100-byte values", decode::small),
    ("decode 1 KiB values", decode::large),
    ("decode lz4, 100-byte values", decode::lz4),
    ("fetch a hot 4 KiB batch", directory::fetch),
    ("scan hot 16 KiB batches", directory::scan),
    ("locate a segment among 100,000", locate::locate),
    ("durable append to a directory", durable::append),
    ("crc", crc::crc),
    ("segment", segment::segment),
];

#[allow(clippy::disallowed_methods, reason = "what is older was measured by another run")]
fn main() {
    let begun = SystemTime::now();
    let mut criterion = Criterion::default()
        .output_directory(&figures::criterion())
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for (row, benchmark) in BENCHMARKS.iter().filter(|(row, _)| asked_for(row)) {
        benchmark(&mut criterion, row);
    }
    criterion.final_summary();
    if measures() {
        println!("\n{}", table::markdown(Some(begun)));
    }
}
