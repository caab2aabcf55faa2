//! Numbers on the command line that make no sense.

mod common;

use common::{Bucket, filled};

#[test]
fn a_number_without_sense_is_refused_with_its_option_and_what_is_allowed() {
    let bucket = filled(1);
    for (arguments, option, allowed) in [
        ("append t/0 --flush-bytes 0", "--flush-bytes", "at least 1"),
        ("append t/0 --batch-bytes 0", "--batch-bytes", "at least 1"),
        ("append t/0 --buffer-bytes 0", "--buffer-bytes", "at least 64"),
        ("append t/0 --buffer-bytes 1", "--buffer-bytes", "at least 64"),
        ("append t/0 --index-interval 0", "--index-interval", "1.."),
        ("append t/0 --index-interval -1", "--index-interval", "1.."),
        ("append t/0 --flush-records 0", "--flush-records", "at least 1, as in 10"),
        ("append t/0 --flush-records -1", "--flush-records", "at least 1, as in 10"),
        ("append t/0 --flush-batches 0", "--flush-batches", "at least 1, as in 10"),
        ("append t/0 --start-offset -1", "--start-offset", "0..="),
        ("append t/0 --start-offset 9223372036854775807", "--start-offset", "0..="),
        ("append t/0 --leader-epoch -1", "--leader-epoch", "0.."),
        ("append t/0 --flush-interval 99999999999999h", "--flush-interval", "at most 1000 days"),
        ("append t/0 --linger 99999h", "--linger", "at most 1000 days"),
        ("append t/0 --timeout 99999h", "--timeout", "at most 1000 days"),
        ("append t/0 --timeout -1", "--timeout", "write"),
        ("append t/0 --file-mode 0", "--file-mode", "at least 400"),
        ("append t/0 --dir-mode 600", "--dir-mode", "at least 700"),
        ("create q/0 --start-offset -1", "--start-offset", "0..="),
        ("cat t/0 --max-decompressed 0", "--max-decompressed", "at least 1"),
        ("cat t/0 -n -1", "--count", "as in 10"),
        ("inspect t/0 --offset -1", "--offset", "0.."),
        ("inspect t/0 --offset 0 --max-decompressed 0", "--max-decompressed", "at least 1"),
        ("ls t/0 --from -1", "--from", "0.."),
        ("ls t/0 --to -1", "--to", "0.."),
        ("ls t/0 --from 5 --to 1", "--from", "at most --to"),
        ("verify t/0 --from -1", "--from", "0.."),
        ("verify t/0 --to -1", "--to", "0.."),
        ("verify t/0 --from 5 --to 1", "--from", "at most --to"),
        ("verify t/0 --max-decompressed 0", "--max-decompressed", "at least 1"),
    ] {
        let message = bucket.run(arguments).failed(2);
        assert!(message.contains(option) && message.contains(allowed), "{arguments}: {message}");
        assert!(!message.contains("unexpected argument"), "{arguments}: {message}");
    }
    assert_eq!(bucket.run("cat t/0 -n 0").ok(), "");
    bucket.run("ls q").failed(3);
}

#[test]
fn the_least_numbers_work() {
    let options = "--flush-bytes 1 --batch-bytes 1 --buffer-bytes 64 --index-interval 1 --flush-records 1 \
                   --flush-batches 1 --flush-interval 0 --linger 0 --timeout 0 --start-offset 0 --leader-epoch 0";
    let bucket = Bucket::new();
    bucket.run_with(&format!("append --lines t/0 {options}"), b"a\nb\nc\n").ok();
    assert_eq!(bucket.run("cat t/0 --max-decompressed 1").ok(), "a\nb\nc\n");
    let help = bucket.run("append --help").ok();
    assert!(help.contains("0 flushes at once"), "{help}");
}
