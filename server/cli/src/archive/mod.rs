//! `styx archive` and `styx restore`: work on the object store of an archive, without a server.

mod adopt;
mod collect;
mod copy;
mod undelete;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use styx_archive::check::{Checked, check};
use styx_archive::download::download;
use styx_archive::restore::{Outcome, RestoreOptions, Restored, restore};
use styx_archive::selection::{LeftOut, Wanted};
use styx_archive::status::{ArchivedLog, Status, status};
use styx_archive::store::{self, Kind, Store};
use styx_archive::verify::{Depth, Verified, verify};
use styx_server::config;

use crate::command_line::{
    ArchiveCommand, Format, RestoreArguments, StatusArguments, StoreArguments, VerifyArguments,
};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::{output, serve, table};

/// Runs one of the commands.
pub(crate) fn run(command: ArchiveCommand, format: Format) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Status(arguments) => print_status(&arguments, format),
        ArchiveCommand::Check(arguments) => print_check(&arguments.store, format),
        ArchiveCommand::Verify(arguments) => print_verify(&arguments, format),
        ArchiveCommand::Collect(arguments) => collect::run(&arguments, format),
        ArchiveCommand::Undelete(arguments) => undelete::run(&arguments, format),
        ArchiveCommand::Copy(arguments) => copy::run(&arguments, format),
        ArchiveCommand::Adopt(arguments) => adopt::run(&arguments, format),
    }
}

/// `styx restore`.
pub(crate) fn run_restore(arguments: &RestoreArguments, format: Format) -> Result<(), Failure> {
    let (store, _) = open(&arguments.store)?;
    let options = RestoreOptions {
        data_directory: arguments.data_directory.clone(),
        logs: match (&arguments.log, arguments.id) {
            (_, Some(id)) => Wanted::Id(id),
            (Some(name), None) => Wanted::Name(name.clone()),
            (None, None) => Wanted::All,
        },
        until_us: arguments.until.map(|until| until.micros(Timestamp::now())),
    };
    let restoring = with_progress(|tell| restore(&store, &options, tell).map_err(continued));
    let Outcome { restored, left_out } = restoring?;
    if arguments.download {
        let directory = &options.data_directory;
        with_progress(|tell| download(&store, directory, &restored, tell).map_err(continued))?;
    }
    let left_out: Vec<String> = left_out.iter().map(left_out_text).collect();
    output::print(&match format {
        Format::Text if restored.is_empty() && !left_out.is_empty() => String::new(),
        Format::Text => restored_text(&restored),
        Format::Json => {
            let logs: Vec<Value> = restored.iter().map(restored_json).collect();
            format!("{:#}\n", json!({ "logs": logs, "left_out": left_out }))
        }
    })?;
    problems(&left_out)
}

/// Adds how to continue to a failure that may pass.
fn continued(error: store::Error) -> store::Error {
    let may_pass = matches!(error.kind, Kind::Unavailable | Kind::Denied);
    let why = match may_pass {
        true => format!("{}; run the command again to continue", error.why),
        false => error.why,
    };
    store::Error { why, ..error }
}

/// Why logs were left out, and what to do.
fn left_out_text(left_out: &LeftOut) -> String {
    match left_out {
        LeftOut::Diverged { name, logs } => {
            let log = |log: &ArchivedLog| {
                let newest = time(log.newest_us);
                format!("{} ends at position {}, newest record {newest}", log.id, log.end)
            };
            let logs: Vec<String> = logs.iter().map(log).collect();
            format!(
                "log {name} was not restored, because the archive has {} logs with this name and \
                 different records ({}): choose one with --id ID",
                logs.len(),
                logs.join("; ")
            )
        }
        LeftOut::Unusable { log: Some((name, id)), why } => {
            format!("log {name} ({id}) was not restored: {why}")
        }
        LeftOut::Unusable { log: None, why } => {
            format!("a log was not restored: {why}; run styx archive verify")
        }
    }
}

/// The store, and `[archive]` of the configuration.
fn open(arguments: &StoreArguments) -> Result<(Store, config::Archive), Failure> {
    let archive = serve::load(arguments.config.as_deref(), &arguments.overrides())?.config.archive;
    let Some(url) = &archive.url else {
        return Err(Failure::Misuse(
            "there is no archive: give its URL with --url, or a configuration file with --config"
                .to_owned(),
        ));
    };
    let store = Store::open(url.as_str(), &archive.store_options()).map_err(failed)?;
    Ok((store, archive))
}

fn failed(error: store::Error) -> Failure {
    Failure::Failed(error.to_string())
}

/// Runs work that tells its progress, which is shown on a terminal.
fn with_progress<T>(
    work: impl FnOnce(styx_archive::Tell<'_>) -> Result<T, store::Error>,
) -> Result<T, Failure> {
    let mut progress = Progress::of_steps();
    let done = work(&mut |at| progress.set_step(at.what, at.done, at.total));
    progress.clear();
    done.map_err(failed)
}

fn restored_text(restored: &[Restored]) -> String {
    if restored.is_empty() {
        return "nothing is archived, so nothing was restored\n".to_owned();
    }
    let header = ["NAME", "START POSITION", "END POSITION", "SEGMENTS", "BYTES", "STATE"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(restored.iter().map(|log| {
        let numbers = [log.start.0, log.end.0, log.segments, log.bytes];
        let cells = numbers.into_iter().map(|number| number.to_string());
        let state = if log.existed { "restored before" } else { "restored" };
        std::iter::once(log.log.to_string()).chain(cells).chain([state.to_owned()]).collect()
    }));
    table::rows(&rows)
}

fn restored_json(log: &Restored) -> Value {
    json!({
        "name": log.log.to_string(),
        "log_id": log.id.to_string(),
        "restored_from": log.from.to_string(),
        "start_position": log.start.0,
        "end_position": log.end.0,
        "segments": log.segments,
        "bytes": log.bytes,
        "existed": log.existed,
    })
}

fn print_status(arguments: &StatusArguments, format: Format) -> Result<(), Failure> {
    let (store, archive) = open(&arguments.store)?;
    let mut found = with_progress(|tell| status(&store, tell))?;
    if arguments.deleted {
        found.logs.retain(|log| log.deleted_us.is_some());
    }
    let grace = archive.delete_grace;
    output::print(&match format {
        Format::Text if arguments.deleted => undelete::deleted_text(&found.logs, grace),
        Format::Text => status_text(&found),
        Format::Json => {
            let logs: Vec<Value> = found.logs.iter().map(|log| status_json(log, grace)).collect();
            format!("{:#}\n", json!({ "logs": logs, "problems": found.problems }))
        }
    })?;
    problems(&found.problems)
}

fn status_text(status: &Status) -> String {
    let header = [
        "NAME",
        "LOG ID",
        "START POSITION",
        "END POSITION",
        "SEGMENTS",
        "BYTES",
        "NEWEST RECORD",
        "STATE",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(status.logs.iter().map(|log| {
        let numbers = [log.start.0, log.end.0, log.segments, log.bytes];
        let mut cells = vec![log.name.to_string(), log.id.to_string()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(time(log.newest_us));
        cells.push(match log.deleted_us {
            Some(_) => "deleted".to_owned(),
            None => format!("archived by {}", log.owner),
        });
        cells
    }));
    table::rows(&rows)
}

fn time(micros: u64) -> String {
    let time = i64::try_from(micros).ok().map(Timestamp::from_microsecond);
    match time {
        Some(Ok(time)) if micros > 0 => format!("{time:.0}"),
        _ => "-".to_owned(),
    }
}

fn status_json(log: &ArchivedLog, grace: Duration) -> Value {
    json!({
        "name": log.name.to_string(),
        "log_id": log.id.to_string(),
        "start_position": log.start.0,
        "end_position": log.end.0,
        "segments": log.segments,
        "bytes": log.bytes,
        "timestamp_last": log.newest_us,
        "epoch": log.epoch,
        "owner": log.owner,
        "deleted": log.deleted_us.is_some(),
        "deleted_at": log.deleted_us,
        "undelete_until": undelete::until_us(log, grace),
        "garbage": log.garbage,
    })
}

fn print_check(arguments: &StoreArguments, format: Format) -> Result<(), Failure> {
    let (store, _) = open(arguments)?;
    let Checked { clock_seconds, write, read, problems: found } = check(&store).map_err(failed)?;
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let location = store.location();
    output::print(&match format {
        Format::Text => format!(
            "{location} works: conditional writes are reliable, a small write took {:.0} ms, a small \
             read {:.0} ms\n",
            millis(write),
            millis(read)
        ),
        Format::Json => {
            let json = json!({
                "url": location.to_string(),
                "clock_seconds": clock_seconds,
                "write_ms": millis(write),
                "read_ms": millis(read),
                "problems": found,
            });
            format!("{json:#}\n")
        }
    })?;
    problems(&found)
}

fn print_verify(arguments: &VerifyArguments, format: Format) -> Result<(), Failure> {
    let (store, _) = open(&arguments.store)?;
    let depth = if arguments.read { Depth::Bodies } else { Depth::Descriptions };
    let verified = with_progress(|tell| verify(&store, depth, tell))?;
    let Verified { logs, segments, bytes, problems: found } = verified;
    output::print(&match format {
        Format::Text => format!("{segments} segments of {logs} logs, {bytes} bytes\n"),
        Format::Json => {
            let json = json!({
                "logs": logs, "segments": segments, "bytes": bytes, "problems": found,
            });
            format!("{json:#}\n")
        }
    })?;
    problems(&found)
}

/// Fails if something was found.
fn problems(found: &[String]) -> Result<(), Failure> {
    match found {
        [] => Ok(()),
        [only] => Err(Failure::Failed(only.clone())),
        [first, ..] => {
            let list = found.join("\n  ");
            Err(Failure::Failed(match found.len() {
                count @ ..=100 => format!("{count} problems:\n  {list}"),
                count => format!("{count} problems, the first of which is: {first}"),
            }))
        }
    }
}
