//! The network inside the machine: one TCP stream, and the way there and back.
//!
//! Both ends stay on one core. Where the scheduler chooses, it puts them on one
//! core or on two as it likes: a byte takes five times as long to another core,
//! which has to wake up, and a stream gets up to twice as far, where nobody else
//! wants that core. Two measurements would not measure the same.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

const CHUNK_BYTES: usize = 256 << 10;

/// Bytes a second that one thread sends and another takes.
pub(super) fn bandwidth(time: Duration) -> io::Result<f64> {
    let send = |mut stream: TcpStream| {
        let chunk = vec![7; CHUNK_BYTES];
        let mut send_for = |time: Duration| -> io::Result<f64> {
            let (begun, mut sent) = (Instant::now(), 0);
            while begun.elapsed() < time {
                stream.write_all(&chunk)?;
                sent += chunk.len();
            }
            Ok(sent as f64 / begun.elapsed().as_secs_f64())
        };
        send_for(time / 5)?;
        send_for(time)
    };
    let take = |mut stream: TcpStream| {
        let mut buffer = vec![0; CHUNK_BYTES];
        while stream.read(&mut buffer)? > 0 {}
        Ok(())
    };
    on_one_core(send, take)
}

/// The median time of a byte there and back.
pub(super) fn round_trip(time: Duration) -> io::Result<Duration> {
    let ask = |mut stream: TcpStream| {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            let started = Instant::now();
            stream.write_all(&[1])?;
            stream.read_exact(&mut [0])?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    };
    let echo = |mut stream: TcpStream| {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    };
    on_one_core(ask, echo)
}

/// Runs both ends of a connection until each has dropped its own.
fn on_one_core<T: Send>(
    near: impl FnOnce(TcpStream) -> io::Result<T> + Send,
    far: impl FnOnce(TcpStream) -> io::Result<()> + Send,
) -> io::Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near_end = TcpStream::connect(listener.local_addr()?)?;
    let far_end = listener.accept()?.0;
    near_end.set_nodelay(true)?;
    far_end.set_nodelay(true)?;
    let core = sched_getcpu();
    // Threads of their own: what they are bound to ends with them.
    thread::scope(|scope| {
        let near = scope.spawn(move || {
            stay_on(core);
            near(near_end)
        });
        let far = scope.spawn(move || {
            stay_on(core);
            far(far_end)
        });
        let (value, done) = (joined(near), joined(far));
        done.and(value)
    })
}

/// Where the system refuses, the scheduler chooses.
fn stay_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _ = sched_setaffinity(None, &set);
}

fn joined<T>(end: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    end.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}
