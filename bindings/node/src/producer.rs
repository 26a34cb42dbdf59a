//! A producer, which takes records before it is open.
//!
//! ```text
//! JavaScript packs records ─ push ─▶ pending ─ offer ─▶ the core's producer
//!                                     └ while it is opening or has no room
//! ```
//!
//! Sequences count from 0 at the first record of this object, whatever the core's sequences
//! are, so JavaScript knows them before the producer is open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::bindgen_prelude::{BigUint64Array, External};
use napi_derive::napi;
use serde_json::{Value, json};
use styx_client::bindings::{Encoded, Settled};
use styx_client::{Client, Error, Kind, Producer};

use crate::client::{ClientHandle, pairs};
use crate::errors::{integer, text, thrown};
use crate::hub::{Answer, SharedHub};

/// The position of records that failed, in `Pumped::settled`.
const FAILED: u64 = u64::MAX;

/// A producer that is opening, open, failed or closed.
pub(crate) struct ProducerHandle {
    hub: SharedHub,
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// `None` until it is open.
    producer: Option<Arc<Producer>>,
    /// The core's sequence of the first record.
    base: u64,
    /// Records that the core has not accepted, in order.
    pending: VecDeque<Encoded>,
    /// Why no more records are accepted.
    ended: Option<Error>,
    /// Whether `abandon_producer` was called. Opening may finish afterwards.
    is_abandoned: bool,
    /// The failures that the last `pump` returned.
    failures: Vec<Settled>,
}

impl State {
    /// Gives the core what it has room for. Returns whether it has taken everything.
    fn offer(&mut self) -> bool {
        let Some(producer) = &self.producer else { return self.pending.is_empty() };
        while let Some(next) = self.pending.front_mut() {
            match producer.try_append_encoded(next) {
                Ok(_) => drop(self.pending.pop_front()),
                Err(error) if error.kind() == Kind::WouldBlock => return false,
                Err(error) => {
                    self.ended = Some(error);
                    self.pending.clear();
                }
            }
        }
        true
    }

    /// The number of records that the core has accepted.
    fn accepted(&self) -> u64 {
        self.producer.as_ref().map_or(0, |producer| producer.next_sequence() - self.base)
    }
}

impl ProducerHandle {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn open(&self) -> napi::Result<Arc<Producer>> {
        let producer = self.state().producer.clone();
        producer.ok_or_else(|| thrown(&Error::closed("producer")))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a producer. `drain` returns `token` when it is open or has failed, and `source` when
/// `pump` should be called. An invalid option is thrown.
#[napi]
pub fn open_producer(
    client: &External<ClientHandle>,
    token: i64,
    source: i64,
    log: String,
    options: Vec<String>,
) -> napi::Result<External<ProducerHandle>> {
    let core = client.core().map_err(|error| thrown(&error))?;
    let state = Arc::new(Mutex::new(State::default()));
    let opened = Arc::clone(&state);
    let source = client.hub.source(source);
    let mut builder = core.producer(&log);
    for (key, value) in pairs(&options) {
        builder = builder.set(key, value).map_err(|error| thrown(&error))?;
    }
    let builder = builder.track_settled(true);
    client.hub.start(&core, token, async move {
        let producer = builder.open().await?;
        let info = info(&producer);
        {
            let mut state = lock(&opened);
            if state.is_abandoned {
                return Err(Error::closed("producer"));
            }
            state.base = producer.next_sequence();
            state.producer = Some(Arc::new(producer));
        }
        // It is notified at once, so records that wait are offered.
        if let Some(producer) = &lock(&opened).producer {
            producer.notify(source);
        }
        Ok(Answer::Json(info))
    })?;
    Ok(External::new(ProducerHandle { hub: Arc::clone(&client.hub), client: core, state }))
}

/// Appends records that lie one after the other in the first `length` bytes of `data`; the
/// first `count` entries of `ends` have where each ends. Copies them. Returns whether there is
/// room for more. They are accepted even if there is not. Throws the error that ended the
/// producer; nothing else would tell of it.
#[napi]
pub fn push(
    producer: &External<ProducerHandle>,
    data: &[u8],
    length: u32,
    ends: &[u32],
    count: u32,
) -> napi::Result<bool> {
    let data = data.get(..length as usize).unwrap_or(data);
    let ends = ends.get(..count as usize).unwrap_or(ends);
    let mut encoded = Encoded::new();
    encoded.extend_packed(data, ends).map_err(|error| thrown(&error))?;
    let mut state = producer.state();
    if let Some(error) = &state.ended {
        return Err(thrown(error));
    }
    state.pending.push_back(encoded);
    let has_room = state.offer();
    // The core may have ended without another notification: the caller has to know now.
    match &state.ended {
        Some(error) => Err(thrown(error)),
        None => Ok(has_room),
    }
}

/// The outcomes of appended records.
#[napi(object)]
pub struct Pumped {
    /// For each block: the sequence of its first record, the number of records, and the
    /// position of the first, or `2^64 - 1` if they failed.
    pub settled: BigUint64Array,
    /// The error of each failed block, as JSON.
    pub failures: Vec<String>,
    /// The number of records that were accepted since the producer was made.
    pub accepted: i64,
    /// Whether there is room for more.
    pub has_room: bool,
    /// Why no more records are accepted, as JSON.
    pub ended: Option<String>,
}

/// Offers the records that wait, and returns what became of earlier ones.
#[napi]
pub fn pump(producer: &External<ProducerHandle>) -> Pumped {
    let mut state = producer.state();
    let has_room = state.offer();
    let mut blocks = Vec::new();
    if let Some(producer) = &state.producer {
        producer.take_settled(&mut blocks);
    }
    let (mut settled, mut failures) = (Vec::with_capacity(3 * blocks.len()), Vec::new());
    state.failures.clear();
    for block in blocks {
        let position = block.result.as_ref().map_or(FAILED, |position| *position);
        settled.extend([block.first_sequence - state.base, block.count, position]);
        if let Err(error) = &block.result {
            failures.push(text(error));
            state.failures.push(block);
        }
    }
    if state.ended.is_none() && !failures.is_empty() {
        // Most failures end the core's producer.
        state.ended = state.producer.as_ref().and_then(|producer| producer.check().err());
    }
    Pumped {
        settled: settled.into(),
        failures,
        accepted: i64::try_from(state.accepted()).unwrap_or(i64::MAX),
        has_room,
        ended: state.ended.as_ref().map(text),
    }
}

/// The user was told of a failure that the last `pump` returned: `flush` and `close` do not
/// report it again.
#[napi]
pub fn mark_reported(producer: &External<ProducerHandle>, failure: u32) {
    if let Some(block) = producer.state().failures.get(failure as usize) {
        block.mark_reported();
    }
}

/// Waits until everything that was accepted is durable.
#[napi]
pub fn flush_producer(producer: &External<ProducerHandle>, token: i64) -> napi::Result<()> {
    let core = producer.open()?;
    producer
        .hub
        .start(&producer.client, token, async move { core.flush().await.map(|()| Answer::Nothing) })
}

/// As flush, then closes the producer. `within` are milliseconds.
#[napi]
pub fn close_producer(
    producer: &External<ProducerHandle>,
    token: i64,
    within: Option<f64>,
) -> napi::Result<()> {
    let core = producer.open()?;
    producer.hub.start(&producer.client, token, async move {
        match within {
            None => core.close().await?,
            Some(milliseconds) => {
                // A time that is too long for a duration means no limit.
                let within = Duration::try_from_secs_f64(milliseconds / 1e3);
                core.close_within(within.unwrap_or(Duration::MAX)).await?;
            }
        }
        Ok(Answer::Nothing)
    })
}

/// Drops the records that the core has not accepted. If the producer is still opening, it does
/// not open.
#[napi]
pub fn abandon_producer(producer: &External<ProducerHandle>) {
    let mut state = producer.state();
    state.is_abandoned = true;
    state.pending.clear();
}

/// The numbers of the producer, as JSON; `null` before it is open.
#[napi]
pub fn producer_info(producer: &External<ProducerHandle>) -> String {
    let state = producer.state();
    state.producer.as_ref().map_or(Value::Null, |producer| info(producer)).to_string()
}

fn info(producer: &Producer) -> Value {
    let stats = producer.stats();
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    json!({
        "nextSequence": integer(producer.next_sequence()),
        "durableSequence": integer(producer.durable_sequence()),
        "producerId": producer.producer_id().map(integer),
        "epoch": producer.epoch(),
        "logId": producer.log_id().to_string(),
        "stats": {
            "ackedRecords": stats.acked_records,
            "ackedBytes": stats.acked_bytes,
            "ackedBlocks": stats.acked_blocks,
            "failedRecords": stats.failed_records,
            "inFlightRecords": stats.in_flight_records,
            "inFlightBytes": stats.in_flight_bytes,
            "bufferedBytes": stats.buffered_bytes,
            "resentBlocks": stats.resent_blocks,
            "isConnected": stats.is_connected,
            "reconnects": stats.reconnects,
            "sinceLastAck": milliseconds(stats.since_last_ack),
            "sinceLastHeard": milliseconds(stats.since_last_heard),
        },
    })
}
