//! A bucket in a directory: permissions of what is made, reading without maps, and what is no file.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Bucket, finish, kfs, run};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn permissions_and_mapping_are_options() {
    for (options, file, directory) in [("", 0o600, 0o700), ("--file-mode 640 --dir-mode 0750", 0o640, 0o750)] {
        let bucket = Bucket::new();
        let url = format!("{}/made", bucket.url());
        let kfs = |arguments: &str, input: &[u8]| {
            let mut command = kfs();
            command.env("KFS_BUCKET", &url).args(arguments.split_whitespace());
            finish(command, input).ok()
        };
        let line = format!("{}\n", "x".repeat(200_000));
        kfs(&format!("append t/0 --lines {options}"), line.as_bytes());
        assert!(kfs("cat t/0 --no-map --format jsonl", b"").contains(line.trim()));
        let place = bucket.path().join("made/default/t/0");
        // The tests may run with a stricter umask.
        for (path, expected) in [(bucket.path().join("made"), directory), (place.clone(), directory)] {
            assert!(mode(&path) & !expected == 0 && mode(&path) & 0o700 == 0o700, "{path:?} {:o}", mode(&path));
        }
        let segment = place.join(format!("segment-{:020}.kfs", 0));
        assert!(mode(&segment) & !file == 0 && mode(&segment) & 0o600 == 0o600, "{:o}", mode(&segment));
    }
    let refused = run(["ls", "--bucket", "memory:", "--file-mode", "999"]).failed(2);
    assert!(refused.contains("octal"), "{refused}");
}

#[test]
fn a_segment_that_was_replaced_by_a_link_is_named() {
    for base in [1, 2] {
        let bucket = Bucket::new();
        for value in ["a", "b", "c"] {
            bucket.run_with("append t/0 --lines", format!("{value}\n").as_bytes()).ok();
        }
        let name = format!("segment-{base:020}.kfs");
        let segment = bucket.path().join("default/t/0").join(&name);
        let moved = bucket.path().join("moved.kfs");
        std::fs::rename(&segment, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &segment).unwrap();
        let told = bucket.run("cat t/0").failed(1);
        assert!(told.contains(&name) && told.contains("symbolic link"), "{told}");
        let ended = bucket.run("verify t/0");
        assert_eq!(ended.code, Some(1));
        let found = ended.text();
        assert!(found.contains(&name) && found.contains("symbolic link"), "{found}");
        if base == 2 {
            let told = bucket.run_with("append t/0 --lines --timeout 3s", b"d\n").failed(1);
            assert!(told.contains(&name) && told.contains("symbolic link"), "{told}");
        }
    }
}

#[test]
fn a_linked_topic_or_partition_is_named_at_once_by_every_command() {
    for linked in ["default/t", "default/t/0"] {
        let bucket = Bucket::new();
        bucket.run_with("append t/0 --lines", b"a\n").ok();
        bucket.run_with("append u/0 --lines", b"b\n").ok();
        bucket.run_with("append t/1 --lines", b"c\n").ok();
        let (path, moved) = (bucket.path().join(linked), tempfile::tempdir().unwrap());
        for target in [moved.path().join("moved"), Path::new("/nowhere").to_path_buf()] {
            if !target.starts_with("/nowhere") {
                std::fs::rename(&path, &target).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
            std::os::unix::fs::symlink(&target, &path).unwrap();
            for arguments in ["cat t/0", "cat t/0 --follow", "verify t/0", "ls t/0", "create t/0"] {
                let told = bucket.run(&format!("{arguments} --timeout 60s")).failed(5);
                assert!(told.contains(&format!("{linked} is a symbolic link")), "{arguments}: {told}");
                assert!(told.contains("put what it leads to in its place"), "{arguments}: {told}");
            }
            let ended = bucket.run_with("append t/0 --lines --report --timeout 60s", b"d\n");
            assert_eq!(ended.stdout, b"");
            let told = ended.failed(5);
            assert!(told.contains(&format!("{linked} is a symbolic link")), "{told}");
            assert!(!told.contains("tried again"), "{told}");
            // What is beside it is listed.
            let list = if linked == "default/t" { "ls --json" } else { "ls t --json" };
            let ended = bucket.run(list);
            let text = String::from_utf8_lossy(&ended.stdout).into_owned();
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(ended.failed(5).contains(&format!("{linked} is a symbolic link")));
        }
    }
}

#[test]
fn a_directory_that_does_not_exist_is_not_found_and_an_append_makes_it() {
    let bucket = Bucket::new();
    let url = format!("{}/typo", bucket.url());
    let run = |arguments: &str| {
        let mut command = kfs();
        command.env("KFS_BUCKET", &url).args(arguments.split_whitespace());
        finish(command, b"a\n")
    };
    for arguments in ["ls", "ls t", "ls t/0", "cat t/0", "verify t/0"] {
        let told = run(arguments).failed(3);
        assert!(told.contains("not found"), "{arguments}: {told}");
        if !arguments.contains('/') {
            assert!(told.contains("typo does not exist") && told.contains("hint: check its path"), "{told}");
        }
    }
    assert!(!bucket.path().join("typo").exists());
    run("append t/0 --lines").ok();
    assert_eq!(run("cat t/0 --follow -n 1").ok(), "a\n");
    assert_eq!(bucket.run("ls").ok(), "", "an empty directory is an empty bucket");
}
