//! `styx benchmark`: how fast a server is, beside what its machine can do.
//!
//! ```text
//! plan (cases) ─┐
//! place (server, directory) ─▶ beside: machine (limits) ─ workload ─ machine (limits)… ─▶ report
//! ```
//! What holds for every figure: only durable records count; everything that was
//! written is read back and checked; its limits were measured right before and
//! right after, and a run in which one moved too far meanwhile does not count.

mod beside;
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
use beside::Beside;
use conditions::{Conditions, System};
use place::{Duties, Scratch, Server, descriptors};
use plan::Settings;
use report::Report;
use workload::Bench;

pub(crate) use outcome::Protocol;
pub(crate) use payload::Kind;
pub(crate) use plan::Workload;

/// How long one of the measurements of a limit takes: all limits together some 5
/// seconds, before the workloads and again after them; those of one case some 1 or 2.
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
    let time = if settings.quick { LIMIT_TIME_QUICK } else { LIMIT_TIME };
    let mut beside = Beside::new(scratch.path().to_owned(), time, settings.quick)?;
    let before = beside.latest();
    eprintln!("{}", report::limits_in_short(&before));
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
        let again = |name, share| eprint!("{}; once more: ", report::moved(name, share));
        let measured = beside.run(*case, |case| bench.run(case), again);
        let measured = measured.inspect_err(|_| eprintln!("failed"))?;
        eprintln!("{}", report::summary(&measured));
        outcomes.push(measured);
    }
    drop(bench);
    eprint!("limits of the machine: ");
    let after = beside.measure()?;
    eprintln!("{}", report::limits_in_short(&after));

    let report = Report { conditions, before, after, outcomes };
    output::print(&report.written_as(global.format))?;
    match report.invalid() {
        Some(why) if !settings.quick => {
            Err(Failure::Failed(format!("the run does not count: {why}; run it again")))
        }
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
