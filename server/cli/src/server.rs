//! The server that commands talk to, by the client core, and what its errors
//! look like on a command line.

use styx_client::blocking::Client;
use styx_client::{Error, Kind};

use crate::command_line::Global;
use crate::failure::Failure;

/// A client of the server that the flags or the environment name. Nothing is
/// sent yet.
pub(crate) fn client(global: &Global) -> Result<Client, Failure> {
    let mut builder = Client::builder(global.host())
        .user_agent(concat!("styx/", env!("CARGO_PKG_VERSION")).to_owned())
        // Somebody sits in front of it: they want to know now.
        .retry(false);
    if let Some(token) = &global.token {
        builder = builder.token(token.clone());
    }
    if let Some(path) = &global.ca_file {
        builder = builder.ca_file(path.clone());
    }
    Ok(builder.build()?)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let advice = match error.kind() {
            Kind::ConnectionFailed if error.message().starts_with("cannot connect") => {
                "; is the server running? Start it with `styx serve`, or name another one with \
                 --host"
            }
            _ => "",
        };
        Failure::Failed(format!("{error}{advice}"))
    }
}
