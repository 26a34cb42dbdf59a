//! A consumer. JavaScript takes whole batches, and keeps count of the records that its user
//! has not seen (`rest`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Env, External};
use napi_derive::napi;
use serde_json::json;
use styx_client::consumer::{Handle, Polled};
use styx_client::{Client, Consumer, Error, RecordBatch, Start};

use crate::batch::Batch;
use crate::client::{ClientHandle, pairs};
use crate::errors::{integer, thrown};
use crate::hub::{Answer, SharedHub};

/// A consumer that is opening, open, failed or closed.
pub(crate) struct ConsumerHandle {
    hub: SharedHub,
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// `None` before it is open and after it is closed.
    open: Option<(Consumer, Handle)>,
    /// Whether `close_consumer` was called. Opening may finish afterwards.
    is_closed: bool,
    /// The last batch that JavaScript took.
    last: Option<RecordBatch>,
}

impl State {
    fn consumer(&mut self) -> Result<&mut Consumer, Error> {
        self.open.as_mut().map(|(consumer, _)| consumer).ok_or_else(|| Error::closed("consumer"))
    }

    /// Gives the last `rest` records back to the core, which returns them again.
    fn give_back(&mut self, rest: u32) -> Result<(), Error> {
        let Some(last) = self.last.take().filter(|_| rest > 0) else { return Ok(()) };
        let from = last.len().saturating_sub(rest as usize);
        self.consumer()?.give_back(last.slice(from..last.len()))
    }
}

impl ConsumerHandle {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a consumer. `drain` returns `token` when it is open or has failed, and `source` when
/// there may be something to take. An invalid option is thrown.
#[napi]
pub fn open_consumer(
    client: &External<ClientHandle>,
    token: i64,
    source: i64,
    log: String,
    options: Vec<String>,
) -> napi::Result<External<ConsumerHandle>> {
    let core = client.core().map_err(|error| thrown(&error))?;
    let state = Arc::new(Mutex::new(State::default()));
    let opened = Arc::clone(&state);
    let source = client.hub.source(source);
    let mut builder = core.consumer(&log);
    for (key, value) in pairs(&options) {
        builder = builder.set(key, value).map_err(|error| thrown(&error))?;
    }
    client.hub.start(&core, token, async move {
        let consumer = builder.open().await?;
        let log_id = consumer.log_id().to_string();
        consumer.notify(source);
        let handle = consumer.handle();
        {
            let mut state = lock(&opened);
            if !state.is_closed {
                state.open = Some((consumer, handle));
            }
        }
        Ok(Answer::Json(json!({ "logId": log_id })))
    })?;
    Ok(External::new(ConsumerHandle { hub: Arc::clone(&client.hub), client: core, state }))
}

/// The next batch of a consumer, or its end.
#[napi(object)]
pub struct Taken<'env> {
    /// The next records.
    pub batch: Option<Batch<'env>>,
    /// Whether there will be no more.
    pub ended: bool,
}

/// Takes the next batch without waiting; neither `batch` nor `ended` if there is none yet.
#[napi]
pub fn take_batch<'env>(
    env: &'env Env,
    consumer: &External<ConsumerHandle>,
    external: bool,
) -> napi::Result<Taken<'env>> {
    let mut state = consumer.state();
    let polled = state.consumer().and_then(Consumer::try_next_batch);
    match polled.map_err(|error| thrown(&error))? {
        Polled::Batch(batch) => {
            let taken = Batch::new(env, &batch, external)?;
            state.last = Some(batch);
            Ok(Taken { batch: Some(taken), ended: false })
        }
        Polled::Nothing => Ok(Taken { batch: None, ended: false }),
        Polled::End => Ok(Taken { batch: None, ended: true }),
    }
}

/// Continues at another place. `drain` returns `token` when that has happened.
#[napi]
pub fn seek(consumer: &External<ConsumerHandle>, token: i64, start: String) -> napi::Result<()> {
    let start = start.parse::<Start>().map_err(|error| thrown(&error))?;
    let mut state = consumer.state();
    state.last = None;
    let core = state.consumer().map_err(|error| thrown(&error))?;
    let ticket = consumer.hub.ticket(token)?;
    core.seek_to(start, ticket);
    Ok(())
}

/// Stores the position in the cursor. The last `rest` records that were taken do not count, and
/// are taken again, unless this throws. The result is the position as JSON.
#[napi]
pub fn commit(consumer: &External<ConsumerHandle>, token: i64, rest: u32) -> napi::Result<()> {
    let mut state = consumer.state();
    let ticket = consumer.hub.ticket(token)?;
    state.give_back(rest).map_err(|error| thrown(&error))?;
    // From here on every failure is the result of the call.
    let commit = state.consumer().and_then(Consumer::commit);
    consumer.hub.start_with(ticket, &consumer.client, token, async move {
        commit?.position().await.map(|position| Answer::Json(integer(position)))
    });
    Ok(())
}

/// Closes the consumer. A commit that is under way is awaited.
#[napi]
pub fn close_consumer(consumer: &External<ConsumerHandle>, token: i64) -> napi::Result<()> {
    let mut state = consumer.state();
    state.last = None;
    state.is_closed = true;
    let open = state.open.take();
    consumer.hub.start(&consumer.client, token, async move {
        if let Some((mut consumer, _)) = open {
            consumer.close().await;
        }
        Ok(Answer::Nothing)
    })
}

/// Where the consumer is, and its numbers, as JSON; `null` if it is not open. The position is
/// behind the last record that was taken.
#[napi]
pub fn consumer_info(consumer: &External<ConsumerHandle>) -> String {
    let state = consumer.state();
    let Some((consumer, handle)) = &state.open else { return "null".to_owned() };
    let stats = consumer.stats();
    json!({
        "logId": consumer.log_id().to_string(),
        "position": integer(handle.position()),
        "lag": integer(handle.lag()),
        "caughtUp": handle.caught_up(),
        "stats": {
            "receivedRecords": stats.received_records,
            "receivedBytes": stats.received_bytes,
            "receivedBatches": stats.received_batches,
            "bufferedBytes": stats.buffered_bytes,
            "isConnected": stats.is_connected,
            "reconnects": stats.reconnects,
            "sinceLastHeard": stats.since_last_heard.map(|time| time.as_secs_f64() * 1e3),
        },
    })
    .to_string()
}
