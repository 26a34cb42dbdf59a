//! `styx archive undelete` and `styx archive status --deleted`.

use std::time::Duration;

use serde_json::json;
use styx_archive::status::ArchivedLog;
use styx_archive::undelete::{Failure as Refusal, undelete};
use styx_archive::which::Which;

use super::{open, status_json, time};
use crate::command_line::{Format, UndeleteArguments};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::{output, table};

pub(super) fn run(arguments: &UndeleteArguments, format: Format) -> Result<(), Failure> {
    let which = match (&arguments.name, arguments.id) {
        (_, Some(id)) => Which::Id(id),
        (Some(name), None) => Which::Name(name.clone()),
        (None, None) => {
            let message = "give the name of the log, or its id with --id".to_owned();
            return Err(Failure::Misuse(message));
        }
    };
    let (store, archive) = open(&arguments.store)?;
    let mut progress = Progress::of_steps();
    let done = undelete(&store, &which, &mut |at| progress.set_step(at.what, at.done, at.total));
    progress.clear();
    let grace = archive.delete_grace;
    match done {
        Ok(log) => output::print(&match format {
            Format::Text => format!(
                "log {} is no longer marked as deleted: positions {} to {}, {} segments, {} bytes\n\
                 restore it with styx restore --id {}\n",
                log.name, log.start, log.end, log.segments, log.bytes, log.id
            ),
            Format::Json => format!("{:#}\n", json!({ "log": status_json(&log, grace) })),
        }),
        Err(Refusal::Several(logs)) => Err(Failure::Failed(format!(
            "{} deleted logs have this name: choose one with --id\n{}",
            logs.len(),
            deleted_text(&logs, grace).trim_end()
        ))),
        Err(Refusal::Store(error)) => Err(super::failed(error)),
    }
}

/// A table of deleted logs. Until the time of grace is over, the collector leaves them.
pub(super) fn deleted_text(logs: &[ArchivedLog], grace: Duration) -> String {
    let header =
        ["NAME", "ID", "START POSITION", "END POSITION", "BYTES", "DELETED", "UNDELETE UNTIL"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(logs.iter().map(|log| {
        let until = match until_us(log, grace) {
            Some(until) => time(until),
            None => "is being removed".to_owned(),
        };
        vec![
            log.name.to_string(),
            log.id.to_string(),
            log.start.to_string(),
            log.end.to_string(),
            log.bytes.to_string(),
            time(log.deleted_us.unwrap_or(0)),
            until,
        ]
    }));
    table::rows(&rows)
}

/// Until when a log can be undeleted at least, in µs. `None` for a log that is not deleted, or that is
/// being removed.
pub(super) fn until_us(log: &ArchivedLog, grace: Duration) -> Option<u64> {
    let grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
    let deleted = log.deleted_us.filter(|_| !log.is_being_removed);
    deleted.map(|deleted| deleted.saturating_add(grace))
}
