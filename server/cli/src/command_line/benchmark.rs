//! The flags of `styx benchmark`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::benchmark::{Kind, Protocol, Workload};

const EXAMPLES: &str = "\
Examples:
  styx benchmark                                    everything, on a server of its own, in ./
  styx benchmark --list                             what there is to measure
  styx benchmark produce consume --protocol styx/1 --size 100,1kB --rounds 5 --seconds 3
  styx benchmark paced --rate 200 -H styx://db:7123
  styx benchmark --directory /var/lib/styx -f json > figures.json";

/// Figures count only durable records, and everything that was written is read back and checked.
/// Without --host a server is started for the run and removed with its data afterwards; with it,
/// logs are created there and deleted. DISK and SYNC are measured in --directory: against another
/// machine's server they are not that server's.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Benchmark {
    /// What to measure [default: everything]; see --list
    #[arg(value_name = "WORKLOAD", value_enum, hide_possible_values = true)]
    pub(crate) workloads: Vec<Workload>,
    /// Say what there is to measure, and exit
    #[arg(long)]
    pub(crate) list: bool,
    /// Over which protocols: styx/1, styx/0, websocket, http [default: all]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAME,…",
        hide_possible_values = true
    )]
    pub(crate) protocol: Vec<Protocol>,
    /// Payloads to produce and consume: bytes, as in 100 or 1kB, or json [default: 10,100,1kB,64kB,json]
    #[arg(long, value_parser = kind, value_delimiter = ',', value_name = "SIZE,…")]
    pub(crate) size: Vec<Kind>,
    /// Connections of post and get [default: 64,256; get: 64]
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: Vec<u16>,
    /// Followers of fan-out [default: 1,10,100,1000]
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) followers: Vec<u16>,
    /// Records a second of paced and fan-out
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// How often each is measured; the median counts [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: Option<u16>,
    /// How long each round measures [default: 1]
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Where the server's data is; a directory is made in it and removed afterwards
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Everything in little: says whether it works, not how fast it is
    #[arg(long)]
    pub(crate) quick: bool,
}

fn kind(text: &str) -> Result<Kind, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "json" {
        return Ok(Kind::Json);
    }
    let (digits, unit) = match lower.strip_suffix("kb").or_else(|| lower.strip_suffix('k')) {
        Some(digits) => (digits, 1000),
        None => (lower.as_str(), 1),
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes @ 10..=1_000_000) => Ok(Kind::Random(bytes)),
        _ => Err("use a number of bytes from 10 to 1000000, as in 100 or 64kB, or json".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use 0.01 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_sizes_or_json() {
        for (text, expected) in [
            ("10", Kind::Random(10)),
            ("1kB", Kind::Random(1000)),
            ("64K", Kind::Random(64_000)),
            ("JSON", Kind::Json),
        ] {
            assert_eq!(kind(text), Ok(expected));
        }
        for text in ["", "9", "-1", "2MB", "1000001", "kB", "99999999999999999999k"] {
            assert!(kind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rounds_take_a_time_that_somebody_waits_for() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "3601", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
