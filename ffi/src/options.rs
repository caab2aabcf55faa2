//! Option structs: they grow at their end, and say how long they are.

use std::ffi::c_char;
use std::time::Duration;

use kfs_core::format::{BatchCheck, Limits, Namespace};
use kfs_core::store::StoreOptions;
use kfs_core::{
    BucketOptions, Error, ErrorKind, Isolation, OnConflict, OnCorrupt, ReaderOptions, Result, WriterOptions,
};

use crate::call::{ask, optional_text};
use crate::credentials::{credential_source, kfs_credential_source};

/// What losing a segment slot to another writer means.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_on_conflict {
    /// Displaces the former owner: until its first commit a writer moves on to the next slot; after
    /// it, a lost slot fences.
    KFS_TAKEOVER = 0,
    /// Fenced at the first lost slot.
    KFS_FENCE = 1,
    /// Always moves on: writers that know nothing of each other share a partition.
    KFS_REBASE = 2,
}

/// What is asked of record batches before they are appended. The header and the CRC must be right in any case.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_batch_check {
    /// What a Kafka broker asks of a producer: the records decode, their offset deltas count from 0 without a
    /// gap, counts agree, and it is no control batch. A wrong max_timestamp is set right, with the CRC.
    KFS_CHECK_PRODUCE = 0,
    /// For copies of a log: batches whose records decode are stored as they are, compacted and control
    /// batches too.
    KFS_CHECK_DECODE = 1,
    /// For brokers that have checked the batches already: records are not looked at.
    KFS_CHECK_CRC = 2,
}

/// Which records a reader gives. The numbers are those of Kafka's protocol.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_isolation {
    /// All records.
    KFS_READ_UNCOMMITTED = 0,
    /// Records of a transaction after it has committed, and none of one that was aborted. The log ends for the reader
    /// at the first record of a transaction that is still open.
    KFS_READ_COMMITTED = 1,
}

/// Options of a bucket. Set them with kfs_bucket_options_init, then change what you like.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_bucket_options {
    /// Bytes of this struct as the caller knows it: sizeof. Set by kfs_bucket_options_init.
    pub size: usize,
    /// Namespace of the partitions; NULL: "default". Read during the call only.
    pub name_space: *const c_char,
    /// Bytes of appends buffered over all partitions, those in flight included; at least 64. One partition gets half of
    /// it, so that one that can't be flushed leaves room for the others.
    pub buffer_bytes: u64,
    /// Bytes of segments' blocks, indexes and catalogs held for reading over all partitions. Chunks that
    /// were given count until they are released; mapped segments don't count.
    pub cache_bytes: u64,
    /// Not 0: a directory's large files are mapped into memory to be read. 0: they are copied. Map no
    /// directory in which another program may truncate a file: that kills the process (SIGBUS).
    pub map: i32,
    /// Permissions of the files that are made in a directory, of which the umask takes away: 0600, at least 0400
    /// and at most 0777. In C a number in octal begins with 0.
    pub file_mode: u32,
    /// Permissions of the directories that are made, likewise: 0700, at least that and at most 0777.
    pub dir_mode: u32,
    /// Not 0: a bucket on the network is checked before the first write to it, once in a process. 0: it is not.
    pub preflight: i32,
    /// Not 0: a bucket without create-if-absent is taken too. The caller promises that never more than one writer of
    /// a partition is open, in all processes together; docs/durability.md, "A single writer", says what is not promised any more. 0: it is refused.
    pub single_writer: i32,
    /// Not 0: settings count that are in the environment, AWS_* and the like, and credentials that the machine has.
    /// 0: they do not.
    pub environment: i32,
    /// Supplies the credentials of the store, and counts more than all others; NULL: they are those of the settings
    /// and of the machine. Read during the call only: the handle may be freed after it.
    pub credentials: *const kfs_credential_source,
}

/// Options of a writer. Set them with kfs_writer_options_init, then change what you like.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_writer_options {
    /// Bytes of this struct as the caller knows it: sizeof. Set by kfs_writer_options_init.
    pub size: usize,
    /// What a lost slot means, one of enum kfs_on_conflict.
    pub on_conflict: i32,
    /// Stamped into each batch's leader epoch; a higher one in the log fences. -1: as sent.
    pub leader_epoch: i32,
    /// First offset of an empty partition; -1: 0, or what was fixed before.
    pub start_offset: i64,
    /// Buffered bytes that start a flush, at least 1.
    pub flush_bytes: u64,
    /// Buffered records that start a flush, at least 1.
    pub flush_records: u64,
    /// Milliseconds since the oldest buffered append that start a flush; 0 flushes at once.
    pub flush_interval_ms: u64,
    /// Milliseconds since the oldest append that somebody waits for that start a flush.
    pub linger_ms: u64,
    /// Messages between entries of the sparse index, at least 1.
    pub index_interval: i32,
    /// Not 0: a `.kfst` time index is written with each segment.
    pub time_index: i32,
    /// A name for people, kept with each segment; NULL: none. Read during the call only.
    pub name: *const c_char,
    /// What is asked of appended batches, one of enum kfs_batch_check.
    pub batch_check: i32,
    /// Not 0: KFS_CHECK_PRODUCE takes batches that are marked LogAppendTime.
    pub log_append_time: i32,
    /// The most bytes of a segment, 4096 to 2^31-1. An append that needs more is KFS_INVALID_INPUT.
    pub segment_bytes: u64,
}

/// Options of a reader. Set them with kfs_reader_options_init, then change what you like.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_reader_options {
    /// Bytes of this struct as the caller knows it: sizeof. Set by kfs_reader_options_init.
    pub size: usize,
    /// Bytes of a block: what is asked of the store at least, and held in the bucket's cache.
    pub block_bytes: u64,
    /// Not 0: go on after what is corrupt. 0: fail there.
    pub skip_corrupt: i32,
    /// Not 0: a partition that was never made is empty. 0: it is KFS_NOT_FOUND.
    pub wait_for_partition: i32,
    /// The most bytes that the records of one batch may take when decompressed, for calls that decode
    /// records.
    pub max_decompressed: u64,
    /// Which records are given, one of enum kfs_isolation.
    pub isolation: i32,
}

impl Default for kfs_reader_options {
    fn default() -> Self {
        let core = ReaderOptions::default();
        kfs_reader_options {
            size: size_of::<Self>(),
            block_bytes: core.block_bytes as u64,
            skip_corrupt: i32::from(core.on_corrupt == OnCorrupt::Skip),
            wait_for_partition: i32::from(core.wait_for_partition),
            max_decompressed: core.limits.max_decompressed_batch as u64,
            isolation: kfs_isolation::KFS_READ_UNCOMMITTED as i32,
        }
    }
}

impl Default for kfs_bucket_options {
    fn default() -> Self {
        let core = BucketOptions::default();
        kfs_bucket_options {
            size: size_of::<Self>(),
            name_space: std::ptr::null(),
            buffer_bytes: core.buffer_bytes as u64,
            cache_bytes: core.cache_bytes as u64,
            map: 1,
            file_mode: 0o600,
            dir_mode: 0o700,
            preflight: 1,
            single_writer: 0,
            environment: 1,
            credentials: std::ptr::null(),
        }
    }
}

impl Default for kfs_writer_options {
    fn default() -> Self {
        WriterOptions::default().into()
    }
}

/// Where C has a field; the others are left out.
impl From<WriterOptions> for kfs_writer_options {
    fn from(core: WriterOptions) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        kfs_writer_options {
            size: size_of::<Self>(),
            on_conflict: kfs_on_conflict::KFS_TAKEOVER as i32,
            leader_epoch: -1,
            start_offset: -1,
            flush_bytes: core.flush_bytes as u64,
            flush_records: core.flush_records,
            flush_interval_ms: ms(core.flush_interval),
            linger_ms: ms(core.linger),
            index_interval: core.index_interval,
            time_index: i32::from(core.time_index),
            name: std::ptr::null(),
            batch_check: kfs_batch_check::KFS_CHECK_PRODUCE as i32,
            log_append_time: i32::from(core.log_append_time),
            segment_bytes: core.segment_bytes as u64,
        }
    }
}

/// Sets the defaults. Give sizeof(kfs_bucket_options) as `size`. NULL is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_bucket_options_init(options: *mut kfs_bucket_options, size: usize) {
    // SAFETY: the header's rules on outputs, and `size` is the struct's.
    unsafe { init(options, size) }
}

/// Sets the defaults. Give sizeof(kfs_writer_options) as `size`. NULL is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_options_init(options: *mut kfs_writer_options, size: usize) {
    // SAFETY: the header's rules on outputs, and `size` is the struct's.
    unsafe { init(options, size) }
}

/// Sets what suits a partition that a KafScale broker serves to Kafka's clients, in place of the defaults: segments
/// below 1 MiB, which is what consumers fetch at most by default. Give sizeof(kfs_writer_options) as `size`.
/// NULL is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_options_init_kafscale(options: *mut kfs_writer_options, size: usize) {
    // SAFETY: the header's rules on outputs, and `size` is the struct's.
    unsafe { init_to(options, size, || WriterOptions::for_kafscale().into()) }
}

/// Sets the defaults. Give sizeof(kfs_reader_options) as `size`. NULL is passed over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_reader_options_init(options: *mut kfs_reader_options, size: usize) {
    // SAFETY: the header's rules on outputs, and `size` is the struct's.
    unsafe { init(options, size) }
}

/// A struct that begins with its size, with fields of which every bit pattern is a value.
///
/// # Safety
/// `repr(C)`, the first field is `size: usize`, and the others are integers and pointers.
pub(crate) unsafe trait Extensible: Copy + Default {}
// SAFETY: see its fields.
unsafe impl Extensible for kfs_bucket_options {}
// SAFETY: see its fields.
unsafe impl Extensible for kfs_writer_options {}
// SAFETY: see its fields.
unsafe impl Extensible for kfs_reader_options {}

/// # Safety
/// `options` is NULL or `size` bytes may be written there.
unsafe fn init<T: Extensible>(options: *mut T, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { init_to(options, size, T::default) }
}

/// # Safety
/// `options` is NULL or `size` bytes may be written there.
pub(crate) unsafe fn init_to<T: Extensible>(options: *mut T, size: usize, values: impl FnOnce() -> T) {
    if options.is_null() {
        return;
    }
    let known = size.min(size_of::<T>());
    let defaults = ask(None, || Some(values()));
    let Some(defaults) = defaults else { return };
    // A header that is newer than this library has a longer struct: `read` wants that tail zero.
    // SAFETY: `size` bytes may be written there; `known` is no more, nor more than `defaults` has.
    unsafe {
        options.cast::<u8>().write_bytes(0, size);
        std::ptr::from_ref(&defaults).cast::<u8>().copy_to_nonoverlapping(options.cast(), known);
    }
    if size >= size_of::<usize>() {
        // SAFETY: the struct begins with its size, and is long enough for that.
        unsafe { options.cast::<usize>().write_unaligned(size) };
    }
}

/// The caller's options over our defaults.
///
/// # Safety
/// `options` is NULL or points to as many bytes as its `size` says.
pub(crate) unsafe fn read<T: Extensible>(options: *const T, name: &str) -> Result<T> {
    let mut ours = T::default();
    if options.is_null() {
        return Ok(ours);
    }
    // SAFETY: the struct begins with its size.
    let size = unsafe { options.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > 4096 {
        let message = format!("{name}->size is {size}, which no version of it is");
        return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("call its _init function first"));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's promise; every bit pattern is a value of `T`.
    let beyond = unsafe {
        options.cast::<u8>().copy_to_nonoverlapping(std::ptr::from_mut(&mut ours).cast(), known);
        std::slice::from_raw_parts(options.cast::<u8>().add(known), size.saturating_sub(known))
    };
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(Error::new(ErrorKind::Unsupported, format!("{name} sets what this libkfs does not know"))
            .with_hint("the header is newer than the library that is linked"));
    }
    Ok(ours)
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// # Safety
/// As [`read`]'s, and its strings end with NUL.
pub(crate) unsafe fn bucket_options(options: *const kfs_bucket_options) -> Result<BucketOptions> {
    // SAFETY: the caller's promise.
    let (given, namespace, credentials) = unsafe {
        let given = read(options, "options")?;
        let namespace = optional_text(given.name_space, "options->name_space")?;
        (given, namespace, credential_source(given.credentials)?)
    };
    let mut store = StoreOptions::default()
        .map(given.map != 0)
        .file_mode(given.file_mode)
        .dir_mode(given.dir_mode)
        .preflight(given.preflight != 0)
        .single_writer(given.single_writer != 0)
        .environment(given.environment != 0);
    if let Some(credentials) = credentials {
        store = store.credentials(credentials);
    }
    let mut core = BucketOptions::default()
        .buffer_bytes(length(given.buffer_bytes))
        .cache_bytes(length(given.cache_bytes))
        .store(store);
    if let Some(namespace) = namespace {
        core = core.namespace(Namespace::new(namespace)?);
    }
    Ok(core)
}

/// # Safety
/// As [`read`]'s, and its strings end with NUL.
pub(crate) unsafe fn writer_options(options: *const kfs_writer_options) -> Result<WriterOptions> {
    // SAFETY: the caller's promise.
    let (given, name) = unsafe {
        let given = read(options, "options")?;
        (given, optional_text(given.name, "options->name")?)
    };
    let on_conflict = match given.on_conflict {
        0 => OnConflict::Takeover,
        1 => OnConflict::Fence,
        2 => OnConflict::Rebase,
        other => {
            let message = format!("options->on_conflict is {other}, not one of enum kfs_on_conflict");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    };
    let batch_check = match given.batch_check {
        0 => BatchCheck::Produce,
        1 => BatchCheck::Decode,
        2 => BatchCheck::Crc,
        other => {
            let message = format!("options->batch_check is {other}, not one of enum kfs_batch_check");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    };
    let mut core = WriterOptions::default()
        .on_conflict(on_conflict)
        .batch_check(batch_check)
        .log_append_time(given.log_append_time != 0)
        .flush_bytes(length(given.flush_bytes))
        .flush_records(given.flush_records)
        .flush_interval(Duration::from_millis(given.flush_interval_ms))
        .linger(Duration::from_millis(given.linger_ms))
        .segment_bytes(length(given.segment_bytes))
        .index_interval(given.index_interval)
        .time_index(given.time_index != 0);
    if given.start_offset != -1 {
        core = core.start_offset(given.start_offset);
    }
    if given.leader_epoch != -1 {
        core = core.leader_epoch(given.leader_epoch);
    }
    if let Some(name) = name {
        core = core.name(name);
    }
    Ok(core)
}

/// # Safety
/// As [`read`]'s.
pub(crate) unsafe fn reader_options(options: *const kfs_reader_options) -> Result<ReaderOptions> {
    // SAFETY: the caller's promise.
    let given = unsafe { read(options, "options") }?;
    let on_corrupt = if given.skip_corrupt == 0 { OnCorrupt::Stop } else { OnCorrupt::Skip };
    let isolation = match given.isolation {
        x if x == kfs_isolation::KFS_READ_UNCOMMITTED as i32 => Isolation::ReadUncommitted,
        x if x == kfs_isolation::KFS_READ_COMMITTED as i32 => Isolation::ReadCommitted,
        other => {
            let message = format!("options->isolation is {other}, not one of enum kfs_isolation");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    };
    Ok(ReaderOptions::default()
        .block_bytes(length(given.block_bytes))
        .on_corrupt(on_corrupt)
        .isolation(isolation)
        .wait_for_partition(given.wait_for_partition != 0)
        .limits(Limits::default().max_decompressed_batch(length(given.max_decompressed))))
}
