//! Which libkfs this is.

use std::ffi::c_char;

use crate::call::ask;

/// KFS_VERSION of the library that is linked, such as "0.1.0". Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn kfs_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// KFS_VERSION_NUMBER of the library that is linked: major << 16 | minor << 8 | patch.
#[unsafe(no_mangle)]
pub extern "C" fn kfs_version_number() -> u32 {
    ask(0, || {
        let number = |text: &str| text.parse::<u32>().unwrap_or(0) & 0xff;
        number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
            | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
            | number(env!("CARGO_PKG_VERSION_PATCH"))
    })
}
