//! A power cut while a segment is replaced by a merged one: the old one or the new one is there, and the new one once the store
//! has answered.

use bytes::Bytes;
use kfs_core::format::{NewRecord, Segment, SegmentBuilder};
use kfs_core::store::{Identity, ReadRange, Replaced};

use super::*;

const KEY: &str = "default/power/0/segment-00000000000000000000.kfs";

struct Story {
    calls: Vec<Call>,
    /// So many calls before the replace was asked for, and when it was answered.
    asked: usize,
    answered: usize,
    old: Bytes,
    new: Bytes,
}

async fn story(named_staging: bool) -> Story {
    let directory = directory();
    let root = directory.path().join("log");
    let recorder = Arc::new(Recorder::default());
    let options = StoreOptions::default().named_staging(named_staging).disk_hook(recorder.clone());
    let bucket = open(&root, options, 1);
    let writer = writer(&bucket, 0).await;
    for value in ["a", "b", "c"] {
        let record = NewRecord::new(1_700_000_000_000).value(value.as_bytes());
        writer.append(&[record]).await.expect("taken").durable().await.expect("durable");
    }
    let store = bucket.store();
    let mut merged = SegmentBuilder::new(0, 1, 100).expect("a base");
    let mut first = None;
    for base in 0..2 {
        let key = format!("default/power/0/{}", ObjectName::Segment(base));
        let found = store.get(&key, ReadRange::Whole, None).await.expect("a segment");
        for at in Segment::parse(&found.bytes, CrcCheck::Verify).expect("a whole one").batches() {
            merged.push_at_own_offset(&at.batch).expect("room");
        }
        first.get_or_insert((found.bytes, found.info.version));
    }
    let ((old, version), built) = (first.expect("a segment"), merged.finish().expect("a segment"));
    let new = Bytes::from(built.chunks.concat());
    let asked = recorder.len();
    let replaced = store.replace_if(KEY, new.clone().into(), &Identity::none(), &version).await;
    assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
    Story { calls: recorder.calls(), asked, answered: recorder.len(), old, new }
}

/// Cuts after every call from the replace on. `skipped` are calls that the disk never did.
fn cut_everywhere(named_staging: bool, skipped: impl Fn(&Call) -> bool) {
    let Story { calls, asked, answered, old, new } = run(story(named_staging));
    assert!(answered > asked + 2, "{calls:?}");
    let (mut disk, mut states) = (Disk::default(), HashSet::new());
    for cut in 0..=calls.len() {
        if let Some(last) = cut.checked_sub(1)
            && !(last >= asked && skipped(&calls[last]))
        {
            disk.apply(&calls[last]);
        }
        for choice in (0..CHOICES + 2).filter(|_| cut >= asked) {
            let mut fate = match choice {
                0 => Fate::Vanishes,
                1 => Fate::Survives,
                seed => Fate::Either(Prng::new(cut as u64 * 100 + seed)),
            };
            let tree = disk.cut(&mut fate);
            if !states.insert((tree.clone(), cut >= answered)) {
                continue;
            }
            let directory = directory();
            let root = directory.path().join("log");
            build(&tree, &root);
            let found = std::fs::read(root.join(KEY)).expect("a segment");
            assert!(found == old || found == new, "the segment is neither, after {cut} calls, choice {choice}");
            assert!(found == new || cut < answered, "the answer was wrong, after {cut} calls, choice {choice}");
        }
    }
    assert!(states.len() > 2, "{calls:?}");
}

#[test]
fn a_power_cut_leaves_the_old_segment_or_the_merged_one() {
    cut_everywhere(false, |_| false);
    cut_everywhere(true, |_| false);
}

#[test]
#[should_panic(expected = "the segment is neither")]
fn a_forgotten_flush_of_the_merged_segment_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncFile(_)));
}

#[test]
#[should_panic(expected = "the answer was wrong")]
fn a_forgotten_flush_of_the_name_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncDir(_)));
}
