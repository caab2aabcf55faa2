//! Streams, small and large.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CheckOutcome, CheckRun, Deviation, bytes_equal, checks, deviation, done, equal, fails, same_version};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{PART_BYTES, ReadRange, Version};

checks! {
    a_small_stream_is_one_object,
    a_large_stream_is_one_object,
    parts_of_a_large_object_are_streamed,
    a_stream_that_fails_leaves_the_old_object,
    a_stream_of_an_object_that_is_replaced_is_a_conflict,
}

/// A size of two whole parts and a short one.
const LARGE: usize = 2 * PART_BYTES + 12_345;
/// The sizes of the pieces do not fit the parts.
const PIECE: usize = 1_000_003;

/// Bytes that are different at each place, and between seeds.
fn large(seed: u8) -> Bytes {
    (0..LARGE).map(|at| (at % 251) as u8 ^ (at / 65_537 % 256) as u8 ^ seed).collect::<Vec<u8>>().into()
}

fn pieces(bytes: &Bytes) -> Vec<Result<Bytes>> {
    bytes.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

async fn put_large(run: &CheckRun<'_>, seed: u8) -> std::result::Result<(String, Bytes, Version), Deviation> {
    let (key, bytes) = (run.key("large"), large(seed));
    let put = run.store.put_stream(&key, stream::iter(pieces(&bytes))).await;
    let version = done(&key, "the stream is written", put)?;
    Ok((key, bytes, version))
}

async fn streamed(run: &CheckRun<'_>, key: &str, range: ReadRange) -> std::result::Result<Vec<u8>, Deviation> {
    let expected = format!("{range:?} is streamed");
    let stream = done(key, &expected, run.store.get_stream(key, range).await)?;
    let length = stream.range().end.saturating_sub(stream.range().start);
    let pieces: Vec<Bytes> = done(key, &expected, stream.try_collect().await)?;
    let bytes = pieces.concat();
    equal(key, "bytes streamed", u64::try_from(bytes.len()).unwrap_or(u64::MAX), length)?;
    Ok(bytes)
}

async fn a_small_stream_is_one_object(run: &CheckRun<'_>) -> CheckOutcome {
    let key = run.key("small");
    for pieces in [vec![], vec![""], vec!["hello, ", "", "world"]] {
        let whole = pieces.concat();
        let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let put = run.store.put_stream(&key, stream::iter(pieces.collect::<Vec<_>>())).await;
        let version = done(&key, "the stream is written", put)?;
        let (bytes, read, _) = run.read(&key).await?;
        bytes_equal(&key, &bytes, whole.as_bytes())?;
        same_version(&key, "get answers the version", &read, &version)?;
        bytes_equal(&key, &streamed(run, &key, ReadRange::Whole).await?, whole.as_bytes())?;
    }
    Ok(())
}

async fn a_large_stream_is_one_object(run: &CheckRun<'_>) -> CheckOutcome {
    run.put("large", "an older object").await?;
    let (key, bytes, version) = put_large(run, 1).await?;
    let head = done(&key, "head answers", run.store.head(&key).await)?;
    equal(&key, "size", head.info.size, u64::try_from(LARGE).unwrap_or_default())?;
    same_version(&key, "head answers the version", &head.info.version, &version)?;
    bytes_equal(&key, &streamed(run, &key, ReadRange::Whole).await?, &bytes)?;
    // The copy of what went up in parts.
    let copy = run.key("copy");
    done(&copy, "the copy is made", run.store.copy(&key, &copy).await)?;
    bytes_equal(&copy, &streamed(run, &copy, ReadRange::Whole).await?, &bytes)
}

async fn parts_of_a_large_object_are_streamed(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, bytes, _) = put_large(run, 2).await?;
    let (size, last) = (u64::try_from(LARGE).unwrap_or_default(), 20_000_000);
    let part = |from: u64, to: u64| {
        let (from, to) = (usize::try_from(from).unwrap_or_default(), usize::try_from(to).unwrap_or_default());
        bytes.get(from..to).unwrap_or_default()
    };
    bytes_equal(&key, &streamed(run, &key, ReadRange::Range(5..last)).await?, part(5, last))?;
    let clipped = ReadRange::Range(last..u64::MAX);
    bytes_equal(&key, &streamed(run, &key, clipped).await?, part(last, size))?;
    bytes_equal(&key, &streamed(run, &key, ReadRange::Suffix(last)).await?, part(size - last, size))?;
    bytes_equal(&key, &streamed(run, &key, ReadRange::Range(size..size + 1)).await?, b"")?;
    bytes_equal(&key, &streamed(run, &key, ReadRange::AtMost(size)).await?, &bytes)?;
    let refused = run.store.get_stream(&key, ReadRange::AtMost(size - 1)).await;
    fails(&key, "a stream of at most one byte less", refused, ErrorKind::Corrupt)?;
    for range in [ReadRange::Range(3..3), ReadRange::Suffix(0)] {
        let shown = format!("a stream of {range:?}");
        fails(&key, &shown, run.store.get_stream(&key, range).await, ErrorKind::InvalidInput)?;
    }
    Ok(())
}

async fn a_stream_that_fails_leaves_the_old_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("old", "old").await?;
    let new = run.key("new");
    let bytes = large(3);
    for key in [&key, &new] {
        let broken = || Err(Error::new(ErrorKind::Corrupt, "the source broke off"));
        let pieces = pieces(&bytes).into_iter().chain([broken()]);
        let put = run.store.put_stream(key, stream::iter(pieces.collect::<Vec<_>>())).await;
        fails(key, "a stream that breaks off with an error of that kind", put, ErrorKind::Corrupt)?;
    }
    bytes_equal(&key, &run.read(&key).await?.0, b"old")?;
    fails(&new, "get", run.store.get(&new, ReadRange::Whole, None).await, ErrorKind::NotFound)
}

async fn a_stream_of_an_object_that_is_replaced_is_a_conflict(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, old, _) = put_large(run, 4).await?;
    let mut stream = done(&key, "the object is streamed", run.store.get_stream(&key, ReadRange::Whole).await)?;
    // Only the first piece is there. Nothing else was asked for, because the stream has not been polled.
    put_large(run, 5).await?;
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return bytes_equal(&key, &read, old.get(..read.len()).unwrap_or_default());
            }
            Err(error) => return Err(deviation(&key, super::failure(&error), "an error of kind Conflict")),
        }
    }
    Err(deviation(&key, format!("{} bytes without an error", read.len()), "an error of kind Conflict"))
}
