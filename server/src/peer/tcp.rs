//! [`TcpLiveness`]: whether the kernel still hears from a connection's peer.
//!
//! ```text
//! state of the connection    what our kernel does                     any running kernel
//! idle                       a keep-alive probe after tcp_timeout / 3 answers
//! bytes in flight            retransmits them                         acknowledges
//! the peer's window is zero  probes the window                        acknowledges
//! ```
//!
//! A peer is gone if a probe or a retransmission is unanswered and nothing at all
//! has arrived for 2/3 of `tcp_timeout`. The connection is checked every 1/6 of
//! `tcp_timeout`, so a peer that vanished is dropped within `tcp_timeout`.
//!
//! The kernel's own limits cannot do this. `TCP_USER_TIMEOUT` counts from the
//! first byte that is not acknowledged, and the kernel sends no keep-alive while
//! there is one. A peer that vanishes shortly before it is sent something would
//! therefore last twice the limit. Half the limit would close readers that are
//! merely paused: since Linux 5.11 the time with a zero window counts, even if
//! probes are answered. So the limit is set to what the listener allows an HTTP
//! peer that does not read. For upgraded sockets, which check liveness
//! themselves, it is the last resort.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::transport::{PlainSocket, Transport};

const SECOND: Duration = Duration::from_secs(1);
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// With a shorter limit the kernel would drop a peer after one lost packet.
const USER_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// Makes the kernel probe a silent peer. Errors are ignored: a connection without
/// these options is better than none.
pub(crate) fn enable_keep_alive(socket: &PlainSocket, tcp_timeout: Duration) {
    let Some(stream) = socket.tcp() else { return };
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time((tcp_timeout / 3).max(SECOND))
        .with_interval((tcp_timeout / 12).clamp(SECOND, CHECK_INTERVAL_MAX))
        .with_retries(9);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(tcp_timeout.max(USER_TIMEOUT_MIN)));
}

/// Checks a connection at regular intervals.
#[derive(Debug)]
pub(crate) struct TcpLiveness {
    silence_max: Duration,
    check_interval: Duration,
    /// The next check; `None` until the connection first has to wait.
    next_check: Option<Pin<Box<Sleep>>>,
}

impl TcpLiveness {
    pub(crate) fn new(tcp_timeout: Duration) -> TcpLiveness {
        TcpLiveness {
            silence_max: silence_max(tcp_timeout),
            check_interval: (tcp_timeout / 6).clamp(SECOND / 2, CHECK_INTERVAL_MAX),
            next_check: None,
        }
    }

    /// Resolves when the peer is gone. Cancel safe.
    pub(crate) async fn gone(&mut self, transport: &Transport) -> io::Error {
        std::future::poll_fn(|cx| self.poll_gone(cx, transport)).await
    }

    /// Ready when the peer is gone. Wakes its task at every check.
    pub(crate) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        transport: &Transport,
    ) -> Poll<io::Error> {
        let interval = self.check_interval;
        let next = self.next_check.get_or_insert_with(|| Box::pin(tokio::time::sleep(interval)));
        loop {
            ready!(next.as_mut().poll(cx));
            if unanswered_silence(transport).is_some_and(|silence| silence >= self.silence_max) {
                let why = "the peer has vanished: it answers no TCP probe or retransmission";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            next.as_mut().reset(Instant::now() + interval);
        }
    }
}

/// Whether the peer is gone now, by the same rule.
pub(crate) fn is_gone(transport: &Transport, tcp_timeout: Duration) -> bool {
    unanswered_silence(transport).is_some_and(|silence| silence >= silence_max(tcp_timeout))
}

fn silence_max(tcp_timeout: Duration) -> Duration {
    (tcp_timeout * 2 / 3).max(2 * SECOND)
}

/// How long nothing has arrived from a peer that owes an answer to our kernel;
/// `None` if it owes none, as always on a Unix socket.
#[cfg(target_os = "linux")]
fn unanswered_silence(transport: &Transport) -> Option<Duration> {
    use nix::sys::socket::GetSockOpt as _;
    let info = kernel::TcpInfoOption.get(transport.socket().tcp()?).ok()?;
    let silence_ms = info.data_received_ms.min(info.acknowledged_ms);
    let owes_answer = info.retransmits > 0 || info.probes > 0;
    owes_answer.then(|| Duration::from_millis(silence_ms.into()))
}

/// Other systems have only the kernel's own limits.
#[cfg(not(target_os = "linux"))]
fn unanswered_silence(_: &Transport) -> Option<Duration> {
    None
}

/// What Linux reports about a connection.
#[cfg(target_os = "linux")]
mod kernel {
    use nix::sys::socket::sockopt::GetStruct;

    /// `TCP_INFO`.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct TcpInfoOption;

    /// The beginning of `struct tcp_info`, which has never changed. The kernel
    /// fills as much of it as fits.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    pub(super) struct TcpInfo {
        _states: [u8; 2],
        /// Retransmissions without an answer.
        pub(super) retransmits: u8,
        /// Keep-alive or window probes without an answer.
        pub(super) probes: u8,
        _options: [u8; 4],
        _sizes_and_counts: [u32; 9],
        _since_sent_ms: [u32; 2],
        /// Milliseconds since data arrived.
        pub(super) data_received_ms: u32,
        /// Milliseconds since an acknowledgement arrived.
        pub(super) acknowledged_ms: u32,
    }

    nix::getsockopt_impl!(
        TcpInfoOption,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        TcpInfo,
        GetStruct<TcpInfo>
    );
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::peer::testing::connected_pair;

    /// Peers that vanish need a network that can be cut: `tests/tests/half_open.rs`.
    #[tokio::test]
    async fn idle_peer_and_peer_with_zero_window_that_answer_probes_are_alive() {
        let tcp_timeout = SECOND;
        let (_idle_peer, idle) = connected_pair().await;
        let (_paused_peer, paused) = connected_pair().await;
        let (idle, mut paused) = (Transport::from(idle), Transport::from(paused));
        enable_keep_alive(idle.socket(), tcp_timeout);
        enable_keep_alive(paused.socket(), tcp_timeout);
        // More than both kernels buffer: after that there are only probes.
        let bytes = vec![0; 32 << 20];
        let written = tokio::time::timeout(SECOND, paused.write_all(&bytes)).await;
        assert!(written.is_err(), "the kernels buffered all of it");
        let stays = async |transport: &Transport| {
            let mut liveness = TcpLiveness::new(tcp_timeout);
            let gone = liveness.gone(transport);
            tokio::time::timeout(2 * silence_max(tcp_timeout), gone).await.is_err()
        };
        assert_eq!(tokio::join!(stays(&idle), stays(&paused)), (true, true));
    }
}
