//! The baseline of an HTTP workload: the same requests to [`HttpBaseline`], right before
//! each round. Reports show it as BARE.

use crate::Error;
use crate::machine::HttpBaseline;
use crate::outcome::{Bound, Figure, Unit};
use crate::statistics::Rounds;
use crate::wire::connection::Endpoint;
use crate::wire::http_connections::{HttpConnections, RequestScript};

/// A script that measures its rate.
pub(super) trait RatedScript: RequestScript {
    /// Responses per second.
    fn rate(&self) -> f64;
}

/// Responses per second of the baseline under this load.
pub(super) fn rate<S: RatedScript>(
    connections: usize,
    script: impl FnOnce(&Endpoint) -> S,
) -> Result<f64, Error> {
    let failed = |error| Error::Failed(format!("cannot start the baseline HTTP service: {error}"));
    let bare = HttpBaseline::start().map_err(failed)?;
    let endpoint = Endpoint::local(bare.address());
    let mut connections = HttpConnections::connect(&endpoint, connections)?;
    let mut script = script(&endpoint);
    connections.run(&mut script)?;
    Ok(script.rate())
}

/// The requests per second of all rounds, with the median rate of the baseline as bound.
/// `None` if there are no rounds.
pub(super) fn figure(name: &'static str, rates: Vec<f64>, baselines: &[f64]) -> Option<Figure> {
    let baseline = Rounds::of(baselines.to_vec()).map_or(0.0, |rounds| rounds.median());
    Some(Figure {
        name,
        unit: Unit::Requests,
        rounds: Rounds::of(rates)?,
        record_bytes: None,
        bound: Some(Bound::HttpBaseline(baseline)),
    })
}
