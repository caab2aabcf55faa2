use super::*;
use crate::error::ErrorKind;
use crate::format::FOOTER_LEN;

async fn three_segments() -> (Fixture, Model) {
    let f = Fixture::new();
    let mut model = Model::default();
    for _ in 0..3 {
        model.append(&f, &sizes(), 5).await;
    }
    (f, model)
}

#[tokio::test]
async fn invariant_7_a_flipped_byte_is_named_and_contained() {
    let (f, model) = three_segments().await;
    let each = model.end() / 3;
    let key = f.key(each);
    let good = f.get(&key).await;
    let batches: Vec<_> =
        model.batches.iter().filter(|b| b.base_offset() >= each && b.base_offset() < 2 * each).collect();
    let starts: Vec<usize> = batches
        .iter()
        .scan(32, |at, b| {
            let start = *at;
            *at += b.bytes().len();
            Some(start)
        })
        .collect();
    let mut positions: Vec<usize> = (0..28).chain(good.len() - FOOTER_LEN..good.len()).collect();
    for start in &starts {
        positions.extend((0..70).map(|i| start + i));
    }
    positions.extend((93..good.len() - FOOTER_LEN).step_by(997));
    for position in positions {
        f.put(&key, good.clone()).await;
        flip(&f, &key, position).await;
        let reader = f.cold().partition.reader();
        // Its neighbours are readable.
        for at in [each - 1, 2 * each] {
            model.check(&reader.fetch(at, 1).await.unwrap(), at, 1);
        }
        // Inside it, what is given is right, and somewhere it stops.
        let mut at = each;
        let error = loop {
            match reader.fetch(at, 100).await {
                Ok(fetch) => {
                    model.check(&fetch, at, 100);
                    at = fetch.next_offset;
                    // created_ms is covered by nothing.
                    assert!(at < 2 * each || (20..28).contains(&position), "byte {position} was not noticed");
                    if at >= 2 * each {
                        break None;
                    }
                }
                Err(error) => break Some(error),
            }
        };
        let Some(error) = error else { continue };
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
        assert_eq!(error.key(), Some(&key[..]));
        assert!(error.position().is_some());
        let next = error.next_readable_offset().unwrap();
        assert!(next > at && next <= 2 * each);
        assert_eq!(error.offsets().map(|(first, last)| (first >= each, last)), Some((true, next - 1)));
        if next == 2 * each {
            model.check(&reader.fetch(next, 1).await.unwrap(), next, 1);
        }
    }
}

#[tokio::test]
async fn invariant_7_parts_are_checked_too() {
    let (f, model) = three_segments().await;
    let each = model.end() / 3;
    let key = f.key(each);
    let good = f.get(&key).await;
    for position in (32..good.len() - FOOTER_LEN).step_by(61) {
        f.put(&key, good.clone()).await;
        flip(&f, &key, position).await;
        let reader = f.cold().partition.reader_with(small_blocks());
        let mut at = each;
        let mut failed = false;
        let mut steps = 0;
        while at < 2 * each {
            steps += 1;
            assert!(steps < 100, "byte {position}: stands at {at}");
            match reader.fetch(at, 100).await {
                Ok(fetch) => {
                    // The leader epoch is covered by the body's CRC alone, which reading a part can't check.
                    if (0..4).contains(&epoch_byte(&good, position)) {
                        at = fetch.next_offset;
                        failed = true;
                        continue;
                    }
                    model.check(&fetch, at, 100);
                    at = fetch.next_offset;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
                    failed = true;
                    at = error.next_readable_offset().unwrap();
                }
            }
        }
        assert!(failed, "byte {position} was not noticed");
    }
}

/// Which byte of a batch's leader epoch stands at a position, or none of 0 to 3.
fn epoch_byte(segment: &Bytes, position: usize) -> i64 {
    let body = segment.slice(32..segment.len() - FOOTER_LEN);
    let mut start = 32;
    for batch in crate::format::batches(&body, CrcCheck::AlreadyChecked) {
        let len = batch.unwrap().bytes().len();
        if position < start + len {
            return position as i64 - start as i64 - 12;
        }
        start += len;
    }
    -1
}

#[tokio::test]
async fn who_asks_for_it_reads_on_behind_what_is_corrupt() {
    let (f, model) = three_segments().await;
    let each = model.end() / 3;
    let key = f.key(each);
    let good = f.get(&key).await;
    for block in [1 << 20, 4096] {
        let options = ReaderOptions::default().on_corrupt(OnCorrupt::Skip).block_bytes(block);
        // A record's byte, a batch's length, the magic, the footer.
        let first = model.batches.iter().find(|b| b.base_offset() == each).unwrap().bytes().len();
        for (position, lost) in [(32 + first + 70, 3), (32 + first + 9, 0), (2, 0), (good.len() - 14, 0)] {
            f.put(&key, good.clone()).await;
            flip(&f, &key, position).await;
            let reader = f.cold().partition.reader_with(options.clone());
            let (mut at, mut skipped, mut seen) = (0, Vec::new(), 0);
            while at < model.end() {
                let fetch = reader.fetch(at, 1_000).await.unwrap();
                seen += fetch.batches().map(|b| i64::from(b.unwrap().header().record_count)).sum::<i64>();
                skipped.extend(fetch.skipped().to_vec());
                at = fetch.next_offset;
            }
            assert!(seen >= 2 * each, "the other segments are whole");
            if lost > 0 {
                assert_eq!(seen, model.end() - lost, "only the broken batch is missing");
            }
            let unseen = block == 4096 && position == good.len() - 14;
            assert_eq!(skipped.len(), usize::from(!unseen), "{skipped:?}");
        }
    }
}

#[tokio::test]
async fn a_truncated_or_overlong_segment_is_corrupt() {
    let (f, model) = three_segments().await;
    let each = model.end() / 3;
    let key = f.key(each);
    let good = f.get(&key).await;
    for block in [1 << 20, 4096] {
        for bytes in [
            good.slice(..0),
            good.slice(..20),
            good.slice(..40),
            good.slice(..good.len() - 20),
            good.slice(..good.len() - 1),
        ] {
            f.put(&key, bytes).await;
            let reader = f.cold().partition.reader_with(ReaderOptions::default().block_bytes(block));
            let mut at = each;
            let error = loop {
                match reader.fetch(at, 100).await {
                    Ok(fetch) => at = fetch.next_offset,
                    Err(error) => break error,
                }
                assert!(at < 2 * each);
            };
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(error.next_readable_offset(), Some(2 * each));
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_its_segments_is_corrupt() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    let bytes = f.get(&f.key(0)).await;
    f.put(&f.key(5), bytes).await;
    for block in [1 << 20, 4096] {
        let reader = f.cold().partition.reader_with(ReaderOptions::default().block_bytes(block));
        let error = reader.fetch(5, 1).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&f.key(5)[..])));
    }
}
