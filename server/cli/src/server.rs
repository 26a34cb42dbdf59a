//! The client for commands that connect to a server, and the messages for its errors.

use styx_client::blocking::Client;
use styx_client::{Error, Kind};

use crate::command_line::Global;
use crate::failure::Failure;

/// A client for the server that the flags or the environment select. It does not connect
/// yet.
pub(crate) fn client(global: &Global) -> Result<Client, Failure> {
    let mut builder = Client::builder(global.host())
        .user_agent(concat!("styx/", env!("CARGO_PKG_VERSION")).to_owned())
        // A person is waiting: report a failure immediately.
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
                "; is the server running? Start it with `styx serve`, or choose another \
                 one with --host"
            }
            Kind::UnknownHost => "; choose another server with --host",
            _ => "",
        };
        Failure::Failed(format!("{error}{advice}"))
    }
}
