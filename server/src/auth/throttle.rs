//! [`Throttle`]: how many wrong tokens an address may send.
//!
//! ```text
//! wrong token ─▶ allowance of the address: 20 at once, then one every 5 s ─▶ 401
//!                                           └ used up ──────────────────▶ 429, Retry-After
//! ```
//!
//! Only wrong tokens count, so a valid token is never refused because of other clients of
//! the same address. Invariant: memory is bounded. If there are more addresses than places,
//! the new ones share one allowance.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const WRONG_TOKENS_MAX: u32 = 20;
const RECOVERY: Duration = Duration::from_secs(5);
/// After this time without a wrong token, an address has its whole allowance again.
const RECOVERY_ALL: Duration = Duration::from_secs(5 * WRONG_TOKENS_MAX as u64);
const ADDRESSES_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Allowance>,
    /// The allowance of addresses without a place, and of peers without an address.
    shared: Option<Allowance>,
    /// When places were last freed.
    swept: Option<Instant>,
}

/// When the whole allowance is available again. The later, the more of it is used.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    whole_at: Instant,
}

impl Throttle {
    /// Counts a wrong token. Returns the seconds to wait if there were too many.
    pub(super) fn record(&self, peer: Option<IpAddr>) -> Option<u32> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Allowance { whole_at: now };
        let Some(address) = peer.map(network) else {
            return state.shared.get_or_insert(fresh).take(now);
        };
        if let Some(allowance) = state.addresses.get_mut(&address) {
            return allowance.take(now);
        }
        if state.addresses.len() >= ADDRESSES_MAX {
            state.sweep(now);
        }
        if state.addresses.len() >= ADDRESSES_MAX {
            return state.shared.get_or_insert(fresh).take(now);
        }
        state.addresses.entry(address).or_insert(fresh).take(now)
    }
}

impl State {
    /// Forgets addresses that have their whole allowance; at most once per [`RECOVERY`],
    /// because it looks at all of them.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < RECOVERY) {
            return;
        }
        self.swept = Some(now);
        self.addresses.retain(|_, allowance| allowance.whole_at > now);
    }
}

impl Allowance {
    /// Uses one of the allowance, or returns the seconds until there is one.
    fn take(&mut self, now: Instant) -> Option<u32> {
        let whole_at = self.whole_at.max(now) + RECOVERY;
        let wait = whole_at.duration_since(now).saturating_sub(RECOVERY_ALL);
        if wait.is_zero() {
            self.whole_at = whole_at;
            return None;
        }
        Some(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX))
    }
}

/// The part of an address that one person has: an IPv6 network of 64 bits, or an IPv4 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_guesses_has_to_wait_and_others_do_not() {
        let throttle = Throttle::default();
        for _ in 0..WRONG_TOKENS_MAX {
            assert_eq!(throttle.record(address(1)), None);
        }
        let wait = throttle.record(address(1)).expect("too many");
        assert!((1..=6).contains(&wait), "{wait}");
        assert_eq!(throttle.record(address(2)), None);
        tokio::time::advance(Duration::from_secs(wait.into())).await;
        assert_eq!(throttle.record(address(1)), None);
        assert!(throttle.record(address(1)).is_some());
        tokio::time::advance(RECOVERY_ALL).await;
        for _ in 0..WRONG_TOKENS_MAX {
            assert_eq!(throttle.record(address(1)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_addresses_beyond_it_share_an_allowance() {
        let throttle = Throttle::default();
        for number in 0..ADDRESSES_MAX as u32 {
            assert_eq!(throttle.record(address(number)), None);
        }
        let beyond = ADDRESSES_MAX as u32..;
        let refused = beyond.take(100).filter(|n| throttle.record(address(*n)).is_some()).count();
        assert_eq!(refused, 100 - WRONG_TOKENS_MAX as usize);
        let places = |throttle: &Throttle| throttle.0.lock().expect("no panic").addresses.len();
        assert_eq!(places(&throttle), ADDRESSES_MAX);
        tokio::time::advance(RECOVERY_ALL).await;
        assert_eq!(throttle.record(address(u32::MAX)), None);
        assert_eq!(places(&throttle), 1);
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:3::"), of("2001:db8:1:2::"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
