//! Fetching many partitions at once, and waiting until there is enough (docs/design.md, "Reading").
//!
//! `request` is what a caller asks and gets. `gathering` reads, one partition by `begin`, and `count` says what is in
//! sight without reading it. `wait` goes back and forth between the two. `tail` asks the store what follows the ends
//! at which fetches wait.

mod begin;
mod count;
mod gathering;
mod request;
mod tail;
mod wait;

pub use self::request::{FetchPartition, FetchRequest, FetchResponse};

#[cfg(test)]
mod tests;
