//! `kfs_credential_source`: the host supplies the credentials of a store.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::Arc;

use kfs_core::store::{CredentialSource, Credentials};
use kfs_core::{Error, ErrorKind, ForkSafe, Result};

use crate::call::{Out, ask, call, free, optional_text, text};
use crate::error::{kfs_code, kfs_error};

/// The answer of a kfs_credential_callback. It is lent to the callback and ends with it.
pub struct kfs_credentials {
    given: Option<Result<Credentials>>,
    expires_ms: Option<i64>,
}

/// Gives the credentials of a store, by one of the kfs_credentials_ functions. Where it calls several of them, the
/// last one counts; where it calls none, the requests fail with KFS_PERMISSION_DENIED.
///
/// answer: takes the credentials, or why there are none; lent, so use it during the call only.
///
/// It is called before the first request of a bucket, and again five minutes before what it gave runs out.
/// Credentials that do not say when they run out are asked for each minute. It runs on a thread of libkfs's,
/// under no lock of libkfs's, and may block: requests of that bucket wait meanwhile, so it must not use the
/// bucket itself. A bucket calls it once at a time; when several buckets share a source, each may call it at
/// the same time. It must return: no longjmp, no C++ exception.
pub type kfs_credential_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, answer: *mut kfs_credentials)>;

/// Told once that user_data is not used any more. NULL is fine. It may run on any thread, one of libkfs's too: be
/// short, and call nothing of libkfs. It must return: no longjmp, no C++ exception.
pub type kfs_release = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Supplies the credentials of buckets: name it in kfs_bucket_options.
pub struct kfs_credential_source(ForkSafe<Arc<dyn CredentialSource>>);

/// Makes a source of credentials from a callback.
///
/// user_data: given to the callback, never touched. release: called with it once, when neither the source nor
/// a bucket that was opened with it can call the callback any more; no call runs then, and none follows. After the last
/// handle was freed, a request under way may go on, and call the callback, for up to 30 s: free nothing of user_data
/// before release is called. In a forked child it is not called. source: gets the handle; free it with kfs_credential_source_free.
/// When this gives an error, neither callback is or will be called.
///
/// In Go, user_data is a cgo.Handle that a C function of the preamble casts, as in (void *)handle. The callback and
/// release are //export functions, which cast back with cgo.Handle(uintptr(user_data)); release calls Delete.
/// Strings that C.CString made may be freed as soon as the kfs_credentials_ function has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credential_source_new(
    callback: kfs_credential_callback,
    user_data: *mut c_void,
    release: kfs_release,
    source: *mut *mut kfs_credential_source,
) -> *mut kfs_error {
    // SAFETY: the header's rules on outputs.
    call(|| unsafe {
        let out = Out::new(source, "source")?;
        let callback = callback.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "callback is NULL"))?;
        let host = Host { callback, user_data, release };
        out.give(kfs_credential_source(ForkSafe::new(Arc::new(host))));
        Ok(())
    })
}

/// Frees the handle, at any time: buckets that were opened with it go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credential_source_free(source: *mut kfs_credential_source) {
    // SAFETY: the header's rules on handles.
    unsafe { free(source) }
}

/// Answers with an access key of S3, with the session token of a temporary one; else session_token is NULL. The
/// strings are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credentials_access_key(
    answer: *mut kfs_credentials,
    id: *const c_char,
    secret: *const c_char,
    session_token: *const c_char,
) {
    // SAFETY: the header's rules on handles and strings.
    unsafe {
        give(answer, || {
            let token = optional_text(session_token, "session_token")?.map(str::to_string);
            Ok(Credentials::access_key(text(id, "id")?, text(secret, "secret")?, token))
        });
    }
}

/// Answers with a bearer token, for Azure and Google. The string is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credentials_bearer_token(answer: *mut kfs_credentials, token: *const c_char) {
    // SAFETY: the header's rules on handles and strings.
    unsafe { give(answer, || text(token, "token").map(Credentials::bearer)) }
}

/// Answers with the key of an Azure account, in base64. The string is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credentials_account_key(answer: *mut kfs_credentials, key: *const c_char) {
    // SAFETY: the header's rules on handles and strings.
    unsafe { give(answer, || text(key, "key").map(Credentials::account_key)) }
}

/// Says when the credentials run out, in Unix time in milliseconds. It may be called before or after the function
/// that gives them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credentials_expire_at(answer: *mut kfs_credentials, unix_ms: i64) {
    // SAFETY: the header's rules on handles.
    if let Some(answer) = unsafe { answer.as_mut() } {
        answer.expires_ms = Some(unix_ms);
    }
}

/// Answers that there are no credentials now, and why. The last ones are used while they are good.
///
/// code: KFS_UNAVAILABLE or KFS_TIMED_OUT, and the request is tried again; any other, and it fails with
/// KFS_PERMISSION_DENIED. message: for people; NULL: none. What was given before, and what looks like a secret,
/// is removed from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_credentials_fail(answer: *mut kfs_credentials, code: i32, message: *const c_char) {
    let kind = match code {
        x if x == kfs_code::KFS_UNAVAILABLE as i32 || x == kfs_code::KFS_TIMED_OUT as i32 => ErrorKind::Unavailable,
        _ => ErrorKind::PermissionDenied,
    };
    // SAFETY: the header's rules on handles and strings.
    unsafe {
        let given = answer.as_ref().and_then(|answer| answer.given.as_ref()?.as_ref().ok()).cloned();
        give(answer, || {
            let message = optional_text(message, "message")?.unwrap_or("it does not say why");
            let message = given.map_or(message.to_string(), |given| given.strip(message));
            Err(Error::new(kind, format!("the credential callback gave no credentials: {message}")))
        });
    }
}

/// # Safety
/// `answer` is NULL or lent to the callback that runs.
unsafe fn give(answer: *mut kfs_credentials, given: impl FnOnce() -> Result<Credentials>) {
    // SAFETY: the caller's promise.
    if let Some(answer) = unsafe { answer.as_mut() } {
        let failed =
            || Err(Error::new(ErrorKind::Internal, "the answer of the credential callback could not be taken"));
        answer.given = Some(ask(failed(), given));
    }
}

/// Calls the host.
struct Host {
    callback: unsafe extern "C" fn(*mut c_void, *mut kfs_credentials),
    user_data: *mut c_void,
    release: kfs_release,
}

// SAFETY: the header says on which threads the callbacks run, so what `user_data` points to is for the caller to
// keep fit for that.
unsafe impl Send for Host {}
// SAFETY: likewise.
unsafe impl Sync for Host {}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kfs_credential_source")
    }
}

impl CredentialSource for Host {
    fn credentials(&self) -> Result<Credentials> {
        let mut answer = kfs_credentials { given: None, expires_ms: None };
        // SAFETY: the header's rules on callbacks; what is lent outlives the call.
        unsafe { (self.callback)(self.user_data, &raw mut answer) };
        let given = answer.given.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::PermissionDenied, "the credential callback gave no credentials")
                .with_hint("call kfs_credentials_access_key or the like in it, or kfs_credentials_fail to say why"))
        })?;
        Ok(match answer.expires_ms {
            Some(unix_ms) => given.expires_at(unix_ms),
            None => given,
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the header's rules on callbacks. No call runs, because each holds this alive.
            unsafe { release(self.user_data) }
        }
    }
}

/// # Safety
/// `source` is NULL or a handle of this library.
pub(crate) unsafe fn credential_source(
    source: *const kfs_credential_source,
) -> Result<Option<Arc<dyn CredentialSource>>> {
    // SAFETY: the caller's promise.
    match unsafe { source.as_ref() } {
        Some(source) => source.0.get().map(|source| Some(source.clone())),
        None => Ok(None),
    }
}
