use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::error::Error;
use crate::format::{Namespace, NewRecord, PartitionId};
use crate::{Bucket, BucketOptions};

/// The samples of a text by series. Fails unless each sample stands under a HELP and a TYPE of its family.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut helped, mut family, mut kind) = (BTreeMap::new(), BTreeSet::new(), "", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty() && helped.insert(name), "{line}");
        } else if let Some(of_type) = line.strip_prefix("# TYPE ") {
            (family, kind) = of_type.split_once(' ').unwrap();
            assert!(helped.contains(family) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands under {family}"));
            let of_histogram = ["_bucket", "_sum", "_count"].contains(&suffix);
            assert!(if kind == "histogram" { of_histogram } else { suffix.is_empty() }, "{line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line} stands twice");
        }
    }
    samples
}

/// The series that events change, and by how much. Buckets of histograms are left out.
fn moved(recorder: &PrometheusRecorder, event: &BucketEvent<'_>) -> Vec<(String, f64)> {
    let before = samples(&recorder.text());
    recorder.record(event);
    let changes = samples(&recorder.text()).into_iter().map(|(series, value)| {
        let change = value - before.get(&series).copied().unwrap_or(0.0);
        (series, change)
    });
    changes.filter(|(series, change)| *change != 0.0 && !series.contains("_bucket{")).collect()
}

#[track_caller]
fn assert_moves(recorder: &PrometheusRecorder, event: &BucketEvent<'_>, expected: &[(&str, f64)]) {
    let expected: Vec<_> = expected.iter().map(|(series, change)| ((*series).to_owned(), *change)).collect();
    assert_eq!(moved(recorder, event), expected, "{event:?}");
}

fn partition() -> PartitionId {
    PartitionId::parse("orders/0", Namespace::default()).unwrap()
}

#[test]
fn each_request_moves_the_metrics_of_its_operation() {
    let recorder = PrometheusRecorder::new();
    let kinds = [RequestKind::Put, RequestKind::Get, RequestKind::List, RequestKind::Delete];
    let outcomes = [RequestOutcome::Done, RequestOutcome::Failed(ErrorKind::TimedOut), RequestOutcome::GivenUp];
    for (kind, outcome) in kinds.into_iter().flat_map(|kind| outcomes.map(|outcome| (kind, outcome))) {
        let duration = Duration::from_millis(250);
        let event = BucketEvent::Request { kind, outcome, requests: 2, bytes_out: 3, bytes_in: 5, duration };
        let (operation, outcome) = (kind.name(), outcome.name());
        assert_moves(
            &recorder,
            &event,
            &[
                (&format!("kfs_store_received_bytes_total{{operation=\"{operation}\"}}"), 5.0),
                (&format!("kfs_store_request_duration_seconds_count{{operation=\"{operation}\"}}"), 1.0),
                (&format!("kfs_store_request_duration_seconds_sum{{operation=\"{operation}\"}}"), 0.25),
                (&format!("kfs_store_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}"), 2.0),
                (&format!("kfs_store_sent_bytes_total{{operation=\"{operation}\"}}"), 3.0),
            ],
        );
    }
}

#[test]
fn each_hedged_create_is_counted() {
    let (recorder, id) = (PrometheusRecorder::new(), partition());
    let event = BucketEvent::Hedge { partition: &id, waited: Duration::from_millis(50) };
    assert_moves(&recorder, &event, &[("kfs_hedged_creates_total", 1.0)]);
}

#[test]
fn each_change_of_the_breaker_moves_its_gauge_and_counter() {
    let recorder = PrometheusRecorder::new();
    let error = Error::new(ErrorKind::Unavailable, "away");
    let changes = [
        (BreakerState::Open, Some(&error), Some(1.0)),
        (BreakerState::HalfOpen, Some(&error), None),
        (BreakerState::Closed, None, Some(-1.0)),
    ];
    for (state, error, gauge) in changes {
        let event = BucketEvent::Breaker { state, failures: 10, error };
        let counter = format!("kfs_store_breaker_changes_total{{state=\"{}\"}}", state.name());
        let moves = [(&*counter, 1.0)].into_iter().chain(gauge.map(|moves| ("kfs_store_breaker_open", moves)));
        assert_moves(&recorder, &event, &moves.collect::<Vec<_>>());
    }
}

#[test]
fn each_event_of_a_writer_moves_its_metrics_and_no_other() {
    let (recorder, id) = (PrometheusRecorder::new(), partition());
    let partition = &id;
    let (away, fenced) = (Error::new(ErrorKind::Unavailable, "away"), Error::new(ErrorKind::Fenced, "fenced"));
    let retry =
        BucketEvent::Retry { partition: None, doing: "listing", failures: 7, pause: Duration::ZERO, error: &away };
    assert_moves(&recorder, &retry, &[("kfs_store_retries_total{error=\"unavailable\"}", 1.0)]);
    assert_moves(
        &recorder,
        &BucketEvent::WriterOpened { partition, open_writers: 9 },
        &[("kfs_open_writers", 1.0), ("kfs_writers_opened_total", 1.0)],
    );
    let duration = Duration::from_millis(500);
    assert_moves(
        &recorder,
        &BucketEvent::Append { partition, bytes: 7, records: 3, waited: duration },
        &[
            ("kfs_append_wait_seconds_count", 1.0),
            ("kfs_append_wait_seconds_sum", 0.5),
            ("kfs_appended_bytes_total", 7.0),
            ("kfs_appended_records_total", 3.0),
            ("kfs_appends_total", 1.0),
        ],
    );
    assert_moves(&recorder, &BucketEvent::Buffered { bytes: 11 }, &[("kfs_buffered_bytes", 11.0)]);
    assert_moves(&recorder, &BucketEvent::Buffered { bytes: 4 }, &[("kfs_buffered_bytes", -7.0)]);
    let flush = BucketEvent::Flush { partition, base_offset: 0, bytes: 100, records: 3, tries: 2, duration };
    assert_moves(
        &recorder,
        &flush,
        &[
            ("kfs_flush_duration_seconds_count", 1.0),
            ("kfs_flush_duration_seconds_sum", 0.5),
            ("kfs_flush_puts_total", 2.0),
            ("kfs_flushed_bytes_total", 100.0),
            ("kfs_flushed_records_total", 3.0),
        ],
    );
    let failed = BucketEvent::FlushFailed { partition, records: 3, tries: 2, duration, error: &fenced };
    assert_moves(
        &recorder,
        &failed,
        &[
            ("kfs_flush_failed_records_total", 3.0),
            ("kfs_flush_failures_total{error=\"fenced\"}", 1.0),
            ("kfs_flush_puts_total", 2.0),
        ],
    );
    let lost = BucketEvent::SlotLost { partition, offset: 4, error: &fenced };
    assert_moves(&recorder, &lost, &[("kfs_slots_lost_total", 1.0)]);
    for (error, outcome) in [(None, "done"), (Some(&fenced), "fenced")] {
        assert_moves(
            &recorder,
            &BucketEvent::WriterEnded { partition, open_writers: 9, error },
            &[("kfs_open_writers", -1.0), (&format!("kfs_writers_ended_total{{outcome=\"{outcome}\"}}"), 1.0)],
        );
    }
}

#[test]
fn each_use_of_a_cache_moves_the_metrics_of_that_cache() {
    let recorder = PrometheusRecorder::new();
    for (cache, name) in [(CacheKind::Blocks, "blocks"), (CacheKind::Indexes, "indexes")] {
        assert_moves(
            &recorder,
            &BucketEvent::Cache { cache, hits: 2, misses: 3 },
            &[
                (&format!("kfs_cache_hits_total{{cache=\"{name}\"}}"), 2.0),
                (&format!("kfs_cache_misses_total{{cache=\"{name}\"}}"), 3.0),
            ],
        );
    }
}

#[test]
fn each_read_of_a_replica_is_counted_by_its_outcome() {
    let recorder = PrometheusRecorder::new();
    for outcome in [ReplicaOutcome::Answered, ReplicaOutcome::OtherVersion, ReplicaOutcome::NotAsked] {
        let series = format!("kfs_replica_reads_total{{outcome=\"{}\"}}", outcome.name());
        assert_moves(&recorder, &BucketEvent::ReplicaRead { outcome }, &[(&series, 1.0)]);
    }
}

#[test]
fn a_duration_is_counted_in_each_bucket_that_holds_it() {
    let (recorder, id) = (PrometheusRecorder::new(), partition());
    recorder.record(&BucketEvent::Append { partition: &id, bytes: 1, records: 1, waited: Duration::from_millis(30) });
    let samples = samples(&recorder.text());
    let bucket = |bound: &str| samples[&format!("kfs_append_wait_seconds_bucket{{le=\"{bound}\"}}")];
    assert_eq!(["0.001", "0.025", "0.05", "60", "+Inf"].map(bucket), [0.0, 0.0, 1.0, 1.0, 1.0]);
}

#[tokio::test]
async fn the_counts_are_those_of_the_bucket() {
    let recorder = Arc::new(PrometheusRecorder::new());
    let bucket = Bucket::open_with("memory:", BucketOptions::default().recorder(recorder.clone())).unwrap();
    let partition = bucket.partition("orders", 0).unwrap();
    let writer = partition.writer().await.unwrap();
    writer.append(&[NewRecord::new(0).value(b"paid")]).await.unwrap().durable().await.unwrap();
    assert_eq!(samples(&recorder.text())["kfs_open_writers"], 1.0);
    writer.close(None).await.unwrap();
    let mut records = partition.reader().records(0);
    while records.next().await.unwrap().is_some() {}
    assert!(bucket.topics().await.unwrap().iter().any(|topic| topic.to_string() == "orders"));

    let (samples, counts) = (samples(&recorder.text()), bucket.requests());
    let sum = |prefix: &str| -> u64 {
        let of_prefix = samples.iter().filter(|(series, _)| series.starts_with(prefix));
        of_prefix.map(|(_, value)| *value as u64).sum()
    };
    let requests = |operation: &str| sum(&format!("kfs_store_requests_total{{operation=\"{operation}\""));
    assert!(counts.put > 0 && counts.get > 0 && counts.list > 0, "{counts:?}");
    let found = ["put", "get", "list", "delete"].map(requests);
    assert_eq!(found, [counts.put, counts.get, counts.list, counts.delete]);
    assert_eq!(sum("kfs_store_sent_bytes_total"), counts.bytes_out);
    assert_eq!(sum("kfs_store_received_bytes_total"), counts.bytes_in);
    assert_eq!([sum("kfs_appends_total"), sum("kfs_appended_records_total"), sum("kfs_flushed_records_total")], [1; 3]);
    assert_eq!([sum("kfs_open_writers"), sum("kfs_buffered_bytes")], [0, 0]);
    assert_eq!(sum("kfs_writers_ended_total{outcome=\"done\"}"), 1);
}

#[test]
fn the_document_names_every_metric_with_its_type_and_no_other() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `kfs_")).map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`');
        format!("kfs_{name} {}", cells.next().unwrap())
    });
    let text = PrometheusRecorder::new().text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned);
    assert_eq!(rows.collect::<BTreeSet<_>>(), types.collect::<BTreeSet<_>>());
}
