//! [`ReverseProxy`]: a real nginx or Caddy in front of a server.
//!
//! `cargo xtask test --only proxies` installs both if they are missing.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::{Connection, Request};
use crate::{Scratch, binary};

/// How long a proxy may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Another program may take the port before the proxy does.
const ATTEMPTS_MAX: usize = 5;

/// Everything that nginx needs around a `server` block. One process, without files
/// outside of its directory.
const NGINX_CONFIGURATION: &str = "\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    include site.conf;
}
";
/// nginx without any setting, except that it has a server behind it. It passes on no upgrade.
pub const DEFAULT_NGINX: &str = "server {
    listen 80;
    location / {
        proxy_pass http://127.0.0.1:7123;
    }
}
";

const CADDY_OPTIONS: &str = "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n";

/// A proxy. It is killed when this is dropped.
#[derive(Debug)]
pub struct ReverseProxy {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

impl ReverseProxy {
    /// Starts nginx with the contents of its `http` block. In it, `listen 80;` is replaced
    /// by a free port, and `127.0.0.1:7123` by the server's address.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn nginx(site: &str, server: SocketAddr) -> ReverseProxy {
        let program = find("nginx", &["nginx", "/usr/sbin/nginx"], "tools/nginx/usr/sbin/nginx");
        start(|scratch, port| {
            let listen = ("listen 80;", format!("listen 127.0.0.1:{port};"));
            scratch.write("site.conf", edited(site, &[listen, upstream(server)]));
            let config = scratch.write("nginx.conf", NGINX_CONFIGURATION);
            let mut command = Command::new(&program);
            command.arg("-e").arg("stderr").arg("-p").arg(scratch.path()).arg("-c").arg(config);
            command
        })
    }

    /// Starts Caddy with a Caddyfile. In it, `:80` is replaced by a free port, and
    /// `127.0.0.1:7123` by the server's address.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn caddy(site: &str, server: SocketAddr) -> ReverseProxy {
        let program = find("caddy", &["caddy"], "tools/caddy/bin/caddy");
        start(|scratch, port| {
            let site = edited(site, &[(":80 ", format!(":{port} ")), upstream(server)]);
            let config = scratch.write("Caddyfile", format!("{CADDY_OPTIONS}{site}"));
            let mut command = Command::new(&program);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
            for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
                command.env(variable, scratch.path());
            }
            command
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection to it.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in `target/`, or an installed one.
fn find(name: &str, installed: &[&str], in_target: &str) -> PathBuf {
    let mut candidates = vec![binary::target().join(in_target)];
    candidates.extend(installed.iter().map(PathBuf::from));
    let runs = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    };
    candidates.into_iter().find(runs).unwrap_or_else(|| {
        panic!("{name} is not installed; run `cargo xtask test --only proxies` once")
    })
}

fn upstream(server: SocketAddr) -> (&'static str, String) {
    ("127.0.0.1:7123", server.to_string())
}

/// The configuration with these replacements, each of which must occur.
#[track_caller]
fn edited(site: &str, replacements: &[(&str, String)]) -> String {
    let mut edited = site.to_owned();
    for (old, new) in replacements {
        assert!(edited.contains(old), "no {old:?} in:\n{site}");
        edited = edited.replace(old, new);
    }
    edited
}

#[track_caller]
fn start(command: impl Fn(&Scratch, u16) -> Command) -> ReverseProxy {
    let mut failures = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let scratch = Scratch::new("proxy");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let log = scratch.join("log");
        let output = File::create(&log).expect("a file");
        let mut command = command(&scratch, address.port());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut proxy = ReverseProxy { child, address, _scratch: scratch };
        if proxy.becomes_ready() {
            return proxy;
        }
        failures.push_str(&read(&log));
    }
    panic!("the proxy did not start:\n{failures}");
}

impl ReverseProxy {
    /// Waits until the server answers through it; false if it ended.
    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            let answer = Connection::try_open(self.address)
                .and_then(|mut connection| connection.exchange(&Request::get("/health/live")));
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
