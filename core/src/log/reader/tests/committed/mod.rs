//! Reading committed records (docs/design.md, "Reading committed records").

mod fetching_many;
mod following;
mod lost;
mod markers;
mod model;
mod requests;
mod sourced;

use super::*;
use crate::format::{BatchBuilder, BatchOptions, NewRecord};
use crate::log::fixtures::NOW;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

fn options(producer: i64) -> BatchOptions {
    BatchOptions::default().producer_id(producer).producer_epoch(0).base_sequence(0)
}

fn records(options: BatchOptions, count: usize, size: usize) -> Batch {
    let mut builder = BatchBuilder::new(options);
    let value = vec![b'v'; size];
    for _ in 0..count {
        assert!(builder.push(&NewRecord::new(NOW).key(b"k").value(&value)).unwrap());
    }
    builder.finish(0).unwrap()
}

/// Records of a transaction of this producer.
fn part_of(producer: i64, count: usize) -> Batch {
    records(options(producer).transactional(true), count, 10)
}

/// A control batch with one record that has this key.
fn control(options: BatchOptions, key: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(options.transactional(true).control(true));
    builder.push(&NewRecord::new(NOW).key(key).value(&[0; 6])).unwrap();
    builder.finish(0).unwrap()
}

/// The marker that ends the transaction of this producer.
fn marker(producer: i64, ending: i16) -> Batch {
    control(options(producer), &[[0, 0], ending.to_be_bytes()].concat())
}

fn committed() -> ReaderOptions {
    ReaderOptions::default().isolation(Isolation::ReadCommitted)
}

/// The offsets of all records up to where the reader ends.
async fn offsets(reader: &Reader, from: i64) -> Vec<i64> {
    let mut records = reader.records(from);
    let mut offsets = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        offsets.push(record.offset());
    }
    offsets
}

/// A log of segments of these batches.
async fn log_of(segments: &[&[Batch]]) -> (Fixture, Model) {
    let f = Fixture::new();
    let mut model = Model::default();
    for segment in segments {
        model.append(&f, segment, 1).await;
    }
    (f, model)
}
