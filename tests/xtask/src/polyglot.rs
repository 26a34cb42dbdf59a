//! The step `polyglot`: runs the application in `examples/polyglot`, kills its programs, and looks at
//! its logs, its database, its stream and its page.
//!
//! It builds nothing of its own in a whole run: the server and libstyx are those of the step
//! `build`, and the packages those of `python-wheel` and `node-build`.
//!
//! The page needs Chromium. It is the one that is installed, or else that of the Debian package,
//! unpacked into `target/tools/chromium`. Without it, the tests of the page are skipped, and the
//! others run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cross::debian::{Packages, THIS_MACHINE};
use crate::tally::Tally;
use crate::{node, python, tools};

/// Tells the tests where Chromium is.
const VARIABLE: &str = "STYX_TEST_CHROMIUM";
/// Chromium where distributions install it.
const NAMES: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
/// Chromium without windows, and a font, because a machine without a screen may have none.
const PACKAGES: [&str; 2] = ["chromium-headless-shell", "fonts-dejavu-core"];

/// Runs `tests/polyglot`.
pub(crate) fn step() -> Tally {
    if !works(Path::new("cc")) {
        eprintln!("missing: `cc --version`, for examples/polyglot: apt-get install gcc");
        return Tally::step(false);
    }
    if !node::build::is_built() {
        return Tally::step(false);
    }
    let chromium = chromium();
    let variables: Vec<_> = chromium.into_iter().map(|path| (VARIABLE, path.into())).collect();
    python::tests::run("tests/polyglot", &variables)
}

/// The program; `None` if there is none and it cannot be downloaded.
fn chromium() -> Option<PathBuf> {
    if let Some(installed) = NAMES.map(PathBuf::from).into_iter().find(|name| works(name)) {
        return Some(installed);
    }
    let folder = tools::target().join("tools/chromium");
    let root = Packages::besides_installed(folder.clone(), THIS_MACHINE).unpacked(&PACKAGES, &[]);
    let unpacked = root.and_then(|root| started_with_libraries(&root, &folder));
    let program = unpacked.filter(|program| works(program));
    if program.is_none() {
        eprintln!("missing: Chromium, for the page: apt-get install chromium-headless-shell");
    }
    program
}

/// A script that starts an unpacked Chromium with the libraries and the font that were unpacked.
fn started_with_libraries(root: &Path, folder: &Path) -> Option<PathBuf> {
    let library = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = ["usr/{}", "{}", "usr/{}/pulseaudio", "usr/{}/nss"]
        .map(|folder| root.join(folder.replace("{}", &library)).display().to_string());
    let fonts = folder.join("fonts.conf");
    let root = root.display();
    let config = format!(
        "<?xml version=\"1.0\"?>\n\
         <fontconfig><dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir></fontconfig>\n"
    );
    fs::write(&fonts, config).ok()?;
    let script = format!(
        "#!/bin/sh\n\
         export LD_LIBRARY_PATH='{}' FONTCONFIG_FILE='{}'\n\
         exec '{root}/usr/lib/chromium/chromium-headless-shell' \"$@\"\n",
        folders.join(":"),
        fonts.display(),
    );
    let program = folder.join("chromium-headless-shell");
    fs::write(&program, script).ok()?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).ok()?;
    Some(program)
}

fn works(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
