//! [`Session`]: a driver as a child process. One JSON object a line goes in, one comes out.
//!
//! Every wait is bounded. A driver that dies, hangs or answers nonsense is an error with its
//! standard error and the last lines of both sides.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::drivers::Driver;

/// How long an operation may take, unless the scenario says something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lines in the message of a failure.
const TRACE_LINES: usize = 12;

/// Characters of each of these lines.
const TRACE_CHARACTERS: usize = 300;

pub(crate) struct Session {
    name: &'static str,
    change: Option<fn(&mut Value)>,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    trace: VecDeque<String>,
}

impl Session {
    /// Starts the driver and checks that it answers.
    pub(crate) fn start(driver: &Driver) -> Result<Session, String> {
        Session::start_within(driver, PATIENCE)
    }

    pub(crate) fn start_within(driver: &Driver, limit: Duration) -> Result<Session, String> {
        let mut command = (driver.command)()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The environment of the tests must not configure the client.
        for name in ["STYX_HOST", "STYX_TOKEN", "STYX_CA_FILE"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let output = child.stdout.take().expect("the stream is piped");
        let mut stderr = child.stderr.take().expect("the stream is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let input = child.stdin.take();
        let mut session = Session {
            name: driver.name,
            change: driver.change,
            child,
            input,
            lines,
            errors: Some(errors),
            trace: VecDeque::new(),
        };
        session.call(&json!({ "op": "hello" }), limit)?;
        Ok(session)
    }

    /// Asks for an operation and waits for its answer: `{"ok": …}` or `{"error": …}`.
    pub(crate) fn call(&mut self, request: &Value, limit: Duration) -> Result<Value, String> {
        self.begin(request)?;
        self.answer(limit)
    }

    /// Asks for an operation. [`answer`](Self::answer) must follow.
    pub(crate) fn begin(&mut self, request: &Value) -> Result<(), String> {
        let line = request.to_string();
        self.note('>', &line);
        let input = self.input.as_mut().expect("it is open until the end");
        match writeln!(input, "{line}").and_then(|()| input.flush()) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.failure(&format!("the driver takes no request ({e})"))),
        }
    }

    /// The answer to the last request.
    pub(crate) fn answer(&mut self, limit: Duration) -> Result<Value, String> {
        let line = match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.failure(&format!("the driver did not answer within {limit:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(self.failure("the driver ended before it answered"));
            }
        };
        self.note('<', &line);
        let answer = serde_json::from_str::<Value>(&line);
        let is_answer = |answer: &Value| answer["ok"].is_object() || answer["error"].is_object();
        match answer {
            Ok(mut answer) if is_answer(&answer) => {
                if let Some(change) = self.change {
                    change(&mut answer);
                }
                Ok(answer)
            }
            Ok(answer) => Err(self.failure(&format!("this is not an answer: {answer}"))),
            Err(e) => Err(self.failure(&format!("this is not JSON ({e}): {line}"))),
        }
    }

    /// Closes the driver's input. It has to exit with 0 soon.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        drop(self.input.take());
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failure(&format!("the driver: {status}"))),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                _ => return Err(self.failure("the driver does not exit at the end of its input")),
            }
        }
    }

    fn note(&mut self, side: char, line: &str) {
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        let shown: String = line.chars().take(TRACE_CHARACTERS).collect();
        let rest = if shown.len() < line.len() { " …" } else { "" };
        self.trace.push_back(format!("{side} {shown}{rest}"));
    }

    /// Ends the driver, and adds what is known about it to a message.
    fn failure(&mut self, what: &str) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let errors = self.errors.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        format!("{what}\n{}--- standard error of the driver\n{errors}---", self.shown())
    }

    /// The driver's name and its last lines.
    pub(crate) fn shown(&self) -> String {
        let lines: String = self.trace.iter().map(|line| format!("{line}\n")).collect();
        format!("--- driver {}, last lines\n{lines}", self.name)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
