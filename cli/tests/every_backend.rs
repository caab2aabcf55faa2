//! `kfs` on every kind of store that another process can reach, by changing the URL alone.

mod common;

use common::{finish, kfs};
use kfs_tests::each_bucket;

#[test]
fn append_cat_ls_and_verify_work_on_each_store_by_its_url_alone() {
    for bucket in each_bucket() {
        let Some(url) = bucket.url("logs") else { continue };
        let run = |arguments: &str, input: &[u8]| {
            let mut command = kfs();
            let environment = bucket.environment().iter().map(|(name, value)| (name, value));
            command.env("KFS_BUCKET", &url).envs(environment).args(arguments.split_whitespace());
            finish(command, input)
        };
        let input: String = (0..500).map(|n| format!("record {n}\n")).collect();
        run("append --lines t/0 --flush-bytes 4KiB", input.as_bytes()).ok();
        assert_eq!(run("cat t/0", b"").ok(), input, "{}", bucket.name);
        assert_eq!(run("cat t/0 --from -1", b"").ok(), "record 499\n", "{}", bucket.name);
        assert_eq!(run("ls --json", b"").ok(), "{\"partitions\":1,\"topic\":\"t\"}\n", "{}", bucket.name);
        run("verify t/0", b"").ok();
        let missing = run("cat t/1", b"").failed(3);
        assert!(missing.contains("not found: partition t/1"), "{} {missing}", bucket.name);
    }
}
