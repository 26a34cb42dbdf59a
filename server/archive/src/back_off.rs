//! [`BackOff`]: the pauses between attempts at a request.
//!
//! The archive never gives up on a store: it waits longer and longer, up to a limit, and tries
//! again. Half of each pause is random, so that many logs do not return at the same moment.

use std::time::Duration;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses of one operation.
#[derive(Debug)]
pub struct BackOff {
    next: Duration,
    longest: Duration,
}

impl Default for BackOff {
    fn default() -> BackOff {
        BackOff { next: FIRST, longest: LONGEST }
    }
}

impl BackOff {
    /// Pauses that begin with `first` and grow to `longest`.
    pub fn between(first: Duration, longest: Duration) -> BackOff {
        BackOff { next: first.min(longest), longest }
    }

    /// The next pause: between half of the current length and all of it. The length then doubles.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        let mut random = [0; 2];
        if getrandom::fill(&mut random).is_err() {
            return whole;
        }
        let half = whole / 2;
        half + half * u32::from(u16::from_be_bytes(random)) / u32::from(u16::MAX)
    }

    /// Waits for the next pause. Must be called on the runtime of the archive.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_are_never_shorter_than_half() {
        let mut back_off = BackOff::between(Duration::from_millis(100), Duration::from_millis(500));
        for whole in [100, 200, 400, 500, 500] {
            let pause = back_off.pause();
            assert!(pause <= Duration::from_millis(whole), "{pause:?} {whole}");
            assert!(pause >= Duration::from_millis(whole / 2), "{pause:?} {whole}");
        }
    }
}
