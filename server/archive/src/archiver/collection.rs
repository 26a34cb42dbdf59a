//! The weekly collection of a running server: the superfluous objects of its own logs.
//!
//! Several servers can share a store. Each one collects only logs whose manifests name it as their
//! owner, so no server removes objects of another one. The rules are those of
//! [`collect`](crate::collect).

use super::Inner;
use crate::collect::{self, CollectOptions, Collected};
use crate::store::Error;

/// Collects the logs of this server. Nothing without a time of grace.
pub(super) async fn run(inner: &Inner) -> Result<Collected, Error> {
    let Some(grace) = inner.settings.collect_grace else { return Ok(Collected::default()) };
    let owner = Some(inner.owner.id);
    let options = CollectOptions { grace, owner, ..CollectOptions::default() };
    let collected = collect::run(&inner.store, &options, &mut |_| {}).await?;
    inner.totals.collected(&collected);
    Ok(collected)
}
