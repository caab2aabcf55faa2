use super::*;
use crate::format::Topic;

const NOW: i64 = 1_767_225_600_123;

fn id(topic: &str, number: i32) -> PartitionId {
    PartitionId::new(Namespace::default(), Topic::new(topic).unwrap(), number).unwrap()
}

fn text(manifest: KafscaleManifest) -> String {
    String::from_utf8(manifest.finish().concat()).unwrap()
}

fn read(text: &str) -> Result<Vec<KafscaleEntry>, Malformed> {
    let mut entries = Vec::new();
    KafscaleEntry::read_all(text.as_bytes(), &Namespace::default(), |entry| entries.push(entry))?;
    Ok(entries)
}

#[test]
fn an_entry_has_the_members_that_the_sql_processor_reads() {
    let mut manifest = KafscaleManifest::new(NOW + 1000);
    let mut entry = KafscaleEntry::new(id("orders", 3), 4711, 4720, 154, NOW);
    entry.times = Some((-5, 7));
    manifest.push(&entry);
    let size = manifest.size();
    let text = text(manifest);
    assert_eq!(
        text,
        concat!(
            "[\n{\"topic\":\"orders\",\"partition\":3,\"segment_key\":\"orders/3/segment-00000000000000004711.kfs\",",
            "\"index_key\":\"orders/3/segment-00000000000000004711.index\",\"size_bytes\":154,\"min_offset\":4711,",
            "\"max_offset\":4720,\"min_ts\":-5,\"max_ts\":7,\"last_modified\":\"2026-01-01T00:00:00.123Z\",",
            "\"updated_at\":\"2026-01-01T00:00:01.123Z\",\"by\":\"libkfs\"}\n]\n"
        )
    );
    assert_eq!(size + 3, text.len() as u64);
    assert_eq!(read(&text).unwrap(), [entry]);
    assert_eq!(String::from_utf8(KafscaleManifest::new(NOW).finish().concat()).unwrap(), "[]\n");
}

#[test]
fn what_is_not_known_is_null_and_is_read_back() {
    let mut manifest = KafscaleManifest::new(0);
    let entry = KafscaleEntry { last_offset: None, is_exact: false, ..KafscaleEntry::new(id("t", 0), 0, 0, 1, 0) };
    manifest.push(&entry);
    let text = text(manifest);
    assert!(text.contains("\"max_offset\":null,\"min_ts\":null,\"max_ts\":null,\"last_modified\":\"\""), "{text}");
    assert_eq!(read(&text).unwrap(), [entry]);
}

#[test]
fn many_entries_come_in_pieces_and_are_read_back() {
    let mut manifest = KafscaleManifest::new(NOW);
    let entries: Vec<_> = (0..2_000).map(|n| KafscaleEntry::new(id("t", 0), n * 10, n * 10 + 9, 1, NOW)).collect();
    entries.iter().for_each(|entry| manifest.push(entry));
    let pieces = manifest.finish();
    assert!(pieces.len() > 2, "{} pieces", pieces.len());
    assert_eq!(read(&String::from_utf8(pieces.concat()).unwrap()).unwrap(), entries);
}

#[test]
fn a_topic_that_is_called_as_its_namespace_has_full_keys_where_there_is_no_prefix() {
    let key_of = |manifest: KafscaleManifest, topic: &str| {
        let (mut manifest, entry) = (manifest, KafscaleEntry::new(id(topic, 0), 0, 9, 1, NOW));
        manifest.push(&entry);
        let text = text(manifest);
        assert_eq!(read(&text).unwrap(), [entry], "it means the same segment");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()[0]["segment_key"].as_str().unwrap().to_owned()
    };
    let namespace = Namespace::default();
    let full = key_of(KafscaleManifest::new(NOW).with_full_keys_in(&namespace), "default");
    assert_eq!(full, "default/default/0/segment-00000000000000000000.kfs");
    let relative = key_of(KafscaleManifest::new(NOW), "default");
    assert_eq!(relative, "default/0/segment-00000000000000000000.kfs");
    let other = key_of(KafscaleManifest::new(NOW).with_full_keys_in(&namespace), "defaults");
    assert_eq!(other, "defaults/0/segment-00000000000000000000.kfs");
}

#[test]
fn what_others_wrote_is_read_as_far_as_it_names_segments() {
    let key = "t/0/segment-00000000000000000010.kfs";
    let entry = format!(
        r#"{{"topic":"t","partition":0,"segment_key":"/{key}","index_key":"i","size_bytes":5,"min_offset":10,
        "max_offset":null,"min_ts":null,"max_ts":null,"last_modified":"2026-01-01T00:00:00.123456789Z","x":[{{}}]}}"#
    );
    let foreign = r#"{"segment_key":"lfs/a","size_bytes":1},{},{"segment_key":"t/0/segment-1.kfs"}"#;
    let expected =
        KafscaleEntry { last_offset: None, is_exact: false, ..KafscaleEntry::new(id("t", 0), 10, 0, 5, NOW) };
    for document in [
        format!("[{foreign},{entry}]"),
        format!(r#"{{"version":7,"entries":[{entry},{foreign}],"more":{{"entries":1}}}}"#),
    ] {
        assert_eq!(read(&document).unwrap(), std::slice::from_ref(&expected), "{document}");
    }
}

#[test]
fn what_is_no_manifest_is_told_with_its_place() {
    for (text, at) in [("", 0), ("[", 0), ("7", 0), ("[\n7]", 2), ("[]\n[]", 3), (r#"[{"size_bytes":-1}]"#, 16)] {
        let error = read(text).unwrap_err();
        assert!(error.position().abs_diff(at) <= 2, "{text:?}: {error}");
    }
    let array = read(r#"[["t", 0]]"#).unwrap_err();
    assert!(array.found().contains("found an array, expected an object"), "{array}");
}
