//! Gives the shared library its SONAME, so that programs load it by its interface's version.
//!
//! `cargo` writes `libstyx.so`. The dynamic linker looks for `libstyx.so.1`, which
//! `CMakeLists.txt` installs beside it. The symbols need nothing here: rustc links a `cdylib`
//! with a version script that exports the `no_mangle` functions, which are `styx_*`, and hides
//! all others. A second version script with a named version cannot be added: GNU ld rejects it,
//! and lld ignores it.

/// `STYX_ABI_VERSION`.
const ABI_VERSION: u32 = 1;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libstyx.so.{ABI_VERSION}");
    }
}
