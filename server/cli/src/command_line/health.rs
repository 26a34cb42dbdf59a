//! The flags of `styx health`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

const ADDRESS: &str = "\
Without --host and STYX_HOST, the command asks the server of this configuration file and of the
STYX_... variables: at its first Unix socket, else at its admin_address, else at its first
bind_address. Over TLS, it then trusts the certificate in the configuration, whatever names it has.";

/// The flags of `styx health`.
#[derive(Debug, Args)]
#[command(after_help = ADDRESS)]
pub(crate) struct HealthArguments {
    /// Ask whether every log is open; this is the default
    #[arg(long)]
    pub(crate) ready: bool,
    /// Ask only whether the process answers
    #[arg(long, conflicts_with = "ready")]
    pub(crate) live: bool,
    /// Configuration file of the server, to find its address
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Seconds after which the server counts as not healthy
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "use a whole number from 1 to 3600".to_owned())
}
