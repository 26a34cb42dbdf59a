//! `styx man`: writes the manual pages, one for each command, such as `styx-logs-create.1`.
//!
//! It is hidden, because only the packages need it: they contain the pages.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::command_line::CommandLine;
use crate::failure::Failure;

pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    // The pages have no page for `help`, which only repeats them.
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    let written = fs::create_dir_all(directory).and_then(|()| write(&command, directory));
    written.map_err(|error| {
        let path = directory.display();
        Failure::Failed(format!("cannot write the manual pages into {path}: {error}"))
    })
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &clap::Command, directory: &Path) -> io::Result<()> {
    let page = Man::new(command.clone()).manual("Styx");
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(directory.join(page.get_filename()), text)?;
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.into_iter().try_for_each(|command| write(command, directory))
}
