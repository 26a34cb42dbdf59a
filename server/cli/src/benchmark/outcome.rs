//! [`Outcome`]: what one workload gave, and the limits that its figures are
//! held against.

use std::fmt;

use clap::ValueEnum;

use super::machine::Limits;
use super::payload::Kind;
use super::statistics::Rounds;

/// How records travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Protocol {
    /// Through the client core.
    #[value(name = "styx/1")]
    Styx1,
    #[value(name = "styx/0")]
    Styx0,
    #[value(name = "websocket")]
    WebSocket,
    #[value(name = "http")]
    Http,
}

/// What one workload gave.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) workload: &'static str,
    pub(super) protocol: Option<Protocol>,
    pub(super) payload: Option<Kind>,
    /// Who does what, in a few words.
    pub(super) load: String,
    pub(super) figures: Vec<Figure>,
    /// Records that were acked, and records that were read back and were right,
    /// each as often as it was read for that.
    pub(super) written: u64,
    pub(super) checked: u64,
    pub(super) notes: Vec<String>,
}

/// One measured quantity over all rounds.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) rounds: Rounds,
    /// Bytes of one record as they count for `bound`, of rates of records.
    pub(super) record_bytes: Option<f64>,
    pub(super) bound: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Records a second.
    Records,
    /// Requests a second.
    Requests,
    Seconds,
    /// Seconds for each GiB.
    SecondsPerGib,
    Bytes,
    /// Of two rates.
    Ratio,
}

/// What no figure can be better than.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The disk takes the bytes no faster.
    Disk,
    /// The network inside the machine carries them no faster.
    Loop,
    /// A bare service answers so many requests a second under the same load.
    Bare(f64),
    /// An ack needs a sync and a round trip; figures are multiples of both.
    SyncAndTrip,
}

impl Bound {
    pub(super) fn name(self) -> &'static str {
        match self {
            Bound::Disk => "DISK",
            Bound::Loop => "LOOP",
            Bound::Bare(_) => "BARE",
            Bound::SyncAndTrip => "SYNC+TRIP",
        }
    }
}

impl Outcome {
    /// Of a workload that did nothing.
    #[cfg(test)]
    pub(super) fn nothing(workload: &'static str) -> Outcome {
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
    /// The median beside its bound: a share of a rate, a multiple of a time.
    pub(super) fn share(&self, limits: &Limits) -> Option<f64> {
        let value = self.rounds.median() * self.record_bytes.unwrap_or(1.0);
        let limit = match self.bound? {
            Bound::Disk => limits.disk,
            Bound::Loop => limits.loopback,
            Bound::Bare(rate) => rate,
            Bound::SyncAndTrip => (limits.sync + limits.round_trip).as_secs_f64(),
        };
        Some(value / limit.max(f64::MIN_POSITIVE))
    }

    /// Bytes a second, of a rate of records.
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
    fn a_share_is_of_its_own_limit() {
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: false,
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
        assert_eq!(share(figure(6e4, Unit::Requests, None, Some(Bound::Bare(1e5)))), Some(60.0));
        assert_eq!(share(figure(3e-4, Unit::Seconds, None, Some(Bound::SyncAndTrip))), Some(150.0));
        assert_eq!(share(figure(1.0, Unit::Bytes, None, None)), None);
    }
}
