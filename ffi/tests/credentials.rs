//! The C program `c/credentials.c`: credentials that a callback supplies, on a fake of S3 and on a real server.

mod common;

use std::process::Command;

use common::{batch_file, shared, succeed};
use kfs_tests::{FakeS3, S3Server, s3};
use tempfile::TempDir;

const ID: &str = "supplied-access-key-id";
const SECRET: &str = "supplied-secret/0123456789";

fn run(directory: &TempDir, mut command: Command, [endpoint, bucket, id, secret]: [&str; 4]) {
    command.args([endpoint, bucket, id, secret]).arg(batch_file(directory));
    // Nothing of what surrounds the test may count.
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUST_BACKTRACE");
    let said = succeed(&mut command);
    assert!(said.contains("all is well") && !said.contains(secret) && !said.contains("planted-1234"), "{said}");
}

fn built(directory: &TempDir) -> std::path::PathBuf {
    let program = directory.path().join("credentials");
    succeed(&mut shared("credentials.c", &[], &program));
    program
}

#[test]
fn a_callback_supplies_and_renews_the_credentials_of_a_bucket() {
    let directory = TempDir::new().unwrap();
    let fake = FakeS3::start_for_key(ID);
    let mut command = Command::new(built(&directory));
    command.env("KFS_TEST_FAKE", "1");
    run(&directory, command, [fake.endpoint(), "logs", ID, SECRET]);
}

#[test]
fn a_callback_supplies_the_credentials_of_a_real_server() {
    let Some(server) = S3Server::start() else { return };
    let directory = TempDir::new().unwrap();
    let endpoint = server.endpoint();
    run(&directory, Command::new(built(&directory)), [&endpoint, s3::BUCKET, s3::ACCESS_KEY, s3::SECRET_KEY]);
}

#[test]
fn supplied_credentials_are_clean_under_valgrind() {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        kfs_tests::skip("valgrind is not installed");
        return;
    }
    let directory = TempDir::new().unwrap();
    let fake = FakeS3::start_for_key(ID);
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--show-leak-kinds=definite", "--fair-sched=yes"])
        .arg(built(&directory));
    run(&directory, command, [fake.endpoint(), "logs", ID, SECRET]);
}
