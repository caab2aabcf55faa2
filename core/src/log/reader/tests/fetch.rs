use super::*;
use crate::error::ErrorKind;
use crate::log::fixtures::NOW;

#[tokio::test]
async fn invariant_6_every_offset_and_max_bytes_give_what_the_model_gives() {
    let (f, model) = log().await;
    for options in [ReaderOptions::default(), small_blocks(), small_blocks().crc_check(CrcCheck::AlreadyChecked)] {
        let warm = f.partition.reader_with(options.clone());
        for offset in 0..model.end() {
            let first = model.fetch(offset, 0).0.len();
            let (two, _) = model.fetch(offset, first + 61);
            for max in [0, 1, first - 1, first, first + 1, two.len(), two.len() + 1, 10_000, 200_000, usize::MAX] {
                model.check(&warm.fetch(offset, max).await.unwrap(), offset, max);
                if max % 2 == 1 {
                    let cold = f.cold().partition.reader_with(options.clone());
                    model.check_part(&cold.fetch(offset, max).await.unwrap(), offset, max);
                }
            }
        }
    }
    assert_eq!(f.bucket.requests().put, 0, "invariant 5");
}

#[tokio::test]
async fn a_cold_fetch_stays_within_the_request_budget() {
    for (segments, block) in [(1, 1 << 20), (10, 1 << 20), (10, 4096), (1_000, 1 << 20), (1_000, 4096)] {
        let f = Fixture::new();
        let mut model = Model::default();
        let many: Vec<_> = (0..20).map(|_| batch(1, 400)).collect();
        for _ in 0..segments {
            model.append(&f, &many, 4).await;
        }
        let size = f.get(&f.key(0)).await.len();
        assert!(size > 4096 && size < 1 << 20);
        for offset in [0, 1, 19, model.end() / 3, model.end() / 2 + 7, model.end() - 1, model.end()] {
            let cold = f.cold();
            let reader = cold.partition.reader_with(ReaderOptions::default().block_bytes(block));
            model.check_part(&reader.fetch(offset, 500).await.unwrap(), offset, 500);
            let (lists, gets) = cold.reads();
            let allowed = 3.0 + 2.0 * (segments as f64 / 500.0).min((model.end() as f64).log2());
            assert!((lists + gets) as f64 <= allowed, "{segments} segments at {offset}: {lists} + {gets}");
        }
    }
}

#[tokio::test]
async fn a_cold_fetch_among_100_000_segments_stays_within_the_request_budget() {
    let f = Fixture::new();
    let segment = |base: i64| {
        let mut builder = crate::format::SegmentBuilder::new(base, NOW, 100).unwrap();
        builder.push(&batch(1, 1), None).unwrap();
        let built = builder.finish().unwrap();
        (Bytes::from(built.chunks.concat()), built.index)
    };
    for base in 0..100_000 {
        // Only those that are read need bytes.
        if base % 1_000 == 777 || base == 99_999 {
            let (bytes, index) = segment(base);
            f.put(&f.key(base), bytes).await;
            f.put(&f.partition.id().index_key(base), index).await;
        } else {
            f.put_names([base]).await;
        }
    }
    for offset in [777, 50_777, 99_777, 99_999] {
        let cold = f.cold();
        let fetch = cold.partition.reader().fetch(offset, 1).await.unwrap();
        assert_eq!(fetch.next_offset, offset + 1);
        let (lists, gets) = cold.reads();
        assert!(lists + gets <= 24 && gets <= 2, "at {offset}: {lists} + {gets}");
    }
}

#[tokio::test]
async fn a_scan_reads_each_small_segment_once() {
    let f = Fixture::new();
    let mut model = Model::default();
    for _ in 0..1_200 {
        model.append(&f, &[batch(1, 10), batch(2, 10)], 100).await;
    }
    let cold = f.cold();
    let reader = cold.partition.reader();
    let mut offset = 0;
    let mut bytes = Vec::new();
    while offset < model.end() {
        let fetch = reader.fetch(offset, 1).await.unwrap();
        assert_eq!(fetch.batches().count(), 1);
        bytes.extend(fetch.chunks.concat());
        offset = fetch.next_offset;
    }
    assert!(bytes == model.fetch(0, usize::MAX).0);
    assert_eq!(cold.reads(), (3, 1_200));
}

#[tokio::test]
async fn a_scan_of_a_large_segment_needs_no_index_and_reads_each_byte_about_once() {
    let f = Fixture::new();
    let mut model = Model::default();
    let many: Vec<_> = (0..400).map(|_| batch(1, 400)).collect();
    model.append(&f, &many, 100).await;
    let cold = f.cold();
    let reader = cold.partition.reader_with(small_blocks());
    let mut offset = 0;
    while offset < model.end() {
        let fetch = reader.fetch(offset, 1_000).await.unwrap();
        model.check(&fetch, offset, 1_000);
        offset = fetch.next_offset;
    }
    let size = f.get(&f.key(0)).await.len() as u64;
    let read = cold.bucket.requests().bytes_in;
    assert!(read < size * 5 / 4, "{read} bytes of {size}");
    assert!(cold.reads().1 <= size / 4096 * 5 / 4 + 1);
}

#[tokio::test]
async fn what_is_held_costs_no_request() {
    let (f, model) = log().await;
    let reader = f.partition.reader();
    reader.fetch(0, 1).await.unwrap();
    let before = f.reads();
    for offset in 0..40 {
        reader.fetch(offset, 1).await.unwrap();
    }
    assert_eq!(f.reads(), before);
    assert_eq!(before, (1, 1));
    assert!(model.end() > 40);
}

#[tokio::test]
async fn a_compacted_log_keeps_its_gaps() {
    let f = Fixture::new();
    let mut builder = crate::format::SegmentBuilder::new(10, NOW, 1).unwrap();
    for (base, count) in [(10, 1), (15, 2), (30, 3)] {
        let at = batch(count, 3_000).with_base_offset(base, None).unwrap();
        builder.push_at_own_offset(&at).unwrap();
    }
    let built = builder.finish().unwrap();
    f.put(&f.key(10), built.chunks.concat()).await;
    f.put(&f.partition.id().index_key(10), built.index).await;
    f.put_segment(33, &[batch(1, 1)], 1).await;
    for options in [ReaderOptions::default(), small_blocks()] {
        let reader = f.cold().partition.reader_with(options);
        let mut seen = Vec::new();
        for offset in 10..34 {
            let fetch = reader.fetch(offset, 1).await.unwrap();
            assert_eq!(fetch.hole(), None, "a gap that compaction left in a segment is no hole");
            seen.push(fetch.batches().next().unwrap().unwrap().base_offset());
        }
        let expected = [vec![10], vec![15; 6], vec![30; 16], vec![33]].concat();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn what_is_out_of_range_is_said_with_the_range() {
    let (f, model) = log().await;
    f.put(&f.partition.id().log_start_key(6), "").await;
    let reader = f.partition.reader();
    let below = reader.fetch(5, 1).await.unwrap_err();
    assert_eq!(below.kind(), ErrorKind::OutOfRange);
    assert_eq!(below.log_range().unwrap().0, 6);
    let fetch = reader.fetch(6, 1).await.unwrap();
    assert_eq!(fetch.log_start, 6);
    assert_eq!(fetch.batches().next().unwrap().unwrap().base_offset(), 4, "the batch that holds it comes whole");
    let beyond = reader.fetch(model.end() + 1, 1).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::OutOfRange);
    assert_eq!(beyond.log_range(), Some((6, model.end())));
    assert_eq!(reader.fetch(-1, 1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_partition_that_was_never_made_is_not_found_and_an_empty_one_is_empty() {
    let f = Fixture::new();
    let reader = f.partition.reader();
    let missing = reader.fetch(0, 1).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let waiting = f.partition.reader_with(ReaderOptions::default().wait_for_partition(true));
    assert!(waiting.fetch(7, 1).await.unwrap().is_empty());

    f.partition.create(40).await.unwrap();
    let cold = f.cold();
    let reader = cold.partition.reader();
    let fetch = reader.fetch(40, 1).await.unwrap();
    assert!(fetch.is_empty());
    assert_eq!((fetch.log_start, fetch.high_watermark, fetch.next_offset), (40, 40, 40));
    for offset in [39, 41] {
        let error = reader.fetch(offset, 1).await.unwrap_err();
        assert_eq!((error.kind(), error.log_range()), (ErrorKind::OutOfRange, Some((40, 40))));
    }
    f.put_segment(40, &[batch(2, 2)], 1).await;
    assert_eq!(reader.fetch(40, 1).await.unwrap().next_offset, 42);
}

#[tokio::test]
async fn a_hole_moves_to_the_next_offset_that_exists_and_says_so() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    f.put_segment(5, &[batch(5, 5)], 1).await;
    f.put_segment(10, &[batch(5, 5)], 1).await;
    f.put_segment(20, &[batch(5, 5)], 1).await;
    for options in [ReaderOptions::default(), small_blocks()] {
        let reader = f.cold().partition.reader_with(options);
        let before = reader.fetch(10, usize::MAX).await.unwrap();
        assert_eq!((before.next_offset, before.hole()), (15, None), "what is before the hole comes first");
        let fetch = reader.fetch(15, 1).await.unwrap();
        assert_eq!((fetch.next_offset, fetch.hole()), (25, Some(Hole::new(15, 20))));
        let fetch = reader.fetch(17, 1).await.unwrap();
        assert_eq!((fetch.next_offset, fetch.hole()), (25, Some(Hole::new(17, 20))));
    }
    let reader = f.partition.reader();
    reader.fetch(0, 1).await.unwrap();
    f.delete(&f.key(5)).await;
    let fetch = reader.fetch(6, 1).await.unwrap();
    assert_eq!((fetch.next_offset, fetch.hole()), (15, Some(Hole::new(6, 10))));
    f.delete(&f.key(0)).await;
    let gone = f.cold().partition.reader().fetch(0, 1).await.unwrap_err();
    assert_eq!((gone.kind(), gone.log_range().unwrap().0), (ErrorKind::OutOfRange, 10));
}

#[tokio::test]
async fn a_segment_merged_under_the_reader_is_read_on() {
    let f = Fixture::new();
    let mut model = Model::default();
    for _ in 0..30 {
        model.append(&f, &sizes(), 5).await;
    }
    let each = model.end() / 30;
    for options in [ReaderOptions::default(), small_blocks()] {
        let reader = f.partition.reader_with(options);
        let at = each * 12 + 3;
        model.check(&reader.fetch(at, 1).await.unwrap(), at, 1);
    }
    let reader = f.partition.reader_with(small_blocks());
    reader.fetch(each * 12 + 3, 1).await.unwrap();
    // 10 to 19 become one; 10 keeps its key, the others stay for a grace.
    let merged: Vec<_> =
        model.batches.iter().filter(|b| b.base_offset() >= each * 10 && b.base_offset() < each * 20).cloned().collect();
    f.put_segment(each * 10, &merged, 100).await;
    for at in [each * 10 + 3, each * 12 + 3, each * 15 + 1, each * 19 + 9, each * 20 + 1] {
        model.check_part(&reader.fetch(at, 100_000).await.unwrap(), at, 100_000);
    }
    // The grace is over.
    for i in 11..20 {
        f.delete(&f.key(each * i)).await;
        f.delete(&f.partition.id().index_key(each * i)).await;
    }
    for at in (each * 9..each * 21).step_by(5) {
        let fetch = reader.fetch(at, 100_000).await.unwrap();
        assert_eq!(fetch.hole(), None);
        model.check_part(&fetch, at, 100_000);
    }
}

#[tokio::test]
async fn kafscales_batch_below_its_predecessors_end_is_passed_over() {
    let f = Fixture::new();
    let batches = [batch(3, 2_000), batch(2, 2_000).with_base_offset(0, None).unwrap(), batch(1, 2_000)];
    let first = batches[0].with_base_offset(5, None).unwrap();
    let last = batches[2].with_base_offset(8, None).unwrap();
    let mut builder = crate::format::SegmentBuilder::new(5, NOW, 1).unwrap();
    builder.push_at_own_offset(&first).unwrap();
    builder.push_at_own_offset(&last).unwrap();
    let built = builder.finish().unwrap().chunks.concat();
    // KafScale's own: the middle batch keeps the client's offset.
    let at = 32 + first.bytes().len();
    let body = [&built[32..at], batches[1].bytes(), &built[at..built.len() - 16]].concat();
    let crc = crate::format::crc32c(&body);
    let bytes = [&built[..32], &body, &crc.to_be_bytes(), &built[built.len() - 12..]].concat();
    f.put(&f.key(5), bytes).await;
    for options in [ReaderOptions::default(), small_blocks()] {
        let reader = f.cold().partition.reader_with(options);
        let (mut at, mut bytes) = (5, Vec::new());
        while at < 9 {
            let fetch = reader.fetch(at, usize::MAX).await.unwrap();
            bytes.extend(fetch.chunks.concat());
            at = fetch.next_offset;
        }
        assert!(bytes == [&first.bytes()[..], last.bytes()].concat());
    }
}

#[test]
fn an_answer_without_news_fits_into_a_line_of_the_cache() {
    assert_eq!(size_of::<crate::error::Result<Fetch>>(), 64);
}
