//! The packages `libstyx1` and `libstyx-dev`: what `cmake --install` installs, in two parts.
//!
//! They are for this machine's processor, and for its version of Debian and newer ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Package;
use crate::cross;
use crate::dist::platform::HERE;
use crate::dist::script::succeeds;
use crate::dist::{empty, entries, work};
use crate::{root, tools};

/// Where Debian keeps the libraries of this processor.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Builds both.
pub(crate) fn build() -> Option<()> {
    let installed = install()?;
    runtime(&installed)?;
    development(&installed)
}

/// Installs libstyx into a folder, as its users do.
fn install() -> Option<PathBuf> {
    let installed = empty("libstyx")?;
    let build = work("libstyx-build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(root().join("bindings/c")).arg("-B").arg(&build);
    configure.args(["-DCMAKE_INSTALL_PREFIX=/usr", "-DCMAKE_INSTALL_LIBDIR=lib/x86_64-linux-gnu"]);
    configure.arg(format!("-DSTYX_CARGO_TARGET_DIR={}", tools::target().display()));
    succeeds("cmake", &mut configure)?;
    succeeds("cmake --build", Command::new("cmake").arg("--build").arg(&build))?;
    let mut install = Command::new("cmake");
    install.arg("--install").arg(&build).env("DESTDIR", &installed);
    succeeds("cmake --install", &mut install)?;
    Some(installed)
}

/// The file names of the shared library: the library itself, the link with its SONAME, and the
/// version of its interface.
fn shared(installed: &Path) -> Option<(String, String, String)> {
    let mut names = Vec::new();
    for path in entries(&installed.join(LIBRARIES))? {
        let name = path.file_name()?.to_str()?.to_owned();
        if name.starts_with("libstyx.so.") {
            names.push((path.is_symlink(), name));
        }
    }
    names.sort();
    let [(false, library), (true, soname)] = &names[..] else {
        eprintln!("cmake installed other shared libraries than expected: {names:?}");
        return None;
    };
    let abi = soname.strip_prefix("libstyx.so.")?.to_owned();
    Some((library.clone(), soname.clone(), abi))
}

fn runtime(installed: &Path) -> Option<()> {
    let mut package = Package::new("libstyx1", HERE)?;
    let (library, soname, abi) = shared(installed)?;
    if abi != "1" {
        eprintln!("the interface has version {abi}: rename the package libstyx1 to libstyx{abi}");
        return None;
    }
    let file = installed.join(LIBRARIES).join(&library);
    package.replace("GLIBC", format!("2.{}", cross::newest_glibc(&fs::read(&file).ok()?)?));
    package.replace("ABI", abi);
    package.add(&file, &format!("{LIBRARIES}/{library}"), 0o644)?;
    package.link(&library, &format!("{LIBRARIES}/{soname}"))?;
    package.build().map(drop)
}

fn development(installed: &Path) -> Option<()> {
    let package = Package::new("libstyx-dev", HERE)?;
    let (_, soname, _) = shared(installed)?;
    package.link(&soname, &format!("{LIBRARIES}/libstyx.so"))?;
    package.add(
        &installed.join(LIBRARIES).join("libstyx.a"),
        &format!("{LIBRARIES}/libstyx.a"),
        0o644,
    )?;
    let files = [
        "usr/include/styx.h",
        "usr/include/styx.hpp",
        &format!("{LIBRARIES}/pkgconfig/styx.pc"),
        &format!("{LIBRARIES}/cmake/styx/styx-config.cmake"),
        &format!("{LIBRARIES}/cmake/styx/styx-config-version.cmake"),
    ];
    for file in files {
        package.add(&installed.join(file), file, 0o644)?;
    }
    for language in ["c", "cpp"] {
        let name = format!("{language}.md");
        package.add(
            &root().join("docs").join(&name),
            &format!("usr/share/doc/libstyx-dev/{name}"),
            0o644,
        )?;
        for example in entries(&root().join("examples").join(language))? {
            let name = example.file_name()?.to_str()?;
            let to = format!("usr/share/doc/libstyx-dev/examples/{language}/{name}");
            package.add(&example, &to, 0o644)?;
        }
    }
    package.build().map(drop)
}
