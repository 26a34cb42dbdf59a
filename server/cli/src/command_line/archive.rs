//! The flags of `styx archive` and `styx restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use styx_protocol::{LogId, LogName};

use super::Moment;
use crate::token::Lifetime;

const STORE: &str = "\
Without --url, the command uses the archive of this configuration file and of the STYX_ARCHIVE_...
variables. Credentials come from archive.credentials_file, else from the environment
(AWS_ACCESS_KEY_ID and so on), else from the machine.";

/// `styx archive COMMAND`.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// List the archived logs
    Status(ArchiveArguments),
    /// Check whether an archive works from here: credentials, conditional writes, clocks
    Check(ArchiveArguments),
    /// Check that every archived segment exists with the right length and checksum
    Verify(VerifyArguments),
    /// Remove objects that no log needs any more, and logs that were deleted
    ///
    /// Objects stay for a time of grace after they became superfluous. Servers may use the archive
    /// meanwhile.
    Collect(CollectArguments),
}

/// Which archive.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct ArchiveArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

/// The flags of `styx archive verify`.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Read every segment, and compare its checksum
    #[arg(long)]
    pub(crate) read: bool,
}

/// The flags of `styx archive collect`.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct CollectArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Time of grace, such as 12h or 7d [default: archive.delete_grace]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<Lifetime>,
}

/// Where the archive is.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// URL of the archive: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX or
    /// file:///DIRECTORY
    #[arg(long, visible_alias = "from", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Address of a store that is not the cloud's own, such as http://127.0.0.1:7070
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Configuration file of a server, for its section archive
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The flags of `styx restore`.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Data directory for the logs; created if it does not exist; no server may use it
    #[arg(short, long, env = "STYX_DATA_DIRECTORY", value_name = "DIR")]
    pub(crate) data_directory: PathBuf,
    /// Also fetch all records to the disk, so that the logs can be read without the store
    #[arg(long)]
    pub(crate) download: bool,
    /// Restore only this log
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Option<LogName>,
    /// Restore only the log with this id, which styx archive status shows: needed if the archive has
    /// several logs with the same name and different records
    #[arg(long, value_name = "ID", conflicts_with = "log")]
    pub(crate) id: Option<LogId>,
    /// Restore nothing that was appended after this time: a time such as 2027-01-31T12:00:00Z, or
    /// 10m for the time before now
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
}

impl StoreArguments {
    /// The flags as configuration keys.
    pub(crate) fn overrides(&self) -> Vec<(String, String)> {
        let flags = [
            ("archive.url", &self.url),
            ("archive.endpoint", &self.endpoint),
            ("archive.region", &self.region),
        ];
        let given = flags.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        given.map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }
}
