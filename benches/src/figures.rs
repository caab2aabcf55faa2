//! What was measured: criterion's estimates, and numbers that are no times.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Figure {
    /// The median time of an iteration, and the bytes or elements that it handled.
    Timed { nanoseconds: f64, work: Option<f64> },
    /// As it was kept.
    Plain(f64),
}

/// All that the last run measured of one row, by name.
pub(crate) type Figures = Vec<(String, Figure)>;

/// Cargo's target directory, for this program lies in its `release/deps`.
fn root() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    program.ancestors().nth(3).expect("cargo puts it three below").to_path_buf()
}

/// Where criterion keeps its estimates.
pub fn criterion() -> PathBuf {
    root().join("criterion")
}

/// Forgets what earlier runs measured.
pub fn forget() {
    for directory in [criterion(), root().join("kfs-figures")] {
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("removed");
        }
    }
}

fn kept(row: &str) -> PathBuf {
    root().join("kfs-figures").join(row)
}

/// Keeps a number that is no time of criterion's, in the row's unit where it is named `kfs` or
/// `floor: ...`. A run that does not measure keeps nothing.
pub fn keep(row: &str, name: &str, number: f64) {
    if !crate::measures() {
        return;
    }
    println!("{row}/{name}: {number:.3}");
    fs::create_dir_all(kept(row)).expect("a directory");
    fs::write(kept(row).join(name), number.to_string()).expect("written");
}

/// What was measured of a row, since then.
pub(crate) fn of(row: &str, since: Option<SystemTime>) -> Figures {
    let plain = entries(&kept(row)).into_iter().filter_map(|path| {
        let number = String::from_utf8(read(&path, since)?).ok()?.parse().ok()?;
        Some((path.file_name()?.to_str()?.to_owned(), Figure::Plain(number)))
    });
    let groups = entries(&criterion());
    let timed =
        groups.iter().flat_map(|group| entries(group)).filter_map(|function| timed(row, &function.join("new"), since));
    let mut figures: Figures = plain.chain(timed).collect();
    figures.sort_by(|a, b| a.0.cmp(&b.0));
    figures
}

fn read(path: &Path, since: Option<SystemTime>) -> Option<Vec<u8>> {
    let written = fs::metadata(path).ok()?.modified().ok()?;
    if since.is_some_and(|since| written < since) { None } else { fs::read(path).ok() }
}

fn timed(row: &str, directory: &Path, since: Option<SystemTime>) -> Option<(String, Figure)> {
    let read = |name: &str| serde_json::from_slice::<Value>(&read(&directory.join(name), since)?).ok();
    let benchmark = read("benchmark.json")?;
    if benchmark.get("group_id")?.as_str()? != row {
        return None;
    }
    let name = benchmark.get("function_id")?.as_str()?.to_owned();
    let throughput = benchmark.get("throughput").and_then(Value::as_object);
    let work = throughput.and_then(|kinds| kinds.values().next()).and_then(Value::as_f64);
    let nanoseconds = read("estimates.json")?.get("median")?.get("point_estimate")?.as_f64()?;
    Some((name, Figure::Timed { nanoseconds, work }))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
