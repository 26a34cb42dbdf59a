//! The flags of `styx logs …`.

use clap::{Args, Subcommand};
use styx_client::Codec;
use styx_protocol::{LineEnding, LogConfig};

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// List all logs
    List {
        /// Show the list again every second
        #[arg(short, long)]
        watch: bool,
    },
    /// Create a log
    Create(Create),
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
    /// Remove all records of a log; positions start again at 0
    Truncate {
        /// The log
        name: String,
    },
    /// Remove whole old segments of a log; positions stay
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
    /// Make a log of an archive read from standard input
    Restore {
        /// The new log
        name: String,
    },
    /// Append records read from standard input, one a line
    Write(Write),
    /// Print records to standard output, one a line
    Read(Read),
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Create {
    /// The new log: letters, digits, _ and -
    pub(crate) name: String,
    /// Largest record, bytes (payload plus 8) [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    max_record_size: Option<i64>,
    /// Bytes between two entries of a segment's index [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    index_after_size: Option<i64>,
    /// Records after which a new segment begins; -1 is no limit [default: -1]
    #[arg(long, value_name = "RECORDS")]
    segment_max_count: Option<i64>,
    /// Bytes after which a new segment begins [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    segment_max_size: Option<i64>,
    /// Seconds after which a new segment begins [default: -1]
    #[arg(long, value_name = "SECONDS")]
    segment_max_age: Option<i64>,
    /// Records to keep [default: -1]
    #[arg(long, value_name = "RECORDS")]
    log_max_count: Option<i64>,
    /// Bytes to keep [default: -1]
    #[arg(long, value_name = "BYTES")]
    log_max_size: Option<i64>,
    /// Seconds to keep a record [default: -1]
    #[arg(long, value_name = "SECONDS")]
    log_max_age: Option<i64>,
}

impl Create {
    /// The defaults, and over them what was given.
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
pub(crate) struct Write {
    /// The log
    pub(crate) name: String,
    /// Send each record by itself, and the next one when it is durable
    #[arg(short, long)]
    pub(crate) unbuffered: bool,
    /// Standard input is binary-records: size (int32, big-endian), then so many bytes
    #[arg(short, long, conflicts_with = "line_ending")]
    pub(crate) binary: bool,
    /// What ends a line: lf, cr or crlf
    #[arg(short, long, default_value_t, value_name = "ENDING")]
    pub(crate) line_ending: LineEnding,
    /// How records are compressed on their way and in the log: none, lz4 or zstd
    #[arg(short, long, default_value = "none", value_name = "CODEC", value_parser = codec)]
    pub(crate) compression: Codec,
    /// A number of your own for this input, from 1 on: the same command again then goes on where
    /// the log has the input up to, instead of appending it once more
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) producer_id: Option<u64>,
}

fn codec(text: &str) -> Result<Codec, String> {
    text.parse().map_err(|_| "use none, lz4 or zstd".to_owned())
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Read {
    /// The log
    pub(crate) name: String,
    /// First record, relative to whence; with `-w time` RFC 3339 or µs since the epoch
    #[arg(short = 'P', long, default_value = "0", value_name = "POSITION")]
    pub(crate) position: String,
    /// What the position is relative to: origin, start, end or time
    #[arg(short, long, default_value = "origin")]
    pub(crate) whence: String,
    /// Read at most so many records; -1 is no limit
    #[arg(short = 'n', long, default_value = "-1", value_name = "RECORDS")]
    pub(crate) count: String,
    /// Wait for new records at the end
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,
    /// Write each record at once
    #[arg(short, long)]
    pub(crate) unbuffered: bool,
    /// Print binary-records: size (int32, big-endian), then so many bytes
    #[arg(short, long, conflicts_with = "line_ending")]
    pub(crate) binary: bool,
    /// What to end a line with: lf, cr or crlf
    #[arg(short, long, default_value_t, value_name = "ENDING")]
    pub(crate) line_ending: LineEnding,
}
