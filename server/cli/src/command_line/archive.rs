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
    Status(StatusArguments),
    /// Check whether an archive works from here: credentials, conditional writes, clocks
    Check(ArchiveArguments),
    /// Check that every archived segment exists with the right length and checksum, and its index
    Verify(VerifyArguments),
    /// Remove objects that no log needs any more, and logs that were deleted
    ///
    /// Objects stay for a time of grace after they became superfluous. Servers may use the archive
    /// meanwhile. A server does the same for its own logs once a week, unless archive.collect is false.
    Collect(CollectArguments),
    /// Keep a log that was deleted or truncated, so that it can be restored
    ///
    /// Removes the mark of the log in the archive, if all of its segments are still there. Restore it
    /// afterwards. If the server has another log with this name, restore it into another data
    /// directory.
    Undelete(UndeleteArguments),
    /// Copy logs to another archive, byte for byte
    ///
    /// Objects that the target has already are skipped, so an interrupted copy continues, and a second
    /// one copies only new objects. Servers may use both archives meanwhile. A log that has continued
    /// in the target is refused.
    Copy(CopyArguments),
    /// Archive logs from this data directory, although another server owns their archive
    ///
    /// For a server whose logs are fenced: styx_archive_fenced_logs is above 0, because a machine was
    /// cloned, a disk was moved, or another server was forgotten. Afterwards the other server is fenced.
    /// Logs with another history than the archived one are refused. Stop the server of the data
    /// directory first. Without --yes, the command only reports.
    Adopt(AdoptArguments),
}

/// Which archive.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct ArchiveArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

/// The flags of `styx archive status`.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// List only deleted logs: their ids, when they were deleted, and until when undelete works
    #[arg(long)]
    pub(crate) deleted: bool,
}

/// The flags of `styx archive verify`.
#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Read every object, and compare its checksum
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
    /// Only the logs with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Option<LogName>,
    /// Change nothing, and print the numbers of objects that would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accept a grace that is shorter than archive.delete_grace
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The flags of `styx archive undelete`.
#[derive(Debug, Args)]
#[command(after_help = UNDELETE)]
pub(crate) struct UndeleteArguments {
    /// Name of the log
    #[arg(value_name = "NAME", conflicts_with = "id")]
    pub(crate) name: Option<LogName>,
    /// Id of the log, if several deleted logs had the name
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<LogId>,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

const UNDELETE: &str = "\
Examples:
  styx archive status --deleted --config /etc/styx/styx.toml
  styx archive undelete orders --config /etc/styx/styx.toml";

/// The flags of `styx archive copy`.
#[derive(Debug, Args)]
#[command(after_help = COPY)]
pub(crate) struct CopyArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// URL of the target
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// Address of the target's service [default: as --endpoint, if both have the same scheme]
    #[arg(long, value_name = "URL")]
    pub(crate) to_endpoint: Option<String>,
    /// Region of the target's bucket [default: as --region, if both have the same scheme]
    #[arg(long, value_name = "REGION")]
    pub(crate) to_region: Option<String>,
    /// File with the credentials of the target [default: those of the source, if both have the same
    /// scheme]
    #[arg(long, value_name = "FILE")]
    pub(crate) to_credentials_file: Option<PathBuf>,
    /// Only the logs with this name
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    pub(crate) log: Option<LogName>,
    /// Only the log with this id
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<LogId>,
    /// Objects that are copied at a time; each one takes up to 64 MiB of memory
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) uploads: u8,
}

const COPY: &str = "\
Examples:
  styx archive copy --from s3://my-bucket/styx --to s3://other-bucket/styx --to-region eu-west-1
  styx archive copy --from s3://my-bucket/styx --to file:///mnt/history --log orders";

/// The flags of `styx archive adopt`.
#[derive(Debug, Args)]
#[command(after_help = ADOPT)]
pub(crate) struct AdoptArguments {
    /// Names of the logs
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub(crate) names: Vec<LogName>,
    /// All logs of the data directory, which is also told from its copies from then on
    #[arg(long)]
    pub(crate) all: bool,
    /// Data directory with the logs; no server may use it
    #[arg(short, long, env = "STYX_DATA_DIRECTORY", value_name = "DIR")]
    pub(crate) data_directory: PathBuf,
    /// Adopt the logs; without this flag, only report
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

const ADOPT: &str = "\
Examples:
  styx archive adopt --all -d /var/lib/styx --url s3://my-bucket/styx          # reports
  styx archive adopt --all -d /var/lib/styx --url s3://my-bucket/styx --yes
  styx archive adopt orders -d /var/lib/styx --url s3://my-bucket/styx --yes   # one log";

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
