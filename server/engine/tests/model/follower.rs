//! [`Follower`]: follows a log on its own thread, and checks that it sees every record once and in
//! order until it gets an error. Appends wake it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use styx_engine::{Error, Found, Log, Reader};
use styx_protocol::Position;

use super::Model;

/// If a follower sees nothing for this time, its wake-up was lost.
const WAKE_UP_MAX: Duration = Duration::from_secs(20);

/// A record with its position, or the error that ended the follower.
type Seen = Result<(u64, Vec<u8>), Error>;

/// A follower that runs until it gets an error.
#[derive(Debug)]
pub(crate) struct Follower {
    next: u64,
    seen: Receiver<Seen>,
}

impl Follower {
    /// Starts a follower at a position that the log has.
    pub(crate) fn start(log: &Log, from: u64) -> Follower {
        let reader = log.reader(Position(from)).expect("a position of the log");
        let (sender, seen) = channel();
        std::thread::spawn(move || follow(reader, &sender));
        Follower { next: from, seen }
    }

    /// Waits until the follower has seen all records of the model. Returns `false` if it ended,
    /// because retention or a trim removed its next record.
    pub(crate) fn catch_up(&mut self, model: &Model) -> bool {
        while self.next < model.end() {
            match self.seen.recv_timeout(WAKE_UP_MAX) {
                Ok(Ok((position, payload))) => {
                    assert_eq!(position, self.next, "a follower sees every record once");
                    let at = usize::try_from(position).expect("it fits");
                    assert_eq!(payload, model.records[at], "position {position}");
                    self.next += 1;
                }
                Ok(Err(Error::OutOfRange { start, .. })) => {
                    assert!(self.next < start.0, "the record {} still exists", self.next);
                    return false;
                }
                Ok(Err(error)) => panic!("a follower at {} ended: {error}", self.next),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("a follower was not woken at {}", self.next)
                }
                Err(RecvTimeoutError::Disconnected) => panic!("a follower panicked"),
            }
        }
        true
    }

    /// Checks that the follower gets the right error after the log was removed or closed.
    pub(crate) fn expect_end(self) {
        loop {
            match self.seen.recv_timeout(WAKE_UP_MAX) {
                Ok(Ok((position, _))) => {
                    panic!("a follower saw record {position} of a removed log")
                }
                Ok(Err(Error::OutOfRange { .. })) => {}
                Ok(Err(Error::LogRemoved { .. } | Error::ShuttingDown)) => return,
                Ok(Err(error)) => panic!("a follower ended with another error: {error}"),
                Err(error) => panic!("a follower got no error: {error}"),
            }
        }
    }
}

fn follow(mut reader: Reader, seen: &Sender<Seen>) {
    loop {
        let found = match reader.read(500) {
            Ok(found) => found,
            Err(error) => return drop(seen.send(Err(error))),
        };
        if let Found::Some(batch) = found {
            for record in batch.records() {
                // This fails after the end of a case, when the receiver is dropped.
                let _ = seen.send(Ok((record.position.0, record.payload.to_vec())));
            }
        } else {
            reader.wait().wait();
        }
    }
}
