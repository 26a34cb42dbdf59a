//! The step `schemathesis`: requests made from the OpenAPI document, sent to a server.
//!
//! [Schemathesis](https://schemathesis.readthedocs.io) makes valid and invalid
//! requests for every operation, and checks every answer against the document. Its
//! version is in `tests/schemathesis/requirements.txt`, and `schemathesis.toml` says
//! which answers it may expect. The seed is fixed, so that a failure can be repeated.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::tally::Tally;
use crate::venv::Environment;
use crate::{root, run, tools};

/// Random requests for each operation. Schemathesis adds about 70 that it derives
/// from the limits in the document.
const EXAMPLES_MAX: &str = "40";
const SEED: &str = "1";
/// No request of the test waits on purpose.
const REQUEST_SECONDS_MAX: &str = "10";

/// Compares the document with a server that is started for it.
pub(crate) fn step() -> Tally {
    Tally::step(agrees())
}

fn agrees() -> bool {
    let environment = Environment::with("schemathesis", "tests/schemathesis/requirements.txt");
    let Some(environment) = environment else { return false };
    if !tools::build_styx() {
        return false;
    }
    let mut server = match Server::start() {
        Ok(server) => server,
        Err(why) => {
            eprintln!("{why}");
            return false;
        }
    };
    let mut command = environment.command("schemathesis");
    command.arg("run").arg(format!("{}/openapi.json", server.url)).current_dir(root());
    command.args(["--seed", SEED, "--max-examples", EXAMPLES_MAX, "--continue-on-failure"]);
    command.args(["--request-timeout", REQUEST_SECONDS_MAX, "--generation-database", "none"]);
    command.env("HYPOTHESIS_STORAGE_DIRECTORY", tools::target().join("schemathesis/hypothesis"));
    run("schemathesis", &mut command) && server.still_runs()
}

/// A server on a free port with a data directory of its own. Dropping it stops the
/// server and removes the directory.
struct Server {
    process: Child,
    data: PathBuf,
    url: String,
    /// Kept open: the server may still write to it.
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Result<Server, String> {
        let data = std::env::temp_dir().join(format!("styx-schemathesis-{}", std::process::id()));
        let mut command = Command::new(tools::styx());
        command.args(["serve", "--bind-address", "127.0.0.1:0", "--log-level", "error"]);
        // The document does not know this limit, so it must be as large as its range.
        command.args(["--set", "max_log_record_size=1073741824"]);
        command.arg("--data-directory").arg(&data).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))?;
        let output = BufReader::new(process.stdout.take().expect("the stream is piped"));
        // From here on dropping it ends the process, on every way out.
        let mut server = Server { process, data, url: String::new(), output };
        server.url = server.listening().ok_or("the server ended before it listened")?;
        Ok(server)
    }

    /// The URL in the line that the server prints when it is ready.
    fn listening(&mut self) -> Option<String> {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    }

    fn still_runs(&mut self) -> bool {
        let runs = matches!(self.process.try_wait(), Ok(None));
        if !runs {
            eprintln!("the server ended during the test");
        }
        runs
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Err(e) = std::fs::remove_dir_all(&self.data) {
            eprintln!("cannot remove {}: {e}", self.data.display());
        }
    }
}
