//! `get`: many clients read one record at a time over HTTP, each at another
//! position. Every answer is checked as it comes.
//!
//! A record is found by reading its block. The figure that counts is that of a log
//! whose blocks are single records, as POSTs make it; beside it stands what copying
//! a large block for each record makes of that.

use std::sync::Arc;

use super::stock::Stock;
use super::window::Window;
use super::{Bench, bare};
use crate::benchmark::outcome::{Outcome, Protocol};
use crate::benchmark::payload::{Kind, Stamp, Templates};
use crate::benchmark::plan::{Blocks, Settings};
use crate::benchmark::wire::answer::Answer;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::crowd::{Crowd, Script};
use crate::benchmark::wire::http::accepted;
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);
/// Digits of a position in a request.
const DIGITS: usize = 12;

pub(super) fn run(
    bench: &mut Bench,
    blocks: Blocks,
    connections: usize,
) -> Result<Outcome, Failure> {
    let (server, settings) = (&bench.server, bench.settings);
    let single_records;
    let (workload, of_blocks, stock) = match blocks {
        Blocks::OfOneRecord => {
            single_records = Stock::of_single_records(server, KIND, settings)?;
            ("get", "1 record", &single_records)
        }
        Blocks::Large => {
            let stock = Stock::of(&mut bench.stock, server, KIND, settings)?;
            ("get-large-blocks", "128 KiB or more", stock)
        }
    };
    let (templates, route) = (&stock.templates, Route::to(server)?);
    let (mut rates, mut bares, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..settings.rounds {
        bares.push(bare::rate(connections, |route| Gets {
            is_bare: true,
            ..Gets::new(route, "bare", templates, stock.records, connections, settings)
        })?);
        let mut gets =
            Gets::new(&route, stock.log.name(), templates, stock.records, connections, settings);
        Crowd::connect(&route, connections)?.run(&mut gets)?;
        rates.push(gets.window.rate());
        checked += gets.answered;
    }
    Ok(Outcome {
        workload,
        protocol: Some(Protocol::Http),
        payload: Some(KIND),
        load: format!("{connections} connections, 1 record a request, blocks of {of_blocks}, warm"),
        figures: bare::figures(rates, bares),
        written: checked,
        checked,
        notes: Vec::new(),
    })
}

/// Everybody reads one record after the other, all over the log.
struct Gets {
    templates: Arc<Templates>,
    records: u64,
    is_bare: bool,
    /// Where each member's answer comes from.
    asked: Vec<u64>,
    request: Vec<u8>,
    /// Where the position stands in it.
    digits_at: usize,
    answered: u64,
    expected: Vec<u8>,
    window: Window,
}

impl Gets {
    fn new(
        route: &Route,
        log: &str,
        templates: &Arc<Templates>,
        records: u64,
        connections: usize,
        settings: Settings,
    ) -> Gets {
        let before = format!("GET /logs/{log}/records?position=");
        let head = route.head(&format!("{before}{:0DIGITS$}", 0), "");
        Gets {
            templates: Arc::clone(templates),
            records,
            is_bare: false,
            asked: vec![0; connections],
            digits_at: before.len(),
            request: head.into_bytes(),
            answered: 0,
            expected: Vec::new(),
            window: Window::begin(settings),
        }
    }
}

impl Script for Gets {
    fn request(&mut self, member: usize) -> Option<&[u8]> {
        let answered = self.answered;
        if self.window.is_over(|| answered) {
            return None;
        }
        // Far from the one before, and never the same ones in the same order.
        let mixed = (answered + member as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut position = (mixed >> 16) % self.records.max(1);
        *self.asked.get_mut(member)? = position;
        let digits = self.request.get_mut(self.digits_at..self.digits_at + DIGITS)?;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (position % 10) as u8;
            position /= 10;
        }
        Some(&self.request)
    }

    fn answer(&mut self, member: usize, answer: Answer<'_>) -> Result<(), Failure> {
        self.answered += 1;
        accepted(answer.status, answer.body)?;
        let index = self.asked.get(member).copied().unwrap_or_default();
        self.expected.clear();
        self.templates.append(Stamp { producer: 0, index }, &mut self.expected);
        if !self.is_bare && answer.body != self.expected {
            return Err(Failure::Failed(format!("position {index} is answered with other bytes")));
        }
        Ok(())
    }
}

impl bare::Timed for Gets {
    fn rate(&self) -> f64 {
        self.window.rate()
    }
}
