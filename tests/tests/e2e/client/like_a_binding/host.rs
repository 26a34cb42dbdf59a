//! [`Host`]: the event loop of a binding. One thread waits for the queue, and finds what a
//! completion belongs to by its token.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use styx_client::bindings::{CompletionQueue, Outcome, Source, Ticket};
use styx_client::{Client, Error};

/// Far more than each step needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The calls that run at a time. The program needs two.
const CAPACITY: usize = 4;

/// See the module.
pub(super) struct Host {
    queue: CompletionQueue,
    /// `None` if the host watches the queue's descriptor.
    notified: Option<Receiver<()>>,
    next_token: u64,
    results: HashMap<u64, Result<Outcome, Error>>,
    ready: HashSet<u64>,
    woken: bool,
}

impl Host {
    /// A host that watches descriptors, as epoll, libuv and asyncio do.
    pub(super) fn with_descriptor() -> Host {
        Host::new(CompletionQueue::new(CAPACITY).expect("a descriptor"), None)
    }

    /// A host that has a flag of its own for other threads to raise.
    pub(super) fn with_notifier() -> Host {
        let (raise, raised) = channel();
        let queue = CompletionQueue::with_notifier(CAPACITY, move || {
            // The host ends before its queue.
            let _ = raise.send(());
        });
        Host::new(queue, Some(raised))
    }

    fn new(queue: CompletionQueue, notified: Option<Receiver<()>>) -> Host {
        Host {
            queue,
            notified,
            next_token: 100,
            results: HashMap::new(),
            ready: HashSet::new(),
            woken: false,
        }
    }

    pub(super) fn queue(&self) -> &CompletionQueue {
        &self.queue
    }

    /// A source with this token, which is below 100.
    pub(super) fn source(&self, token: u64) -> Source {
        self.queue.source(token)
    }

    /// Makes a call that reports to a ticket, and runs the loop until it does.
    pub(super) fn report(&mut self, call: impl FnOnce(Ticket)) -> Result<Outcome, Error> {
        let token = self.next_token;
        self.next_token += 1;
        call(self.queue.ticket(token).expect("a place in the queue"));
        loop {
            match self.results.remove(&token) {
                Some(result) => return result,
                None => self.turn(),
            }
        }
    }

    /// Makes a call of the client, and runs the loop until its result is there.
    pub(super) fn call<T, F>(
        &mut self,
        client: &Client,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let future = call(client.clone());
        let mut started = None;
        let reported = self.report(|ticket| started = Some(client.start(ticket, future)));
        let result = started.and_then(|mut call| call.take()).expect("its ticket has completed");
        match (&reported, &result) {
            (Ok(outcome), Ok(_)) => assert_eq!(*outcome, Outcome::Done),
            (Err(told), Err(error)) => assert_eq!(told.kind(), error.kind()),
            (told, _) => panic!("the queue has reported {told:?} instead of the result"),
        }
        result
    }

    /// Runs the loop until a source with this token has something new.
    pub(super) fn await_ready(&mut self, token: u64) {
        while !self.ready.remove(&token) {
            self.turn();
        }
    }

    /// Runs the loop until somebody has woken the queue.
    pub(super) fn await_wakeup(&mut self) {
        while !std::mem::take(&mut self.woken) {
            self.turn();
        }
    }

    /// Waits until the queue has something, and drains it.
    fn turn(&mut self) {
        match &self.notified {
            None => assert!(is_readable(&self.queue, PATIENCE), "nothing for {PATIENCE:?}"),
            Some(raised) => raised.recv_timeout(PATIENCE).expect("the notifier is called"),
        }
        let mut completions = Vec::new();
        loop {
            // Less than there may be, so that several drains are needed.
            let drained = self.queue.drain(2, &mut completions);
            self.woken |= drained.woken;
            if drained.completions == 0 {
                break;
            }
        }
        for completion in completions {
            if completion.token < 100 {
                assert_eq!(completion.result.expect("no error"), Outcome::Ready);
                self.ready.insert(completion.token);
            } else {
                self.results.insert(completion.token, completion.result);
            }
        }
    }
}

/// Whether a descriptor is readable, or becomes readable within this time.
pub(super) fn is_readable(fd: &impl AsFd, at_most: Duration) -> bool {
    let timeout = Timespec::try_from(at_most).expect("a short time");
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut watched, Some(&timeout)).expect("poll") == 1
}
