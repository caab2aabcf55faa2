//! The dumps of `docs/format.md` are real bytes, and each field has the name and the value that the page gives it.

use bytes::Bytes;
use kfs_core::format::{CrcCheck, IndexEntry, Limits, Segment, SparseIndex};

/// A row of a dump: one field.
struct Field {
    position: usize,
    bytes: Vec<u8>,
    name: String,
    value: String,
}

/// A dump of the page: its fields in order, each with the part that it belongs to.
struct Dump(Vec<(String, Field)>);

impl Dump {
    /// The n-th dump of the page's example.
    fn of_page(n: usize) -> Dump {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
        let page = std::fs::read_to_string(path).expect("docs/format.md");
        let example = page.split("## An example\n").nth(1).expect("the example's heading");
        let block = example.split("```text\n").nth(n + 1).expect("a dump").split("```").next().expect("its end");
        let (mut part, mut fields) = (String::new(), Vec::new());
        for line in block.lines() {
            match field(line) {
                Some(field) => fields.push((part.clone(), field)),
                None => part = line.to_owned(),
            }
        }
        Dump(fields)
    }

    /// All bytes, after a check that the rows follow each other without a gap.
    fn bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        for (part, field) in &self.0 {
            assert_eq!(field.position, bytes.len(), "the position of {part}, {}", field.name);
            bytes.extend_from_slice(&field.bytes);
        }
        Bytes::from(bytes)
    }

    /// The value that the page gives a field.
    fn value(&self, part: &str, name: &str) -> &str {
        let mut found = self.0.iter().filter(|(of, field)| of == part && field.name == name);
        let (_, field) = found.next().unwrap_or_else(|| panic!("{part} has no {name}"));
        &field.value
    }

    fn assert_values(&self, part: &str, values: &[(&str, &dyn ToString)]) {
        for (name, value) in values {
            assert_eq!(self.value(part, name), value.to_string(), "{part}, {name}");
        }
    }
}

/// Splits `position  bytes  name  value`; a line that does not begin with a position is no field.
fn field(line: &str) -> Option<Field> {
    let columns: Vec<&str> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    let &[position, bytes, name, value] = columns.as_slice() else {
        return None;
    };
    Some(Field {
        position: position.parse().expect("a position"),
        bytes: hex::decode(bytes).expect("hexadecimal"),
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// What a field's bytes say, by the kind that its name and its part have.
fn decoded(part: &str, field: &Field) -> String {
    let text = || String::from_utf8(field.bytes.clone()).expect("text").replace('\0', "\\0");
    match field.name.as_str() {
        "magic" if part != "record batch" => text(),
        "key" | "value" | "header name" | "header value" => text(),
        "CRC" => format!("0x{}", hex::encode(&field.bytes)),
        name if part.ends_with("record") && name != "attributes" => zigzag(&field.bytes).to_string(),
        _ => big_endian(&field.bytes).to_string(),
    }
}

fn big_endian(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |value, byte| (value << 8) | i64::from(*byte))
}

fn zigzag(bytes: &[u8]) -> i64 {
    let folded = bytes.iter().rev().fold(0_i64, |value, byte| (value << 7) | i64::from(byte & 0x7f));
    (folded >> 1) ^ -(folded & 1)
}

#[test]
fn every_value_of_the_dumps_is_what_its_bytes_say() {
    for (dump, rows) in [(Dump::of_page(0), 45), (Dump::of_page(1), 7)] {
        assert_eq!(dump.0.len(), rows);
        for (part, field) in &dump.0 {
            assert_eq!(field.value, decoded(part, field), "{part}, {}", field.name);
        }
    }
}

#[test]
fn the_dumped_segment_parses_and_says_what_the_page_says() {
    let dump = Dump::of_page(0);
    let segment = Segment::parse(&dump.bytes(), CrcCheck::Verify).expect("a whole segment");
    let (header, footer) = (segment.header(), segment.footer());
    dump.assert_values(
        "segment header",
        &[
            ("base offset", &header.base_offset),
            ("message count", &header.message_count),
            ("created", &header.created_ms),
        ],
    );
    let crc = format!("{:#010x}", footer.crc);
    dump.assert_values("segment footer", &[("CRC", &crc), ("last offset", &footer.last_offset)]);

    assert_eq!(segment.batch_count(), 1);
    let at = segment.batches().next().expect("a batch");
    let batch = at.batch.header();
    dump.assert_values(
        "record batch",
        &[
            ("base offset", &batch.base_offset),
            ("batch length", &batch.batch_length),
            ("leader epoch", &batch.leader_epoch),
            ("magic", &batch.magic),
            ("CRC", &format!("{:#010x}", batch.crc)),
            ("attributes", &batch.attributes.bits()),
            ("last offset delta", &batch.last_offset_delta),
            ("base timestamp", &batch.base_timestamp),
            ("max timestamp", &batch.max_timestamp),
            ("producer id", &batch.producer_id),
            ("producer epoch", &batch.producer_epoch),
            ("base sequence", &batch.base_sequence),
            ("record count", &batch.record_count),
        ],
    );

    let records = at.batch.records(&Limits::default()).expect("records");
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("not null").to_vec()).expect("text");
    for (record, part) in records.iter().zip(["first record", "second record"]) {
        let record = record.expect("a record");
        let headers: Vec<_> = record.headers().collect();
        dump.assert_values(
            part,
            &[
                ("timestamp delta", &(record.timestamp_ms - batch.base_timestamp)),
                ("offset delta", &(record.offset - batch.base_offset)),
                ("key", &text(record.key)),
                ("value", &text(record.value)),
                ("header count", &headers.len()),
            ],
        );
        for header in headers {
            dump.assert_values(
                part,
                &[("header name", &text(Some(header.key))), ("header value", &text(header.value))],
            );
        }
    }
}

#[test]
fn the_dumped_index_is_the_one_of_the_dumped_segment() {
    let (dump, bytes) = (Dump::of_page(1), Dump::of_page(1).bytes());
    let index = SparseIndex::parse(&bytes).expect("an index");
    dump.assert_values("index header", &[("entry count", &index.len()), ("interval", &index.interval())]);
    let IndexEntry { offset, position } = index.entries().next().expect("an entry");
    dump.assert_values("first entry", &[("offset", &offset), ("position", &position)]);

    let segment = Segment::parse(&Dump::of_page(0).bytes(), CrcCheck::Verify).expect("a whole segment");
    assert_eq!(segment.index(index.interval()).encode(), bytes);
}
