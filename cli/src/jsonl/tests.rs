use kfs_core::format::{BatchBuilder, BatchOptions, Limits};

use super::*;
use crate::encoding::Encoding;
use crate::input::Records;

/// What `cat` prints of what `append` reads from these lines.
fn through(lines: &str, encoding: Encoding) -> String {
    let mut records = Records::default();
    for line in lines.lines() {
        parse_line(line.as_bytes(), encoding, &mut records).unwrap();
    }
    let headers = records.headers();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records.as_new(&headers, 7) {
        assert!(builder.push(&record).unwrap());
    }
    let batch = builder.finish(0).unwrap();
    let mut out = Vec::new();
    for record in &batch.records(&Limits::default()).unwrap() {
        write_object(&record.unwrap(), false, encoding, &mut out).unwrap();
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}

/// The largest piece that was written at once.
struct Largest(usize);

impl crate::output::Sink for Largest {
    fn bytes(&mut self, bytes: &[u8]) -> crate::failure::Outcome {
        self.0 = self.0.max(bytes.len());
        Ok(())
    }
}

#[test]
fn a_large_value_s_text_is_written_in_pieces() {
    let value = vec![1; 1 << 20];
    let mut builder = BatchBuilder::new(BatchOptions::default());
    assert!(builder.push(&kfs_core::format::NewRecord::new(0).value(&value)).unwrap());
    let batch = builder.finish(0).unwrap();
    for encoding in [Encoding::Utf8, Encoding::Hex, Encoding::Base64] {
        let mut largest = Largest(0);
        for record in &batch.records(&Limits::default()).unwrap() {
            write_object(&record.unwrap(), false, encoding, &mut largest).unwrap();
        }
        assert!(largest.0 <= 64 << 10, "{encoding:?}: {}", largest.0);
    }
}

#[test]
fn a_line_comes_back_as_it_was() {
    let lines = concat!(
        r#"{"offset": 0, "timestamp_ms": -5, "key": null, "value": "", "headers": []}"#,
        "\n",
        r#"{"offset": 1, "timestamp_ms": 7, "key": "q\"u\\o\n\r\t\b\f\u0001 中文 🚀", "value": null, "#,
        r#""headers": [["a", null], ["a", ""], ["", "é"]]}"#,
        "\n",
        r#"{"offset": 2, "timestamp_ms": 7, "key": {"hex": "ff00"}, "value": "v", "headers": [[{"hex": "c3"}, "x"]]}"#,
        "\n",
    );
    assert_eq!(through(lines, Encoding::Utf8), lines);
}

#[test]
fn values_are_in_the_encoding_and_header_names_are_text() {
    let lines =
        "{\"offset\": 0, \"timestamp_ms\": 1, \"key\": \"00ff\", \"value\": \"\", \"headers\": [[\"hé\", \"0a\"]]}\n";
    assert_eq!(through(lines, Encoding::Hex), lines);
    let lines =
        "{\"offset\": 0, \"timestamp_ms\": 1, \"key\": \"AP8=\", \"value\": \"\", \"headers\": [[\"hé\", \"Cg==\"]]}\n";
    assert_eq!(through(lines, Encoding::Base64), lines);
}

#[test]
fn every_member_may_be_left_out() {
    let line = "{\"offset\": 0, \"timestamp_ms\": 7, \"key\": null, \"value\": null, \"headers\": []}\n";
    assert_eq!(through("{}", Encoding::Utf8), line);
    assert_eq!(through(r#"{"headers": null, "key": null, "offset": 99}"#, Encoding::Utf8), line);
}

#[test]
fn a_control_record_is_not_data() {
    let mut records = Records::default();
    let line =
        br#"{"offset": 22, "timestamp_ms": 1, "key": "00000001", "value": "00", "headers": [], "control": true}"#;
    assert_eq!(parse_line(line, Encoding::Hex, &mut records), Ok(false));
    assert!(records.is_empty());
}

#[test]
fn a_wrong_line_says_what_is_wrong() {
    for (line, expected) in [
        (r#"{"vlaue": "x"}"#, "unknown field `vlaue`"),
        (r#"{"value": 1}"#, "expected a string, or {\"hex\": \"…\"} at column"),
        (r#"{"value": {"heks": "00"}}"#, "nothing else"),
        (r#"{"value": {"hex": "0"}}"#, "value: not hex"),
        (r#"{"headers": [["a"]]}"#, "invalid length 1"),
        (r#"{"value": "x""#, "EOF while parsing"),
        ("null", "invalid type: null, expected an object"),
        (r#"["k","v",[["h","1"]],5,77,false]"#, "found an array, expected an object at column"),
        (r#"{"value": ["x"]}"#, "invalid type: sequence, expected a string, or {\"hex\": \"…\"}"),
        ("", "EOF while parsing"),
    ] {
        let error = parse_line(line.as_bytes(), Encoding::Utf8, &mut Records::default()).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
