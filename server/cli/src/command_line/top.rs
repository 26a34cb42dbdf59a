//! The flags of `styx top`.

use std::time::Duration;

use clap::Args;

use crate::top::SortKey;

const EXAMPLES: &str = "\
Rates are of the last interval. A token needs the grant observe, and sees only logs that it may
observe. Keys: enter shows a log, / filters, n a d z l sort, ? explains all of them, q quits.";

/// The flags of `styx top`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArguments {
    /// Seconds between two samples, from 0.1 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Print the numbers once, after one interval, and exit; with --format json for programs
    #[arg(long)]
    pub(crate) once: bool,
    /// The order of the logs at first
    #[arg(short, long, value_enum, default_value_t, value_name = "KEY")]
    pub(crate) sort: SortKey,
    /// Show only logs with this text in their name, in any letter case
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use a number from 0.1 to 3600".to_owned())
}
