//! The C program `c/border.c`: writers freed within callbacks, handles in a forked child.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{batch_file, run, shared, succeed};
use tempfile::TempDir;

fn crossing(directory: &TempDir, mut command: Command) {
    let bucket = directory.path().join("bucket");
    command.arg(format!("file://{}", bucket.display())).arg(batch_file(directory));
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUST_BACKTRACE");
    assert!(succeed(&mut command).contains("all is well"));
    // The modes of its options.
    let partition = bucket.join("default/border/6");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&partition) & !0o750, 0);
    assert_eq!(mode(&partition.join(format!("segment-{:020}.kfs", 0))) & !0o640, 0);
}

#[test]
fn writers_are_freed_within_callbacks_and_handles_refused_after_a_fork() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("border");
    succeed(&mut shared("border.c", &[], &program));
    crossing(&directory, Command::new(program));
}

#[test]
fn freeing_within_callbacks_is_clean_under_address_sanitizer() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("border");
    let built = run(&mut shared("border.c", &["-fsanitize=address", "-fno-omit-frame-pointer"], &program));
    if !built.status.success() {
        kfs_tests::skip(&format!("cc -fsanitize=address: {}", String::from_utf8_lossy(&built.stderr)));
        return;
    }
    let mut command = Command::new(program);
    // A child that was forked leaves its copies of the handles, as it must.
    command.env("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0:halt_on_error=1");
    crossing(&directory, command);
}
