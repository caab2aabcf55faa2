//! `kfs_config`: which store, and how it is reached.

use std::ffi::c_char;

use kfs_core::Result;
use kfs_core::store::StoreConfig;

use crate::call::{Out, call, free, shared, text};
use crate::error::kfs_error;

/// Which store, and how it is reached: the settings of a bucket (docs/backends.md lists them). It holds no thread
/// and no lock, and may be used in a forked child. While a thread sets something, no other may use it.
pub struct kfs_config(pub(crate) StoreConfig);

/// The store that a URL names, with settings after a question mark, such as
/// "s3://bucket/prefix?region=eu-west-1". URLs hold no secret, because they are shown.
///
/// config: gets the handle; free it with kfs_config_free.
/// Errors: KFS_INVALID_INPUT, which names the setting, for what can't be right; KFS_UNSUPPORTED for another
/// scheme.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_config_from_url(url: *const c_char, config: *mut *mut kfs_config) -> *mut kfs_error {
    // SAFETY: the header's rules on strings and outputs.
    call(|| unsafe { give(config, || StoreConfig::from_url(text(url, "url")?)) })
}

/// The store that a document in YAML or JSON describes: the text itself, not the name of a file. It is what stands
/// below "storage", or the document itself if it has "backend".
///
/// config: gets the handle; free it with kfs_config_free.
/// Errors: KFS_INVALID_INPUT, which names line and setting, for what can't be right; KFS_UNSUPPORTED for a
/// backend that there is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_config_from_document(
    document: *const c_char,
    config: *mut *mut kfs_config,
) -> *mut kfs_error {
    // SAFETY: the header's rules on strings and outputs.
    call(|| unsafe { give(config, || StoreConfig::from_document(text(document, "document")?)) })
}

/// The store whose bucket a variable of the environment names: KAFSCALE_S3_BUCKET, AZURE_CONTAINER_NAME or
/// GOOGLE_BUCKET.
///
/// config: gets the handle; free it with kfs_config_free.
/// Errors: KFS_INVALID_INPUT where none is set, or several are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_config_from_environment(config: *mut *mut kfs_config) -> *mut kfs_error {
    // SAFETY: the header's rules on outputs.
    call(|| unsafe { give(config, StoreConfig::from_environment) })
}

/// Sets a setting, by its name in documents or in the environment, in upper or lower case. It counts more than what
/// the URL, the document and the environment say. Values may be secrets. They are read when the bucket is opened.
///
/// Errors: KFS_INVALID_INPUT for a name that there is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_config_set(
    config: *mut kfs_config,
    name: *const c_char,
    value: *const c_char,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles and strings; no other thread uses it, so it may be written to.
    call(|| unsafe {
        let changed = shared(config, "config")?.0.clone().set(text(name, "name")?, text(value, "value")?)?;
        (*config).0 = changed;
        Ok(())
    })
}

/// Frees the handle, at any time: buckets that were opened with it go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_config_free(config: *mut kfs_config) {
    // SAFETY: the header's rules on handles.
    unsafe { free(config) }
}

/// # Safety
/// `config` is NULL or may be written to.
unsafe fn give(config: *mut *mut kfs_config, made: impl FnOnce() -> Result<StoreConfig>) -> Result<()> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new(config, "config") }?;
    out.give(kfs_config(made()?));
    Ok(())
}
