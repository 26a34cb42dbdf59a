//! `styx benchmark`: how fast a server is, beside what its machine can do.
//!
//! ```text
//! plan (cases) ─┐
//! place (server, directory) ─▶ machine (limits) ─▶ workload… ─▶ machine (limits) ─▶ report
//! ```
//! What holds for every figure: only durable records count; everything that was
//! written is read back and checked; the limits were measured in the same run,
//! before and after, and a run in which one moved too far does not count.

mod conditions;
mod latency;
mod machine;
mod outcome;
mod payload;
mod place;
mod plan;
mod report;
mod statistics;
mod wire;
mod workload;

use std::time::Duration;

use crate::command_line::{Benchmark, Global};
use crate::failure::Failure;
use crate::{output, server};
use conditions::{Conditions, System};
use machine::Limits;
use place::{Duties, Scratch, Server, descriptors};
use plan::Settings;
use report::Report;
use workload::Bench;

pub(crate) use outcome::Protocol;
pub(crate) use payload::Kind;
pub(crate) use plan::Workload;

/// How long one of the measurements of a limit takes: all of them together some
/// 5 seconds, before the workloads and again after them.
const LIMIT_TIME: Duration = Duration::from_millis(130);
const LIMIT_TIME_QUICK: Duration = Duration::from_millis(10);

/// Measures what is asked for and prints the report.
pub(crate) fn run(arguments: &Benchmark, global: &Global) -> Result<(), Failure> {
    if arguments.list {
        return output::print(&plan::list());
    }
    let cases = plan::cases(arguments);
    let settings = Settings::of(arguments);
    descriptors::raise();
    let duties = Duties::watch()?;
    let scratch = Scratch::new(&arguments.directory, &duties)?;
    let server = open(global, &scratch, &duties)?;
    let conditions = conditions(&server, &scratch, arguments, settings);

    eprint!("limits of the machine: ");
    let before = measure(&scratch, settings)?;
    let mut bench = Bench::new(server, settings, scratch.path());
    let mut outcomes = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        if case.needs_own_server() && global.host.is_some() {
            eprintln!(
                "[{}/{}] {case}: left out, it needs a server of its own",
                at + 1,
                cases.len()
            );
            continue;
        }
        eprint!("[{}/{}] {case}: ", at + 1, cases.len());
        let outcome = bench.run(*case).inspect_err(|_| eprintln!("failed"))?;
        eprintln!("{}", report::summary(&outcome));
        outcomes.push(outcome);
    }
    drop(bench);
    eprint!("limits of the machine: ");
    let after = measure(&scratch, settings)?;

    let report = Report { conditions, before, after, outcomes };
    output::print(&report.written_as(global.format))?;
    match report.invalid() {
        Some((limit, _)) if !settings.quick => Err(Failure::Failed(format!(
            "the run does not count: {limit} moved too far meanwhile; run it again"
        ))),
        _ => Ok(()),
    }
}

/// The server that is named, or one of our own.
fn open(global: &Global, scratch: &Scratch, duties: &Duties) -> Result<Server, Failure> {
    if global.host.is_some() {
        let client = server::client(global)?;
        // Says at once when nobody is there.
        client.list_logs()?;
        let token = global.token.clone();
        return Ok(Server { client, token, duties: duties.clone(), alone: None });
    }
    Server::alone(&scratch.path().join("data"), duties)
}

fn measure(scratch: &Scratch, settings: Settings) -> Result<Limits, Failure> {
    let path = scratch.path();
    let time = if settings.quick { LIMIT_TIME_QUICK } else { LIMIT_TIME };
    let limits = Limits::measure(path, time)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    eprintln!("{}", report::limits_in_short(&limits));
    Ok(limits)
}

fn conditions(
    server: &Server,
    scratch: &Scratch,
    arguments: &Benchmark,
    settings: Settings,
) -> Conditions {
    let System { filesystem, kernel, cores, memory_bytes, date } = System::look(scratch.path());
    let address = server.address();
    Conditions {
        version: env!("CARGO_PKG_VERSION"),
        server: format!("{}:{}", address.host(), address.port()),
        alone: server.alone.is_some(),
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
