//! No secret of any configuration appears in any output of the library: not in Debug, errors, serde, metrics, events or
//! panics, nor in what any crate beneath it logs. The command, C and Python have tests of their own.

use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kfs_core::blocking::{Wait, on_shared_runtime};
use kfs_core::format::NewRecord;
use kfs_core::recorder::{BucketEvent, PrometheusRecorder, Recorder};
use kfs_core::store::{CredentialSource, Credentials, Secret, StoreConfig, StoreOptions};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, Result};
use kfs_tests::secrets::{SecretCase, SecretWorld, leaks, on_each, planted};
use serde_json::Value;

/// Names the file with a case, for the child.
const CASE: &str = "KFS_SECRETS_CASE";
const PATIENCE: Duration = Duration::from_millis(1500);

/// All that a process with this configuration prints.
fn output_of(number: usize, case: &SecretCase, world: &SecretWorld) -> String {
    let file = world.directory().join(format!("case-{number}.json"));
    std::fs::write(&file, case.to_json().to_string()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_configuration_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    // Nothing of what surrounds the test may count.
    command.env_clear().env(CASE, file).env("RUST_BACKTRACE", "0").env("HOME", world.directory());
    for cloud in ["AWS_EC2", "AZURE", "GOOGLE"] {
        command.env(format!("{cloud}_METADATA_DISABLED"), "true");
    }
    command.envs(case.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("all was shown"), "{}: {text}", case.name);
    text
}

#[test]
fn no_secret_of_any_configuration_appears_in_any_output() {
    let world = SecretWorld::start();
    let mut found = Vec::new();
    let mut all = String::new();
    for (case, text) in on_each(&world.cases(), |number, case| output_of(number, case, &world)) {
        found.extend(leaks(&text).into_iter().map(|leak| format!("{}: {leak}", case.name)));
        all.push_str(&text);
    }
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n\n"));
    // The search is worth nothing if nothing was shown.
    for shown in
        ["***", "[removed]", "durable: Ok", "kfs_open_writers", "reqwest", "TRACE", "kfs::store", "panicked at"]
    {
        assert!(all.contains(shown), "nothing shows {shown:?}");
    }
}

/// A program's source of credentials.
#[derive(Debug)]
struct Source(String);

impl CredentialSource for Source {
    fn credentials(&self) -> Result<Credentials> {
        use planted::{BASE64_KEY, BEARER, KEY_ID, SECRET_KEY, SESSION_TOKEN};
        let given = match self.0.as_str() {
            "key" => Credentials::access_key(KEY_ID, SECRET_KEY, Some(SESSION_TOKEN.into())),
            "bearer" => Credentials::bearer(BEARER),
            "account_key" => Credentials::account_key(BASE64_KEY),
            _ => {
                let cause = std::io::Error::other(format!("GET https://vault/x?token={BEARER}: password={SECRET_KEY}"));
                return Err(Error::new(ErrorKind::PermissionDenied, "the vault refused").with_source(cause));
            }
        };
        println!("{given:?} {given:#?}");
        Ok(given)
    }
}

/// Prints each event, and counts it for Prometheus.
#[derive(Debug, Default)]
struct Printing(PrometheusRecorder);

impl Recorder for Printing {
    fn record(&self, event: &BucketEvent<'_>) {
        println!("{event:?}");
        self.0.record(event);
    }
}

/// Prints what the crates beneath tell by the crate `log`.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

fn show(error: &Error) {
    println!("{error} {error:#} {error:?} {error:#?} {:?}", error.hint());
    let mut cause = StdError::source(error);
    while let Some(this) = cause {
        println!("{this} {this:?} {this:#?}");
        cause = this.source();
    }
}

#[test]
#[ignore = "the test above runs it in processes of its own"]
fn one_configuration_in_a_process_of_its_own() {
    let Ok(file) = std::env::var(CASE) else { return };
    let case: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::stdout).init();
    if let Err(error) = used(&case) {
        show(&error);
        // What a program makes of an error that it does not expect.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| panic!("{error:?}")));
    }
    println!("all was shown");
}

fn used(case: &Value) -> Result<()> {
    let mut options = StoreOptions::default();
    for pair in case["settings"].as_array().unwrap() {
        let [name, value] = [0, 1].map(|at| pair[at].as_str().unwrap());
        println!("{} {:?}", Secret::new(value), Secret::new(value));
        options = options.config(name, value);
    }
    if let Some(what) = case["supplied"].as_str() {
        options = options.credentials(Arc::new(Source(what.into())));
    }
    println!("{options:?} {options:#?}");
    let config = match (case["document"].as_str(), case["url"].as_str()) {
        (Some(document), _) => StoreConfig::from_document(document)?,
        (None, url) => StoreConfig::from_url(url.unwrap())?,
    };
    println!("{config:?} {config:#?} {:?} {:?}", config.url(), config.shown(true));
    println!("{:?} {:?}", serde_json::to_string(&config), serde_json::to_value(&config));

    let recorder = Arc::new(Printing::default());
    let bucket_options = BucketOptions::default().store(options).recorder(recorder.clone());
    println!("{bucket_options:?}");
    let bucket = Bucket::open_config(&config, on_shared_runtime(bucket_options)?)?;
    println!("{bucket:?} {bucket:#?} {:?} {:#?}", bucket.store(), bucket.store());
    let ended = appended_and_read(&bucket);
    println!("durable: {:?}", ended.is_ok().then_some("Ok").ok_or("no"));
    println!(
        "{:?} {:?}",
        bucket.trouble(),
        bucket.trouble().map(|trouble| trouble.explain(Error::new(ErrorKind::TimedOut, "late")))
    );
    println!("{} {recorder:?}", recorder.0.text());
    ended
}

fn appended_and_read(bucket: &Bucket) -> Result<()> {
    let wait = Wait::at_most(PATIENCE);
    let partition = bucket.partition("t", 0)?;
    if let Err(error) = wait.on_log(&partition, partition.reader().fetch(0, 1000)) {
        show(&error);
    }
    let writer = wait.on_log(&partition, partition.writer())?;
    let append = wait.on_admission(&writer, writer.append(&[NewRecord::new(1).value(b"x")]))?;
    let durable = wait.on_commit(&append, append.durable());
    println!("{writer:?} {:#?}", writer.status());
    wait.close_writer(&writer)?;
    durable.map(drop)
}
