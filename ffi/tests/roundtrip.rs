//! The C program `c/roundtrip.c`, built against the library that cargo built beside this test.

mod common;

use std::path::Path;
use std::process::Command;

use common::{RECORDS, batch_file, built_beside, run, succeed};
use tempfile::TempDir;

fn compile(arguments: &[&str], program: &Path) -> Command {
    common::compile("roundtrip.c", arguments, program)
}

fn shared(arguments: &[&str], program: &Path) -> Command {
    common::shared("roundtrip.c", arguments, program)
}

/// The program, or what wraps it, over a fresh bucket.
fn round_trip(directory: &TempDir, mut command: Command) {
    let bucket = directory.path().join("bucket");
    std::fs::create_dir(&bucket).unwrap();
    command
        .arg(format!("file://{}", bucket.display()))
        .arg(batch_file(directory))
        .arg(RECORDS.to_string())
        // Cargo's may hold an older libkfs.so, and goes before the program's own path.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("RUST_BACKTRACE");
    assert!(succeed(&mut command).contains("all is well"));
    // It really wrote there, and named itself.
    assert!(bucket.join("default/orders/0").join(format!("segment-{:020}.kfs", 100)).is_file());
}

#[test]
fn a_c_program_round_trips_through_the_shared_library() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("roundtrip");
    succeed(&mut shared(&[], &program));
    round_trip(&directory, Command::new(program));
}

#[test]
fn a_c_program_round_trips_through_the_static_library() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("roundtrip");
    let mut build = compile(&[], &program);
    build.arg(built_beside().join("libkfs.a"));
    // What `rustc --print native-static-libs` names on this system.
    build.args(if cfg!(target_os = "macos") {
        &["-framework", "CoreFoundation", "-framework", "Security", "-liconv", "-lSystem", "-lm"][..]
    } else {
        &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"][..]
    });
    succeed(&mut build);
    round_trip(&directory, Command::new(program));
}

#[test]
fn the_round_trip_is_clean_under_address_sanitizer() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("roundtrip");
    let built = run(&mut shared(&["-fsanitize=address", "-fno-omit-frame-pointer"], &program));
    if !built.status.success() {
        kfs_tests::skip(&format!("cc -fsanitize=address: {}", String::from_utf8_lossy(&built.stderr)));
        return;
    }
    let mut command = Command::new(program);
    command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:halt_on_error=1");
    round_trip(&directory, command);
}

#[test]
fn the_round_trip_is_clean_under_valgrind() {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        kfs_tests::skip("valgrind is not installed");
        return;
    }
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("roundtrip");
    succeed(&mut shared(&[], &program));
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--show-leak-kinds=definite", "--fair-sched=yes"])
        .arg(program);
    round_trip(&directory, command);
}

#[test]
fn the_header_is_clean_cpp_too() {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        kfs_tests::skip("there is no C++ compiler");
        return;
    }
    succeed(
        Command::new(compiler)
            .args(["-x", "c++", "-std=c++11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"])
            .arg(kfs_tests::repository().join("include/kfs.h")),
    );
}

#[test]
#[cfg(target_os = "linux")]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let library = built_beside().join("libkfs.so");
    let mut nm = Command::new("nm");
    nm.args(["--dynamic", "--defined-only", "--format=posix"]).arg(library);
    if Command::new("nm").arg("--version").output().is_err() {
        kfs_tests::skip("nm is not installed");
        return;
    }
    let listed = succeed(&mut nm);
    let exported: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let header = std::fs::read_to_string(kfs_tests::repository().join("include/kfs.h")).unwrap();
    for symbol in &exported {
        assert!(header.contains(&format!("{symbol}(")), "libkfs.so exports {symbol}, which the header does not have");
    }
    assert!(exported.contains(&"kfs_bucket_open"), "{exported:?}");
}
