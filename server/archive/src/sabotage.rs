//! Known mistakes that can be switched on, to show that the tests find them.
//!
//! Each mistake breaks one guarantee of the archive. `cargo xtask sabotage` builds the crate once
//! with the feature `sabotage`, runs its tests with each mistake, and lists those that fail. The
//! environment variable `STYX_SABOTAGE` has the mistake's name. Invariant: without the feature, no
//! mistake is made, and a release build cannot enable it.

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!(
    "the feature sabotage breaks the archive on purpose: do not enable it in a release build"
);

/// A known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A conditional write without a clear answer counts as written, without a look at the store.
    SkipReadBack,
    /// A failed condition is believed, even if it was the writer's own write that changed the object.
    TrustPrecondition,
    /// The collector removes unnamed objects of the current epoch, which may be uploads in flight.
    CollectCurrentEpoch,
}

/// The names for `STYX_SABOTAGE`. docs/reliability.md has a row for each.
#[cfg(feature = "sabotage")]
const NAMES: [(&str, Mistake); 3] = [
    ("skip-read-back", Mistake::SkipReadBack),
    ("trust-precondition", Mistake::TrustPrecondition),
    ("collect-current-epoch", Mistake::CollectCurrentEpoch),
];

/// Whether this mistake is switched on.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn makes(_mistake: Mistake) -> bool {
    false
}

/// Whether this mistake is switched on.
///
/// # Panics
/// If `STYX_SABOTAGE` names no mistake: a misspelled one would seem to be caught by no test.
#[cfg(feature = "sabotage")]
pub(crate) fn makes(mistake: Mistake) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Mistake>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("STYX_SABOTAGE").ok()?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        Some(known.unwrap_or_else(|| panic!("STYX_SABOTAGE: no mistake is called {name}")).1)
    });
    *chosen == Some(mistake)
}
