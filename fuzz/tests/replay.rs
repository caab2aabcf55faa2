//! Replays `corpus/` and `artifacts/` without a fuzzer, then the vectors and inputs made from them.
//!
//! Nothing of the corpus is checked in: seeds are taken out of the vectors here. What a fuzzer finds
//! lies in `artifacts/`; keep it there, or as a test beside the parser.

mod seeds;

use std::fs;
use std::path::Path;

use seeds::{Prng, mutated, seeds};

/// Mutated inputs of each target; `FUZZ_ROUNDS` in the environment asks for more.
const ROUNDS: usize = 4000;

fn replay(folder: &Path, run: fn(&[u8])) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            replay(&path, run);
        } else {
            run(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn the_corpus_and_the_vectors_are_read_by_every_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, run) in kfs_fuzz::TARGETS {
        replay(&root.join("corpus").join(name), run);
        replay(&root.join("artifacts").join(name), run);
        replay(&root.join("../tests/vectors/small"), run);
        replay(&root.join("../tests/vectors/clients"), run);
    }
}

#[test]
fn seeds_and_their_mutants_are_read_by_their_target() {
    let all = seeds();
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for (name, run) in kfs_fuzz::TARGETS {
        let seeds = all.get(name).unwrap_or_else(|| panic!("no seeds for {name}"));
        for seed in seeds {
            run(seed);
        }
        let mut prng = Prng(0x6b66_7300);
        for round in 0..rounds {
            let input = mutated(seeds, &mut prng);
            let result = std::panic::catch_unwind(|| run(&input));
            assert!(result.is_ok(), "target {name}, round {round}, input {}", hex(&input));
        }
    }
}

/// What `make fuzz` starts from.
#[test]
#[ignore = "writes files: the seeds, into corpus/"]
fn seeds_are_written_for_the_fuzzer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, seeds) in seeds() {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:04}")), seed).unwrap();
        }
    }
}

/// Every target is a program of cargo-fuzz too.
#[test]
fn every_target_is_a_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in kfs_fuzz::TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let program = fs::read_to_string(root.join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("kfs_fuzz::{name}(data)")), "{name}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
