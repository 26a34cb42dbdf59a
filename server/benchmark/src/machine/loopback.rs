//! The limits of the loopback network: the rate of one TCP stream, and a round trip.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 256 << 10;

/// Bytes per second that one thread sends and another receives.
pub(super) fn bandwidth(time: Duration) -> io::Result<f64> {
    let (mut sender, receiver) = with_peer(|mut peer| {
        let mut buffer = vec![0; CHUNK_BYTES];
        while peer.read(&mut buffer)? > 0 {}
        Ok(())
    })?;
    let chunk = vec![7; CHUNK_BYTES];
    let mut send_for = |time: Duration| -> io::Result<f64> {
        let (begun, mut sent) = (Instant::now(), 0);
        while begun.elapsed() < time {
            sender.write_all(&chunk)?;
            sent += chunk.len();
        }
        Ok(sent as f64 / begun.elapsed().as_secs_f64())
    };
    send_for(time / 5)?;
    let rate = send_for(time)?;
    drop(sender);
    finish(receiver)?;
    Ok(rate)
}

/// The median round trip time of one byte.
pub(super) fn round_trip(time: Duration) -> io::Result<Duration> {
    let (mut asker, echo) = with_peer(|mut peer| {
        peer.set_nodelay(true)?;
        let mut byte = [0];
        while peer.read(&mut byte)? > 0 {
            peer.write_all(&byte)?;
        }
        Ok(())
    })?;
    asker.set_nodelay(true)?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let started = Instant::now();
        asker.write_all(&[1])?;
        asker.read_exact(&mut [0])?;
        times.push(started.elapsed());
    }
    drop(asker);
    finish(echo)?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn with_peer(
    serve: impl FnOnce(TcpStream) -> io::Result<()> + Send + 'static,
) -> io::Result<(TcpStream, JoinHandle<io::Result<()>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let peer = std::thread::spawn(move || serve(listener.accept()?.0));
    Ok((TcpStream::connect(address)?, peer))
}

fn finish(peer: JoinHandle<io::Result<()>>) -> io::Result<()> {
    peer.join().unwrap_or_else(|_| Err(io::Error::other("the peer's thread panicked")))
}
