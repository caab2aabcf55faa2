//! How the C programs of `c/` are built against the library that cargo built beside a test.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord};
use tempfile::TempDir;

pub(crate) const RECORDS: usize = 5;

/// Where cargo put libkfs.so and libkfs.a of this very build: beside this test.
pub(crate) fn built_beside() -> PathBuf {
    std::env::current_exe().expect("this test's path").parent().expect("it lies in a directory").to_owned()
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}

pub(crate) fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn cc() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// The compiler as this test's program is built: every warning is an error.
pub(crate) fn compile(source: &str, arguments: &[&str], program: &Path) -> Command {
    let mut command = cc();
    command
        .args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"])
        .args(arguments)
        .arg("-I")
        .arg(kfs_tests::repository().join("include"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(source))
        .arg("-o")
        .arg(program);
    command
}

pub(crate) fn shared(source: &str, arguments: &[&str], program: &Path) -> Command {
    let library = built_beside();
    let mut command = compile(source, arguments, program);
    command.arg("-L").arg(&library).arg("-lkfs").arg("-lpthread").arg(format!("-Wl,-rpath,{}", library.display()));
    command
}

pub(crate) fn batch_file(directory: &TempDir) -> PathBuf {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for number in 0..RECORDS {
        let value = format!("value {number}");
        assert!(builder.push(&NewRecord::new(1_767_225_600_000).key(b"key").value(value.as_bytes())).unwrap());
    }
    let path = directory.path().join("batch");
    std::fs::write(&path, builder.finish(0).unwrap().bytes()).unwrap();
    path
}
