//! How long the server needs from its start until it is ready, in a new directory. The times are
//! reported, but never fail: they depend on the machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::empty;
use super::platform::HERE;

const STARTS: usize = 41;

/// Prints the median and the range of many starts.
pub(super) fn measure() -> Option<()> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(start(&empty("start")?)?);
    }
    times.sort();
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1000.0;
    let (first, median, last) = (times.first()?, times.get(STARTS / 2)?, times.last()?);
    println!(
        "from the start of the process to 200 from /health/ready, {STARTS} starts without a log: \
         median {:.1} ms, {:.1} to {:.1} ms",
        milliseconds(median),
        milliseconds(first),
        milliseconds(last)
    );
    Some(())
}

/// The time of one start.
fn start(folder: &Path) -> Option<Duration> {
    let port = folder.join("port");
    let mut server = Command::new(HERE.binary()?);
    server.args(["serve", "--bind-address", "127.0.0.1:0", "--data-directory"]);
    server.arg(folder.join("data")).arg("--port-file").arg(&port);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut server = server.spawn().ok()?;
    let time = ready(&mut server, &port).then(|| start.elapsed());
    let _ = server.kill();
    let _ = server.wait();
    if time.is_none() {
        eprintln!("the server did not become ready");
    }
    time
}

/// Waits until the server is ready. `false` if it ends before.
fn ready(server: &mut Child, port: &Path) -> bool {
    while server.try_wait().is_ok_and(|status| status.is_none()) {
        let port = fs::read_to_string(port).ok().and_then(|port| port.trim().parse().ok());
        if port.is_some_and(|port| is_ready(port).unwrap_or(false)) {
            return true;
        }
        thread::sleep(Duration::from_micros(100));
    }
    false
}

fn is_ready(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: styx\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.starts_with("HTTP/1.1 200 "))
}
