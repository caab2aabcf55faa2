//! Several processes that write one partition: the test binary starts itself again as a writer.

use std::collections::{BTreeMap, HashSet};
use std::process::{Child, Command, Stdio};

use kfs_core::format::{CrcCheck, Limits, NewRecord, ObjectName, Segment};
use kfs_core::store::{ReadRange, Store, StoreOptions};
use kfs_core::{Bucket, ErrorKind, OnConflict, Stored, WriterOptions};

const CHILD: &str = "KFS_TEST_WRITER";
const PREFIX: &str = "default/contest/0/";

/// A writer process: who it is and what it does.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name; values begin with it.
    pub name: &'static str,
    /// `takeover`, `fence` or `rebase`.
    pub policy: &'static str,
    /// The start offset that it asks for.
    pub start_offset: Option<i64>,
    /// How many records it appends, one by one.
    pub appends: u32,
}

/// What a writer process said.
#[derive(Debug, Default)]
pub struct Story {
    /// Value and offset of each durable append.
    pub acked: BTreeMap<String, i64>,
    /// Values that were reported as not stored.
    pub not_stored: Vec<String>,
    /// Names of the kinds of its errors.
    pub errors: Vec<String>,
}

/// To be called by a test of the same name in the test binary: runs as a writer when this process
/// was started as one, else does nothing.
pub fn writer_process() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let mut words = words.split('|');
    let mut next = || words.next().expect("a word").to_owned();
    let (url, name, policy, start, appends) = (next(), next(), next(), next(), next());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    runtime.block_on(write(&url, &name, &policy, start.parse().ok(), appends.parse().expect("a number")));
}

async fn write(url: &str, name: &str, policy: &str, start_offset: Option<i64>, appends: u32) {
    let bucket = Bucket::open(url).expect("bucket");
    let partition = bucket.partition("contest", 0).expect("partition");
    let mut options = WriterOptions::default().name(name).on_conflict(match policy {
        "takeover" => OnConflict::Takeover,
        "fence" => OnConflict::Fence,
        _ => OnConflict::Rebase,
    });
    if let Some(offset) = start_offset {
        options = options.start_offset(offset);
    }
    let mut writer = None;
    for n in 0..appends {
        let value = format!("{name}-{n}");
        if writer.is_none() {
            match partition.writer_with(options.clone()).await {
                Ok(opened) => writer = Some(opened),
                Err(error) => {
                    println!("\nERR {} -", error.kind().name().replace(' ', "-"));
                    continue;
                }
            }
        }
        let Some(open) = &writer else { continue };
        let record = NewRecord::new(i64::from(n)).value(value.as_bytes());
        let outcome = match open.append(&[record]).await {
            Ok(append) => append.durable().await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(offsets) => println!("\nACK {value} {}", offsets.base),
            Err(error) => {
                let stored = if error.stored() == Some(Stored::Not) { value.as_str() } else { "-" };
                println!("\nERR {} {stored}", error.kind().name().replace(' ', "-"));
                if error.kind() == ErrorKind::Conflict {
                    return;
                }
                // A fenced writer is done; its owner may open another.
                let _ = open.close(None).await;
                writer = None;
            }
        }
    }
}

/// Starts the contenders at the same time and waits for all. `test` is the name of the test that
/// calls [`writer_process`]; `environment` is added to theirs.
pub fn contest(url: &str, test: &str, contenders: &[Contender], environment: &[(&str, String)]) -> Vec<Story> {
    let children: Vec<Child> = contenders
        .iter()
        .map(|c| {
            let start = c.start_offset.map_or("-".to_owned(), |o| o.to_string());
            Command::new(std::env::current_exe().expect("this binary"))
                .args(["--exact", test, "--nocapture", "--test-threads=1"])
                .env(CHILD, format!("{url}|{}|{}|{start}|{}", c.name, c.policy, c.appends))
                .envs(environment.iter().map(|(name, value)| (*name, value)))
                .stdout(Stdio::piped())
                .spawn()
                .expect("started")
        })
        .collect();
    children.into_iter().map(|child| story(child.wait_with_output().expect("ended"))).collect()
}

fn story(output: std::process::Output) -> Story {
    assert!(output.status.success(), "a writer process failed: {output:?}");
    let mut story = Story::default();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ACK", value, offset] => {
                story.acked.insert(value.to_owned(), offset.parse().expect("an offset"));
            }
            ["ERR", kind, value] => {
                story.errors.push(kind.to_owned());
                if value != "-" {
                    story.not_stored.push(value.to_owned());
                }
            }
            _ => {}
        }
    }
    story
}

/// Every value of the partition with its offset. No value may be kept twice.
pub async fn read_log(url: &str, options: &StoreOptions) -> BTreeMap<String, i64> {
    let store = Store::open(url, options).expect("store");
    read_partition(&store, PREFIX).await.into_iter().map(|(offset, value)| (value, offset)).collect()
}

/// Every record below a partition's prefix, offset and value, in order, read by names and bytes alone, as KafScale would:
/// every segment must be whole, every index right, offsets dense, no value kept twice.
pub async fn read_partition(store: &Store, prefix: &str) -> Vec<(i64, String)> {
    let page = store.list_page(prefix, None, 100_000).await.expect("listing");
    assert!(page.complete);
    let (mut records, mut values, mut next) = (Vec::new(), HashSet::new(), None);
    for object in page.objects {
        let Some(ObjectName::Segment(base)) = object.key.strip_prefix(prefix).and_then(ObjectName::parse) else {
            continue;
        };
        assert!(next.is_none_or(|next| next == base), "a hole or an overlap before {base}: {next:?}");
        let bytes = store.get(&object.key, ReadRange::Whole, None).await.expect("segment").bytes;
        let segment = Segment::parse(&bytes, CrcCheck::Verify).expect("whole");
        let index_key = object.key.replace(".kfs", ".index");
        let index = store.get(&index_key, ReadRange::Whole, None).await.expect("index").bytes;
        assert_eq!(index, segment.index(100).encode(), "{index_key}");
        for at in segment.batches() {
            for record in &at.batch.records(&Limits::default()).expect("records") {
                let record = record.expect("record");
                let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
                assert!(values.insert(value.clone()), "{value} is kept twice");
                records.push((record.offset, value));
            }
        }
        next = Some(segment.next_offset());
    }
    records
}

/// What must hold whatever happened: acked is kept at its offset, *not stored* is not there.
pub fn check(stories: &[Story], log: &BTreeMap<String, i64>) {
    for story in stories {
        for (value, offset) in &story.acked {
            assert_eq!(log.get(value), Some(offset), "acked {value}");
        }
        for value in &story.not_stored {
            assert_eq!(log.get(value), None, "{value} was reported as not stored");
        }
    }
}
