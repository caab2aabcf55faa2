//! Replays a seed: `kfs-sim --seed 7 --trace`, or runs many: `kfs-sim --from 0 --seeds 1000`.

use std::process::ExitCode;

use clap::Parser;
use kfs_sim::{run, run_many};

/// Simulates libkfs from seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// Runs this seed alone, twice, and compares the traces.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: prints the trace.
    #[arg(long)]
    trace: bool,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// How many threads; as many as there are processors by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match arguments.seed {
        Some(seed) => replay(seed, arguments.trace),
        None => many(&arguments),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, trace: bool) -> bool {
    let report = run(seed, trace);
    print!("{}", report.trace);
    println!("{report}");
    let again = run(seed, false);
    if again.hash != report.hash {
        println!("seed {seed}: a second run has another trace");
        return false;
    }
    report.violation.is_none()
}

fn many(arguments: &Arguments) -> bool {
    let totals = run_many(arguments.from, arguments.seeds, arguments.threads, arguments.keep_going);
    for report in &totals.failed {
        println!("{report}\nreplay: {}", report.replay());
    }
    let [appends, acked, not, perhaps] = totals.appends;
    println!(
        "{} seeds from {}: {appends} appends, {acked} acked, {not} not stored, {perhaps} perhaps; {} segments, {} \
         requests, {} ghosts; {} seeds failed",
        totals.seeds,
        arguments.from,
        totals.segments,
        totals.requests,
        totals.ghosts,
        totals.failed.len()
    );
    totals.failed.is_empty()
}
