//! Followers, each on a thread of its own: woken by appends, they see every
//! record once and in order, or are told why not.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use styx_engine::{Error, Found, Log, Reader};
use styx_protocol::Position;

use super::Model;

/// A wake-up that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a follower saw.
type Seen = Result<(u64, Vec<u8>), Error>;

/// A follower that reads until an error ends it.
#[derive(Debug)]
pub(crate) struct Follower {
    next: u64,
    seen: Receiver<Seen>,
}

impl Follower {
    /// Begins at a position that the log has.
    pub(crate) fn start(log: &Log, from: u64) -> Follower {
        let reader = log.reader(Position(from)).expect("a position of the log");
        let (sender, seen) = channel();
        std::thread::spawn(move || follow(reader, &sender));
        Follower { next: from, seen }
    }

    /// Waits until it has seen all that the model holds; says whether it goes on,
    /// which it does not when retention or a trim has passed it.
    pub(crate) fn catch_up(&mut self, model: &Model) -> bool {
        while self.next < model.end() {
            match self.seen.recv_timeout(PATIENCE) {
                Ok(Ok((position, payload))) => {
                    assert_eq!(position, self.next, "a follower skips and repeats nothing");
                    let at = usize::try_from(position).expect("small");
                    assert_eq!(payload, model.records[at], "position {position}");
                    self.next += 1;
                }
                Ok(Err(Error::OutOfRange { start, .. })) => {
                    assert!(self.next < start.0, "{} is still there", self.next);
                    return false;
                }
                Ok(Err(error)) => panic!("a follower at {} ended: {error}", self.next),
                Err(RecvTimeoutError::Timeout) => panic!("a follower sleeps at {}", self.next),
                Err(RecvTimeoutError::Disconnected) => panic!("a follower panicked"),
            }
        }
        true
    }

    /// The log is gone, or closed: it is told so, after what it was still to see.
    pub(crate) fn expect_end(self) {
        loop {
            match self.seen.recv_timeout(PATIENCE) {
                Ok(Ok((position, _))) => panic!("a follower saw {position} of a log that is gone"),
                Ok(Err(Error::OutOfRange { .. })) => {}
                Ok(Err(Error::LogRemoved { .. } | Error::ShuttingDown)) => return,
                Ok(Err(error)) => panic!("a follower ended in another way: {error}"),
                Err(error) => panic!("a follower is not told: {error}"),
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
                // Nobody listens any more once a case is over.
                let _ = seen.send(Ok((record.position.0, record.payload.to_vec())));
            }
        } else {
            reader.wait().wait();
        }
    }
}
