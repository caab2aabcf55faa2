//! What the benchmarks share. Each compares, in one run, with a floor and with what a user would
//! pick instead.
//!
//! A criterion group is a row of the [`table`]: its function `kfs` is this library, `floor: NAME` is
//! the least that anybody would pay, and any other is a peer. What criterion does not measure is
//! kept by [`figures::keep`] under the row and a name.

mod counting;
mod data;
mod discard;
pub mod figures;
mod machine;
pub mod table;

pub use counting::Counting;
pub use data::{batch, payload};
pub use discard::Discard;
pub use machine::machine;

/// Whether this run is to measure; else, under `cargo test`, it only shows that everything works.
pub fn measures() -> bool {
    let given = |flag: &str| std::env::args().any(|arg| arg == flag);
    given("--bench") && !given("--test")
}

/// A size for a run that measures, and one for a run that doesn't.
pub fn size(full: usize, short: usize) -> usize {
    if measures() { full } else { short }
}

/// The words by which benchmarks are chosen. What follows a flag may be its number.
fn filters() -> Vec<String> {
    std::env::args().skip(1).filter(|word| !word.starts_with('-') && word.parse::<f64>().is_err()).collect()
}

/// Whether a word is part of the name, or names a function of its group.
pub fn named(name: &str) -> bool {
    filters().iter().any(|filter| name.contains(filter.as_str()) || filter.starts_with(name))
}

/// Whether a row is to be measured: it is named, or none is.
pub fn asked_for(row: &str) -> bool {
    filters().is_empty() || named(row)
}
