use proptest::prelude::*;

use super::*;

fn index(entries: &[(i64, u64)]) -> SparseIndex {
    let mut builder = IndexBuilder::new(1);
    for (offset, position) in entries {
        builder.push(*offset, *position, 1);
    }
    builder.finish()
}

#[test]
fn the_rule_counts_messages_from_the_last_entrys_batch() {
    let mut builder = IndexBuilder::new(100);
    let mut offset = 0;
    for (i, count) in [150, 1, 1, 99, 1].into_iter().enumerate() {
        builder.push(offset, 32 + i as u64, count);
        offset += i64::from(count);
    }
    let offsets: Vec<i64> = builder.finish().entries().map(|entry| entry.offset).collect();
    assert_eq!(offsets, [0, 150, 251]);
}

#[test]
fn the_bytes_are_a_header_of_16_and_12_an_entry() {
    let bytes = index(&[(7, 32), (10, 120)]).encode();
    let expected =
        b"IDX\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\x07\0\0\0\x20\0\0\0\0\0\0\0\x0a\0\0\0\x78".as_slice();
    assert_eq!(bytes, expected);
}

#[test]
fn a_lookup_gives_the_greatest_entry_at_or_below_or_else_the_first() {
    let index = index(&[(10, 32), (20, 100), (30, 200)]);
    for (offset, found) in [(i64::MIN, 10), (9, 10), (10, 10), (19, 10), (20, 20), (29, 20), (30, 30), (i64::MAX, 30)] {
        assert_eq!(index.find(offset).unwrap().offset, found, "{offset}");
    }
    for (position, found) in [(0, Some(32)), (31, Some(32)), (32, Some(100)), (199, Some(200)), (200, None)] {
        assert_eq!(index.next_after(position).map(|entry| entry.position), found, "{position}");
    }
}

#[test]
fn an_empty_index_finds_nothing() {
    let empty = SparseIndex::parse(&IndexBuilder::new(5).finish().encode()).unwrap();
    assert!(empty.is_empty() && empty.interval() == 5);
    assert_eq!((empty.find(0), empty.next_after(0)), (None, None));
}

#[test]
fn trailing_bytes_and_reserved_bits_are_accepted() {
    let index = index(&[(7, 32), (10, 120)]);
    let mut bytes = index.encode().to_vec();
    bytes.extend_from_slice(b"more");
    bytes[15] = 1;
    assert_eq!(SparseIndex::parse(&bytes).unwrap(), index);
}

#[test]
fn damaged_headers_and_entries_are_refused() {
    let good = index(&[(7, 32), (10, 120)]).encode();
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = good.to_vec();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        SparseIndex::parse(&damaged).unwrap_err()
    };
    for len in 0..good.len() {
        assert!(SparseIndex::parse(&good[..len]).is_err(), "cut to {len} bytes");
    }
    assert_eq!(with(0, b"J").position(), 0);
    assert!(with(4, &[0, 2]).is_unsupported());
    for count in [-1i32, 3, i32::MAX, i32::MIN] {
        assert_eq!(with(6, &count.to_be_bytes()).position(), 6, "{count}");
    }
    assert_eq!(with(16, &(-1i64).to_be_bytes()).position(), 16, "a negative offset");
    assert_eq!(with(16, &10i64.to_be_bytes()).position(), 28, "the same offset twice");
    assert_eq!(with(24, &31i32.to_be_bytes()).position(), 16, "a position in the header");
    assert_eq!(with(36, &(-1i32).to_be_bytes()).position(), 28, "a negative position");
    assert_eq!(with(36, &32i32.to_be_bytes()).position(), 28, "the same position twice");
}

/// The rule in format.md's words: for each batch, whether it gets an entry.
fn naive(counts: &[i32], interval: i32) -> Vec<usize> {
    let interval = if interval <= 0 { 1 } else { interval };
    let (mut entries, mut since_last) = (Vec::new(), 0i64);
    for (i, count) in counts.iter().enumerate() {
        if entries.is_empty() || since_last >= i64::from(interval) {
            entries.push(i);
            since_last = 0;
        }
        since_last += i64::from(*count);
    }
    entries
}

proptest! {
    #[test]
    fn building_follows_the_rule_and_reads_back(
        counts in prop::collection::vec(prop_oneof![Just(0), 1..4, 0..300, Just(i32::MAX)], 0..200),
        interval in prop_oneof![-2..5, 1..200, Just(i32::MAX)],
        probe: i64,
    ) {
        let place = |i: usize| (1000 + 3 * i as i64, 32 + 61 * i as u64);
        let mut builder = IndexBuilder::new(interval);
        for (i, count) in counts.iter().enumerate() {
            builder.push(place(i).0, place(i).1, *count);
        }
        let index = builder.finish();
        prop_assert_eq!(&SparseIndex::parse(&index.encode()).unwrap(), &index);
        let expected: Vec<IndexEntry> = naive(&counts, interval)
            .into_iter()
            .map(|i| IndexEntry { offset: place(i).0, position: place(i).1 })
            .collect();
        prop_assert_eq!(index.entries().collect::<Vec<_>>(), expected.clone());
        for offset in (990..1000 + 3 * counts.len() as i64 + 10).chain([probe]) {
            let found = expected.iter().rfind(|entry| entry.offset <= offset).or(expected.first());
            prop_assert_eq!(index.find(offset), found.copied());
            let position = offset.unsigned_abs();
            let after = expected.iter().find(|entry| entry.position > position);
            prop_assert_eq!(index.next_after(position), after.copied());
        }
    }

    #[test]
    fn any_bytes_are_an_index_or_an_error(bytes: Vec<u8>, magic: bool) {
        let bytes = if magic { [b"IDX\0\0\x01\0\0\0".as_slice(), &bytes].concat() } else { bytes };
        if let Ok(index) = SparseIndex::parse(&bytes) {
            prop_assert_eq!(&index.encode()[..14], &bytes[..14]);
        }
    }
}

#[test]
fn an_index_has_at_most_an_entry_for_each_batch_that_fits_into_its_segment() {
    let smallest = 61;
    for batches in [1_u64, 1000] {
        let size = 48 + batches * smallest;
        assert!(SparseIndex::max_len(size) >= 16 + 12 * batches);
        assert!(SparseIndex::max_len(size) <= 16 + 12 * (batches + 1) + 4096);
    }
    assert!(SparseIndex::max_len(u64::MAX) > 0, "no overflow");
}
