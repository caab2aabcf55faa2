use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn json(text: &str) -> Result<ClaimMarker, Malformed> {
    ClaimMarker::parse(text.replace("ID", ID).as_bytes())
}

#[test]
fn what_is_written_reads_back() {
    for (name, epoch, turn) in [("", None, 0), ("broker-1", Some(0), 1), (r#"a "quoted\" name"#, Some(i32::MAX), 9)] {
        let marker = ClaimMarker::new(ID, name, epoch, turn, 1_767_225_600_000);
        assert_eq!(ClaimMarker::parse(&marker.encode()).unwrap(), marker);
    }
    let longest = ClaimMarker::new(ID, &"\"".repeat(256), Some(i32::MAX), u64::MAX, i64::MIN);
    assert!(longest.encode().len() < ClaimMarker::MAX_LEN, "the longest name that a writer may have fits");
    let expected = r#"{"version":1,"claim_id":"ID","name":"b","leader_epoch":-1,"turn":2,"claimed_ms":7}"#;
    assert_eq!(ClaimMarker::new(ID, "b", None, 2, 7).encode(), expected.replace("ID", ID));
}

#[test]
fn unknown_members_and_any_order_are_read() {
    let read = json(
        r#" {"x": [1], "claimed_ms": -1, "turn": 3, "leader_epoch": 5, "name": "é", "claim_id": "ID", "version": 1} "#,
    );
    assert_eq!(read.unwrap(), ClaimMarker::new(ID, "é", Some(5), 3, -1));
}

#[test]
fn anything_else_means_nothing() {
    let good = r#"{"version": 1, "claim_id": "ID", "name": "", "leader_epoch": -1, "turn": 0, "claimed_ms": 0}"#;
    json(good).unwrap();
    for (from, to) in [
        ("1,", "2,"),
        (r#""claim_id": "ID", "#, ""),
        (r#""ID""#, r#""IDA""#),
        (r#""ID""#, r#""0123456789abcdef0123456789abcdeg""#),
        (r#""ID""#, "7"),
        (r#""leader_epoch": -1"#, r#""leader_epoch": -2"#),
        (r#""leader_epoch": -1"#, r#""leader_epoch": 2147483648"#),
        (r#""turn": 0"#, r#""turn": -1"#),
        (r#""turn": 0"#, r#""turn": 0.5"#),
        (r#""name": """#, r#""name": null"#),
        ("}", "} x"),
        ("}", ""),
    ] {
        let text = good.replacen(from, to, 1);
        assert!(json(&text).is_err(), "{text}");
    }
    for text in ["", "{}", "null", "[]", r#"[1, "ID", "", -1, 0, 0]"#, "\u{feff}{}"] {
        assert!(json(text).is_err(), "{text}");
    }
    let long = format!("{good}{}", " ".repeat(ClaimMarker::MAX_LEN));
    assert!(json(&long).unwrap_err().to_string().contains("4096"));
    assert!(ClaimMarker::parse(&[b'{'; 4096]).is_err());
}
