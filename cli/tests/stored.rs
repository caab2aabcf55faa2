//! Stored data that can't be read: one exit code for it, and hints that help.

mod common;

use common::{Bucket, Ended, filled, run};

fn newest(bucket: &Bucket) -> std::path::PathBuf {
    bucket.files("t/0", "kfs").pop().unwrap()
}

type Edit = fn(&mut Vec<u8>);

/// A newest segment that has zeros after its header, another magic in its batch, or a later version.
fn broken() -> Vec<(&'static str, Bucket)> {
    let edits: [(&str, Edit); 3] = [
        ("zeros", |bytes| {
            let end = bytes.len() - 16;
            bytes[32..end].fill(0);
        }),
        ("magic 1", |bytes| bytes[32 + 16] = 1),
        ("version", |bytes| bytes[5] = 9),
    ];
    let make = |(what, edit): (&'static str, Edit)| {
        let bucket = filled(3);
        let mut bytes = std::fs::read(newest(&bucket)).unwrap();
        edit(&mut bytes);
        std::fs::write(newest(&bucket), bytes).unwrap();
        (what, bucket)
    };
    edits.into_iter().map(make).collect()
}

#[track_caller]
fn is_bad_data(what: &str, ended: Ended) -> String {
    let message = ended.failed(1);
    assert!(!message.contains("--help"), "{what}: {message}");
    message
}

#[test]
fn stored_data_that_can_not_be_read_ends_with_the_code_for_bad_data() {
    for (what, bucket) in broken() {
        let file = newest(&bucket);
        for arguments in ["cat t/0".to_string(), format!("cat {}", file.display())] {
            is_bad_data(what, bucket.run(&arguments));
        }
        is_bad_data(what, bucket.run("verify t/0"));
        let set_aside = "kfs repair --set-aside default/t/0/segment-00000000000000000020.kfs";
        let message = is_bad_data(what, bucket.run("cat t/0"));
        assert!(message.lines().last().unwrap().contains(set_aside), "{what}: {message}");
        let plan = bucket.run(set_aside.strip_prefix("kfs ").unwrap());
        assert!(String::from_utf8_lossy(&plan.stdout).contains("the next append gets offset"), "{what}: {plan:?}");
    }
}

#[test]
fn a_stored_batch_beyond_the_limit_ends_with_the_code_for_bad_data_and_names_the_option() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines --codec zstd t/0", "a".repeat(1000).as_bytes()).ok();
    let file = newest(&bucket);
    for target in ["t/0".to_string(), file.display().to_string()] {
        let message = is_bad_data(&target, bucket.run(&format!("cat {target} --max-decompressed 10")));
        assert!(message.lines().last().unwrap().contains("--max-decompressed"), "{message}");
        bucket.run(&format!("verify {target} --max-decompressed 10")).failed(1);
    }
}

#[test]
fn a_name_that_begins_as_a_path_is_a_file() {
    let bucket = Bucket::new();
    for name in ["./missing.kfs", "../missing.kfs", "/no/such/missing.kfs", "./orders/0"] {
        for command in ["inspect", "cat", "verify", "ls"] {
            let message = bucket.run(&format!("{command} {name}")).failed(3);
            assert!(message.contains(&format!("there is no file {name}")), "{command}: {message}");
            assert!(!run([command, name]).failed(3).contains("usable key"));
        }
    }
}

#[test]
fn setting_aside_says_first_that_readable_records_go_with_the_segment() {
    let bucket = filled(3);
    let mut bytes = std::fs::read(newest(&bucket)).unwrap();
    let end = bytes.len() - 20;
    bytes[end] ^= 1;
    std::fs::write(newest(&bucket), bytes).unwrap();
    let plan = bucket.run("repair --set-aside default/t/0/segment-00000000000000000020.kfs");
    let plan = String::from_utf8(plan.stdout).unwrap();
    let line = plan.lines().find(|line| line.contains("readable records")).expect(&plan);
    assert!(line.contains("`kfs cat t/0 --from 20 --skip-corrupt --format jsonl`"), "{plan}");
}
