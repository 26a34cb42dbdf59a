//! [`HalfClose`]: tells a request that waits whether its peer has closed its sending
//! side.
//!
//! ```text
//! request waits ── watch ──▶ HalfClose ── is_watched ──▶ socket reads ahead
//!       ▲                        │                             │
//!       └───────── closed ───────┴──────── set_closed ◀──── FIN┘
//! ```
//!
//! A FIN after a complete request has two meanings that look the same: the peer has
//! nothing more to ask (`nc -N`), or its program has closed the socket. So a request
//! that has its answer ignores the FIN. Only a request that waits for something else
//! asks for it, and all others cost nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// The sending side of one connection's peer, shared by its socket and its current
/// request. The default is a peer that never closes.
#[derive(Debug, Clone, Default)]
pub(crate) struct HalfClose(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_watched: AtomicBool,
    is_closed: AtomicBool,
    watching: AtomicWaker,
}

/// While it exists, the socket notices a FIN. A connection has at most one.
#[derive(Debug)]
pub(crate) struct HalfCloseWatch(HalfClose);

impl HalfClose {
    /// Asks the socket to notice a FIN.
    pub(crate) fn watch(&self) -> HalfCloseWatch {
        self.0.is_watched.store(true, Ordering::Relaxed);
        HalfCloseWatch(self.clone())
    }

    /// Whether a request wants to know about a FIN.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_watched.load(Ordering::Relaxed)
    }

    /// Whether a FIN was noticed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// The socket has read the FIN.
    pub(crate) fn set_closed(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.watching.wake();
    }
}

impl HalfCloseWatch {
    /// Resolves when the peer has closed its sending side. Cancel safe.
    pub(crate) async fn closed(&self) {
        let state = &self.0.0;
        std::future::poll_fn(|cx| {
            state.watching.register(cx.waker());
            if self.0.is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for HalfCloseWatch {
    fn drop(&mut self) {
        self.0.0.is_watched.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn watch_resolves_when_the_socket_has_read_a_fin() {
        let half_close = HalfClose::default();
        assert!(!half_close.is_watched());
        let watch = half_close.watch();
        assert!(half_close.is_watched());
        assert_eq!(watch.closed().now_or_never(), None);
        let socket = half_close.clone();
        let closing = async {
            tokio::task::yield_now().await;
            socket.set_closed();
        };
        tokio::join!(watch.closed(), closing);
        drop(watch);
        assert!(!half_close.is_watched());
        assert_eq!(half_close.watch().closed().now_or_never(), Some(()), "a FIN is final");
    }
}
