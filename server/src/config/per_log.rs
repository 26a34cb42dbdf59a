//! [`PerLogMetrics`]: whether each log has metrics of its own.

use std::fmt;
use std::str::FromStr;

/// Whether Prometheus gets series for each log, besides the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PerLogMetrics {
    /// Up to 10,000 logs.
    #[default]
    Auto,
    /// For any number of logs.
    Always,
    /// Only the totals.
    Never,
}

/// The most logs that have series of their own with [`PerLogMetrics::Auto`]: with 9 series for each
/// log, more would be a burden for most Prometheus servers.
const AUTO_LOGS_MAX: usize = 10_000;

impl PerLogMetrics {
    /// Whether the logs have series, if there are this many.
    #[must_use]
    pub fn applies_to(self, logs: usize) -> bool {
        match self {
            PerLogMetrics::Auto => logs <= AUTO_LOGS_MAX,
            PerLogMetrics::Always => true,
            PerLogMetrics::Never => false,
        }
    }
}

impl FromStr for PerLogMetrics {
    type Err = String;

    fn from_str(text: &str) -> Result<PerLogMetrics, String> {
        match text {
            "auto" => Ok(PerLogMetrics::Auto),
            "always" => Ok(PerLogMetrics::Always),
            "never" => Ok(PerLogMetrics::Never),
            _ => Err("use \"auto\", \"always\" or \"never\"".to_owned()),
        }
    }
}

impl fmt::Display for PerLogMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PerLogMetrics::Auto => "auto",
            PerLogMetrics::Always => "always",
            PerLogMetrics::Never => "never",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_ten_thousand_logs_have_series_only_on_request() {
        for (text, few, limit, many) in [
            ("auto", true, true, false),
            ("always", true, true, true),
            ("never", false, false, false),
        ] {
            let per_log: PerLogMetrics = text.parse().expect("a value");
            assert_eq!(per_log.to_string(), text);
            let found = [1, 10_000, 10_001].map(|logs| per_log.applies_to(logs));
            assert_eq!(found, [few, limit, many], "{text}");
        }
        assert!("sometimes".parse::<PerLogMetrics>().is_err());
    }
}
