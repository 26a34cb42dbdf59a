//! The tables of the core that the Python code is compared with.

use pyo3::prelude::*;
use styx_client::Kind;
use styx_client::options::OPTIONS;

/// Every kind of error: `(code, number, retriable, meaning)`.
#[pyfunction]
pub(crate) fn kinds() -> Vec<(&'static str, u16, bool, &'static str)> {
    let row = |kind: Kind| (kind.as_str(), kind.number(), kind.is_retriable(), kind.meaning());
    Kind::all().map(row).collect()
}

/// Every option: `(of, name, unit, default, meaning)`.
#[pyfunction]
pub(crate) fn options() -> Vec<(String, &'static str, String, &'static str, &'static str)> {
    OPTIONS
        .iter()
        .map(|row| (row.of.to_string(), row.name, row.unit.to_string(), row.default, row.meaning))
        .collect()
}
