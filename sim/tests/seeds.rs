//! The simulation over many seeds. `KFS_SIM_FROM` and `KFS_SIM_SEEDS` choose others.

use kfs_sim::{run, run_many};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn two_thousand_seeds_hold() {
    let totals = run_many(number("KFS_SIM_FROM", 0), number("KFS_SIM_SEEDS", 2_000), None, false);
    for report in &totals.failed {
        eprintln!("{report}\nreplay: {}", report.replay());
    }
    assert!(totals.failed.is_empty(), "seeds failed; see above how to replay them");
    // A simulation in which nothing happens finds nothing.
    let [_, acked, not_stored, perhaps] = totals.appends;
    assert!(acked > 5 * totals.seeds && not_stored > totals.seeds && perhaps > totals.seeds / 10, "{totals:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in (0..2_000).step_by(80) {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!((first.hash, first.lines), (second.hash, second.lines), "seed {seed}");
    }
    assert_ne!(run(1, false).hash, run(2, false).hash);
}
