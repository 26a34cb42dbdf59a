//! The flags of `styx cursors …`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum CursorsCommand {
    /// List the cursors of a log
    List {
        /// The log
        log: String,
    },
    /// Show one cursor
    Get {
        /// The log
        log: String,
        /// The cursor
        cursor: String,
    },
    /// Create a cursor or move it; a consumer that uses it loses it
    Set {
        /// The log
        log: String,
        /// The cursor: letters, digits, _ and -
        cursor: String,
        /// Position of the next record to read
        #[arg(short = 'P', long)]
        position: u64,
    },
    /// Delete a cursor; a consumer that uses it loses it
    Delete {
        /// The log
        log: String,
        /// The cursor
        cursor: String,
    },
}
