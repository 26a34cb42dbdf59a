//! The server's own log: its level and format.
//!
//! The level is `--log-level`, otherwise `STYX_LOG`, otherwise `RUST_LOG`, otherwise
//! info without the audit log. Both variables may set levels per module, for example
//! `info,styx_engine=debug`, and `audit=info` turns the audit log on. The log goes to standard
//! error, with colours only on a terminal.
//!
//! Invariant: no level shows a secret. The library `h2` logs malformed paths of requests at
//! debug, and a path may have a token in its query. So its lines below info are never written.
//! Nor are those of the library `object_store` below warn: it signs its requests, and it has a line
//! for each attempt, which the archive tells again.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::command_line::{LogFormat, LogLevel};
use crate::failure::Failure;

/// Sets up logging for the whole process.
///
/// # Errors
/// `STYX_LOG` or `RUST_LOG` is invalid.
pub(crate) fn start(level: Option<LogLevel>, format: LogFormat) -> Result<(), Failure> {
    let stderr = std::io::stderr;
    let builder = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(filter(level, |name| std::env::var(name).ok())?)
        .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.finish().with(filter_fn(shows_no_secret)).init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).finish().with(filter_fn(shows_no_secret)).init();
        }
    }
    Ok(())
}

/// Whether a line or span may be logged, whatever the configured levels are.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    match metadata.target().split("::").next() {
        Some("h2") => *metadata.level() <= Level::INFO,
        Some("object_store") => *metadata.level() <= Level::WARN,
        _ => true,
    }
}

fn filter(
    level: Option<LogLevel>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EnvFilter, Failure> {
    if let Some(level) = level {
        return Ok(EnvFilter::new(directive(level)));
    }
    for name in ["STYX_LOG", "RUST_LOG"] {
        if let Some(text) = variable(name).filter(|text| !text.trim().is_empty()) {
            return EnvFilter::try_new(&text).map_err(|error| {
                Failure::Misuse(format!(
                    "{name} is {text:?}: {error}; use a level, for example info"
                ))
            });
        }
    }
    Ok(EnvFilter::new(directive(LogLevel::Info)))
}

fn directive(level: LogLevel) -> &'static str {
    match level {
        // The audit log is only written on request, because everybody who can connect can make
        // it write a line.
        LogLevel::Trace => "trace,audit=off",
        LogLevel::Debug => "debug,audit=off",
        LogLevel::Info => "info,audit=off",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Fatal => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(level: Option<LogLevel>, styx: &str, rust: &str) -> Option<String> {
        let variable = |name: &str| {
            let text = if name == "STYX_LOG" { styx } else { rust };
            Some(text.to_owned())
        };
        filter(level, variable).ok().map(|filter| filter.to_string())
    }

    #[test]
    fn flag_overrides_the_environment() {
        assert_eq!(chosen(Some(LogLevel::Warn), "trace", "").as_deref(), Some("warn"));
        assert_eq!(chosen(Some(LogLevel::Fatal), "", "").as_deref(), Some("error"));
        assert_eq!(chosen(None, "debug", "trace").as_deref(), Some("debug"));
        assert_eq!(chosen(None, "", "trace").as_deref(), Some("trace"));
        assert_eq!(chosen(None, "", "").as_deref(), Some("audit=off,info"));
        assert_eq!(chosen(None, "audit=info", "").as_deref(), Some("audit=info"));
        assert_eq!(chosen(None, "a=b=c", ""), None);
    }
}
