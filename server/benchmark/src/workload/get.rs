//! `get`: many clients read one record per HTTP request, each at a different position.
//! Every response is checked when it arrives.
//!
//! To find a record, the server reads its block. This log has one record per block, as
//! single POSTs write it. The workload `get-large-blocks` uses the same requests.

use std::sync::Arc;

use super::prefilled_log::PrefilledLog;
use super::window::Window;
use super::{Harness, http_baseline};
use crate::Error;
use crate::outcome::{Outcome, Protocol};
use crate::payload::{PayloadKind, Stamp, Templates};
use crate::plan::Settings;
use crate::wire::connection::Endpoint;
use crate::wire::http::expect_ok;
use crate::wire::http_connections::{HttpConnections, RequestScript};
use crate::wire::response::Response;

pub(super) const KIND: PayloadKind = PayloadKind::Random(100);
/// The number of digits of a position in a request.
const DIGITS: usize = 12;

pub(super) fn run(harness: &Harness, connections: usize) -> Result<Outcome, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let filled = PrefilledLog::with_single_records(server, KIND, settings)?;
    let endpoint = Endpoint::to(server)?;
    let (mut rates, mut baselines, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..settings.rounds {
        let round = round(&endpoint, &filled, connections, checked, settings)?;
        rates.push(round.rate);
        baselines.push(round.baseline);
        checked += round.answered;
    }
    let figure = http_baseline::figure("requests", rates, &baselines);
    Ok(Outcome {
        workload: "get",
        protocol: Some(Protocol::Http),
        payload: Some(KIND),
        load: format!("{connections} connections, 1 record a request, blocks of 1 record, warm"),
        figures: figure.into_iter().collect(),
        written: checked,
        checked,
        notes: Vec::new(),
    })
}

/// The result of one round.
pub(super) struct Round {
    /// Requests per second of the server.
    pub(super) rate: f64,
    /// Requests per second of the baseline, right before.
    pub(super) baseline: f64,
    /// The responses of the server. Each is checked.
    pub(super) answered: u64,
}

/// Measures the baseline, then the server. `seed` selects the positions: it is different
/// in each round.
///
/// # Errors
/// A response is not the record that was written.
pub(super) fn round(
    endpoint: &Endpoint,
    filled: &PrefilledLog,
    connections: usize,
    seed: u64,
    settings: Settings,
) -> Result<Round, Error> {
    let script = |endpoint: &Endpoint, log| {
        GetScript::new(endpoint, log, filled, connections, seed, settings)
    };
    let baseline = http_baseline::rate(connections, |endpoint| GetScript {
        is_baseline: true,
        ..script(endpoint, "bare")
    })?;
    let mut connections = HttpConnections::connect(endpoint, connections)?;
    let mut gets = script(endpoint, filled.log.name());
    connections.run(&mut gets)?;
    Ok(Round { rate: gets.window.rate(), baseline, answered: gets.answered })
}

/// Every connection reads one record after the other, at scattered positions.
struct GetScript {
    templates: Arc<Templates>,
    records: u64,
    /// Whether the requests go to the baseline, which answers the same bytes to all.
    is_baseline: bool,
    /// Added to the number of a request, so that rounds have different positions.
    seed: u64,
    /// The position that each connection asked for.
    asked: Vec<u64>,
    request: Vec<u8>,
    /// The offset of the position in `request`.
    digits_at: usize,
    answered: u64,
    expected: Vec<u8>,
    window: Window,
}

impl GetScript {
    fn new(
        endpoint: &Endpoint,
        log: &str,
        filled: &PrefilledLog,
        connections: usize,
        seed: u64,
        settings: Settings,
    ) -> GetScript {
        let before = format!("GET /logs/{log}/records?position=");
        let head = endpoint.head(&format!("{before}{:0DIGITS$}", 0), "");
        GetScript {
            templates: Arc::clone(&filled.templates),
            records: filled.records,
            is_baseline: false,
            seed,
            asked: vec![0; connections],
            digits_at: before.len(),
            request: head.into_bytes(),
            answered: 0,
            expected: Vec::new(),
            window: Window::begin(settings),
        }
    }
}

impl RequestScript for GetScript {
    fn request(&mut self, number: usize) -> Option<&[u8]> {
        let answered = self.answered;
        if self.window.is_over(|| answered) {
            return None;
        }
        // Consecutive positions are far apart, and their order does not repeat.
        let mixed = (self.seed + answered + number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut position = (mixed >> 16) % self.records.max(1);
        *self.asked.get_mut(number)? = position;
        let digits = self.request.get_mut(self.digits_at..self.digits_at + DIGITS)?;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (position % 10) as u8;
            position /= 10;
        }
        Some(&self.request)
    }

    fn response(&mut self, number: usize, response: Response<'_>) -> Result<(), Error> {
        self.answered += 1;
        expect_ok(response.status, response.body)?;
        let index = self.asked.get(number).copied().unwrap_or_default();
        self.expected.clear();
        self.templates.append(Stamp { producer: 0, index }, &mut self.expected);
        if !self.is_baseline && response.body != self.expected {
            let text = format!("the record at position {index} has different bytes than written");
            return Err(Error::Failed(text));
        }
        Ok(())
    }
}

impl http_baseline::RatedScript for GetScript {
    fn rate(&self) -> f64 {
        self.window.rate()
    }
}
