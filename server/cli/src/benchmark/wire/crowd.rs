//! [`Crowd`]: many connections on one thread, with one request in flight on each
//! and no pipelining: what many clients of HTTP do, at the cost of one.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::answer::{self, Answer, Hint};
use super::broken;
use super::connection::Route;
use crate::failure::Failure;

/// How long nobody may be answered.
const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: usize = 1024;
/// Room for one answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Connections that are open.
pub(in crate::benchmark) struct Crowd {
    poll: Poll,
    members: Vec<Member>,
}

struct Member {
    stream: TcpStream,
    bytes: Vec<u8>,
    filled: usize,
    hint: Hint,
}

/// What the members of a crowd say.
pub(in crate::benchmark) trait Script {
    /// The next request of a member; `None` when it has no more.
    fn request(&mut self, member: usize) -> Option<&[u8]>;

    /// Takes the answer to it.
    ///
    /// # Errors
    /// It is wrong.
    fn answer(&mut self, member: usize, answer: Answer<'_>) -> Result<(), Failure>;
}

impl Crowd {
    /// Opens so many connections.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub(in crate::benchmark) fn connect(route: &Route, count: usize) -> Result<Crowd, Failure> {
        let failed = |error| broken("opening many connections", &error);
        let poll = Poll::new().map_err(failed)?;
        let mut members = Vec::with_capacity(count);
        for number in 0..count {
            let stream = route.connect()?;
            stream.set_nonblocking(true).map_err(failed)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)
                .map_err(failed)?;
            let bytes = vec![0; ANSWER_BYTES_MAX];
            members.push(Member { stream, bytes, filled: 0, hint: Hint::default() });
        }
        Ok(Crowd { poll, members })
    }

    /// Lets everybody ask until the script has no more requests, and waits for
    /// the last answers.
    ///
    /// # Errors
    /// A connection broke, or an answer is wrong.
    pub(in crate::benchmark) fn run(&mut self, script: &mut impl Script) -> Result<(), Failure> {
        let failed = |error| broken("under load", &error);
        let mut waiting = 0_usize;
        for (number, member) in self.members.iter_mut().enumerate() {
            if let Some(request) = script.request(number) {
                member.stream.write_all(request).map_err(failed)?;
                waiting += 1;
            }
        }
        let mut events = Events::with_capacity(EVENTS);
        while waiting > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(failed)?,
            }
            if events.is_empty() {
                let text = format!("nothing was answered for {PATIENCE:?}");
                return Err(Failure::Failed(text));
            }
            for event in &events {
                let Token(number) = event.token();
                let Some(member) = self.members.get_mut(number) else { continue };
                if !member.read(number, script)? {
                    continue;
                }
                match script.request(number) {
                    // It is small, and the peer has read all before: there is room.
                    Some(request) => member.stream.write_all(request).map_err(failed)?,
                    None => waiting -= 1,
                }
            }
        }
        Ok(())
    }
}

impl Member {
    /// Reads what came; whether the answer is there.
    fn read(&mut self, number: usize, script: &mut impl Script) -> Result<bool, Failure> {
        loop {
            let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
            let free = room.len();
            match self.stream.read(room) {
                Ok(0) => {
                    return Err(Failure::Failed("the server closed a connection".to_owned()));
                }
                Ok(came) => {
                    self.filled += came;
                    let bytes = self.bytes.get(..self.filled).unwrap_or_default();
                    let parsed = answer::parse(bytes, &mut self.hint).map_err(Failure::Failed)?;
                    if let Some(answer) = parsed {
                        script.answer(number, answer)?;
                        self.filled = 0;
                        return Ok(true);
                    }
                    if came < free {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken("waiting for an answer", &error)),
            }
        }
    }
}
