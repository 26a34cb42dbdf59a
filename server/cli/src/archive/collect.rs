//! `styx archive collect`: removes superfluous objects, or shows which ones it would remove.

use std::time::Duration;

use serde_json::{Value, json};
use styx_archive::collect::{CollectOptions, Collected, Removed, collect};

use super::{open, problems, with_progress};
use crate::command_line::{CollectArguments, Format};
use crate::failure::Failure;
use crate::output;
use crate::token::Lifetime;

pub(super) fn run(arguments: &CollectArguments, format: Format) -> Result<(), Failure> {
    let (store, archive) = open(&arguments.store)?;
    let grace = match arguments.grace {
        Some(Lifetime(grace)) => Duration::try_from(grace).unwrap_or(archive.delete_grace),
        None => archive.delete_grace,
    };
    if grace < archive.delete_grace && !arguments.yes && !arguments.dry_run {
        return Err(Failure::Misuse(format!(
            "a grace of {} s is shorter than archive.delete_grace, which is {} s: logs that were \
             deleted in between could no longer be undeleted. Look with --dry-run, and add --yes",
            grace.as_secs(),
            archive.delete_grace.as_secs()
        )));
    }
    let options = CollectOptions {
        grace,
        log: arguments.log.clone(),
        owner: None,
        is_dry_run: arguments.dry_run,
    };
    let collected = with_progress(|tell| collect(&store, &options, tell))?;
    output::print(&match format {
        Format::Text => text(&collected, arguments.dry_run),
        Format::Json => format!("{:#}\n", to_json(&collected, arguments.dry_run)),
    })?;
    problems(&collected.problems)
}

fn text(collected: &Collected, is_dry_run: bool) -> String {
    let Collected { garbage, orphans, deleted, logs, waiting, .. } = collected;
    let kind = |name: &str, removed: &Removed| {
        format!("  {name}: {} objects, {} bytes\n", removed.objects, removed.bytes)
    };
    let total = collected.total();
    let verb = if is_dry_run { "would remove" } else { "removed" };
    [
        format!("{verb} {} objects, {} bytes\n", total.objects, total.bytes),
        kind("expired segments", garbage),
        kind("interrupted uploads", orphans),
        kind(&format!("{logs} deleted logs"), deleted),
        format!("{waiting} objects wait for the end of their time of grace\n"),
    ]
    .concat()
}

fn to_json(collected: &Collected, is_dry_run: bool) -> Value {
    let Collected { garbage, orphans, deleted, logs, waiting, problems } = collected;
    let kind = |removed: &Removed| json!({ "objects": removed.objects, "bytes": removed.bytes });
    let total = collected.total();
    json!({
        "dry_run": is_dry_run,
        "objects": total.objects,
        "bytes": total.bytes,
        "garbage": kind(garbage),
        "orphans": kind(orphans),
        "deleted": kind(deleted),
        "logs": logs,
        "waiting": waiting,
        "problems": problems,
    })
}
