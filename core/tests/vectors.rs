//! Segments of KafScale's serializer and of Kafka's clients, both ways: read to the very records,
//! written again to the very bytes.

mod common;

use bytes::Bytes;
use common::{Vector, vectors, write_jsonl};
use kfs_core::format::{
    BatchCheck, BuiltSegment, CrcCheck, Limits, Segment, SegmentBuilder, SparseIndex, batches, crc32c,
};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn all_vectors_are_there() {
    let names: Vec<String> = vectors().into_iter().map(|vector| vector.name).collect();
    let of = |folder: &str| names.iter().filter(|name| name.starts_with(folder)).count();
    assert_eq!((names.len(), of("clients/"), of("small/")), (36, 14, 8), "{names:?}");
}

#[test]
fn decoded_records_equal_the_records_of_every_vector() {
    for vector in vectors() {
        let mut text = String::new();
        for at in vector.parsed().batches() {
            write_jsonl(&at, &Limits::default(), &mut text).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        }
        if let Some(records) = &vector.records {
            for (decoded, expected) in text.lines().zip(records.lines()) {
                assert_eq!(decoded, expected, "{}", vector.name);
            }
            assert_eq!(text.len(), records.len(), "{}", vector.name);
        }
        if let Some(expected) = vector.text("records_sha256") {
            assert_eq!(sha256(text.as_bytes()), expected, "{}", vector.name);
            assert_eq!(Some(text.lines().count() as i64), vector.number("records"), "{}", vector.name);
        }
    }
}

#[test]
fn headers_and_footers_say_what_the_case_says() {
    for vector in vectors() {
        let segment = vector.parsed();
        assert!(segment.overlaps().is_empty(), "{}", vector.name);
        assert_eq!(segment.batches().count(), segment.batch_count(), "{}", vector.name);
        assert_eq!(segment.next_offset(), segment.footer().last_offset + 1, "{}", vector.name);
        let body = &vector.segment[32..vector.segment.len() - 16];
        assert_eq!(segment.footer().crc, crc32c(body), "{}", vector.name);
        if vector.case.is_none() {
            continue;
        }
        assert_eq!(vector.base_in_name, Some(segment.base_offset()), "{}", vector.name);
        for (field, value) in [
            ("base_offset", segment.header().base_offset),
            ("message_count", i64::from(segment.header().message_count)),
            ("created_ms", segment.header().created_ms),
            ("last_offset", segment.footer().last_offset),
            ("batches", segment.batch_count() as i64),
            ("segment_bytes", vector.segment.len() as i64),
            ("index_bytes", vector.index.len() as i64),
        ] {
            assert_eq!(Some(value), vector.number(field), "{}: {field}", vector.name);
        }
    }
}

/// The segment's batches, given to a builder in one of three ways.
fn rebuilt(vector: &Vector, own_offsets: bool, verify: CrcCheck) -> BuiltSegment {
    let segment = vector.parsed();
    let interval = vector.number("index_interval_messages");
    let interval = interval.map_or_else(|| SparseIndex::parse(&vector.index).unwrap().interval(), |i| i as i32);
    let mut builder = SegmentBuilder::new(segment.base_offset(), segment.header().created_ms, interval).unwrap();
    let body = segment.bytes().slice(32..segment.bytes().len() - 16);
    for batch in batches(&body, verify) {
        let batch = batch.unwrap();
        if own_offsets {
            builder.push_at_own_offset(&batch).unwrap();
        } else {
            // As a producer sends it: the log decides where it stands.
            builder.push(&batch.with_base_offset(0, None).unwrap(), None).unwrap();
        }
    }
    builder.finish().unwrap()
}

fn has_gaps(segment: &Segment) -> bool {
    let mut next = segment.base_offset();
    segment.batches().any(|at| std::mem::replace(&mut next, at.batch.next_offset()) != at.batch.base_offset())
}

fn assert_same_bytes(vector: &Vector, built: &BuiltSegment) {
    let bytes = Bytes::from(built.chunks.concat());
    // The first difference says more than two long dumps.
    let differs = bytes.iter().zip(&vector.segment).position(|(a, b)| a != b);
    assert_eq!((differs, bytes.len()), (None, vector.segment.len()), "{}", vector.name);
    assert_eq!(built.index, vector.index, "{}", vector.name);
    assert_eq!(built.size, bytes.len() as u64, "{}", vector.name);
    let Some(case) = &vector.case else { return };
    for (file, expected) in case["sha256"].as_object().unwrap() {
        let bytes = if file.ends_with(".kfs") { &bytes } else { &built.index };
        assert_eq!(sha256(bytes), expected.as_str().unwrap(), "{}: {file}", vector.name);
    }
}

#[test]
fn batches_written_again_at_their_offsets_give_the_same_bytes() {
    for vector in vectors() {
        assert_same_bytes(&vector, &rebuilt(&vector, true, CrcCheck::Verify));
        assert_same_bytes(&vector, &rebuilt(&vector, true, CrcCheck::AlreadyChecked));
    }
}

#[test]
fn batches_appended_again_give_the_same_bytes_unless_there_were_gaps_between_them() {
    let mut with_gaps = Vec::new();
    for vector in vectors() {
        let built = rebuilt(&vector, false, CrcCheck::Verify);
        if has_gaps(&vector.parsed()) {
            with_gaps.push(vector.name.clone());
            assert!(built.last_offset < vector.parsed().footer().last_offset, "{}", vector.name);
        } else {
            assert_same_bytes(&vector, &built);
        }
    }
    assert_eq!(with_gaps, ["clients/java-compacted", "small/g7_gap_in_segment"]);
}

#[test]
fn every_check_leaves_the_batches_of_real_producers_as_they_are() {
    let mut produced = 0;
    for vector in vectors() {
        for at in vector.parsed().batches() {
            let header = *at.batch.header();
            assert_eq!(BatchCheck::Decode.check(at.batch.clone()).as_ref(), Ok(&at.batch), "{}", vector.name);
            let sent = !header.attributes.is_control()
                && !header.attributes.is_log_append_time()
                && header.record_count == header.last_offset_delta + 1;
            let checked = BatchCheck::Produce.check(at.batch.clone());
            assert_eq!(checked.is_ok(), sent, "{}: {header:?}", vector.name);
            if sent {
                assert_eq!(checked, Ok(at.batch), "{}", vector.name);
                produced += 1;
            }
        }
    }
    assert!(produced > 100, "{produced} batches as producers send them");
}

#[test]
fn a_written_segment_shares_the_bytes_of_large_batches() {
    let vector = vectors().into_iter().find(|vector| vector.name == "clients/java-large-zstd").unwrap();
    let built = rebuilt(&vector, true, CrcCheck::Verify);
    let large = vector.parsed().batches().filter(|at| at.batch.bytes().len() > 64 * 1024).count();
    let object = vector.segment.as_ptr_range();
    let shared = built.chunks.iter().filter(|chunk| object.contains(&chunk.as_ptr())).count();
    assert!(large > 0 && shared >= large, "{shared} of {} chunks shared, {large} large batches", built.chunks.len());
}

#[test]
fn an_index_made_from_a_segment_is_the_one_beside_it() {
    for vector in vectors() {
        let stored = SparseIndex::parse(&vector.index).unwrap();
        assert_eq!(stored.encode(), vector.index, "{}", vector.name);
        let segment = vector.parsed();
        let interval = vector.number("index_interval_messages").unwrap_or(stored.interval().into()) as i32;
        assert_eq!(segment.index(interval), stored, "{}", vector.name);
        for entry in stored.entries() {
            let batch = segment.batches().find(|at| at.position == entry.position).unwrap();
            assert_eq!(batch.batch.base_offset(), entry.offset, "{}", vector.name);
        }
    }
}

#[test]
fn an_index_of_interval_zero_is_stored_as_one() {
    let vector = vectors().into_iter().find(|vector| vector.name == "small/g4_interval0").unwrap();
    assert_eq!(SparseIndex::parse(&vector.index).unwrap().interval(), 1);
    assert_eq!(vector.parsed().index(0).encode(), vector.index);
    assert_eq!(vector.parsed().index(i32::MIN).encode(), vector.index);
}

#[test]
fn nulls_repeated_headers_and_a_negative_timestamp_delta_survive() {
    let vector = vectors().into_iter().find(|vector| vector.name == "small/g5_nulls_headers_negdelta").unwrap();
    let mut text = String::new();
    for at in vector.parsed().batches() {
        write_jsonl(&at, &Limits::default(), &mut text).unwrap();
    }
    let expected = r#"{"offset": 5, "timestamp_ms": 1700000000000, "key": null, "value": null, "headers": []}
{"offset": 6, "timestamp_ms": 1699999998500, "key": "", "value": "", "headers": []}
{"offset": 7, "timestamp_ms": 1700086400000, "key": "6b6579", "value": "76616c7565", "headers": [["h1", "78"], ["", null], ["h3", ""]]}
"#;
    assert_eq!(text, expected);
}

#[test]
fn the_time_index_covers_the_timestamps_of_all_records() {
    for vector in vectors() {
        let Some(records) = &vector.records else { continue };
        let segment = vector.parsed();
        let lines: Vec<serde_json::Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let all = |field: &str| lines.iter().map(|line| line[field].as_i64().unwrap()).collect::<Vec<_>>();
        let (times, offsets) = (all("timestamp_ms"), all("offset"));
        let range = segment.time_range(&Limits::default()).unwrap().unwrap();
        assert_eq!((Some(&range.min_ts), Some(&range.max_ts)), (times.iter().min(), times.iter().max()));
        assert_eq!((Some(&range.min_offset), Some(&range.max_offset)), (offsets.iter().min(), offsets.iter().max()));

        let mut builder =
            SegmentBuilder::new(segment.base_offset() + 1000, 0, 1).unwrap().with_time_index(Limits::default());
        for at in segment.batches() {
            builder
                .push_at_own_offset(&at.batch.with_base_offset(at.batch.base_offset() + 1000, None).unwrap())
                .unwrap();
        }
        let moved = builder.finish().unwrap().time_index.unwrap();
        assert_eq!((moved.min_ts, moved.max_ts), (range.min_ts, range.max_ts), "{}", vector.name);
        assert_eq!((moved.min_offset, moved.max_offset), (range.min_offset + 1000, range.max_offset + 1000));
    }
}
