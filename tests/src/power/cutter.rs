//! [`Cutter`]: a helper process for system calls that have no safe Rust function. It is
//! always running, so that a cut takes only microseconds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Python process that waits for commands.
#[derive(Debug)]
pub struct Cutter {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Cutter {
    /// Starts it.
    ///
    /// # Panics
    /// When there is no Python.
    #[must_use]
    pub fn start() -> Cutter {
        let mut python = Command::new("python3");
        python.args(["-S", "-c", include_str!("cutter.py")]);
        let child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("python3 can be started");
        let commands = child.stdin.take().expect("the stream is piped");
        let answers = BufReader::new(child.stdout.take().expect("the stream is piped"));
        Cutter { child, commands, answers }
    }

    /// Shuts down the filesystem that holds this directory, without a flush.
    ///
    /// # Panics
    /// When it cannot be shut down.
    pub fn cut(&mut self, directory: &Path) {
        let answer = self.ask(&directory.display().to_string());
        assert_eq!(answer, "cut", "{}", directory.display());
    }

    /// As [`cut`](Self::cut), but first the kernel writes some of the last pages of each
    /// log's newest segment, out of order, as it may at any time.
    ///
    /// # Panics
    /// When it cannot be shut down.
    pub fn cut_between_pages(&mut self, directory: &Path, seed: u64) {
        let answer = self.ask(&format!("{}\t{seed}", directory.display()));
        assert_eq!(answer, "cut", "{}", directory.display());
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("the cutter is running");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the cutter answers every command");
        answer.trim_end().to_owned()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
