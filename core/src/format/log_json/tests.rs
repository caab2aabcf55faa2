use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn json(rest: &str) -> Result<LogIdentity, Malformed> {
    LogIdentity::parse(rest.replace("ID", ID).as_bytes())
}

#[test]
fn what_is_written_reads_back() {
    for start in [0, 1, 42, MAX_OFFSET] {
        let identity = LogIdentity::new(ID, start, 1_767_225_600_000).unwrap();
        assert_eq!(LogIdentity::parse(&identity.encode()).unwrap(), identity);
    }
    let bytes = LogIdentity::new(ID, 42, 7).unwrap().encode();
    let expected =
        r#"{"version": 1, "log_id": "0123456789abcdef0123456789abcdef", "start_offset": "42", "created_ms": 7}"#;
    assert_eq!(bytes, expected);
}

#[test]
fn unknown_members_and_any_order_are_read() {
    let read = json(r#" {"created_ms":-1,"x":{"y":[1]},"start_offset":"007","log_id":"ID","version":1} "#).unwrap();
    assert_eq!(read, LogIdentity::new(ID, 7, -1).unwrap());
}

#[test]
fn another_version_is_unsupported_whatever_else_it_holds() {
    let error = json(r#"{"version": 2, "start": {"offset": 7}}"#).unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!(error.into_error("k/log.json").kind(), ErrorKind::Unsupported);
}

#[test]
fn anything_else_is_corrupt() {
    for text in [
        "",
        "{}",
        "[]",
        "[1]",
        "null",
        "\u{feff}{}",
        r#"{"version": 1}"#,
        r#"{"version": "1", "log_id": "ID", "start_offset": "0", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": 0, "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "-1", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "+1", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "9223372036854775807", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "99999999999999999999", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "0", "created_ms": 0.5}"#,
        r#"{"version": 1, "log_id": "IDA", "start_offset": "0", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "0123456789ABCDEF0123456789ABCDEF", "start_offset": "0", "created_ms": 0}"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "0", "created_ms": 0} x"#,
        r#"{"version": 1, "log_id": "ID", "start_offset": "0", "created_ms": 0"#,
    ] {
        let error = json(text).unwrap_err();
        assert!(!error.is_unsupported(), "{text}: {error}");
        assert_eq!(error.into_error("k").kind(), ErrorKind::Corrupt);
    }
    assert!(json(&format!(r#"{{"x": "{}"}}"#, "y".repeat(4096))).unwrap_err().to_string().contains("4096"));
    assert!(LogIdentity::parse(&[b'['; 4096]).is_err(), "nesting is bounded");
    assert!(LogIdentity::parse(b"{\"version\": 1, \"log_id\": \"\xff\"}").is_err());
}

#[test]
fn what_can_not_be_read_is_not_written() {
    for (id, start) in [("x", 0), ("", 0), (ID, -1), (ID, i64::MAX)] {
        assert_eq!(LogIdentity::new(id, start, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
