//! The flags of `styx logs …`.

use clap::{Args, Subcommand};
use regex::bytes::Regex;
use styx_client::Codec;
use styx_protocol::{LineEnding, LogConfig};

use super::Moment;

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// List all logs
    List {
        /// Print the list again every second
        #[arg(short, long)]
        watch: bool,
    },
    /// Create a log
    Create(CreateArguments),
    /// Serve a log that was put into the data directory while the server ran
    Adopt {
        /// The log
        name: String,
    },
    /// Show one log
    Get {
        /// The log
        name: String,
    },
    /// Delete a log with all its records
    Delete {
        /// The log
        name: String,
    },
    /// Remove all records of a log; positions start at 0 again
    Truncate {
        /// The log
        name: String,
    },
    /// Remove whole old segments of a log; positions do not change
    Trim {
        /// The log
        name: String,
        /// The first position to keep
        #[arg(short = 'P', long)]
        position: u64,
    },
    /// Write a log as a tar.gz archive to standard output
    Backup {
        /// The log
        name: String,
    },
    /// Create a log from an archive on standard input
    Restore {
        /// The new log
        name: String,
    },
    /// Append records from standard input, one per line
    Write(WriteArguments),
    /// Print records to standard output, one per line; with --format json, one object per line
    Read(ReadArguments),
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct CreateArguments {
    /// Name of the new log: letters, digits, _ and -
    pub(crate) name: String,
    /// Size of the largest record in bytes (payload plus 8) [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    max_record_size: Option<i64>,
    /// Bytes between two entries of a segment's index [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    index_after_size: Option<i64>,
    /// Start a new segment after this many records; -1 is no limit [default: -1]
    #[arg(long, value_name = "RECORDS")]
    segment_max_count: Option<i64>,
    /// Start a new segment after this many bytes [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    segment_max_size: Option<i64>,
    /// Start a new segment after this many seconds; -1 is no limit [default: -1]
    #[arg(long, value_name = "SECONDS")]
    segment_max_age: Option<i64>,
    /// Keep this many records; -1 is no limit [default: -1]
    #[arg(long, value_name = "RECORDS")]
    log_max_count: Option<i64>,
    /// Keep this many bytes; -1 is no limit [default: -1]
    #[arg(long, value_name = "BYTES")]
    log_max_size: Option<i64>,
    /// Keep records for this many seconds; -1 is no limit [default: -1]
    #[arg(long, value_name = "SECONDS")]
    log_max_age: Option<i64>,
}

impl CreateArguments {
    /// The default configuration, with the given flags applied.
    pub(crate) fn config(&self) -> LogConfig {
        let values = [
            self.max_record_size,
            self.index_after_size,
            self.segment_max_count,
            self.segment_max_size,
            self.segment_max_age,
            self.log_max_count,
            self.log_max_size,
            self.log_max_age,
        ];
        let mut config = LogConfig::default();
        for (name, value) in LogConfig::FIELDS.into_iter().zip(values) {
            if let (Some(field), Some(value)) = (config.field_mut(name), value) {
                *field = value;
            }
        }
        config
    }
}

#[derive(Debug, Args)]
pub(crate) struct WriteArguments {
    /// The log
    pub(crate) name: String,
    /// Send each record separately, and wait until it is durable before the next one
    #[arg(short, long)]
    pub(crate) unbuffered: bool,
    /// Read standard input as binary-records: a size (int32, big-endian), then that many bytes
    #[arg(short, long, conflicts_with = "line_ending")]
    pub(crate) binary: bool,
    /// Line ending of the input: lf, cr or crlf
    #[arg(short, long, default_value_t, value_name = "ENDING")]
    pub(crate) line_ending: LineEnding,
    /// Compression of records on the network and in the log: none, lz4 or zstd
    #[arg(short, long, default_value = "none", value_name = "CODEC", value_parser = codec)]
    pub(crate) compression: Codec,
    /// A number that you choose for this input, at least 1; if you run the same command again, it
    /// appends only the part of the input that the log does not have yet
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) producer_id: Option<u64>,
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

fn codec(text: &str) -> Result<Codec, String> {
    text.parse().map_err(|_| "use none, lz4 or zstd".to_owned())
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct ReadArguments {
    /// The log
    pub(crate) name: String,
    /// First record, relative to --whence; with `-w time`: RFC 3339, or µs since the epoch
    #[arg(short = 'P', long, default_value = "0", value_name = "POSITION")]
    pub(crate) position: String,
    /// What --position is relative to: origin, start, end or time
    #[arg(short, long, default_value = "origin")]
    pub(crate) whence: String,
    /// Start at this cursor of the log, and move it after the records were written; without such a
    /// cursor, start at --position (by default the first record that the log has)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// Start at the first record from this time on: a time span before now, such as 90s, 10m, 2h or
    /// 7d, or an RFC 3339 time
    #[arg(long, value_name = "TIME", conflicts_with_all = ["position", "whence"])]
    pub(crate) since: Option<Moment>,
    /// Stop before the first record from this time on, given as for --since; with --follow, also when
    /// the time is reached
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Print only records that match this regular expression; --count then counts these
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    pub(crate) grep: Option<Regex>,
    /// Read at most this many records; -1 is no limit
    #[arg(short = 'n', long, default_value = "-1", value_name = "RECORDS")]
    pub(crate) count: String,
    /// Wait for new records at the end of the log
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,
    /// Write each record immediately
    #[arg(short, long)]
    pub(crate) unbuffered: bool,
    /// Print binary-records: a size (int32, big-endian), then that many bytes
    #[arg(short, long, conflicts_with = "line_ending")]
    pub(crate) binary: bool,
    /// Line ending of the output: lf, cr or crlf
    #[arg(short, long, default_value_t, value_name = "ENDING")]
    pub(crate) line_ending: LineEnding,
}
