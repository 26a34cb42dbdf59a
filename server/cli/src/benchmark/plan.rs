//! What is measured: from the names, protocols and sizes that were asked for to
//! a list of cases.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::machine::Limit;
use super::outcome::Protocol;
use super::payload::Kind;
use crate::command_line::Benchmark;

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Records appended as fast as they become durable
    Produce,
    /// Records read as fast as they come, from a cache that is warm
    Consume,
    /// One record of 100 B a request over HTTP, on many connections
    Post,
    /// The same, reading: from blocks of one record, then from large ones
    Get,
    /// Time to the ack at a constant rate, from when a record was meant to be sent
    Paced,
    /// Time to each of many followers at a constant rate
    FanOut,
    /// 1,000 producers with one append in flight each: to one log, and to a log each
    Logs,
    /// Memory of each of 10,000 idle followers; on a server of its own
    Followers,
    /// Memory of an empty server and of each idle log; on a server of its own
    Memory,
    /// Time to open after a kill -9; on a server of its own
    Open,
}

/// One line of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Produce(Protocol, Kind),
    Consume(Protocol, Kind),
    /// On so many connections.
    Post(usize),
    Get(Blocks, usize),
    Paced(Protocol),
    /// To so many followers.
    FanOut(usize),
    Logs,
    Followers,
    Memory,
    Open,
}

/// How a log was written that is read at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    OfOneRecord,
    Large,
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) rounds: usize,
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    pub(super) rate: u32,
    /// Everything in little.
    pub(super) quick: bool,
}

impl Case {
    /// Whether it looks into a server's process, or kills it.
    pub(super) fn needs_own_server(self) -> bool {
        matches!(self, Case::Followers | Case::Memory | Case::Open)
    }

    /// The machine's limits that its figures are held against; BARE, which is measured
    /// right before each round, is none of them.
    pub(super) fn limits(self) -> &'static [Limit] {
        match self {
            Case::Produce(..) => &[Limit::Disk],
            Case::Consume(..) => &[Limit::Loop],
            Case::Paced(_) | Case::FanOut(_) => &[Limit::Sync, Limit::Trip],
            Case::Post(_) | Case::Get(..) => &[],
            Case::Logs | Case::Followers | Case::Memory | Case::Open => &[],
        }
    }
}

impl Settings {
    pub(super) fn of(arguments: &Benchmark) -> Settings {
        let Benchmark { quick, rate, .. } = *arguments;
        let by_default = if quick { Duration::from_millis(100) } else { Duration::from_secs(1) };
        let seconds = arguments.seconds.unwrap_or(by_default);
        Settings {
            rounds: arguments.rounds.map_or(if quick { 1 } else { 3 }, usize::from),
            seconds,
            warm_up: (seconds * 3 / 10).min(Duration::from_secs(1)),
            rate,
            quick,
        }
    }
}

/// Every case that the arguments ask for, in the order of the report.
pub(super) fn cases(arguments: &Benchmark) -> Vec<Case> {
    let or = |asked: &[Workload]| match asked {
        [] => Workload::value_variants().to_vec(),
        asked => asked.to_vec(),
    };
    let asked = or(&arguments.workloads);
    let all = Workload::value_variants().iter().filter(|workload| asked.contains(workload));
    all.flat_map(|workload| of(*workload, arguments)).collect()
}

fn of(workload: Workload, arguments: &Benchmark) -> Vec<Case> {
    match workload {
        Workload::Produce => streams(arguments, Case::Produce),
        Workload::Consume => streams(arguments, Case::Consume),
        Workload::Post => crowds(arguments, &[64, 256], Case::Post),
        Workload::Get => {
            let single = crowds(arguments, &[64], |count| Case::Get(Blocks::OfOneRecord, count));
            let large = crowds(arguments, &[64], |count| Case::Get(Blocks::Large, count));
            single.into_iter().chain(large).collect()
        }
        Workload::Paced => protocols(arguments).map(Case::Paced).collect(),
        Workload::FanOut => fan_out(arguments),
        Workload::Logs => one(arguments, Case::Logs),
        Workload::Followers => one(arguments, Case::Followers),
        Workload::Memory => vec![Case::Memory],
        Workload::Open => vec![Case::Open],
    }
}

fn fan_out(arguments: &Benchmark) -> Vec<Case> {
    if !is_asked(arguments, Protocol::Styx1) {
        return Vec::new();
    }
    let by_default: &[u16] = if arguments.quick { &[1, 10] } else { &[1, 10, 100, 1000] };
    let asked = &arguments.followers;
    let counts = if asked.is_empty() { by_default } else { asked };
    counts.iter().map(|count| Case::FanOut(usize::from(*count))).collect()
}

/// A case over styx/1, where that is asked for.
fn one(arguments: &Benchmark, case: Case) -> Vec<Case> {
    if is_asked(arguments, Protocol::Styx1) { vec![case] } else { Vec::new() }
}

fn protocols(arguments: &Benchmark) -> impl Iterator<Item = Protocol> {
    Protocol::ALL.into_iter().filter(|protocol| is_asked(arguments, *protocol))
}

/// A case for each number of connections, where HTTP is asked for.
fn crowds(arguments: &Benchmark, by_default: &[u16], case: fn(usize) -> Case) -> Vec<Case> {
    if !is_asked(arguments, Protocol::Http) {
        return Vec::new();
    }
    let asked = &arguments.connections;
    let counts = if asked.is_empty() { by_default } else { asked };
    counts.iter().map(|count| case(usize::from(*count))).collect()
}

/// The protocols for each kind of payload; JSON lines, which are to be
/// compressed, where there is compression.
fn streams(arguments: &Benchmark, case: fn(Protocol, Kind) -> Case) -> Vec<Case> {
    let by_default = [10, 100, 1000, 64_000].map(Kind::Random).into_iter().chain([Kind::Json]);
    let kinds =
        if arguments.size.is_empty() { by_default.collect() } else { arguments.size.clone() };
    let mut cases = Vec::new();
    for kind in kinds {
        let fits = |protocol: Protocol| kind != Kind::Json || protocol == Protocol::Styx1;
        let protocols = protocols(arguments).filter(|protocol| fits(*protocol));
        cases.extend(protocols.map(|protocol| case(protocol, kind)));
    }
    cases
}

fn is_asked(arguments: &Benchmark, protocol: Protocol) -> bool {
    arguments.protocol.is_empty() || arguments.protocol.contains(&protocol)
}

/// What `--list` prints.
pub(super) fn list() -> String {
    let lines = Workload::value_variants().iter().filter_map(|workload| {
        let value = workload.to_possible_value()?;
        Some(format!("{:<12}{}\n", value.get_name(), value.get_help()?))
    });
    lines.collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Produce(protocol, kind) => write!(f, "produce {kind} over {protocol}"),
            Case::Consume(protocol, kind) => write!(f, "consume {kind} over {protocol}"),
            Case::Post(connections) => write!(f, "post on {connections} connections"),
            Case::Get(Blocks::OfOneRecord, connections) => {
                write!(f, "get on {connections} connections")
            }
            Case::Get(Blocks::Large, connections) => {
                write!(f, "get from large blocks on {connections} connections")
            }
            Case::Paced(protocol) => write!(f, "paced over {protocol}"),
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
    use crate::command_line::{Command, CommandLine};

    fn planned(line: &str) -> Vec<String> {
        let words = ["styx", "benchmark"].into_iter().chain(line.split_whitespace());
        let parsed = CommandLine::try_parse_from(words).expect("a command line");
        let Command::Benchmark(arguments) = parsed.command else { panic!("another command") };
        cases(&arguments).iter().map(Case::to_string).collect()
    }

    #[test]
    fn what_is_asked_for_is_planned_and_nothing_else() {
        for (line, expected) in [
            ("produce --protocol styx/1 --size 1kB", &["produce 1 kB over styx/1"][..]),
            (
                "consume --protocol http,styx/0 --size 10,json",
                &["consume 10 B over styx/0", "consume 10 B over http"],
            ),
            (
                "get post --connections 7",
                &[
                    "post on 7 connections",
                    "get on 7 connections",
                    "get from large blocks on 7 connections",
                ],
            ),
            ("post logs --protocol websocket", &[]),
            ("fan-out --followers 3", &["fan-out to 3 followers"]),
            ("memory open --protocol http", &["memory", "open"]),
        ] {
            assert_eq!(planned(line), expected, "{line}");
        }
    }

    #[test]
    fn everything_is_planned_when_nothing_is_named() {
        let all = planned("");
        let of = |word: &str| all.iter().filter(|case| case.starts_with(word)).count();
        assert_eq!((of("produce"), of("consume"), of("post"), of("get")), (17, 17, 2, 2));
        assert_eq!((of("paced"), of("fan-out"), of("logs"), of("followers")), (4, 4, 1, 1));
        assert_eq!((of("memory"), of("open"), all.len()), (1, 1, 50));
    }

    #[test]
    fn every_workload_is_listed_with_what_it_does() {
        assert_eq!(list().lines().count(), Workload::value_variants().len());
        assert!(list().starts_with("produce     Records appended"), "{}", list());
    }
}
