//! The thread that reads sealed segments to find damage.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::inner::CatalogInner;
use super::slot::Slot;
use crate::Log;
use crate::scrub::{self, ScrubRate};
use crate::sync::lock;

/// Runs pass after pass until the catalog closes. The thread does not keep the catalog alive.
pub(super) fn run_scrub(catalog: &Weak<CatalogInner>, scrub_rate: &ScrubRate) {
    loop {
        let Some(shared) = catalog.upgrade() else { return };
        let pause = shared.options.scrub_pause;
        let scrubbed = Arc::clone(&shared.scrubbed);
        let logs: Vec<Log> = {
            let slots = shared.slots.read().unwrap_or_else(PoisonError::into_inner);
            let open = slots.values().filter_map(|slot| match slot {
                Slot::Open(log) => Some(log.clone()),
                _ => None,
            });
            open.collect()
        };
        let opening = *lock(&shared.opening) > 0;
        drop(shared);
        if opening {
            if !scrub_rate.stop.wait(std::time::Duration::from_millis(200)) {
                return;
            }
            continue;
        }
        for log in logs {
            let mut go_on = true;
            scrub::scrub(&log, &scrubbed, &mut |bytes| {
                go_on = scrub_rate.pass(bytes);
                go_on
            });
            if !go_on {
                return;
            }
        }
        scrubbed.passes.fetch_add(1, Ordering::Relaxed);
        if !scrub_rate.stop.wait(pause) {
            return;
        }
    }
}
