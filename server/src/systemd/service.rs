//! [`Service`]: tells the service manager in which state the server is (`sd_notify`).
//!
//! ```text
//! listening ─▶ EXTEND_TIMEOUT_USEC until every log is open ─▶ READY ─▶ WATCHDOG, again and again
//! SIGTERM   ─▶ STOPPING
//! ```
//! Invariant: a sign of life is sent only after a task, a blocking thread and a thread that commits
//! have each taken new work, so a server that hangs sends none.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::app::App;

/// How often it looks whether every log is open.
const OPEN_CHECK_EVERY: Duration = Duration::from_millis(10);
/// How often the manager is told that logs are still being opened, and how long it then waits.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTENSION: Duration = Duration::from_secs(30);
/// The time for closing the logs, which comes after `shutdown_timeout`.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Informs the service manager until it is dropped. Without a service manager it does nothing.
#[derive(Debug)]
pub(crate) struct Service {
    task: JoinHandle<()>,
    shutdown_timeout: Duration,
}

impl Service {
    /// Begins after the server listens on `addresses`.
    pub(crate) fn start(app: Arc<App>, addresses: String) -> Service {
        let shutdown_timeout = app.config.shutdown_timeout;
        let task = tokio::spawn(async move {
            if std::env::var_os("NOTIFY_SOCKET").is_none() {
                return;
            }
            wait_until_open(&app).await;
            let status = format!("listening on {addresses}");
            send(vec![Message::Ready, Message::Status(status)]).await;
            if let Some(timeout) = sd_notify::watchdog_enabled() {
                show_life(&app, timeout / 2).await;
            }
        });
        Service { task, shutdown_timeout }
    }

    /// Call it before the configuration that can change is loaded again.
    pub(crate) async fn reloading(&self) {
        send(vec![Message::Reloading, Message::Now]).await;
    }

    /// Call it after that.
    pub(crate) async fn reloaded(&self) {
        send(vec![Message::Ready]).await;
    }

    /// Call it when the server begins to stop.
    pub(crate) async fn stopping(&self) {
        let extension = self.shutdown_timeout.saturating_add(CLOSE_TIME);
        let status = "finishing requests and closing the logs".to_owned();
        send(vec![Message::Stopping, Message::Extend(extension), Message::Status(status)]).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait_until_open(app: &App) {
    let mut extended: Option<Instant> = None;
    while !app.sessions.is_open() {
        if extended.is_none_or(|at| at.elapsed() >= EXTEND_EVERY) {
            extended = Some(Instant::now());
            let status = "opening logs".to_owned();
            send(vec![Message::Extend(EXTENSION), Message::Status(status)]).await;
        }
        sleep(OPEN_CHECK_EVERY).await;
    }
}

/// Sends signs of life; never returns.
async fn show_life(app: &App, every: Duration) {
    let mut due = interval(every.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        // A task that is taken by a worker, then a thread that commits; `send` uses a blocking
        // thread.
        let _ = tokio::spawn(std::future::ready(())).await;
        app.sessions.committer_is_free().await;
        send(vec![Message::Alive]).await;
    }
}

/// A message to the service manager.
#[derive(Debug)]
enum Message {
    Ready,
    Reloading,
    /// The time, which has to follow `Reloading`.
    Now,
    Stopping,
    Alive,
    /// Start or stop takes longer; the manager waits this long from now on.
    Extend(Duration),
    Status(String),
}

/// Sends messages together. A manager that cannot be told is no reason to stop.
async fn send(messages: Vec<Message>) {
    let send = move || {
        let states: Vec<NotifyState<'_>> = messages.iter().filter_map(Message::state).collect();
        if let Err(error) = sd_notify::notify(&states) {
            tracing::warn!("cannot tell the service manager the state (NOTIFY_SOCKET): {error}");
        }
    };
    let _ = tokio::task::spawn_blocking(send).await;
}

impl Message {
    fn state(&self) -> Option<NotifyState<'_>> {
        Some(match self {
            Message::Ready => NotifyState::Ready,
            Message::Reloading => NotifyState::Reloading,
            Message::Now => return NotifyState::monotonic_usec_now().ok(),
            Message::Stopping => NotifyState::Stopping,
            Message::Alive => NotifyState::Watchdog,
            Message::Extend(time) => {
                NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
            }
            Message::Status(text) => NotifyState::Status(text),
        })
    }
}
