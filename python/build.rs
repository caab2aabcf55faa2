//! An extension module leaves Python's symbols to be found in the interpreter that loads it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => {
            println!("cargo::rustc-cdylib-link-arg=-undefined");
            println!("cargo::rustc-cdylib-link-arg=dynamic_lookup");
        }
        // Dependencies have C functions of their own, which another module may have too.
        Ok("linux") => println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL"),
        _ => {}
    }
}
