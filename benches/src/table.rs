//! The table: what is measured, what it is held against, and what was asked for.

use std::fmt;
use std::time::SystemTime;

use crate::figures::{self, Figure};

/// How a row's own number reads.
#[derive(Clone, Copy)]
enum Unit {
    /// 10^9 bytes a second.
    Gigabytes,
    /// 10^6 bytes a second.
    Megabytes,
    /// 10^6 records a second.
    MegaRecords,
    Nanoseconds,
    Microseconds,
    Bytes,
}

use Unit::*;

/// What is asked of a row.
#[derive(Clone, Copy)]
enum Demand {
    AtLeast(f64),
    Below(f64),
    AtLeastOfFloor(f64),
    /// That much, or this share of the floor, whichever is lower.
    AtLeastOrOfFloor(f64, f64),
    AtMostOfFloor(f64),
    /// What it takes beyond the floor.
    BelowBeyondFloor(f64),
    /// Against the peer of this name.
    AtLeastOfPeer(&'static str, f64),
    /// Another figure of the row, by its name.
    AtMostOther(&'static str, f64),
}

use Demand::*;

struct Row {
    /// What it is, and the name of the criterion group.
    name: &'static str,
    unit: Unit,
    demands: &'static [Demand],
}

/// What is allocated for what is appended: the name of a figure.
pub const ALLOCATED: &str = "bytes allocated per byte";

const ROWS: &[Row] = &[
    Row {
        name: "append 16 KiB batches",
        unit: Gigabytes,
        demands: &[AtLeast(8.0), AtLeastOfFloor(0.5), AtMostOther(ALLOCATED, 0.05)],
    },
    Row { name: "append 1 KiB batches", unit: Gigabytes, demands: &[AtLeast(2.0), AtMostOther(ALLOCATED, 1.3)] },
    Row { name: "append 100-byte records", unit: MegaRecords, demands: &[AtLeast(10.0)] },
    Row { name: "append with the produce check", unit: MegaRecords, demands: &[AtLeastOfFloor(0.6)] },
    Row { name: "append with the decode check", unit: MegaRecords, demands: &[AtLeastOfFloor(0.6)] },
    Row { name: "append lz4 with the produce check", unit: MegaRecords, demands: &[AtLeastOfFloor(0.6)] },
    Row {
        name: "decode 100-byte values",
        unit: MegaRecords,
        demands: &[AtLeast(60.0), AtLeastOfPeer("kafka-protocol", 3.5)],
    },
    Row { name: "decode 1 KiB values", unit: MegaRecords, demands: &[AtLeast(12.0), AtLeastOfFloor(0.6)] },
    Row { name: "decode lz4, 100-byte values", unit: MegaRecords, demands: &[AtLeastOfFloor(0.6)] },
    Row { name: "fetch a hot 4 KiB batch", unit: Nanoseconds, demands: &[AtMostOfFloor(1.0)] },
    Row { name: "scan hot 16 KiB batches", unit: Gigabytes, demands: &[AtLeastOfFloor(0.6)] },
    Row { name: "locate a segment among 100,000", unit: Nanoseconds, demands: &[Below(100.0)] },
    Row { name: "durable append to a directory", unit: Microseconds, demands: &[BelowBeyondFloor(200.0)] },
    Row { name: "durable append to S3", unit: Microseconds, demands: &[BelowBeyondFloor(1000.0)] },
    Row { name: "append to S3", unit: Megabytes, demands: &[AtLeastOfFloor(0.8)] },
    Row { name: "append to 8 partitions in S3", unit: Megabytes, demands: &[AtLeastOrOfFloor(500.0, 1.0)] },
    Row { name: "scan 1 GiB from S3", unit: Megabytes, demands: &[AtLeastOfFloor(0.9)] },
    Row { name: "upload 512 MiB to S3", unit: Megabytes, demands: &[AtLeast(100.0)] },
    Row { name: "download 512 MiB from S3", unit: Megabytes, demands: &[AtLeast(100.0)] },
    Row { name: "copy 1 GiB between directories", unit: Megabytes, demands: &[AtLeastOfFloor(0.5)] },
    Row { name: "wake 100 fetches of 1,000 partitions", unit: Microseconds, demands: &[Below(1000.0)] },
    Row {
        name: "10,000 idle partitions, each",
        unit: Bytes,
        demands: &[
            Below(4096.0),
            AtMostOther("tasks", 0.0),
            AtMostOther("requests in a second", 0.0),
            AtMostOther("ms of CPU in a second", 1.0),
        ],
    },
];

const FLOOR: &str = "floor: ";
const OURS: &str = "kfs";

/// What was measured of a row, in its unit.
struct Measured {
    ours: f64,
    floor: Option<(String, f64)>,
    peers: Vec<(String, f64)>,
    others: Vec<(&'static str, f64)>,
}

impl Row {
    fn measured(&self, since: Option<SystemTime>) -> Option<Measured> {
        let figures = figures::of(self.name, since);
        let other = |name: &str| self.others().any(|other| other == name);
        let value = |name: &str| figures.iter().find(|(n, _)| n == name).and_then(|(_, f)| self.unit.of(f));
        let named = |name: &String| Some((name.clone(), value(name)?));
        let floor = figures.iter().map(|(name, _)| name).find(|name| name.starts_with(FLOOR));
        let peers = figures.iter().map(|(name, _)| name);
        Some(Measured {
            ours: value(OURS)?,
            floor: floor.and_then(|name| Some((name.strip_prefix(FLOOR)?.to_owned(), value(name)?))),
            peers: peers.filter(|n| *n != OURS && !n.starts_with(FLOOR) && !other(n)).filter_map(named).collect(),
            others: self.others().filter_map(|name| Some((name, value(name)?))).collect(),
        })
    }

    fn others(&self) -> impl Iterator<Item = &'static str> {
        self.demands.iter().filter_map(|demand| if let AtMostOther(name, _) = demand { Some(*name) } else { None })
    }

    /// The row in Markdown.
    fn markdown(&self, measured: &Measured) -> String {
        let targets: Vec<_> = self.demands.iter().map(|demand| demand.text(self.unit)).collect();
        let targets = targets.join("; ");
        let Measured { ours, floor, peers, others } = measured;
        let mut cells = vec![self.unit.text(*ours)];
        cells.extend(others.iter().map(|(name, number)| format!("{} {name}", short(*number))));
        let (floor, of_floor) = floor.as_ref().map_or_else(Default::default, |(name, number)| {
            (format!("{name}: {}", self.unit.text(*number)), short(ours / number))
        });
        let peers: Vec<_> =
            peers.iter().map(|(n, p)| format!("{n}: {}, {} times", self.unit.text(*p), short(ours / p))).collect();
        let those = |met: Option<bool>| {
            let demands = self.demands.iter().filter(|d| d.is_met(measured) == met).map(|d| d.text(self.unit));
            demands.collect::<Vec<_>>().join("; ")
        };
        let met = match (those(Some(false)), those(None)) {
            (missed, _) if !missed.is_empty() => format!("**no**: {missed}"),
            (_, open) if !open.is_empty() => format!("not measured in this run: {open}"),
            _ => "yes".to_owned(),
        };
        format!(
            "| {} | {} | {floor} | {of_floor} | {} | {targets} | {met} |\n",
            self.name,
            cells.join("; "),
            peers.join("; ")
        )
    }
}

impl Unit {
    fn of(self, figure: &Figure) -> Option<f64> {
        Some(match (self, figure) {
            (_, Figure::Plain(number)) => *number,
            (Gigabytes, Figure::Timed { nanoseconds, work }) => (*work)? / nanoseconds,
            (Megabytes, Figure::Timed { nanoseconds, work }) => (*work)? / nanoseconds * 1e3,
            (MegaRecords, Figure::Timed { nanoseconds, work }) => (*work)? / nanoseconds * 1e3,
            (Microseconds, Figure::Timed { nanoseconds, .. }) => nanoseconds / 1e3,
            (Nanoseconds | Bytes, Figure::Timed { nanoseconds, .. }) => *nanoseconds,
        })
    }

    fn text(self, number: f64) -> String {
        let name = match self {
            Gigabytes => "GB/s",
            Megabytes => "MB/s",
            MegaRecords => "M records/s",
            Nanoseconds => "ns",
            Microseconds => "µs",
            Bytes => "bytes",
        };
        format!("{} {name}", short(number))
    }
}

impl Demand {
    /// Nothing is said of what was not measured.
    fn is_met(&self, measured: &Measured) -> Option<bool> {
        let (ours, floor) = (measured.ours, measured.floor.as_ref().map(|(_, number)| *number));
        let peer = |peer: &str| measured.peers.iter().find(|(name, _)| name == peer).map(|(_, number)| *number);
        let other = |other: &str| measured.others.iter().find(|(name, _)| *name == other).map(|(_, number)| *number);
        match *self {
            AtLeast(least) => Some(ours >= least),
            Below(most) => Some(ours < most),
            AtLeastOfFloor(least) => floor.map(|floor| ours / floor >= least),
            AtLeastOrOfFloor(least, share) => floor.map(|floor| ours >= least.min(floor * share)),
            AtMostOfFloor(most) => floor.map(|floor| ours / floor <= most),
            BelowBeyondFloor(most) => floor.map(|floor| ours - floor < most),
            AtLeastOfPeer(name, least) => peer(name).map(|peer| ours / peer >= least),
            AtMostOther(name, most) => other(name).map(|number| number <= most),
        }
    }

    fn text(&self, unit: Unit) -> String {
        match *self {
            AtLeast(least) => format!(">= {}", unit.text(least)),
            Below(most) => format!("< {}", unit.text(most)),
            AtLeastOfFloor(least) => format!(">= {least} of the floor"),
            AtLeastOrOfFloor(least, share) => format!(">= {} or {share} of the floor", unit.text(least)),
            AtMostOfFloor(most) => format!("<= {most} of the floor"),
            BelowBeyondFloor(most) => format!("< {} beyond the floor", unit.text(most)),
            AtLeastOfPeer(peer, least) => format!(">= {least} times {peer}"),
            AtMostOther(other, most) => format!("<= {most} {other}"),
        }
    }
}

/// Three digits that count.
fn short(number: f64) -> String {
    struct Short(f64);
    impl fmt::Display for Short {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let digits = match self.0.abs() {
                0.0 => 0,
                n if n >= 99.95 => 0,
                n if n >= 9.995 => 1,
                _ => 2,
            };
            write!(f, "{:.digits$}", self.0)
        }
    }
    Short(number).to_string()
}

/// The rows that were measured since then, or, without a time, all as last measured.
pub fn markdown(since: Option<SystemTime>) -> String {
    let mut table = "| what | measured | floor, same run | of the floor | peer | target | met |\n".to_owned();
    table.push_str("|---|---|---|---|---|---|---|\n");
    for row in ROWS {
        match row.measured(since) {
            Some(measured) => table.push_str(&row.markdown(&measured)),
            None if since.is_none() => table.push_str(&format!("| {} | not measured | | | | | |\n", row.name)),
            None => {}
        }
    }
    table
}
