//! `styx benchmark`: the connection between the command line and `styx-benchmark`.

use styx_benchmark::{Arguments, Error, Target};

use crate::command_line::{Format, Global};
use crate::failure::Failure;
use crate::{output, server};

/// Measures the workloads that the arguments name, and prints the report.
pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    if arguments.list {
        return output::print(&styx_benchmark::list());
    }
    let target = match &global.host {
        Some(_) => Target::Running {
            client: server::client(global)?,
            consumers: server::client(global)?,
            token: global.token.clone(),
        },
        None => Target::ChildServer,
    };
    let report = styx_benchmark::run(arguments, target)?;
    output::print(&match global.format {
        Format::Text => report.to_text(),
        Format::Json => report.to_json(),
    })?;
    match report.invalid() {
        Some(why) if !report.is_quick() => {
            Err(Failure::Failed(format!("the run is invalid: {why}; run it again")))
        }
        _ => Ok(()),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Misuse(message) => Failure::Misuse(message),
            Error::Client(error) => Failure::from(error),
            error => Failure::Failed(error.to_string()),
        }
    }
}
