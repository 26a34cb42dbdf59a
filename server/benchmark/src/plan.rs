//! The plan: the list of cases for the given workloads, protocols and sizes.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::machine::Limit;
use super::outcome::Protocol;
use super::payload::PayloadKind;
use crate::Arguments;

/// A kind of load. The comments are the help of `styx benchmark --list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Append rate: records per second that become durable
    Produce,
    /// Read rate: records per second from a log in the page cache
    Consume,
    /// Read rate right after a log was written, and after it was dropped from the page cache; needs a server of its own
    CatchUp,
    /// Whether a consumer catches up with a producer at half rate, and the cost for the producer
    Lagging,
    /// HTTP append rate: one record of 100 B per request, on many connections
    Post,
    /// HTTP read rate: one record per request, from blocks of one record
    Get,
    /// HTTP read rate: one record per request, from large blocks, cold and warm
    GetLargeBlocks,
    /// Latency from the time a record is due to its ack, at a constant rate
    Paced,
    /// The same beside four consumers that read another log from the disk; needs a server of its own
    BesideReaders,
    /// Latency from the time a record is due to each of many followers, at a constant rate
    FanOut,
    /// Append rate of 1,000 producers, one append in flight each: to one log, then to one log each
    Logs,
    /// Memory per idle follower, with 10,000 of them; needs a server of its own
    Followers,
    /// Memory of an empty server and per idle log; needs a server of its own
    Memory,
    /// Time to open all logs after a kill -9; needs a server of its own
    Open,
}

/// One measurement of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Produce(Protocol, PayloadKind),
    Consume(Protocol, PayloadKind),
    CatchUp(Protocol, PayloadKind),
    /// With this number of bytes that the consumer is behind at the start.
    Lagging(u64),
    /// With this number of connections.
    Post(usize),
    /// With this number of connections.
    Get(usize),
    /// With this number of connections.
    GetLargeBlocks(usize),
    Paced(Protocol),
    BesideReaders,
    /// With this number of followers.
    FanOut(usize),
    Logs,
    Followers,
    Memory,
    Open,
}

/// The duration of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) rounds: usize,
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    pub(super) rate: u32,
    /// The size of a large log, if one is asked for.
    pub(super) log_bytes: Option<u64>,
    /// Run everything briefly, to check that it works.
    pub(super) quick: bool,
}

/// The payloads of produce and consume.
const KINDS: [PayloadKind; 5] = [
    PayloadKind::Random(10),
    PayloadKind::Random(100),
    PayloadKind::Random(1000),
    PayloadKind::Random(64_000),
    PayloadKind::Json,
];
const KINDS_OF_CATCH_UP: [PayloadKind; 3] =
    [PayloadKind::Random(100), PayloadKind::Random(1000), PayloadKind::Random(64_000)];

impl Case {
    /// Whether the case reads the memory of the server's process, drops its cached files,
    /// or kills it.
    pub(super) fn needs_own_server(self) -> bool {
        matches!(
            self,
            Case::CatchUp(..) | Case::BesideReaders | Case::Followers | Case::Memory | Case::Open
        )
    }

    /// Whether `--tls` measures the case with TLS too.
    pub(super) fn has_tls(self) -> bool {
        matches!(
            self,
            Case::Produce(Protocol::Styx1, _) | Case::Consume(Protocol::Styx1, _) | Case::Post(_)
        )
    }

    /// The limits of the machine that the figures are compared with. BARE is not one of
    /// them: the workload measures it right before each round.
    pub(super) fn limits(self) -> &'static [Limit] {
        match self {
            Case::Produce(..) => &[Limit::Disk],
            Case::Consume(..) => &[Limit::Loop],
            Case::CatchUp(..) => &[Limit::Read, Limit::Loop],
            Case::Lagging(_) => &[Limit::Disk, Limit::Read, Limit::Loop],
            Case::Paced(_) | Case::BesideReaders | Case::FanOut(_) => &[Limit::Sync, Limit::Trip],
            Case::Post(_) | Case::Get(_) | Case::GetLargeBlocks(_) => &[],
            Case::Logs | Case::Followers | Case::Memory | Case::Open => &[],
        }
    }
}

impl Settings {
    pub(super) fn of(arguments: &Arguments) -> Settings {
        let Arguments { quick, rate, .. } = *arguments;
        let by_default = if quick { Duration::from_millis(100) } else { Duration::from_secs(1) };
        let seconds = arguments.seconds.unwrap_or(by_default);
        Settings {
            rounds: arguments.rounds.map_or(if quick { 1 } else { 3 }, usize::from),
            seconds,
            warm_up: (seconds * 3 / 10).min(Duration::from_secs(1)),
            rate,
            log_bytes: arguments.log_size,
            quick,
        }
    }
}

/// All cases that the arguments select, in the order of the report.
pub(super) fn cases(arguments: &Arguments) -> Vec<Case> {
    let or = |asked: &[Workload]| match asked {
        [] => Workload::value_variants().to_vec(),
        asked => asked.to_vec(),
    };
    let asked = or(&arguments.workloads);
    let all = Workload::value_variants().iter().filter(|workload| asked.contains(workload));
    all.flat_map(|workload| of(*workload, arguments)).collect()
}

fn of(workload: Workload, arguments: &Arguments) -> Vec<Case> {
    match workload {
        Workload::Produce => streams(arguments, &KINDS, Case::Produce),
        Workload::Consume => streams(arguments, &KINDS, Case::Consume),
        Workload::CatchUp => streams(arguments, &KINDS_OF_CATCH_UP, Case::CatchUp),
        Workload::Lagging => lagging(arguments),
        Workload::Post => by_connections(arguments, &[64, 256], Case::Post),
        Workload::Get => by_connections(arguments, &[64], Case::Get),
        Workload::GetLargeBlocks => by_connections(arguments, &[64], Case::GetLargeBlocks),
        Workload::Paced => protocols(arguments).map(Case::Paced).collect(),
        Workload::BesideReaders => one(arguments, Case::BesideReaders),
        Workload::FanOut => fan_out(arguments),
        Workload::Logs => one(arguments, Case::Logs),
        Workload::Followers => one(arguments, Case::Followers),
        Workload::Memory => vec![Case::Memory],
        Workload::Open => vec![Case::Open],
    }
}

fn lagging(arguments: &Arguments) -> Vec<Case> {
    if !is_asked(arguments, Protocol::Styx1) {
        return Vec::new();
    }
    let by_default: &[u64] = if arguments.quick { &[1 << 20] } else { &[256 << 20, 4 << 30] };
    let backlogs = if arguments.backlog.is_empty() { by_default } else { &arguments.backlog };
    backlogs.iter().map(|bytes| Case::Lagging(*bytes)).collect()
}

fn fan_out(arguments: &Arguments) -> Vec<Case> {
    if !is_asked(arguments, Protocol::Styx1) {
        return Vec::new();
    }
    let by_default: &[u16] = if arguments.quick { &[1, 10] } else { &[1, 10, 100, 1000] };
    let asked = &arguments.followers;
    let counts = if asked.is_empty() { by_default } else { asked };
    counts.iter().map(|count| Case::FanOut(usize::from(*count))).collect()
}

/// A case that exists over styx/1 only.
fn one(arguments: &Arguments, case: Case) -> Vec<Case> {
    if is_asked(arguments, Protocol::Styx1) { vec![case] } else { Vec::new() }
}

fn protocols(arguments: &Arguments) -> impl Iterator<Item = Protocol> {
    Protocol::ALL.into_iter().filter(|protocol| is_asked(arguments, *protocol))
}

/// One case per number of connections, over HTTP only.
fn by_connections(
    arguments: &Arguments,
    by_default: &[u16],
    case: impl Fn(usize) -> Case,
) -> Vec<Case> {
    if !is_asked(arguments, Protocol::Http) {
        return Vec::new();
    }
    let asked = &arguments.connections;
    let counts = if asked.is_empty() { by_default } else { asked };
    counts.iter().map(|count| case(usize::from(*count))).collect()
}

/// One case per kind of payload and protocol. JSON lines only where a protocol has
/// compression, because they are there to be compressed.
fn streams(
    arguments: &Arguments,
    by_default: &[PayloadKind],
    case: fn(Protocol, PayloadKind) -> Case,
) -> Vec<Case> {
    let kinds = if arguments.size.is_empty() { by_default } else { &arguments.size };
    let mut cases = Vec::new();
    for kind in kinds.iter().copied() {
        let fits = |protocol: Protocol| kind != PayloadKind::Json || protocol == Protocol::Styx1;
        let protocols = protocols(arguments).filter(|protocol| fits(*protocol));
        cases.extend(protocols.map(|protocol| case(protocol, kind)));
    }
    cases
}

fn is_asked(arguments: &Arguments, protocol: Protocol) -> bool {
    arguments.protocol.is_empty() || arguments.protocol.contains(&protocol)
}

/// The workloads and what each measures: what `--list` prints.
pub fn list() -> String {
    let lines = Workload::value_variants().iter().filter_map(|workload| {
        let value = workload.to_possible_value()?;
        Some(format!("{:<18}{}\n", value.get_name(), value.get_help()?))
    });
    lines.collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Produce(protocol, kind) => write!(f, "produce {kind} over {protocol}"),
            Case::Consume(protocol, kind) => write!(f, "consume {kind} over {protocol}"),
            Case::CatchUp(protocol, kind) => write!(f, "catch-up {kind} over {protocol}"),
            Case::Lagging(bytes) => write!(f, "lagging by {} MiB", bytes >> 20),
            Case::Post(connections) => write!(f, "post on {connections} connections"),
            Case::Get(connections) => write!(f, "get on {connections} connections"),
            Case::GetLargeBlocks(connections) => {
                write!(f, "get-large-blocks on {connections} connections")
            }
            Case::Paced(protocol) => write!(f, "paced over {protocol}"),
            Case::BesideReaders => f.write_str("beside-readers"),
            Case::FanOut(followers) => write!(f, "fan-out to {followers} followers"),
            Case::Logs => f.write_str("logs"),
            Case::Followers => f.write_str("followers"),
            Case::Memory => f.write_str("memory"),
            Case::Open => f.write_str("open"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn planned(line: &str) -> Vec<String> {
        let words = ["benchmark"].into_iter().chain(line.split_whitespace());
        let Line { arguments } = Line::try_parse_from(words).expect("a command line");
        cases(&arguments).iter().map(Case::to_string).collect()
    }

    #[test]
    fn only_selected_workloads_are_planned() {
        for (line, expected) in [
            ("produce --protocol styx/1 --size 1kB", &["produce 1 kB over styx/1"][..]),
            (
                "consume --protocol http,styx/0 --size 10,json",
                &["consume 10 B over styx/0", "consume 10 B over http"],
            ),
            (
                "get post get-large-blocks --connections 7",
                &[
                    "post on 7 connections",
                    "get on 7 connections",
                    "get-large-blocks on 7 connections",
                ],
            ),
            ("catch-up --protocol styx/0 --size 1kB", &["catch-up 1 kB over styx/0"]),
            ("lagging --backlog 8MiB,1GiB", &["lagging by 8 MiB", "lagging by 1024 MiB"]),
            ("post logs lagging --protocol websocket", &[]),
            ("fan-out --followers 3", &["fan-out to 3 followers"]),
            ("memory open --protocol http", &["memory", "open"]),
        ] {
            assert_eq!(planned(line), expected, "{line}");
        }
    }

    #[test]
    fn all_workloads_are_planned_by_default() {
        let all = planned("");
        let of = |word: &str| all.iter().filter(|case| case.starts_with(word)).count();
        assert_eq!((of("produce"), of("consume"), of("post"), of("get")), (17, 17, 2, 2));
        assert_eq!((of("catch-up"), of("lagging")), (12, 2));
        assert_eq!((of("paced"), of("fan-out"), of("logs"), of("followers")), (4, 4, 1, 1));
        assert_eq!((of("beside-readers"), of("memory"), of("open")), (1, 1, 1));
        assert_eq!(all.len(), 65);
    }

    #[test]
    fn list_describes_every_workload() {
        assert_eq!(list().lines().count(), Workload::value_variants().len());
        assert!(list().starts_with("produce           Append rate"), "{}", list());
    }
}
