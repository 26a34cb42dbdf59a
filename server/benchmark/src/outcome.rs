//! [`Outcome`]: the figures of one workload, and the limits they are compared with.

use std::fmt;

use clap::ValueEnum;

use super::machine::Limits;
use super::payload::PayloadKind;
use super::statistics::Rounds;

/// The protocol that carries the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Protocol {
    /// styx/1, with the client core
    #[value(name = "styx/1")]
    Styx1,
    /// styx/0, with a client of the benchmark
    #[value(name = "styx/0")]
    Styx0,
    /// WebSocket, with a client of the benchmark
    #[value(name = "websocket")]
    WebSocket,
    /// HTTP/1.1, with a client of the benchmark
    #[value(name = "http")]
    Http,
}

/// The result of one workload.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) workload: &'static str,
    pub(super) protocol: Option<Protocol>,
    pub(super) payload: Option<PayloadKind>,
    /// A short description of the clients.
    pub(super) load: String,
    pub(super) figures: Vec<Figure>,
    /// Records that must be read back correctly: acked records, once per expected reader.
    pub(super) written: u64,
    /// Records that were read back and found correct, once per reader.
    pub(super) checked: u64,
    pub(super) notes: Vec<String>,
}

/// One measured quantity over all rounds.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) rounds: Rounds,
    /// For a rate of records: the bytes of one record that count towards `bound`.
    pub(super) record_bytes: Option<f64>,
    pub(super) bound: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Records per second.
    Records,
    /// Requests per second.
    Requests,
    Seconds,
    SecondsPerGib,
    Bytes,
    /// The quotient of two rates.
    Ratio,
}

/// The limit that a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The sequential write rate of the disk.
    Disk,
    /// The rate of a TCP stream over loopback.
    Loop,
    /// The smaller one of the sequential read rate of the disk and [`Loop`](Self::Loop).
    ReadOrLoop,
    /// Requests per second that a minimal HTTP service answers under the same load.
    HttpBaseline(f64),
    /// The same figure of the same case without TLS.
    Plain(f64),
    /// One sync plus one round trip, which an ack needs. Figures are multiples of it.
    SyncAndTrip,
}

impl Bound {
    pub(super) fn name(self) -> &'static str {
        match self {
            Bound::Disk => "DISK",
            Bound::Loop => "LOOP",
            Bound::ReadOrLoop => "min(READ, LOOP)",
            Bound::HttpBaseline(_) => "BARE",
            Bound::Plain(_) => "plain",
            Bound::SyncAndTrip => "SYNC+TRIP",
        }
    }
}

impl Outcome {
    /// The outcome of the same case with TLS, compared with this one without.
    pub(super) fn compared_with_tls(&self, mut encrypted: Outcome) -> Outcome {
        for figure in &mut encrypted.figures {
            let plain = self.figures.iter().find(|plain| plain.name == figure.name);
            figure.bound = plain.map(|plain| Bound::Plain(plain.rounds.median()));
        }
        encrypted.load.push_str(", TLS");
        encrypted
    }

    /// An outcome without figures, for tests.
    #[cfg(test)]
    pub(super) fn empty(workload: &'static str) -> Outcome {
        Outcome {
            workload,
            protocol: None,
            payload: None,
            load: String::new(),
            figures: Vec::new(),
            written: 0,
            checked: 0,
            notes: Vec::new(),
        }
    }
}

impl Figure {
    /// The median divided by its bound: a share of a rate, or a multiple of a time.
    pub(super) fn share(&self, limits: &Limits) -> Option<f64> {
        let value = self.rounds.median() * self.record_bytes.unwrap_or(1.0);
        let limit = match self.bound? {
            Bound::Disk => limits.disk,
            Bound::Loop => limits.loopback,
            Bound::ReadOrLoop => limits.read.min(limits.loopback),
            Bound::HttpBaseline(rate) => rate,
            Bound::Plain(rate) => rate * self.record_bytes.unwrap_or(1.0),
            Bound::SyncAndTrip => (limits.sync + limits.round_trip).as_secs_f64(),
        };
        Some(value / limit.max(f64::MIN_POSITIVE))
    }

    /// Bytes per second, for a rate of records.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        Some(self.rounds.median() * self.record_bytes?)
    }
}

impl Protocol {
    pub(super) const ALL: [Protocol; 4] =
        [Protocol::Styx1, Protocol::Styx0, Protocol::WebSocket, Protocol::Http];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Styx1 => "styx/1",
            Protocol::Styx0 => "styx/0",
            Protocol::WebSocket => "websocket",
            Protocol::Http => "http",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn share_is_computed_from_the_figures_own_bound() {
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: false,
            read: 2e9,
            read_way: "",
            sync: Duration::from_micros(150),
            loopback: 4e9,
            round_trip: Duration::from_micros(50),
        };
        let figure = |value, unit, record_bytes, bound| Figure {
            name: "rate",
            unit,
            rounds: Rounds::of(vec![value]).expect("one"),
            record_bytes,
            bound,
        };
        let share = |figure: Figure| figure.share(&limits).map(|share| (share * 100.0).round());
        assert_eq!(share(figure(5e6, Unit::Records, Some(100.0), Some(Bound::Disk))), Some(50.0));
        assert_eq!(share(figure(5e6, Unit::Records, Some(200.0), Some(Bound::Loop))), Some(25.0));
        let both = Some(Bound::ReadOrLoop);
        assert_eq!(share(figure(5e6, Unit::Records, Some(200.0), both)), Some(50.0), "of READ");
        assert_eq!(
            share(figure(6e4, Unit::Requests, None, Some(Bound::HttpBaseline(1e5)))),
            Some(60.0)
        );
        assert_eq!(share(figure(3e-4, Unit::Seconds, None, Some(Bound::SyncAndTrip))), Some(150.0));
        let plain = Some(Bound::Plain(1e7));
        assert_eq!(share(figure(5e6, Unit::Records, Some(100.0), plain)), Some(50.0));
        assert_eq!(share(figure(1.0, Unit::Bytes, None, None)), None);
    }
}
