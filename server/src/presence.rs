//! [`Presence`]: whether a connection's peer is still there.
//!
//! ```text
//! nothing under way       a keep-alive probe after tcp_timeout / 3   answered
//! bytes in flight         sent again and again                       acknowledged   by any kernel that lives,
//! its window is closed    probed                                     acknowledged   however its program dawdles
//! ```
//!
//! Gone is who has been asked and has said nothing at all for 2/3 of
//! `tcp_timeout`. That is looked at every 1/6 of it, so that a peer which vanished
//! is let go within `tcp_timeout`, whatever was under way.
//!
//! The kernel's own limits cannot tell that. `TCP_USER_TIMEOUT` counts from the
//! first byte that is not acknowledged, and while there is one no keep-alive is
//! sent: a peer that vanishes shortly before it is sent something has the limit
//! twice. Half the limit would close readers that are merely paused, because
//! since Linux 5.11 the time for which a window is closed counts, answered probes
//! or not. As it is, that limit is what `Watched` allows a reader that does not
//! read, and the last resort for sockets that another front end took over; those
//! look for themselves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

const SECOND: Duration = Duration::from_secs(1);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(5);
/// Shorter, the kernel would give up on a peer for one lost packet.
const USER_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// Has the kernel ask a silent peer whether it is there. What cannot be set is not
/// worth losing a connection for.
pub(crate) fn ask_when_silent(stream: &TcpStream, tcp_timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time((tcp_timeout / 3).max(SECOND))
        .with_interval((tcp_timeout / 12).clamp(SECOND, LOOK_AFTER_MAX))
        .with_retries(9);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(tcp_timeout.max(USER_TIMEOUT_MIN)));
}

/// Looks at a connection from time to time.
#[derive(Debug)]
pub(crate) struct Presence {
    silence_max: Duration,
    look_after: Duration,
    /// The next look; none before the connection first had to wait.
    next: Option<Pin<Box<Sleep>>>,
}

impl Presence {
    pub(crate) fn new(tcp_timeout: Duration) -> Presence {
        Presence {
            silence_max: silence_max(tcp_timeout),
            look_after: (tcp_timeout / 6).clamp(SECOND / 2, LOOK_AFTER_MAX),
            next: None,
        }
    }

    /// Resolves when the peer is found to be gone. Cancel safe.
    pub(crate) async fn gone(&mut self, stream: &TcpStream) -> io::Error {
        std::future::poll_fn(|cx| self.poll_gone(cx, stream)).await
    }

    /// Ready when the peer is found to be gone. Wakes its task at every look.
    pub(crate) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
    ) -> Poll<io::Error> {
        let look_after = self.look_after;
        let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(look_after)));
        loop {
            ready!(next.as_mut().poll(cx));
            if silence_of_one_asked(stream).is_some_and(|silence| silence >= self.silence_max) {
                let why = "the peer has vanished: nothing was heard of it, though it was asked";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            next.as_mut().reset(Instant::now() + look_after);
        }
    }
}

/// Whether the peer is gone as far as the kernel knows, by the same rule.
pub(crate) fn is_gone(stream: &TcpStream, tcp_timeout: Duration) -> bool {
    silence_of_one_asked(stream).is_some_and(|silence| silence >= silence_max(tcp_timeout))
}

fn silence_max(tcp_timeout: Duration) -> Duration {
    (tcp_timeout * 2 / 3).max(2 * SECOND)
}

/// How long nothing came from a peer that owes an answer to its kernel or ours.
#[cfg(target_os = "linux")]
fn silence_of_one_asked(stream: &TcpStream) -> Option<Duration> {
    use nix::sys::socket::GetSockOpt as _;
    let info = kernel::Info.get(stream).ok()?;
    let silence_ms = info.data_received_ms.min(info.acknowledged_ms);
    let is_asked = info.retransmits > 0 || info.probes > 0;
    is_asked.then(|| Duration::from_millis(silence_ms.into()))
}

/// Elsewhere the kernel's own limits have to do.
#[cfg(not(target_os = "linux"))]
fn silence_of_one_asked(_: &TcpStream) -> Option<Duration> {
    None
}

/// What Linux knows of a connection.
#[cfg(target_os = "linux")]
mod kernel {
    use nix::sys::socket::sockopt::GetStruct;

    /// `TCP_INFO`.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Info;

    /// The beginning of `struct tcp_info`, which has been the same for ever. The
    /// kernel fills as much of it as there is room for.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Known {
        _states: [u8; 2],
        /// Times that bytes in flight were sent again without an answer.
        pub(super) retransmits: u8,
        /// Probes, of a silent peer or a closed window, without an answer.
        pub(super) probes: u8,
        _options: [u8; 4],
        _sizes_and_counts: [u32; 9],
        _since_sent_ms: [u32; 2],
        /// Since data came.
        pub(super) data_received_ms: u32,
        /// Since an acknowledgement came.
        pub(super) acknowledged_ms: u32,
    }

    nix::getsockopt_impl!(Info, libc::IPPROTO_TCP, libc::TCP_INFO, Known, GetStruct<Known>);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (peer.expect("connect"), accepted.expect("accept").0)
    }

    /// Peers that vanish need a network that can be cut: `tests/tests/half_open.rs`.
    #[tokio::test]
    async fn who_answers_probes_is_there_idle_or_with_its_window_closed() {
        let tcp_timeout = SECOND;
        let (_idle_peer, idle) = pair().await;
        let (_paused_peer, mut paused) = pair().await;
        ask_when_silent(&idle, tcp_timeout);
        ask_when_silent(&paused, tcp_timeout);
        // More than both kernels hold: from then on there are only probes.
        let bytes = vec![0; 32 << 20];
        let written = tokio::time::timeout(SECOND, paused.write_all(&bytes)).await;
        assert!(written.is_err(), "it took all that");
        let stays = async |stream: &TcpStream| {
            let mut presence = Presence::new(tcp_timeout);
            let gone = presence.gone(stream);
            tokio::time::timeout(2 * presence_max(tcp_timeout), gone).await.is_err()
        };
        assert_eq!(tokio::join!(stays(&idle), stays(&paused)), (true, true));
    }

    fn presence_max(tcp_timeout: Duration) -> Duration {
        Presence::new(tcp_timeout).silence_max
    }
}
