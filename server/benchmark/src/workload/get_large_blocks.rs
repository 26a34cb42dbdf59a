//! `get-large-blocks`: as [`get`], from a log of large blocks, as fast producers write
//! it. To find a record, the server reads and checks what is needed of its block.
//!
//! ```text
//! producer ─▶ log of blocks of 128 KiB and more ─▶ a pass checks every record
//! rounds "cold"      drop the cached pages of the server's files ─▶ GETs, no warm-up
//! rounds "warm"      all files were read into the page cache     ─▶ warm-up, GETs
//! rounds "repeated"  almost every block was in a GET before      ─▶ warm-up, GETs
//! ```
//! In rounds "warm", most GETs are the first ones of their blocks, which the server reads whole.
//! A server that runs already is not measured cold, because its files may be elsewhere.

use std::time::Duration;

use super::prefilled_log::PrefilledLog;
use super::{Harness, get, http_baseline, read_back, size};
use crate::Error;
use crate::outcome::{Outcome, Protocol};
use crate::plan::Settings;
use crate::wire::connection::Endpoint;

/// The size of the log if no other is asked for.
const LOG_BYTES: u64 = 4 << 30;
const LOG_BYTES_QUICK: u64 = 1 << 20;
/// The least size of a block.
const BLOCK_BYTES: u64 = 128 << 10;
/// GETs for each block before the rounds "repeated". At random, 0.7 % of the blocks are in none.
const GETS_PER_BLOCK: u64 = 5;
/// The most rounds that only make these GETs.
const UNCOUNTED_ROUNDS_MAX: usize = 60;

pub(super) fn run(harness: &mut Harness, connections: usize) -> Result<Outcome, Error> {
    // Frees its space on the disk and in the page cache.
    harness.prefilled = None;
    let (server, settings) = (&harness.server, harness.settings);
    let by_default = if settings.quick { LOG_BYTES_QUICK } else { LOG_BYTES };
    let bytes = settings
        .log_bytes
        .unwrap_or_else(|| size::on_disk(&harness.directory, size::in_memory(by_default)));
    let filled = PrefilledLog::with_bytes(server, get::KIND, bytes)?;
    let (log, templates) = (filled.log.name(), &filled.templates);
    let mut checked = read_back::check(server, log, templates, 1, filled.records)?;
    let endpoint = Endpoint::to(server)?;
    let (mut baselines, mut answered) = (Vec::new(), 0);
    let mut measure = |settings: Settings| -> Result<(f64, u64), Error> {
        let round = get::round(&endpoint, &filled, connections, answered, settings)?;
        baselines.push(round.baseline);
        answered += round.answered;
        Ok((round.rate, answered))
    };
    let (mut cold, mut warm, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    let mut notes = Vec::new();
    if let Some(child) = &server.child {
        for _ in 0..settings.rounds {
            harness.flush_file_system();
            child.drop_page_cache()?;
            cold.push(measure(Settings { warm_up: Duration::ZERO, ..settings })?.0);
        }
        child.fill_page_cache()?;
    } else {
        notes.push("not measured cold: that needs a server of its own (run without --host)");
    }
    for _ in 0..settings.rounds {
        warm.push(measure(settings)?.0);
    }
    let gets = GETS_PER_BLOCK * bytes.div_ceil(BLOCK_BYTES);
    let mut made = 0;
    for _ in 0..UNCOUNTED_ROUNDS_MAX {
        made = measure(settings)?.1;
        if made >= gets {
            break;
        }
    }
    if made < gets {
        notes.push("too slow: many blocks were in no GET before the rounds \"repeated\"");
    }
    for _ in 0..settings.rounds {
        repeated.push(measure(settings)?.0);
    }
    checked += answered;
    let figures = [("cold", cold), ("warm", warm), ("repeated", repeated)];
    let figures = figures.map(|(name, rates)| http_baseline::figure(name, rates, &baselines));
    Ok(Outcome {
        workload: "get-large-blocks",
        protocol: Some(Protocol::Http),
        payload: Some(get::KIND),
        load: format!(
            "{connections} connections, 1 record a request, {} in blocks of 128 KiB or more",
            size::format(bytes)
        ),
        figures: figures.into_iter().flatten().collect(),
        written: checked,
        checked,
        notes: notes.into_iter().map(str::to_owned).collect(),
    })
}
