//! [`Proxy`]: an unreliable network between a client and a server.
//!
//! ```text
//! client ⇄ two threads per connection ⇄ server
//!          forward in random pieces, sometimes delayed,
//!          until the connection ends
//! ```
//!
//! After a random time, each connection ends in one way ([`ConnectionEnd`]): it is reset on both
//! sides, closed, half-closed, or goes silent. The same seed gives the same ends, but
//! not at the same bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::random::Random;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// Both sides get a reset. Bytes in flight are lost.
    Reset,
    /// Both sides see an orderly close, after any byte.
    Close,
    /// The server sees a half close. Its answers are still forwarded.
    HalfClose,
    /// Nothing is forwarded any more, and neither side is notified.
    Silence,
}

/// How a proxy treats its connections.
#[derive(Debug, Clone)]
pub struct LinkFaults {
    /// The minimum and maximum lifetime of a connection.
    pub life: (Duration, Duration),
    /// The lifetime begins when the server has sent this number of bytes. So a handshake that is
    /// slow on a busy machine does not fail each time.
    pub begins_after: u64,
    /// One in this number of connections goes silent; 0 for none.
    pub silence_one_in: u64,
    /// How long the silence lasts before the connection is reset.
    pub silence: Duration,
    /// Longest delay of a piece; one piece in twenty gets one.
    pub delay_max: Duration,
}

impl LinkFaults {
    /// Lifetimes of a few to some dozens of milliseconds, no silence.
    #[must_use]
    pub fn frequent() -> LinkFaults {
        LinkFaults {
            life: (Duration::from_millis(1), Duration::from_millis(40)),
            begins_after: 0,
            silence_one_in: 0,
            silence: Duration::from_secs(4),
            delay_max: Duration::from_millis(3),
        }
    }
}

/// The proxy. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    faults: Mutex<Option<LinkFaults>>,
    random: Mutex<Random>,
    cuts: AtomicU64,
    /// How often all connections were reset.
    resets: AtomicU64,
    ended: AtomicBool,
}

impl Proxy {
    /// Starts to forward to a server, without faults until [`inject`](Self::inject).
    ///
    /// # Panics
    /// When no port is available.
    #[must_use]
    pub fn start(server: SocketAddr, seed: u64) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            faults: Mutex::new(None),
            random: Mutex::new(Random::new(seed)),
            cuts: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || accept_all(&listener, &shared)
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to this server.
    ///
    /// # Panics
    /// Never.
    pub fn forward_to(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("no thread panics while it holds the lock") = server;
    }

    /// From now on every connection, old or new, has these faults; `None` for none.
    ///
    /// # Panics
    /// Never.
    pub fn inject(&self, faults: Option<LinkFaults>) {
        *self.shared.faults.lock().expect("no thread panics while it holds the lock") = faults;
    }

    /// Resets every connection that exists now. New ones are forwarded.
    pub fn reset_all(&self) {
        self.shared.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of connections that were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let server = *shared.server.lock().expect("no thread panics while it holds the lock");
        // If there is no server, this closes the client's connection.
        let Ok(server) = TcpStream::connect(server) else { continue };
        let seed =
            shared.random.lock().expect("no thread panics while it holds the lock").next_u64();
        let shared = shared.clone();
        std::thread::spawn(move || carry(&shared, client, server, seed));
    }
}

/// Shared by both directions of a connection.
#[derive(Debug, Default)]
struct Line {
    delay_max_us: AtomicU64,
    is_silent: AtomicBool,
    is_over: AtomicBool,
    /// Bytes from the server.
    answered: AtomicU64,
}

/// Forwards one connection until it ends.
fn carry(shared: &Shared, client: TcpStream, server: TcpStream, seed: u64) {
    let mut random = Random::new(seed);
    let line = Arc::new(Line::default());
    let pumps = [(&client, &server, false), (&server, &client, true)].map(|(from, to, answers)| {
        let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
        let (line, random) = (line.clone(), Random::new(random.next_u64()));
        std::thread::spawn(move || pump(from, to, answers, &line, random))
    });
    let mut end = None;
    let resets = shared.resets.load(Ordering::Relaxed);
    while !pumps.iter().all(JoinHandle::is_finished) && !shared.ended.load(Ordering::Relaxed) {
        if shared.resets.load(Ordering::Relaxed) != resets {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            reset(&client, &server);
            break;
        }
        let faults =
            shared.faults.lock().expect("no thread panics while it holds the lock").clone();
        if let Some(faults) = faults {
            line.delay_max_us.store(faults.delay_max.as_micros() as u64, Ordering::Relaxed);
            let has_begun = line.answered.load(Ordering::Relaxed) >= faults.begins_after;
            if end.is_none() && has_begun {
                end = Some(Instant::now() + between(&mut random, faults.life));
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                shared.cuts.fetch_add(1, Ordering::Relaxed);
                cut(choose(&mut random, &faults), &faults, &line, &client, &server);
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    line.is_over.store(true, Ordering::Relaxed);
    for end in [&client, &server] {
        let _ = end.shutdown(Shutdown::Both);
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

fn choose(random: &mut Random, faults: &LinkFaults) -> ConnectionEnd {
    if faults.silence_one_in > 0 && random.between(0, faults.silence_one_in) == 0 {
        return ConnectionEnd::Silence;
    }
    match random.between(0, 4) {
        0 => ConnectionEnd::Close,
        1 => ConnectionEnd::HalfClose,
        _ => ConnectionEnd::Reset,
    }
}

fn cut(
    end: ConnectionEnd,
    faults: &LinkFaults,
    line: &Line,
    client: &TcpStream,
    server: &TcpStream,
) {
    match end {
        ConnectionEnd::Close => {}
        ConnectionEnd::Reset => reset(client, server),
        ConnectionEnd::HalfClose => {
            let _ = server.shutdown(Shutdown::Write);
            std::thread::sleep(Duration::from_millis(20));
        }
        ConnectionEnd::Silence => {
            line.is_silent.store(true, Ordering::Relaxed);
            std::thread::sleep(faults.silence);
        }
    }
}

/// After this, closing the sockets resets their connections.
fn reset(client: &TcpStream, server: &TcpStream) {
    for end in [client, server] {
        let _ = rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO));
    }
}

/// Forwards one direction, in pieces.
fn pump(mut from: TcpStream, mut to: TcpStream, answers: bool, line: &Line, mut random: Random) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = vec![0; 64 << 10];
    while !line.is_over.load(Ordering::Relaxed) {
        let bytes_max = random.between(1, buffer.len() as u64) as usize;
        let piece = match from.read(&mut buffer[..bytes_max]) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => &buffer[..count],
            Err(error) if is_of_time(&error) => continue,
            // Such as a reset by a server that was killed. The other side must see it too.
            Err(_) => return line.is_over.store(true, Ordering::Relaxed),
        };
        if random.between(0, 20) == 0 {
            let delay_max = Duration::from_micros(line.delay_max_us.load(Ordering::Relaxed));
            std::thread::sleep(between(&mut random, (Duration::ZERO, delay_max)));
        }
        if line.is_silent.load(Ordering::Relaxed) {
            continue;
        }
        // Split at arbitrary bytes.
        let (first, rest) = piece.split_at(random.between(0, piece.len() as u64 + 1) as usize);
        if to.write_all(first).and_then(|()| to.write_all(rest)).is_err() {
            return line.is_over.store(true, Ordering::Relaxed);
        }
        if answers {
            line.answered.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    }
}

fn is_of_time(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::WouldBlock | K::TimedOut | K::Interrupted)
}

fn between(random: &mut Random, (low, high): (Duration, Duration)) -> Duration {
    Duration::from_micros(random.between(low.as_micros() as u64, high.as_micros() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            while let Ok((mut peer, _)) = listener.accept() {
                std::thread::spawn(move || {
                    let mut back = peer.try_clone().expect("a handle");
                    let _ = std::io::copy(&mut peer, &mut back);
                    let _ = back.shutdown(Shutdown::Write);
                });
            }
        });
        address
    }

    #[test]
    fn in_calm_weather_every_byte_passes() {
        let proxy = Proxy::start(echo(), 1);
        let bytes = Random::new(2).bytes(1 << 20);
        let mut client = TcpStream::connect(proxy.address()).expect("the server is listening");
        let mut sender = client.try_clone().expect("a handle");
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || {
            sender.write_all(&sent).expect("the bytes can be sent");
            sender.shutdown(Shutdown::Write).expect("it is open");
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("an end");
        sending.join().expect("it was sent");
        assert!(back == bytes);
        assert_eq!(proxy.cuts(), 0);
    }

    #[test]
    fn a_reset_ends_the_connections_that_exist_and_no_later_one() {
        let proxy = Proxy::start(echo(), 1);
        let connect = || TcpStream::connect(proxy.address()).expect("the server is listening");
        let answers = |client: &mut TcpStream| {
            client.write_all(b"x").is_ok() && client.read(&mut [0; 16]).is_ok_and(|n| n > 0)
        };
        let mut old = connect();
        assert!(answers(&mut old));
        proxy.reset_all();
        crate::wait::until_true("the end", Duration::from_secs(5), || !answers(&mut old));
        assert!(answers(&mut connect()));
        assert_eq!(proxy.cuts(), 1);
    }

    #[test]
    fn in_a_storm_every_connection_ends_soon() {
        let proxy = Proxy::start(echo(), 1);
        proxy.inject(Some(LinkFaults::frequent()));
        for _ in 0..20 {
            let mut client = TcpStream::connect(proxy.address()).expect("the server is listening");
            let mut buffer = [0; 16];
            while client.write_all(b"x").is_ok() && client.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
        crate::wait::until_true("each connection to be counted", Duration::from_secs(5), || {
            proxy.cuts() == 20
        });
    }

    #[test]
    fn lifetime_begins_after_the_first_bytes_of_the_server() {
        let proxy = Proxy::start(echo(), 1);
        proxy.inject(Some(LinkFaults { begins_after: 10, ..LinkFaults::frequent() }));
        let mut client = TcpStream::connect(proxy.address()).expect("the server is listening");
        let mut buffer = [0; 1];
        for _ in 0..9 {
            client.write_all(b"x").expect("the connection lives");
            client.read_exact(&mut buffer).expect("the connection lives");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(proxy.cuts(), 0);
        client.write_all(b"x").expect("the connection lives");
        crate::wait::until_true("the connection to be cut", Duration::from_secs(5), || {
            proxy.cuts() == 1
        });
    }
}
