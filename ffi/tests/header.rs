//! `include/kfs.h` is what cbindgen prints of this crate.

use std::path::{Path, PathBuf};

fn header_path() -> PathBuf {
    kfs_tests::repository().join("include/kfs.h")
}

fn print_header() -> String {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).expect("read cbindgen.toml");
    let [major, minor, patch] =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    config.after_includes = Some(format!(
        "\n/* The version of this header. kfs_version and kfs_version_number tell the library's. */\n\
         #define KFS_VERSION \"{}\"\n\
         #define KFS_VERSION_MAJOR {major}\n\
         #define KFS_VERSION_MINOR {minor}\n\
         #define KFS_VERSION_PATCH {patch}\n\
         #define KFS_VERSION_NUMBER (KFS_VERSION_MAJOR << 16 | KFS_VERSION_MINOR << 8 | KFS_VERSION_PATCH)\n",
        env!("CARGO_PKG_VERSION"),
    ));
    let bindings =
        cbindgen::Builder::new().with_crate(ffi).with_config(config).generate().expect("cbindgen reads the crate");
    let mut printed = Vec::new();
    bindings.write(&mut printed);
    String::from_utf8(printed).expect("the header is UTF-8")
}

#[test]
fn the_header_in_the_repository_is_what_cbindgen_prints() {
    let (path, printed) = (header_path(), print_header());
    if std::env::var_os("KFS_UPDATE_HEADER").is_some_and(|value| value == "1") {
        std::fs::write(&path, printed).expect("write include/kfs.h");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let first = kept.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or(kept.lines().count().min(printed.lines().count())) + 1;
    assert!(
        kept == printed,
        "include/kfs.h differs from the crate at line {line}; look at the difference after\n\
         KFS_UPDATE_HEADER=1 cargo test -p kfs-ffi --test header"
    );
}
