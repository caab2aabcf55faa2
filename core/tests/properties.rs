//! What is written reads back, for batches, segments and all that goes into them.

use bytes::Bytes;
use kfs_core::format::{
    Batch, BatchBuilder, BatchOptions, Codec, CrcCheck, Limits, NewRecord, Segment, SegmentBuilder, SparseIndex,
    TimeIndex, batches,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A record with owned parts.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn record() -> impl Strategy<Value = Model> {
    let bytes = || vec(any::<u8>(), 0..200);
    (-(1i64 << 29)..1 << 29, option::of(bytes()), option::of(bytes()), vec((bytes(), option::of(bytes())), 0..4))
        .prop_map(|(timestamp_ms, key, value, headers)| Model { timestamp_ms, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

fn build(records: &[Model], base_offset: i64, options: BatchOptions) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        let mut new = NewRecord::new(record.timestamp_ms).headers(&headers);
        (new.key, new.value) = (record.key.as_deref(), record.value.as_deref());
        assert!(builder.push(&new).unwrap());
    }
    builder.finish(base_offset).unwrap()
}

fn read(batch: &Batch) -> Vec<(i64, Model)> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = batch.records(&Limits::default()).unwrap();
    let read = |record: kfs_core::format::Record<'_>| Model {
        timestamp_ms: record.timestamp_ms,
        key: owned(record.key),
        value: owned(record.value),
        headers: record.headers().map(|header| (header.key.to_vec(), owned(header.value))).collect(),
    };
    records.iter().map(|record| record.map(|record| (record.offset, read(record))).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn records_read_back_from_a_batch(
        records in vec(record(), 1..30),
        base_offset in 0..i64::MAX - 100,
        codec in codec(),
        producer: (i64, i16, i32),
        epoch: i32,
        flags: (bool, bool),
    ) {
        let options = BatchOptions::default()
            .compression(codec)
            .leader_epoch(epoch)
            .producer_id(producer.0).producer_epoch(producer.1).base_sequence(producer.2)
            .transactional(flags.0)
            .control(flags.1);
        let batch = build(&records, base_offset, options);
        let parsed = Batch::parse(batch.bytes(), 0, CrcCheck::Verify).unwrap();
        prop_assert_eq!(&parsed, &batch);
        let header = parsed.header();
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), producer);
        prop_assert_eq!((header.leader_epoch, header.record_count as usize), (epoch, records.len()));
        prop_assert_eq!((header.attributes.is_transactional(), header.attributes.is_control()), flags);
        prop_assert_eq!(header.attributes.codec(), Some(codec));
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|record| record.timestamp_ms).max());
        let (offsets, read): (Vec<i64>, Vec<Model>) = read(&parsed).into_iter().unzip();
        prop_assert_eq!(offsets, (base_offset..base_offset + records.len() as i64).collect::<Vec<_>>());
        prop_assert_eq!(read, records);
    }

    #[test]
    fn appended_batches_get_dense_offsets_and_keep_all_else(
        appends in vec((vec(record(), 0..6), codec(), 0..10_000i64, 0..5i32, 0usize..3), 1..20),
        base_offset in 0..1i64 << 50,
        created_ms: i64,
        interval in -1..20,
        epoch in option::of(0..9i32),
    ) {
        let sent: Vec<Batch> = appends
            .iter()
            .map(|(records, codec, at, extra, pad)| match &records[..] {
                [] => BatchBuilder::empty_batch(*at, *extra, &BatchOptions::default()).unwrap(),
                records => {
                    let mut records = records.to_vec();
                    // Across the sizes at which a batch is copied, or its CRC combined.
                    records[0].value = Some(vec![1; pad * 3000]);
                    build(&records, *at, BatchOptions::default().compression(*codec))
                }
            })
            .collect();
        let mut builder = SegmentBuilder::new(base_offset, created_ms, interval).unwrap().with_time_index(Limits::default());
        for batch in &sent {
            builder.push(batch, epoch).unwrap();
        }
        let built = builder.finish().unwrap();
        let bytes = Bytes::from(built.chunks.concat());
        let segment = Segment::parse(&bytes, CrcCheck::Verify).unwrap();
        prop_assert_eq!((segment.base_offset(), segment.header().created_ms), (base_offset, created_ms));
        prop_assert_eq!((built.size, built.last_offset + 1), (bytes.len() as u64, segment.next_offset()));
        prop_assert_eq!(SparseIndex::parse(&built.index).unwrap(), segment.index(interval));
        prop_assert_eq!(built.time_index, segment.time_range(&Limits::default()).unwrap());
        if let Some(range) = built.time_index {
            prop_assert_eq!(TimeIndex::parse(&range.encode()).unwrap(), range);
        }

        let mut next = base_offset;
        for (at, sent) in segment.batches().zip(&sent) {
            prop_assert_eq!(at.batch.base_offset(), next);
            next = at.batch.next_offset();
            prop_assert_eq!(at.batch.header().leader_epoch, epoch.unwrap_or(sent.header().leader_epoch));
            prop_assert_eq!(&at.batch.bytes()[16..], &sent.bytes()[16..]);
            prop_assert_eq!(at.batch.header().batch_length, sent.header().batch_length);
        }
        prop_assert_eq!(next, segment.next_offset());
        prop_assert_eq!(segment.batch_count(), sent.len());
        let body = bytes.slice(32..bytes.len() - 16);
        let walked: Vec<Batch> = batches(&body, CrcCheck::Verify).map(Result::unwrap).collect();
        prop_assert_eq!(walked, segment.batches().map(|at| at.batch).collect::<Vec<_>>());
    }

    #[test]
    fn an_entry_found_for_an_offset_leads_to_its_batch(
        counts in vec(1..8usize, 1..40),
        interval in 1..20,
        base_offset in 0..1000i64,
    ) {
        let mut builder = SegmentBuilder::new(base_offset, 0, interval).unwrap();
        let plain = Model { timestamp_ms: 0, key: None, value: None, headers: vec![] };
        for count in counts {
            builder.push(&build(&vec![plain.clone(); count], 0, BatchOptions::default()), None).unwrap();
        }
        let built = builder.finish().unwrap();
        let bytes = Bytes::from(built.chunks.concat());
        for offset in base_offset..=built.last_offset {
            let entry = built.sparse.find(offset).unwrap();
            let end = built.sparse.next_after(entry.position).map_or(bytes.len() - 16, |next| next.position as usize);
            let range = bytes.slice(entry.position as usize..end);
            let mut found = batches(&range, CrcCheck::Verify).map(Result::unwrap);
            let first = found.next().unwrap();
            prop_assert_eq!(first.base_offset(), entry.offset);
            let holds = |batch: &Batch| batch.base_offset() <= offset && offset <= batch.last_offset();
            prop_assert!(holds(&first) || found.any(|batch| holds(&batch)), "{} is in {:?}", offset, entry);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, start in 0usize..3) {
        let start = [&b""[..], b"KAFS\0\x01\0\0", &[0; 16]][start];
        let bytes = Bytes::from([start, &bytes].concat());
        let _ = Segment::parse(&bytes, CrcCheck::AlreadyChecked);
        for batch in batches(&bytes, CrcCheck::AlreadyChecked).flatten() {
            if let Ok(records) = batch.records(&Limits::default()) {
                records.iter().for_each(drop);
            }
        }
    }
}
