//! What every subcommand needs: the runtime, the bucket, the time-out.

use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use kfs_core::format::Namespace;
use kfs_core::runtime::Runtime;
use kfs_core::store::config::Origin;
use kfs_core::store::{Store, StoreBackend, StoreConfig, StoreOptions};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, KafscaleTuning, Trouble};

use crate::args::Common;
use crate::failure::{self, Failure, Outcome, usage};
use crate::notices::Watch;
use crate::output;

/// How often is looked whether bytes came in.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A pipe that gives the configuration may be silent for this long.
const BEARABLE: Duration = Duration::from_secs(2);

/// The surroundings of a run.
#[derive(Debug)]
pub(crate) struct Context {
    common: Common,
    namespace: Namespace,
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
    /// The bucket that was opened, to ask it why nothing comes, and what was said of that.
    bucket: OnceLock<(Bucket, Watch)>,
    /// The same of a second one, that is written.
    target: OnceLock<(Bucket, Watch)>,
}

impl Context {
    pub(crate) fn new(common: Common) -> Outcome<Self> {
        check_descriptors()?;
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
            Error::new(ErrorKind::Unavailable, "the runtime's threads could not be started").with_source(e)
        })?;
        let runtime = Runtime::tokio(tokio.handle().clone());
        tokio.block_on(async { outlive_file_size_limits() });
        let namespace = match &common.namespace {
            Some(namespace) => namespace.clone(),
            None => KafscaleTuning::from_variables(namespace_variable())?.namespace,
        };
        Ok(Context { common, namespace, tokio, runtime, bucket: OnceLock::new(), target: OnceLock::new() })
    }

    /// Runs a subcommand on this thread; what it prints may block.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Ends the runtime without waiting for what blocks.
    pub(crate) fn end(self, ended: &Outcome) {
        // What was given up is under way no more, and the store may be away all the same.
        let gave_up = ended.as_ref().is_err_and(Failure::is_of_the_store);
        for (bucket, watch) in self.opened().filter(|_| !gave_up) {
            watch.last(&self.runtime, bucket);
        }
        self.tokio.shutdown_background();
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.runtime.clock().wall_ms()
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Who named the namespace: the command line, the environment or nobody.
    pub(crate) fn namespace_from(&self) -> (Origin, Option<&'static str>) {
        match (&self.common.namespace, namespace_variable()) {
            (Some(_), _) => (Origin::Explicit, Some("--namespace")),
            (None, Some((name, _))) => (Origin::Environment, Some(name)),
            (None, None) => (Origin::Default, None),
        }
    }

    /// Whether a bucket was opened.
    pub(crate) fn opened_a_bucket(&self) -> bool {
        self.bucket.get().is_some()
    }

    /// A command line of this program on the same bucket, to be pasted into the same shell.
    pub(crate) fn command(&self, arguments: &str) -> String {
        if let Some(file) = &self.common.config {
            return format!("kfs --config {} {arguments}", quoted(&file.to_string_lossy()));
        }
        match &self.common.bucket {
            Some(url) if std::env::var("KFS_BUCKET").ok().as_ref() != Some(url) => {
                format!("kfs --bucket {} {arguments}", quoted(url))
            }
            _ => format!("kfs {arguments}"),
        }
    }

    pub(crate) fn has_bucket(&self) -> bool {
        self.common.bucket.is_some() || self.common.config.is_some()
    }

    /// The bucket that --config, --bucket or the environment names.
    pub(crate) fn store_config(&self) -> Outcome<StoreConfig> {
        let in_environment = std::env::var("KFS_BUCKET").ok();
        match (&self.common.config, &self.common.bucket) {
            (Some(_), Some(url)) if in_environment.as_ref() != Some(url) => {
                Err(usage("--bucket and --config both name a bucket", "leave one of them out"))
            }
            (Some(file), _) => Self::config_in(file, "--config"),
            (None, Some(url)) => Ok(StoreConfig::from_url(url).map_err(with_right_setting)?),
            (None, None) => StoreConfig::from_environment().map_err(|_| {
                let hint = "use --bucket URL or set KFS_BUCKET, as in file:///var/lib/logs; or use --config FILE, or set \
                            KAFSCALE_S3_BUCKET";
                usage("no bucket is given", hint)
            }),
        }
    }

    /// Opens the bucket.
    pub(crate) fn bucket(&self, options: BucketOptions) -> Outcome<Bucket> {
        let (config, store) = (self.store_config()?, self.store_options());
        let options = options.runtime(self.runtime.clone()).namespace(self.namespace.clone()).store(store);
        let bucket = Bucket::open_config(&config, options).map_err(with_right_setting)?;
        let watch = Watch::begin(&self.runtime, &bucket);
        let _ = self.bucket.set((bucket.clone(), watch));
        Ok(bucket)
    }

    /// Opens a second bucket, which is written.
    pub(crate) fn second_bucket(&self, config: &StoreConfig, namespace: Namespace) -> Outcome<Bucket> {
        let options = BucketOptions::default().runtime(self.runtime.clone()).namespace(namespace);
        let bucket = Bucket::open_config(config, options.store(self.store_options()))?;
        let watch = Watch::begin(&self.runtime, &bucket);
        let _ = self.target.set((bucket.clone(), watch));
        Ok(bucket)
    }

    /// The bucket that a file in YAML or JSON describes.
    pub(crate) fn config_in(file: &Path, option: &str) -> Outcome<StoreConfig> {
        let hint = format!("{option} names a file in YAML or JSON that describes the bucket");
        let text = read_config(file).map_err(|error| failure::file(file, error).with_hint(hint.clone()))?;
        Ok(StoreConfig::from_document(&text).map_err(|error| with_hint_if_none(error, &hint))?)
    }

    /// Opens the bucket's store alone. Where it is reached over the network, a connection must be made within `connect`.
    pub(crate) fn store(&self, connect: &str) -> Outcome<Store> {
        let mut config = self.store_config()?;
        if !matches!(config.backend(), StoreBackend::Filesystem | StoreBackend::Memory) {
            config = config.set("connect_timeout", connect)?;
        }
        Ok(Store::open_config(&config, &self.store_options()).map_err(with_right_setting)?)
    }

    /// Where the credentials would come from; `None` for a store that takes none. They are not asked for, and nothing is
    /// sent.
    ///
    /// # Errors
    /// What keeps the bucket from being opened with these settings.
    pub(crate) fn credentials_from(&self, config: &StoreConfig) -> Outcome<Option<String>> {
        let opened = match config.backend() {
            // To open a directory is to look at it.
            StoreBackend::Filesystem | StoreBackend::Memory => config.url().map(|_| None),
            _ => Store::open_config(config, &self.store_options())
                .map(|store| store.credentials_from().map(str::to_string)),
        };
        match opened {
            Ok(from) => Ok(from),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Ok(Some(format!("nowhere: {}", error.message())))
            }
            Err(error) => Err(with_right_setting(error).into()),
        }
    }

    fn store_options(&self) -> StoreOptions {
        StoreOptions::default()
            .map(!self.common.no_map)
            .file_mode(self.common.file_mode)
            .dir_mode(self.common.dir_mode)
            .preflight(!self.common.no_preflight)
            .single_writer(self.common.single_writer)
    }

    /// How long no progress is borne; `None`: for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        Some(self.common.timeout).filter(|limit| !limit.is_zero())
    }

    /// Waits for an answer of the store, but not for ever.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Outcome<T> {
        let Some(limit) = self.patience() else { return Ok(work.await) };
        let clock = self.runtime.clock();
        let sent = |(bucket, _): &(Bucket, Watch)| bucket.requests();
        let progress = || self.opened().map(sent).map(|sent| (sent.done, sent.bytes_in)).collect::<Vec<_>>();
        let (mut before, mut since) = (progress(), clock.elapsed());
        tokio::pin!(work);
        loop {
            let left = limit.saturating_sub(clock.elapsed().saturating_sub(since));
            if let Some(value) = self.runtime.timeout(left.min(LOOK_EVERY), &mut work).await {
                return Ok(value);
            }
            let now = progress();
            if now != before {
                (before, since) = (now, clock.elapsed());
            } else if clock.elapsed().saturating_sub(since) >= limit {
                return Err(self.no_progress(limit).into());
            }
        }
    }

    fn no_progress(&self, limit: Duration) -> Error {
        no_progress(limit, self.opened().find_map(|(bucket, _)| bucket.trouble()))
    }

    /// The buckets that were opened.
    fn opened(&self) -> impl Iterator<Item = &(Bucket, Watch)> {
        self.bucket.get().into_iter().chain(self.target.get())
    }
}

/// The variable that names a namespace, if it is set.
fn namespace_variable() -> Option<(&'static str, String)> {
    const NAME: &str = "KAFSCALE_S3_NAMESPACE";
    std::env::var_os(NAME).map(|value| (NAME, value.to_string_lossy().into_owned()))
}

/// The error of a store that made no progress, with what it was asked for in vain.
pub(crate) fn no_progress(limit: Duration, trouble: Option<Trouble>) -> Error {
    let error = Error::new(ErrorKind::TimedOut, format!("the store made no progress for {limit:?}"))
        .with_hint("is it there, and are its address and credentials right? --timeout waits longer, 0 for ever");
    match trouble {
        Some(trouble) => trouble.explain(error),
        None => error,
    }
}

/// The text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "/:._-+=@%,".contains(c);
    match !text.is_empty() && text.chars().all(is_safe) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Reads a file of settings, or a pipe, as a shell makes one of `<(command)`. What is longer than the core reads is cut, so
/// that the core refuses it.
fn read_config(file: &Path) -> std::io::Result<String> {
    const LIMIT: u64 = 2 << 20;
    // Dropped when all was read.
    let (_reading, was_read) = channel::<()>();
    if !std::fs::metadata(file)?.is_file() {
        let name = file.display().to_string();
        thread(move || {
            if was_read.recv_timeout(BEARABLE) == Err(RecvTimeoutError::Timeout) {
                output::note(&format!("waiting for {name}, which is no regular file, to give the configuration"));
            }
        });
    }
    let mut text = String::new();
    std::fs::File::open(file)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Checks that the runtime can have the file descriptors that it needs: those of its signals it takes or panics.
///
/// # Errors
/// When the process may open fewer.
#[cfg(unix)]
fn check_descriptors() -> Outcome {
    use std::os::fd::AsFd;
    /// Two for the runtime's events, three for signals, and those of the first files of a directory.
    const NEEDED: usize = 8;
    let stdin = std::io::stdin();
    let held: std::io::Result<Vec<_>> = (0..NEEDED).map(|_| stdin.as_fd().try_clone_to_owned()).collect();
    held.map(drop).map_err(|error| {
        let what = format!("this process can't open {NEEDED} files, which it needs to start");
        Error::new(ErrorKind::Unavailable, what).with_source(error).into()
    })
}

#[cfg(not(unix))]
fn check_descriptors() -> Outcome {
    Ok(())
}

/// The error of a bucket that can't be opened, with what a setting from the environment may be.
fn with_right_setting(error: Error) -> Error {
    const SETTINGS: [(&str, &str); 2] = [
        (
            "AWS_ENDPOINT_URL",
            "set AWS_ENDPOINT_URL to the server's whole address, as in http://127.0.0.1:9000, or unset it for AWS",
        ),
        ("AWS_CA_BUNDLE", "set AWS_CA_BUNDLE to a readable file of certificates in PEM, or unset it"),
    ];
    let is_value = error.hint().is_none() || error.message().contains("can't be used");
    let named = SETTINGS.iter().find(|(name, _)| is_value && error.message().contains(name));
    match named {
        Some((_, hint)) => error.with_hint(*hint),
        None if error.kind() == ErrorKind::InvalidInput => {
            with_hint_if_none(error, "`kfs config show --all` says what each setting is for")
        }
        None => error,
    }
}

fn with_hint_if_none(error: Error, hint: &str) -> Error {
    if error.hint().is_none() { error.with_hint(hint) } else { error }
}

/// A write beyond the limit of a file's size (`ulimit -f`) raises a signal that kills in silence. With
/// a handler of ours in place the write fails instead, and its error is told.
fn outlive_file_size_limits() {
    #[cfg(unix)]
    {
        /// The same number on all systems but a few for MIPS.
        const SIGXFSZ: i32 = 25;
        let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ));
    }
}

/// Runs what blocks, on a thread that nobody waits for.
#[allow(clippy::disallowed_methods, reason = "reading standard input blocks, and can't be cancelled")]
pub(crate) fn thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
