//! Wheels for x86_64, which are tested on this machine.

use super::Target;
use crate::python::{server, wheel};

pub(super) const TARGET: Target = Target {
    name: "x86_64-unknown-linux-gnu",
    prepare: || Some(Vec::new()),
    works: |environment, client, server| {
        wheel::works(environment, client) && server::commands_work(environment, server)
    },
};
