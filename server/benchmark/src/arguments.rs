//! [`Arguments`]: the flags of `styx benchmark`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::{PayloadKind, Protocol, Workload};

/// The sizes of a log that can be asked for.
const LOG_BYTES_MIN: u64 = 64 << 10;
const LOG_BYTES_MAX: u64 = 1 << 40;

const EXPLANATION: &str = "\
Only durable records count. Every record that was written is read back and checked.
Without --host, the benchmark starts a server, and removes it and its data at the end.
With --host, it creates logs on that server and deletes them at the end.
DISK, READ and SYNC are measured in --directory on this machine. If the server runs on another
machine, they are not the limits of that machine.

Examples:
  styx benchmark                                    all workloads, on a new server with data in ./
  styx benchmark --list                             list the workloads
  styx benchmark produce consume --protocol styx/1 --size 100,1kB --rounds 5 --seconds 3
  styx benchmark paced --rate 200 -H styx://db:7123
  styx benchmark --directory /var/lib/styx -f json > figures.json";

/// What to measure, for how long, and where.
#[derive(Debug, Args)]
#[command(after_help = EXPLANATION)]
pub struct Arguments {
    /// Workloads to measure [default: all]; see --list
    #[arg(value_name = "WORKLOAD", value_enum, hide_possible_values = true)]
    pub(crate) workloads: Vec<Workload>,
    /// List the workloads and exit
    #[arg(long)]
    pub list: bool,
    /// Protocols to measure: styx/1, styx/0, websocket, http [default: all]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAME,…",
        hide_possible_values = true
    )]
    pub(crate) protocol: Vec<Protocol>,
    /// Payload sizes for produce, consume and catch-up, for example 100 or 1kB, or json [default: 10,100,1kB,64kB,json; catch-up: 100,1kB,64kB]
    #[arg(long, value_parser = kind, value_delimiter = ',', value_name = "SIZE,…")]
    pub(crate) size: Vec<PayloadKind>,
    /// Connections for post, get and get-large-blocks [default: 64,256; the others: 64]
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: Vec<u16>,
    /// Followers for fan-out [default: 1,10,100,1000]
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) followers: Vec<u16>,
    /// Size of the log for catch-up, beside-readers and get-large-blocks [default: 2GiB, 2GiB and 4GiB, or a quarter of the free space]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) log_size: Option<u64>,
    /// Bytes that the consumer of lagging is behind at its start [default: 256MiB,4GiB]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,…", value_parser = bytes)]
    pub(crate) backlog: Vec<u64>,
    /// Records per second for paced, beside-readers and fan-out
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Rounds per workload; the report shows their median [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: Option<u16>,
    /// Measured time per round, in seconds [default: 1]
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Measure produce and consume over styx/1, and post, again over TLS, beside plain TCP
    #[arg(long)]
    pub(crate) tls: bool,
    /// Directory on the file system to measure; data is kept in a new subdirectory and removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Run everything briefly, to check that it works; the figures do not count
    #[arg(long)]
    pub(crate) quick: bool,
}

fn kind(text: &str) -> Result<PayloadKind, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "json" {
        return Ok(PayloadKind::Json);
    }
    let (digits, unit) = match lower.strip_suffix("kb").or_else(|| lower.strip_suffix('k')) {
        Some(digits) => (digits, 1000),
        None => (lower.as_str(), 1),
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes @ 10..=1_000_000) => Ok(PayloadKind::Random(bytes)),
        _ => Err("use 10 to 1000000 bytes, for example 100 or 64kB, or json".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let found = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = found.unwrap_or((text, 1));
    let bytes = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| (LOG_BYTES_MIN..=LOG_BYTES_MAX).contains(bytes))
        .ok_or_else(|| "use 64KiB to 1024GiB, for example 512MiB or 2GB".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use 0.01 to 3600 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_accepts_bytes_kilobytes_and_json() {
        for (text, expected) in [
            ("10", PayloadKind::Random(10)),
            ("1kB", PayloadKind::Random(1000)),
            ("64K", PayloadKind::Random(64_000)),
            ("JSON", PayloadKind::Json),
        ] {
            assert_eq!(kind(text), Ok(expected));
        }
        for text in ["", "9", "-1", "2MB", "1000001", "kB", "99999999999999999999k"] {
            assert!(kind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_size_accepts_binary_and_decimal_units() {
        for (text, expected) in
            [("65536", 65_536), ("64KiB", 65_536), ("2GB", 2_000_000_000), ("4 GiB", 4 << 30)]
        {
            assert_eq!(bytes(text), Ok(expected));
        }
        for text in ["", "GiB", "-1", "1kB", "2TiB", "1.5GiB", "99999999999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_between_a_hundredth_and_an_hour() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "3601", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
