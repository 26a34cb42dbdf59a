//! [`Call`]: one call of the client core, for both faces of the package.
//!
//! ```text
//! sync      call.wait(timeout)                      this thread waits
//! asyncio   call.start(completions, token) … call.take()   the queue tells when it is done
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use styx_client::Error;
use styx_client::bindings::Started;

use crate::completions::Completions;
use crate::errors::exception;
use crate::shared::{Deadline, Shared};

/// Makes the Python object of a result, while the interpreter is held.
pub(crate) type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Running = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// A call that was made but not started. It is carried out once.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Call {
    shared: Arc<Shared>,
    /// Completes the message "… did not finish".
    what: &'static str,
    state: Mutex<State>,
}

enum State {
    New(Running),
    Started(Started<Answer>),
    Over,
}

impl Call {
    /// A call whose result `answer` makes an object of.
    pub(crate) fn new<T: Send + 'static>(
        shared: &Arc<Shared>,
        what: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
        answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Call {
        let running = async move {
            let result = call.await?;
            Ok(Box::new(move |py: Python<'_>| answer(py, result)) as Answer)
        };
        Call { shared: Arc::clone(shared), what, state: Mutex::new(State::New(Box::pin(running))) }
    }

    /// A call that returns `None`.
    pub(crate) fn nothing(
        shared: &Arc<Shared>,
        what: &'static str,
        call: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Call {
        Call::new(shared, what, call, |py, ()| Ok(py.None()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_new(&self) -> PyResult<Running> {
        match std::mem::replace(&mut *self.state(), State::Over) {
            State::New(running) => Ok(running),
            other => {
                *self.state() = other;
                Err(PyRuntimeError::new_err("the call was started before"))
            }
        }
    }
}

#[pymethods]
impl Call {
    /// Carries the call out and returns its result. Raises `TimedOutError` after `timeout`
    /// seconds; the call is then cancelled.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(timeout).map_err(|error| exception(py, &error))?;
        let mut running = self.take_new()?;
        match self.shared.wait(py, running.as_mut(), deadline)? {
            Some(Ok(answer)) => answer(py),
            Some(Err(error)) => Err(exception(py, &error)),
            None => {
                let seconds = timeout.unwrap_or_default();
                let text = format!("{} did not finish within {seconds} s", self.what);
                Err(exception(py, &Error::unfinished(text)))
            }
        }
    }

    /// Starts the call. When it is done, `completions` returns `token`.
    fn start(&self, py: Python<'_>, completions: &Completions, token: u64) -> PyResult<()> {
        let ticket = completions.ticket(py, token)?;
        let running = self.take_new()?;
        *self.state() = State::Started(self.shared.client.start(ticket, running));
        Ok(())
    }

    /// The result, after the token was returned.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let result = match &mut *self.state() {
            State::Started(started) => started.take(),
            State::New(_) | State::Over => None,
        };
        match result {
            Some(Ok(answer)) => answer(py),
            Some(Err(error)) => Err(exception(py, &error)),
            None => Err(PyRuntimeError::new_err("the call has no result")),
        }
    }

    /// Stops the call, if it is not done.
    fn cancel(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Over);
        drop(state);
    }
}
