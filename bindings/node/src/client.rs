//! A client and its calls.

use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::External;
use napi_derive::napi;
use serde_json::json;
use styx_client::events::{Event, EventKind, Subject};
use styx_client::{Client, Error};

use crate::errors::{integer, text, thrown};
use crate::hub::{Answer, SharedHub};
use crate::request::Request;

/// A client, which is not connected before its first call.
pub(crate) struct ClientHandle {
    pub(crate) hub: SharedHub,
    /// `None` after `close_client`.
    client: Mutex<Option<Client>>,
}

impl ClientHandle {
    /// The client of the core.
    pub(crate) fn core(&self) -> Result<Client, Error> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.clone().ok_or_else(|| Error::closed("client"))
    }
}

/// Options as keys and values, one after the other: see `styx_client::OPTIONS`.
pub(crate) fn pairs(options: &[String]) -> impl Iterator<Item = (&str, &str)> {
    options.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()))
}

/// Makes a client. Without an address it uses that of the environment.
#[napi]
pub fn create_client(
    hub: &External<SharedHub>,
    address: Option<String>,
    options: Vec<String>,
) -> napi::Result<External<ClientHandle>> {
    let build = || {
        let mut builder = Client::builder_from_env();
        if let Some(address) = address {
            builder = builder.address(address);
        }
        for (key, value) in pairs(&options) {
            builder = builder.set(key, value)?;
        }
        builder.build()
    };
    let client = build().map_err(|error| thrown(&error))?;
    let hub = Arc::clone(hub);
    Ok(External::new(ClientHandle { hub, client: Mutex::new(Some(client)) }))
}

/// The address of the server.
#[napi]
pub fn client_address(client: &External<ClientHandle>) -> napi::Result<String> {
    let core = client.core().map_err(|error| thrown(&error))?;
    Ok(core.address().to_string())
}

/// Starts the call that the JSON describes; see `request.rs`.
#[napi]
pub fn request(client: &External<ClientHandle>, token: i64, request: String) -> napi::Result<()> {
    let core = client.core().map_err(|error| thrown(&error))?;
    let request: Request = serde_json::from_str(&request)
        .map_err(|error| thrown(&Error::invalid_argument(error.to_string())))?;
    let calling = core.clone();
    client.hub.start(&core, token, async move { request.call(&calling).await.map(Answer::Json) })
}

/// `drain` returns `token` when there are events.
#[napi]
pub fn watch_events(client: &External<ClientHandle>, token: i64) -> napi::Result<()> {
    let core = client.core().map_err(|error| thrown(&error))?;
    core.events(client.hub.source(token));
    Ok(())
}

/// The events that have happened, as a JSON array, and how many were lost.
#[napi]
pub fn take_events(client: &External<ClientHandle>) -> String {
    let mut events = Vec::new();
    let lost = client.core().map_or(0, |core| core.take_events(&mut events));
    let events: Vec<_> = events.iter().map(described).collect();
    json!({ "events": events, "lost": lost }).to_string()
}

fn described(event: &Event) -> serde_json::Value {
    let subject = match event.subject {
        Subject::Producer => "producer",
        Subject::Consumer => "consumer",
        _ => "client",
    };
    let mut described = json!({ "subject": subject, "log": event.log.as_str() });
    let kind = match &event.kind {
        EventKind::Connected => "connected",
        EventKind::Lost(error) => {
            described["error"] = json!(text(error));
            "lost"
        }
        EventKind::Again { wait } => {
            described["wait"] = json!(wait.as_secs_f64() * 1e3);
            "again"
        }
        EventKind::Damaged { position } => {
            described["position"] = integer(*position);
            "damaged"
        }
        EventKind::Closed => "closed",
        _ => "changed",
    };
    described["kind"] = json!(kind);
    described
}

/// The numbers of the client, as JSON.
#[napi]
pub fn client_stats(client: &External<ClientHandle>) -> napi::Result<String> {
    let stats = client.core().map_err(|error| thrown(&error))?.stats();
    let silence = stats.since_last_heard.map(|time| time.as_secs_f64() * 1e3);
    let stats = json!({
        "requests": stats.requests,
        "retries": stats.retries,
        "connections": stats.connections,
        "failedConnections": stats.failed_connections,
        "openConnections": stats.open_connections,
        "openStreams": stats.open_streams,
        "sinceLastHeard": silence,
    });
    Ok(stats.to_string())
}

/// Releases the client. Producers and consumers that are still open keep its connections.
#[napi]
pub fn close_client(client: &External<ClientHandle>) {
    let core = client.client.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(core);
}
