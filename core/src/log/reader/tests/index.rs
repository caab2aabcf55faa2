use super::*;
use crate::format::SparseIndex;

/// A large segment, its index changed, read at every offset by parts.
async fn reads_all(change: impl Fn(Bytes) -> Option<Bytes>) -> u64 {
    let f = Fixture::new();
    let mut model = Model::default();
    let mut many = sizes();
    many.extend(sizes());
    model.append(&f, &many, 5).await;
    let key = f.partition.id().index_key(0);
    match change(f.get(&key).await) {
        Some(bytes) => f.put(&key, bytes).await,
        None => f.delete(&key).await,
    }
    let stored = f.get(&f.key(0)).await;
    let mut gets = 0;
    for offset in 0..model.end() {
        let cold = f.cold();
        let reader = cold.partition.reader_with(small_blocks());
        model.check(&reader.fetch(offset, 300).await.unwrap(), offset, 300);
        gets = gets.max(cold.reads().1);
    }
    let warm = f.cold();
    let reader = warm.partition.reader_with(small_blocks());
    for offset in (0..model.end()).rev() {
        model.check(&reader.fetch(offset, 300).await.unwrap(), offset, 300);
    }
    assert_eq!(f.get(&f.key(0)).await, stored);
    gets
}

#[tokio::test]
async fn a_true_index_takes_one_get_and_the_batch_another() {
    // A batch of 40,000 bytes does not fit the parts of 4 KiB, but its index entry says where it ends.
    assert_eq!(reads_all(Some).await, 2);
}

#[tokio::test]
async fn invariant_5_a_missing_index_is_built_anew_in_memory() {
    reads_all(|_| None).await;
}

#[tokio::test]
async fn invariant_5_a_truncated_index_is_survived() {
    for keep in [0, 10, 16, 20, 28, 40] {
        reads_all(|bytes| Some(bytes.slice(..keep.min(bytes.len())))).await;
    }
    // Cut, with a count that fits: it describes only the front of the segment.
    reads_all(|bytes| {
        let mut cut = bytes[..16 + 12].to_vec();
        cut[6..10].copy_from_slice(&1_i32.to_be_bytes());
        Some(cut.into())
    })
    .await;
}

#[tokio::test]
async fn invariant_5_a_foreign_or_stale_index_is_survived() {
    let moved = |by_offset: i64, by_position: i32| {
        move |bytes: Bytes| {
            let mut out = bytes[..16].to_vec();
            for entry in SparseIndex::parse(&bytes).unwrap().entries() {
                let first = entry.position == 32;
                let offset = if first { entry.offset } else { entry.offset + by_offset };
                let position = if first { 32 } else { entry.position as i32 + by_position };
                out.extend(offset.to_be_bytes());
                out.extend(position.to_be_bytes());
            }
            Some(Bytes::from(out))
        }
    };
    reads_all(moved(1, 0)).await;
    reads_all(moved(0, 7)).await;
    reads_all(moved(-1, 0)).await;
    reads_all(moved(0, 10_000_000)).await;
    reads_all(moved(1 << 40, 0)).await;
    reads_all(|_| Some(Bytes::from_static(b"not an index at all, but some other bytes"))).await;
}

#[tokio::test]
async fn invariant_7_any_flipped_byte_in_an_index_is_survived() {
    for position in 0..40 {
        reads_all(move |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[position] ^= 0x40;
            Some(bytes.into())
        })
        .await;
    }
}

#[tokio::test]
async fn indexes_are_held_by_version_and_shared_by_readers() {
    let f = Fixture::new();
    let mut model = Model::default();
    let many: Vec<_> = (0..100).map(|_| batch(1, 400)).collect();
    model.append(&f, &many, 5).await;
    for _ in 0..3 {
        let reader = f.partition.reader_with(small_blocks());
        reader.fetch(50, 1).await.unwrap();
    }
    assert_eq!(f.reads(), (1, 2), "one GET of the index, one of the segment");
    assert!(f.bucket.0.indexes.bytes() > 0);
}
