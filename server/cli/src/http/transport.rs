//! A connection that hears a server which refuses a request before it has read
//! all of it.
//!
//! ```text
//! we:      head  body body body …✗ (the server has closed: a write fails)
//! server:  error answer, close                 └ here we stop sending and read the answer
//! ```
//!
//! ureq reads no answer before the body is sent, and gives up when a write
//! fails. Here such a write counts as done, [`Deaf`] ends the body, and so ureq
//! goes on to the answer that says what was wrong.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Whether the server has stopped reading the request that is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Deaf(Arc<AtomicBool>);

impl Deaf {
    /// A body that ends when the server has stopped reading it.
    pub(super) fn until<'a>(&self, body: &'a mut dyn Read) -> impl Read + 'a {
        self.0.store(false, Ordering::Relaxed);
        UntilDeaf { deaf: self.clone(), body }
    }
}

struct UntilDeaf<'a> {
    deaf: Deaf,
    body: &'a mut dyn Read,
}

impl Read for UntilDeaf<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.deaf.0.load(Ordering::Relaxed) { Ok(0) } else { self.body.read(buffer) }
    }
}

/// Wraps every connection that the connectors before it make.
impl<In: Transport> Connector<In> for Deaf {
    type Out = Hearing<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Hearing<In>>, Error> {
        Ok(chained.map(|inner| Hearing { inner, closed: false, deaf: self.clone() }))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hearing<T> {
    inner: T,
    /// The server takes no more bytes on this connection.
    closed: bool,
    deaf: Deaf,
}

impl<T: Transport> Transport for Hearing<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(error))
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                self.closed = true;
                self.deaf.0.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.closed && self.inner.is_open()
    }
}
