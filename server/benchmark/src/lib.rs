//! `styx benchmark`: measures a server, and the limits of the machine it runs on.
//!
//! ```text
//! plan (cases) ─┐
//! environment ──┴▶ reference_limits: machine limits ─ workload ─ machine limits … ─▶ report
//! (server, directory)
//! ```
//! Three rules hold for every figure. Only durable records count. Every record that
//! was written is read back and checked. The limits of the machine are measured right
//! before and right after each case. If one changes too much, the run is invalid.
//!
//! [`run`] writes progress to standard error. It returns the [`Report`] and prints
//! nothing to standard output.

mod arguments;
mod conditions;
mod environment;
mod error;
mod latency;
mod machine;
mod outcome;
mod payload;
mod plan;
mod reference_limits;
mod report;
mod statistics;
mod wire;
mod workload;

use std::time::Duration;

use styx_client::blocking::Client;

use conditions::{Conditions, System};
use environment::{Cleanup, Encrypted, ScratchDirectory, Server, descriptors};
use plan::{Case, Settings};
use reference_limits::ReferenceLimits;
use workload::Harness;

pub use arguments::Arguments;
pub use error::Error;
pub use outcome::Protocol;
pub use payload::PayloadKind;
pub use plan::{Workload, list};
pub use report::Report;

/// How long one measurement of one limit takes. Measuring all limits takes about 5 s,
/// once before the workloads and once after them. The limits of one case take 1 to 2 s.
const LIMIT_TIME: Duration = Duration::from_millis(130);
const LIMIT_TIME_QUICK: Duration = Duration::from_millis(10);

/// The server to measure.
#[derive(Debug)]
pub enum Target {
    /// A child process of the running program, which must be the `styx` binary: it is
    /// started again as `styx serve` and stopped when the run ends.
    ChildServer,
    /// A server that is already running. The benchmark creates logs there and deletes
    /// them afterwards. It skips the workloads that need a server of their own.
    Running {
        /// Connects to the server.
        client: Client,
        /// Connects to it with threads of its own, for consumers beside a producer.
        consumers: Client,
        /// The bearer token for connections that do not use `client`.
        token: Option<String>,
    },
}

/// Measures the workloads that the arguments name, and returns the report.
///
/// SIGINT and SIGTERM end the process with exit code 130 while this runs, after child
/// servers, directories and logs of the run are removed.
///
/// # Errors
/// The server cannot be reached, a system call fails, or a record that was read back is
/// missing or wrong. A run whose limits changed too much is not an error here:
/// see [`Report::invalid`].
pub fn run(arguments: &Arguments, target: Target) -> Result<Report, Error> {
    let cases = plan::cases(arguments);
    let settings = Settings::of(arguments);
    descriptors::raise();
    let cleanup = Cleanup::watch()?;
    let scratch = ScratchDirectory::new(&arguments.directory, &cleanup)?;
    let server = open(target, &scratch, &cleanup)?;
    let encrypted = open_encrypted(arguments, &cases, &server, &scratch, &cleanup)?;
    let is_child = server.child.is_some();
    let conditions = conditions(&server, &scratch, arguments, settings);

    eprint!("limits of the machine: ");
    let time = if settings.quick { LIMIT_TIME_QUICK } else { LIMIT_TIME };
    let mut reference =
        ReferenceLimits::measure_first(scratch.path().to_owned(), time, settings.quick)?;
    let before = reference.latest();
    eprintln!("{}", report::limits_in_short(&before));
    let mut harness = Harness::new(server, settings, scratch.path());
    let mut encrypted = encrypted.map(|server| Harness::new(server, settings, scratch.path()));
    let mut outcomes = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        if case.needs_own_server() && !is_child {
            eprintln!(
                "[{}/{}] {case}: skipped, it needs a server of its own (run without --host)",
                at + 1,
                cases.len()
            );
            continue;
        }
        eprint!("[{}/{}] {case}: ", at + 1, cases.len());
        let again = |name, share| eprint!("{}, measuring again: ", report::change(name, share));
        let measured = reference.run(*case, |case| harness.run(case), again);
        let measured = measured.inspect_err(|_| eprintln!("failed"))?;
        eprintln!("{}", report::summary(&measured));
        let encrypted = encrypted.as_mut().filter(|_| case.has_tls());
        let Some(encrypted) = encrypted else {
            outcomes.push(measured);
            continue;
        };
        eprint!("[{}/{}] {case} with TLS: ", at + 1, cases.len());
        let run = |case| Ok(measured.outcome.compared_with_tls(encrypted.run(case)?));
        let with_tls = reference.run(*case, run, again);
        let with_tls = with_tls.inspect_err(|_| eprintln!("failed"))?;
        eprintln!("{}", report::summary(&with_tls));
        outcomes.extend([measured, with_tls]);
    }
    drop((harness, encrypted));
    eprint!("limits of the machine: ");
    let after = reference.measure_all()?;
    eprintln!("{}", report::limits_in_short(&after));
    Ok(Report { conditions, before, after, outcomes })
}

/// Starts a second child server, with TLS, if `--tls` is given.
///
/// # Errors
/// The measured server is not a child: it has TLS or not, but not both.
fn open_encrypted(
    arguments: &Arguments,
    cases: &[Case],
    server: &Server,
    scratch: &ScratchDirectory,
    cleanup: &Cleanup,
) -> Result<Option<Server>, Error> {
    if !arguments.tls {
        return Ok(None);
    }
    if server.child.is_none() {
        let text = "--tls compares two servers that the benchmark starts; run it without --host and STYX_HOST";
        return Err(Error::Misuse(text.to_owned()));
    }
    if !cases.iter().any(|case| case.has_tls()) {
        let text = "--tls measures produce and consume over styx/1, and post; select one of them";
        return Err(Error::Misuse(text.to_owned()));
    }
    Server::start(&scratch.path().join("data-tls"), Encrypted::Yes, cleanup).map(Some)
}

/// Connects to the running server, or starts a child server.
fn open(target: Target, scratch: &ScratchDirectory, cleanup: &Cleanup) -> Result<Server, Error> {
    match target {
        Target::ChildServer => Server::start_child(&scratch.path().join("data"), cleanup),
        Target::Running { client, consumers, token } => {
            // Fails before anything is measured if the server cannot be reached.
            client.list_logs()?;
            Ok(Server { client, consumers, token, cleanup: cleanup.clone(), child: None })
        }
    }
}

fn conditions(
    server: &Server,
    scratch: &ScratchDirectory,
    arguments: &Arguments,
    settings: Settings,
) -> Conditions {
    let System { filesystem, kernel, cores, memory_bytes, date } = System::look(scratch.path());
    let address = server.address();
    Conditions {
        version: env!("CARGO_PKG_VERSION"),
        server: format!("{}:{}", address.host(), address.port()),
        server_is_child: server.child.is_some(),
        directory: arguments.directory.display().to_string(),
        filesystem,
        kernel,
        cores,
        memory_bytes,
        date,
        rounds: settings.rounds,
        seconds: settings.seconds,
        warm_up: settings.warm_up,
        rate: settings.rate,
        quick: settings.quick,
    }
}
