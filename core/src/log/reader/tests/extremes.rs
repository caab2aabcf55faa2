//! What a caller may give, and what a log may hold, at its extremes. A debug build panics where arithmetic overflows.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::error::ErrorKind;
use crate::format::MAX_OFFSET;
use crate::log::Partition;
use crate::log::fixtures::NOW;
use crate::{FetchRequest, ScanBudget};

const OFFSETS: [i64; 6] = [i64::MIN, -1, 0, 60, i64::MAX - 1, i64::MAX];
const SIZES: [usize; 3] = [0, 1, usize::MAX];

/// What a read returned. It may fail, but a task that panicked would make it fail as *internal*.
fn sound<T>(read: Result<T>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Internal, "{error:#}");
            None
        }
    }
}

/// What a future gives before time passes.
async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..50 {
        if let Some(output) = future.as_mut().now_or_never() {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Reads a partition in every way from an offset on.
async fn read(f: &Fixture, reader: &Reader, offset: i64, other: i64, size: usize) {
    let fetched = sound(reader.fetch(offset, size).await);
    assert!(offset >= 0 || fetched.is_none());
    if let Some(fetch) = fetched {
        assert!(fetch.next_offset >= offset);
        fetch.records().for_each(|record| drop(sound(record)));
    }
    let options = FetchOptions::new(size).read_ahead_to(other).include_buffered(true);
    sound(reader.fetch_with(offset, options).await);
    let mut batches = reader.batches(offset);
    batches.read_ahead_to(other);
    let mut records = reader.records(offset);
    for at in [offset, other] {
        batches.seek(at);
        records.seek(at);
        while let Some(Some(_)) = sound(batches.next().await) {}
        while let Some(Some(_)) = sound(records.next().await) {}
        assert!(batches.position() >= at && records.position() >= at);
    }
    let mut follow = reader.follow(offset);
    follow.read_ahead_to(other);
    while let Some(Some(Some(_))) = soon(follow.next()).await.map(sound) {}
    sound(reader.offset_for_timestamp(offset).await);
    let request = FetchRequest::new([(reader, offset, size), (reader, other, size)]);
    for max_wait in [Duration::ZERO, Duration::MAX] {
        let request = request.clone().min_bytes(size).max_bytes(size).max_wait(max_wait);
        if let Some(response) = soon(f.bucket.fetch_many(&request)).await.and_then(sound) {
            response.partitions.into_iter().for_each(|fetched| drop(sound(fetched)));
        }
    }
}

/// Reads the segments of a partition in every way.
async fn read_segments(partition: &Partition, offset: i64, other: i64, size: usize) {
    let listed = sound(partition.segments(offset..=other).all().await).unwrap_or_default();
    let mut handles: Vec<_> = listed.iter().map(|info| partition.segment_of(info)).collect();
    handles.push(partition.segment(offset));
    for handle in handles {
        sound(handle.fetch(offset..other, size).await);
        sound(handle.fetch_within(&ScanBudget::new(size), offset..=other, size).await);
        let (from, to) = (offset.cast_unsigned(), other.cast_unsigned());
        sound(handle.range(from..to).await);
        sound(handle.range(to..from).await);
    }
}

async fn read_all(f: &Fixture) {
    let options = ReaderOptions::default;
    let longest = options().poll_min(Duration::MAX).poll_max(Duration::MAX);
    let readers = [
        options(),
        options().block_bytes(0).fetch_bytes(0).poll_max(Duration::ZERO).on_corrupt(OnCorrupt::Skip),
        longest.block_bytes(usize::MAX).fetch_bytes(usize::MAX).isolation(Isolation::ReadCommitted),
    ];
    for (offset, other) in OFFSETS.into_iter().zip(OFFSETS.into_iter().rev()) {
        for size in SIZES {
            for options in &readers {
                read(f, &f.partition.reader_with(options.clone()), offset, other, size).await;
            }
            read_segments(&f.partition, offset, other, size).await;
        }
    }
    sound(f.partition.max_timestamp().await);
}

#[tokio::test]
async fn no_offset_size_or_time_that_a_caller_gives_overflows() {
    let (f, _) = log().await;
    read_all(&f).await;
    let empty = Fixture::new();
    read_all(&empty).await;
    empty.partition.create(MAX_OFFSET - 1).await.unwrap();
    read_all(&empty).await;
}

#[tokio::test]
async fn a_log_that_ends_at_the_greatest_offset_is_read() {
    let f = Fixture::new();
    f.put_segment(MAX_OFFSET - 60, &vec![batch(1, 2000); 50], 1).await;
    assert_eq!(f.put_segment(MAX_OFFSET - 10, &[batch(9, 5), batch(1, 5)], 1).await, MAX_OFFSET);
    let reader = f.partition.reader_with(small_blocks());
    let last = reader.fetch(MAX_OFFSET - 1, usize::MAX).await.unwrap();
    assert_eq!((last.next_offset, last.records().count()), (MAX_OFFSET, 1));
    assert!(reader.fetch(MAX_OFFSET, usize::MAX).await.unwrap().is_empty());
    assert_eq!(f.partition.refresh().await.unwrap().high_watermark, MAX_OFFSET);
    let found = reader.offset_for_timestamp(NOW).await.unwrap().unwrap();
    assert_eq!(found.offset, MAX_OFFSET - 60);
    read_all(&f).await;
    // A key at the greatest offset, which no segment can have.
    f.put(&f.key(i64::MAX), "none").await;
    read_all(&f.cold()).await;
}
