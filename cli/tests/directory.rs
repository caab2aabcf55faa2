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
