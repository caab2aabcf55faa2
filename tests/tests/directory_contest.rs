//! Invariants 1 to 4 with two processes on one directory, under each policy.

use kfs_core::store::StoreOptions;
use kfs_tests::contest::{Contender, Story, check, contest, read_log, writer_process};

#[test]
fn contender() {
    writer_process();
}

fn run(contenders: &[Contender]) -> (Vec<Story>, std::collections::BTreeMap<String, i64>) {
    let directory = tempfile::tempdir().expect("directory");
    let url = format!("file://{}", directory.path().display());
    let stories = contest(&url, "contender", contenders, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let log = runtime.block_on(read_log(&url, &StoreOptions::default()));
    check(&stories, &log);
    (stories, log)
}

fn pair(policy: &'static str) -> [Contender; 2] {
    ["one", "two"].map(|name| Contender { name, policy, start_offset: None, appends: 60 })
}

#[test]
fn rebase_lets_two_processes_share_a_directory() {
    let (stories, log) = run(&pair("rebase"));
    assert_eq!(log.len(), 120);
    assert!(stories.iter().all(|s| s.acked.len() == 60 && s.errors.is_empty()), "{stories:?}");
}

#[test]
fn takeover_by_two_processes_keeps_what_was_acked() {
    let (stories, log) = run(&pair("takeover"));
    assert!(!log.is_empty());
    assert!(
        stories.iter().flat_map(|s| &s.errors).all(|kind| kind == "fenced" || kind == "unavailable"),
        "{stories:?}"
    );
}

#[test]
fn fence_by_two_processes_keeps_what_was_acked() {
    let (stories, log) = run(&pair("fence"));
    assert!(!log.is_empty());
    assert!(stories.iter().flat_map(|s| &s.errors).all(|kind| kind == "fenced"), "{stories:?}");
}

#[test]
fn different_start_offsets_leave_one_chain() {
    for policy in ["takeover", "fence", "rebase"] {
        let mut contenders = pair(policy);
        contenders[0].start_offset = Some(1_000);
        contenders[1].start_offset = Some(2_000);
        let (stories, log) = run(&contenders);
        let first = log.values().min().copied().expect("one of them appended");
        assert!([1_000, 2_000].contains(&first));
        let loser = usize::from(first == 1_000);
        assert!(stories[loser].acked.is_empty());
        assert!(stories[loser].errors.iter().all(|kind| kind == "conflict"), "{stories:?}");
        assert_eq!(stories[1 - loser].acked.len(), 60, "{policy}");
    }
}
