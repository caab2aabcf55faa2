//! Replays a seed: `kfs-sim --seed 7 --trace`, or runs many: `kfs-sim --from 0 --seeds 1000`.
//!
//! With the feature `mutants`: `kfs-sim --mutants` finds each, `kfs-sim --mutant AckBeforeIndex --seed 7` replays one.

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
    /// Looks for a seed that finds a mutant, for each of them; --seeds is the budget.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutants: bool,
    /// With --seed: replays it with this mutant. With --mutants: looks for this one alone.
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = mutant_named)]
    mutant: Option<kfs_core::Mutant>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "mutants")]
    if arguments.mutants {
        return if hunt(&arguments) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    #[cfg(feature = "mutants")]
    kfs_core::Mutant::switch(arguments.mutant);
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
         requests, {} creates sent twice, {} ghosts; {} seeds failed",
        totals.seeds,
        arguments.from,
        totals.segments,
        totals.requests,
        totals.hedges,
        totals.ghosts,
        totals.failed.len()
    );
    totals.failed.is_empty()
}

#[cfg(feature = "mutants")]
fn mutant_named(name: &str) -> Result<kfs_core::Mutant, String> {
    let found = kfs_core::Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == name);
    found.copied().ok_or_else(|| format!("no mutant has this name; the names are {:?}", kfs_core::Mutant::ALL))
}

/// Whether all are found.
#[cfg(feature = "mutants")]
fn hunt(arguments: &Arguments) -> bool {
    // A panic is a finding, and printed as one.
    std::panic::set_hook(Box::new(|_| {}));
    let all = arguments.mutant.map_or_else(kfs_sim::mutants::findable, |mutant| vec![mutant]);
    let through = kfs_sim::mutants::hunt(&all, arguments.seeds, arguments.threads, |hunt| println!("{hunt}"));
    println!("{} mutants, {} of them found; not found: {through:?}", all.len(), all.len() - through.len());
    through.is_empty()
}
