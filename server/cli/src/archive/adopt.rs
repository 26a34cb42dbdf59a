//! `styx archive adopt`: makes a data directory the owner of its logs in the archive.

use serde_json::{Value, json};
use styx_archive::adopt::{AdoptOptions, Adopted, Outcome, adopt};

use super::{open, with_progress};
use crate::command_line::{AdoptArguments, Format};
use crate::failure::Failure;
use crate::{output, table};

pub(super) fn run(arguments: &AdoptArguments, format: Format) -> Result<(), Failure> {
    if arguments.names.is_empty() && !arguments.all {
        return Err(Failure::Misuse("give the names of logs, or --all".to_owned()));
    }
    let (store, _) = open(&arguments.store)?;
    let options = AdoptOptions {
        data_directory: arguments.data_directory.clone(),
        logs: arguments.names.clone(),
        is_dry_run: !arguments.yes,
    };
    let adopted = with_progress(|tell| adopt(&store, &options, tell))?;
    output::print(&match format {
        Format::Text => text(&adopted, arguments.yes),
        Format::Json => {
            let logs: Vec<Value> = adopted.iter().map(to_json).collect();
            format!("{:#}\n", json!({ "adopts": arguments.yes, "logs": logs }))
        }
    })?;
    let refused = adopted.iter().filter(|log| matches!(log.outcome, Outcome::Refused(_))).count();
    match refused {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 log was refused".to_owned())),
        _ => Err(Failure::Failed(format!("{refused} logs were refused"))),
    }
}

fn text(adopted: &[Adopted], is_done: bool) -> String {
    let mut rows = vec![["NAME", "ARCHIVED BY", "RESULT"].map(str::to_owned).to_vec()];
    rows.extend(adopted.iter().map(|log| {
        let owner = log.owner.as_ref();
        let owner =
            owner.map_or("-".to_owned(), |owner| format!("{} {:032x}", owner.name, owner.id));
        let result = match &log.outcome {
            Outcome::Adopted if is_done => "adopted".to_owned(),
            Outcome::Adopted => "would be adopted".to_owned(),
            Outcome::Unchanged if log.owner.is_none() => "nothing is archived yet".to_owned(),
            Outcome::Unchanged => "belongs to this directory".to_owned(),
            Outcome::Refused(why) => format!("refused: {why}"),
        };
        vec![log.log.to_string(), owner, result]
    }));
    let adopts = adopted.iter().any(|log| log.outcome == Outcome::Adopted);
    let rest = match (adopts, is_done) {
        (false, _) => "",
        (true, true) => "start the server of this data directory: it archives these logs\n",
        (true, false) => {
            "The server that archived these logs stops to archive them, and continues to serve. The \
             server of this data directory archives them from its next start on. Nothing was \
             changed: stop the other server if it should not run, and add --yes\n"
        }
    };
    format!("{}{rest}", table::rows(&rows))
}

fn to_json(log: &Adopted) -> Value {
    let (outcome, reason) = match &log.outcome {
        Outcome::Adopted => ("adopted", None),
        Outcome::Unchanged => ("unchanged", None),
        Outcome::Refused(why) => ("refused", Some(why)),
    };
    json!({
        "name": log.log.to_string(),
        "log_id": log.id.to_string(),
        "owner": log.owner.as_ref().map(|owner| &owner.name),
        "owner_id": log.owner.as_ref().map(|owner| format!("{:032x}", owner.id)),
        "outcome": outcome,
        "reason": reason,
    })
}
