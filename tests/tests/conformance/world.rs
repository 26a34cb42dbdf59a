//! [`World`]: the server of a scenario, the proxy in front of it, and the faults of both.
//!
//! ```text
//! driver ─▶ proxy ─▶ server, with TLS or without: a child process with its own directory
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use styx_tests::proxy::{LinkFaults, Proxy};
use styx_tests::{Request, Scratch, Settings, TestServer, api, cli, damage, faults, tokens, wait};

/// More large records than a small disk can have.
const RECORDS_MAX: usize = 500;
/// Far longer than it takes the server to archive a few records.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(120);

pub(crate) struct World {
    server: TestServer,
    proxy: Proxy,
    tokens: Option<Tokens>,
}

/// How clients reach the server of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Over plain TCP. They need a token only if the scenario says so.
    Plain,
    /// Over TLS, with a token. Clients without one of their own get one that may do everything.
    TlsWithTokens,
}

/// The tokens of a server. Their file is not in the data directory, which may be a small disk.
struct Tokens {
    /// A configuration file that names the token file.
    config: PathBuf,
    /// The secret of the token that may do everything.
    admin: String,
}

impl World {
    /// Starts the server that a scenario describes under `server`.
    pub(crate) fn start(description: &Value, access: Access) -> Result<World, String> {
        let scratch = Arc::new(Scratch::new("conformance"));
        let mut settings = Settings::default();
        for line in description["settings"].as_array().into_iter().flatten() {
            settings = settings.set(line.as_str().ok_or("settings are lines of text")?);
        }
        if let Some(mib) = description["disk_mib"].as_u64() {
            settings = settings.script(&faults::small_disk(&scratch, mib));
        }
        if description["archive"].as_bool().unwrap_or(false) {
            fs::create_dir(scratch.join("archive")).map_err(|e| e.to_string())?;
            let table = format!("[archive]\nurl = \"{}\"\nmax_lag = 1\n", archive_url(&scratch));
            settings = settings.table(&table);
        }
        let has_access_control = description["access_control"].as_bool().unwrap_or(false);
        let mut tokens = None;
        if has_access_control || access != Access::Plain {
            let table = format!("[auth]\ntoken_file = {:?}\n", scratch.join("tokens.toml"));
            let config = scratch.write("auth.toml", &table);
            let admin = run_token(&config, &["create", "--name", "admin", "--allow", "admin:*"])?;
            tokens = Some(Tokens { config, admin });
            settings = settings.table(&table);
        }
        if access == Access::TlsWithTokens {
            settings = settings.tls();
        }
        let server = settings.start_in(scratch).map_err(|refusal| refusal.to_string())?;
        let proxy = Proxy::start(server.listener_address(), 1);
        Ok(World { server, proxy, tokens })
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.server.has_tls() { "styxs" } else { "styx" };
        format!("{scheme}://{}", self.proxy.address())
    }

    /// The certificate authority that clients must trust, if they use TLS.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        self.server.has_tls().then(|| {
            let authority = self.server.authority().certificate();
            self.server.scratch().write("authority.pem", authority)
        })
    }

    /// The token of clients that have none of their own, if the server requires one.
    pub(crate) fn token(&self) -> Option<&str> {
        self.tokens.as_ref().map(|tokens| tokens.admin.as_str())
    }

    /// Creates the token that a step describes, and returns its secret when the server knows it.
    pub(crate) fn create_token(&self, step: &Value) -> Result<String, String> {
        let (name, mut arguments) = (&step["name"], vec!["create"]);
        arguments.extend(["--name", name.as_str().ok_or("a token needs a name")?]);
        for grant in step["allow"].as_array().into_iter().flatten() {
            arguments.extend(["--allow", grant.as_str().ok_or("a grant is a text")?]);
        }
        arguments.extend(step["expires"].as_str().into_iter().flat_map(|when| ["--expires", when]));
        let secret = self.run_token(&arguments)?;
        tokens::await_status(&self.server, &secret, 200);
        Ok(secret)
    }

    fn run_token(&self, arguments: &[&str]) -> Result<String, String> {
        let tokens = self.tokens.as_ref().ok_or("the server needs access_control")?;
        run_token(&tokens.config, arguments)
    }

    /// The path of a file for the driver.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.scratch().join(name)
    }

    /// Does what a step with the key `fault` asks for.
    pub(crate) fn fault(&mut self, step: &Value) -> Result<(), String> {
        let text = |name: &str| step[name].as_str().ok_or(format!("a fault needs {name}: {step}"));
        match text("fault")? {
            "reset_connections" => self.proxy.reset_all(),
            "cut_often" => {
                // About what the server sends in a handshake.
                let begins_after = if self.server.has_tls() { 2_500 } else { 0 };
                self.proxy.inject(Some(LinkFaults { begins_after, ..LinkFaults::frequent() }));
                // At least these are cut, however fast the driver is.
                self.proxy.reset_all();
            }
            "calm" => {
                let cuts = self.proxy.cuts();
                if cuts == 0 {
                    return Err("no connection was cut, so this proves nothing".to_owned());
                }
                self.proxy.inject(None);
            }
            "kill" => self.server.kill(),
            "stop" => drop(self.server.stop()),
            "restart" => {
                self.server.restart();
                // Nothing connects before these.
                step["before"].as_array().into_iter().flatten().try_for_each(|f| self.fault(f))?;
                self.proxy.forward_to(self.server.listener_address());
            }
            "pause" => self.server.pause(),
            "resume" => {
                let after = step["after"].as_f64().ok_or("resume needs after, in seconds")?;
                std::thread::sleep(Duration::from_secs_f64(after));
                self.server.resume();
            }
            "end_archive" => self.end_archive(text("log")?)?,
            "restore_from_archive" => self.restore_from_archive()?,
            "corrupt" => {
                let log = self.server.data().join(text("log")?);
                damage::flip_bit(&log, text("text")?.as_bytes());
            }
            "delete_log" => self.delete(text("log")?)?,
            "recreate_log" => {
                self.delete(text("log")?)?;
                self.ask(&Request::post("/logs").form(&format!("name={}", text("log")?)))?;
            }
            "truncate_log" => {
                self.ask(&Request::post(&format!("/logs/{}/truncate", text("log")?)))?;
            }
            "trim" => {
                let target = format!("/logs/{}/trim?position={}", text("log")?, step["position"]);
                self.ask(&Request::post(&target))?;
            }
            "append" => {
                for _ in 0..step["count"].as_u64().unwrap_or(1) {
                    self.ask(&api::write_one(text("log")?, text("text")?))?;
                }
            }
            "revoke_token" => drop(self.run_token(&["revoke", text("name")?])?),
            "fill_disk" => self.fill_disk(text("log")?)?,
            other => return Err(format!("there is no fault {other}")),
        }
        Ok(())
    }

    /// Appends to a log until there is no space.
    fn fill_disk(&self, log: &str) -> Result<(), String> {
        let request = api::write_one(log, vec![b'x'; 500_000]);
        for _ in 0..RECORDS_MAX {
            let answer = self.server.ask(&self.authorized(&request));
            match answer.status() {
                200 => {}
                507 => return Ok(()),
                _ => return Err(answer.shown()),
            }
        }
        Err("the disk never became full".to_owned())
    }

    /// Waits until every record of a log is archived. Later records are not in the archive.
    fn end_archive(&self, log: &str) -> Result<(), String> {
        let details = Request::get(&format!("/logs/{log}?details=true"));
        let details = self.authorized(&details);
        wait::until_true("every record is archived", ARCHIVED_WITHIN, || {
            let json = self.server.ask(&details).json();
            let end = json["end_position"].as_u64();
            end.is_some() && json["archived_position"].as_u64() == end
        });
        let [archive, ended] = self.archives();
        fs::rename(archive, ended).map_err(|e| format!("the archive cannot be moved: {e}"))
    }

    /// Destroys the disk of the server, which must be stopped, and restores its logs.
    fn restore_from_archive(&self) -> Result<(), String> {
        let ([archive, ended], data) = (self.archives(), self.server.data());
        let moved = || {
            if archive.exists() {
                fs::remove_dir_all(&archive)?;
            }
            fs::rename(&ended, &archive)?;
            fs::remove_dir_all(&data)
        };
        moved().map_err(|e| format!("the disk cannot be destroyed: {e}"))?;
        let url = archive_url(self.server.scratch());
        let mut command = cli::styx(&["restore", "--from", &url, "--data-directory"]);
        command.arg(&data);
        let done = cli::run(command, b"");
        match done.code {
            0 => Ok(()),
            _ => Err(format!("styx restore: {}", done.stderr)),
        }
    }

    /// The archive, and where it is kept after [`end_archive`](Self::end_archive).
    fn archives(&self) -> [PathBuf; 2] {
        ["archive", "archive-ended"].map(|name| self.server.scratch().join(name))
    }

    fn delete(&self, log: &str) -> Result<(), String> {
        self.ask(&Request::delete(&format!("/logs/{log}")))
    }

    /// Somebody else's request, not through the proxy.
    fn ask(&self, request: &Request) -> Result<(), String> {
        let answer = self.server.ask(&self.authorized(request));
        if answer.status() == 200 {
            Ok(())
        } else {
            Err(format!("{request:?}: {}", answer.shown()))
        }
    }

    fn authorized(&self, request: &Request) -> Request {
        match self.token() {
            Some(token) => tokens::with(request.clone(), token),
            None => request.clone(),
        }
    }
}

fn archive_url(scratch: &Scratch) -> String {
    format!("file://{}", scratch.join("archive").display())
}

/// Runs `styx token` with this configuration file, and returns its output.
fn run_token(config: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = cli::styx(&["token"]);
    command.args(arguments).arg("--config").arg(config);
    let done = cli::run(command, b"");
    match done.code {
        0 => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        _ => Err(format!("styx token {arguments:?}: {}", done.stderr)),
    }
}
