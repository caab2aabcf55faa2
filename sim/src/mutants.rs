//! Whether the simulation finds what is wrong on purpose: each mutant of kfs-core, by the first seed that does.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kfs_core::Mutant;

use crate::many::threads as or_all;
use crate::run;

/// What became of one mutant.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The mutant.
    pub mutant: Mutant,
    /// The last seed that was tried.
    pub seed: u64,
    /// How many were tried.
    pub tried: u64,
    /// What the last of them found; or why that is no proof.
    pub end: Result<String, String>,
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.mutant);
        match &self.end {
            Ok(finding) => {
                write!(f, "{name:24} seed {:4}, tried {:4}: {:.160}", self.seed, self.tried, finding)
            }
            Err(why) => write!(f, "{name:24} NOT FOUND, tried {:4}: {why}", self.tried),
        }
    }
}

/// Found by tests alone: the logs of a simulation are too short for a manifest.
const LEFT_TO_TESTS: &[Mutant] = &[Mutant::TrustManifestTail];

/// The mutants that the simulation can find.
pub fn findable() -> Vec<Mutant> {
    Mutant::ALL.iter().copied().filter(|mutant| !LEFT_TO_TESTS.contains(mutant)).collect()
}

/// Runs each mutant on seeds from 0 on until one of at most `budget` finds it, on as many threads as
/// there are processors unless `threads` says otherwise. Each is reported as it ends; those that got
/// through are returned.
pub fn hunt(mutants: &[Mutant], budget: u64, threads: Option<usize>, report: impl Fn(&Hunt) + Sync) -> Vec<Mutant> {
    let (next, through) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..or_all(threads) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hunt = hunt_one(*mutant, budget);
                    report(&hunt);
                    if hunt.end.is_err() {
                        through.lock().unwrap_or_else(PoisonError::into_inner).push(hunt.mutant);
                    }
                }
            });
        }
    });
    through.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Seeds that found a mutant after a long search, and are tried first. Where one finds it no longer, because the simulation
/// draws otherwise, the search tells which does.
const FOUND_LATE: &[(Mutant, u64)] = &[(Mutant::Believe404ForEver, 278), (Mutant::SkipLookAfter, 1603)];

fn hunt_one(mutant: Mutant, budget: u64) -> Hunt {
    let first = FOUND_LATE.iter().filter(|(late, _)| *late == mutant).map(|(_, seed)| *seed);
    for (tried, seed) in (1..).zip(first.chain(0..budget)) {
        Mutant::switch(Some(mutant));
        let found = violation(seed);
        Mutant::switch(None);
        if let Some(finding) = found {
            let end = match violation(seed) {
                None => Ok(finding),
                Some(anyway) => Err(format!("seed {seed} fails without it: {anyway}")),
            };
            return Hunt { mutant, seed, tried, end };
        }
    }
    Hunt { mutant, seed: budget, tried: budget, end: Err("it got through".into()) }
}

/// What a seed finds; a panic is a finding too.
fn violation(seed: u64) -> Option<String> {
    catch_unwind(|| run(seed, false).violation).unwrap_or_else(|_| Some("a panic".into()))
}
