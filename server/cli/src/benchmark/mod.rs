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

use styx_client::blocking::Client;

use crate::command_line::{Benchmark, Global};
use crate::failure::Failure;
use crate::{output, server};
use conditions::{Conditions, System};
use machine::Limits;
use place::{Alone, Duties, Scratch, Server};
use plan::Settings;
use report::Report;
use workload::Bench;

pub(crate) use outcome::Protocol;
pub(crate) use payload::Kind;
pub(crate) use plan::Workload;

/// Measures what is asked for and prints the report.
pub(crate) fn run(arguments: &Benchmark, global: &Global) -> Result<(), Failure> {
    if arguments.list {
        return output::print(&plan::list());
    }
    let cases = plan::cases(arguments);
    let settings = Settings::of(arguments);
    let duties = Duties::watch()?;
    let scratch = Scratch::new(&arguments.directory, &duties)?;
    let server = open(global, &scratch, &duties)?;
    let conditions = conditions(&server, &scratch, arguments, settings);

    eprint!("limits of the machine: ");
    let before = measure(&scratch)?;
    let mut bench = Bench::new(server, settings);
    let mut outcomes = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        eprint!("[{}/{}] {case}: ", at + 1, cases.len());
        let outcome = bench.run(*case).inspect_err(|_| eprintln!("failed"))?;
        eprintln!("{}", report::summary(&outcome));
        outcomes.push(outcome);
    }
    drop(bench);
    eprint!("limits of the machine: ");
    let after = measure(&scratch)?;

    let report = Report { conditions, before, after, outcomes };
    output::print(&report.written_as(global.format))?;
    match report.invalid() {
        None => Ok(()),
        Some((limit, _)) => Err(Failure::Failed(format!(
            "the run does not count: {limit} moved too far meanwhile; run it again"
        ))),
    }
}

/// The server that is named, or one of our own.
fn open(global: &Global, scratch: &Scratch, duties: &Duties) -> Result<Server, Failure> {
    let duties = duties.clone();
    if global.host.is_some() {
        let client = server::client(global)?;
        // Says at once when nobody is there.
        client.list_logs()?;
        return Ok(Server { client, token: global.token.clone(), duties, alone: None });
    }
    let alone = Alone::start(&scratch.path().join("data"), &duties)?;
    let client = Client::builder(alone.address()).build()?;
    Ok(Server { client, token: None, duties, alone: Some(alone) })
}

fn measure(scratch: &Scratch) -> Result<Limits, Failure> {
    let path = scratch.path();
    let limits = Limits::measure(path)
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
    }
}
