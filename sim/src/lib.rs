//! A simulation of libkfs from one seed.
//!
//! Several processes share one partition in one store. Each has a clock, faults and a bucket of its
//! own, and a program that opens writers, appends, waits, claims, closes, reads. They are killed
//! between any two requests and suspended for days; their requests are lost, doubled, and land hours
//! later; old segments are merged and deleted under them. Time is virtual, and every choice is drawn
//! from the seed: the same seed gives the same trace. An oracle watches the store itself and holds
//! it against what the programs were told. At the end, on a store that answers, a claim must displace
//! an owner that commits without a pause.
//!
//! ```
//! let report = kfs_sim::run(7, false);
//! assert_eq!(report.violation, None);
//! assert_eq!(report.hash, kfs_sim::run(7, false).hash);
//! ```

mod app;
mod broken;
mod clock;
mod config;
mod displace;
mod host;
mod kafscale;
mod maintain;
mod many;
mod markers;
mod mirror;
#[cfg(feature = "mutants")]
pub mod mutants;
mod object;
mod oracle;
mod process;
mod reading;
mod run;
mod seeded;
mod shared;
mod trace;
mod vandal;
mod world;

pub use config::Config;
pub use many::{Totals, run_many};
pub use run::{Report, run, run_on};
pub use seeded::Faults;
