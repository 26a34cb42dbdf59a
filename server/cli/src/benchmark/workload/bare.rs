//! BARE beside a workload: the same requests, to the bare service, right before
//! them.

use crate::benchmark::machine::Bare;
use crate::benchmark::outcome::{Bound, Figure, Unit};
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::crowd::{Crowd, Script};
use crate::failure::Failure;

/// A script that knows how fast it went.
pub(super) trait Timed: Script {
    /// Answers a second.
    fn rate(&self) -> f64;
}

/// Answers a second of the bare service under this load.
pub(super) fn rate<S: Timed>(
    connections: usize,
    script: impl FnOnce(&Route) -> S,
) -> Result<f64, Failure> {
    let failed = |error| Failure::Failed(format!("cannot start a bare service: {error}"));
    let bare = Bare::start().map_err(failed)?;
    let route = Route::local(bare.address());
    let mut crowd = Crowd::connect(&route, connections)?;
    let mut script = script(&route);
    crowd.run(&mut script)?;
    Ok(script.rate())
}

/// The requests a second of all rounds, beside the median of what the bare
/// service answered before each.
pub(super) fn figures(rates: Vec<f64>, bares: Vec<f64>) -> Vec<Figure> {
    let bare = Rounds::of(bares).map_or(0.0, |rounds| rounds.median());
    let figure = |rounds| Figure {
        name: "requests",
        unit: Unit::Requests,
        rounds,
        record_bytes: None,
        bound: Some(Bound::Bare(bare)),
    };
    Rounds::of(rates).map(figure).into_iter().collect()
}
