//! StatsD gauges: two datagrams for each log after it changed, at most once a second.
//!
//! ```text
//! <prefix>.log.<name>.record.count:N|g\n
//! <prefix>.log.<name>.file.size:N|g\n
//! ```
//!
//! Nothing waits for StatsD: a datagram that cannot be sent is lost, and the next
//! change sends another. If the address cannot be resolved or reached, the server warns
//! once and tries again every second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::LogInfo;
use tokio::net::UdpSocket;

use crate::app::App;
use crate::config::Statsd;

const INTERVAL: Duration = Duration::from_secs(1);

/// Sends gauges until the task is ended.
pub(crate) async fn run(config: Statsd, app: Arc<App>) {
    let mut sent: HashMap<String, (u64, u64)> = HashMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut socket = None;
    let mut has_warned = false;
    loop {
        ticks.tick().await;
        if socket.is_none() {
            match connect(&config.address).await {
                Ok(connected) => {
                    has_warned = false;
                    socket = Some(connected);
                }
                Err(error) if !has_warned => {
                    has_warned = true;
                    tracing::warn!(
                        "cannot connect to the StatsD server {}: {error}; trying again every \
                         second (check metrics.statsd.address)",
                        config.address
                    );
                }
                Err(_) => {}
            }
        }
        let Some(connected) = &socket else { continue };
        let logs = app.sessions.list();
        sent.retain(|name, _| logs.iter().any(|log| log.name == *name));
        let mut failed = false;
        for log in logs {
            let now = (log.record_count, log.file_size);
            if sent.get(&log.name) == Some(&now) {
                continue;
            }
            for gauge in gauges(&config.prefix, &log) {
                failed |= connected.send(gauge.as_bytes()).await.is_err();
            }
            sent.insert(log.name, now);
        }
        if failed {
            // The host name may have another address by now.
            tracing::debug!(address = config.address, "cannot send to statsd; connecting again");
            socket = None;
        }
    }
}

async fn connect(address: &str) -> std::io::Result<UdpSocket> {
    // In 0.x, `:8125` was a port of this machine.
    let local = address.starts_with(':').then(|| format!("localhost{address}"));
    let mut failure = std::io::Error::from(std::io::ErrorKind::NotFound);
    for to in tokio::net::lookup_host(local.as_deref().unwrap_or(address)).await? {
        let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(from).await?;
        match socket.connect(to).await {
            Ok(()) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn gauges(prefix: &str, log: &LogInfo) -> [String; 2] {
    let dot = if prefix.is_empty() { "" } else { "." };
    let LogInfo { name, record_count, file_size, .. } = log;
    [
        format!("{prefix}{dot}log.{name}.record.count:{record_count}|g\n"),
        format!("{prefix}{dot}log.{name}.file.size:{file_size}|g\n"),
    ]
}

#[cfg(test)]
mod tests {
    use styx_protocol::LogStatus;

    use super::*;

    #[test]
    fn gauges_are_written_as_0_x_wrote_them() {
        let log = LogInfo {
            name: "a-b".to_owned(),
            status: LogStatus::Ok,
            record_count: 3,
            file_size: 40,
            start_position: 1,
            end_position: 4,
        };
        let expected = ["styx.log.a-b.record.count:3|g\n", "styx.log.a-b.file.size:40|g\n"];
        assert_eq!(gauges("styx", &log), expected);
        assert_eq!(gauges("", &log)[0], "log.a-b.record.count:3|g\n");
    }
}
