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
