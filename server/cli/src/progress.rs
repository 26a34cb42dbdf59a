//! Progress on standard error. Nothing is shown unless standard error is a terminal.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// A line that is updated during the work.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    records: u64,
}

impl Progress {
    /// Progress in bytes, with a bar if their number is known.
    pub(crate) fn of_bytes(total: Option<u64>) -> Progress {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {binary_bytes} in {elapsed}, {binary_bytes_per_sec}",
            ),
        };
        Progress::new(bar, template)
    }

    /// Progress in records.
    pub(crate) fn of_records() -> Progress {
        Progress::new(ProgressBar::new_spinner(), "{spinner} {msg} records in {elapsed}")
    }

    /// Progress in steps of any kind.
    #[cfg(feature = "archive")]
    pub(crate) fn of_steps() -> Progress {
        Progress::new(ProgressBar::new(0), "{msg}: {bar:30} {pos} of {len}, {eta} left")
    }

    /// Sets what is being done, and how much of it is.
    #[cfg(feature = "archive")]
    pub(crate) fn set_step(&mut self, what: &str, done: u64, total: u64) {
        self.bar.set_message(what.to_owned());
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Removes the line.
    #[cfg(feature = "archive")]
    pub(crate) fn clear(self) {
        self.bar.finish_and_clear();
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), records: 0 }
    }

    fn new(bar: ProgressBar, template: &str) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::hidden();
        }
        bar.set_style(
            ProgressStyle::with_template(template).expect("the templates above are valid"),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar, records: 0 }
    }

    /// Sets the number of records done.
    pub(crate) fn set_records(&mut self, records: u64) {
        self.records = records;
        self.bar.set_message(HumanCount(self.records).to_string());
    }

    /// Adds to the number of bytes done.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Sets the number of bytes done, and their total.
    pub(crate) fn set_bytes(&mut self, bytes: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(bytes);
    }

    /// Wraps a reader whose bytes are counted.
    pub(crate) fn count_bytes<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    /// Replaces the line by a last one, for example `read 5.00 MiB in 0.1 s`.
    pub(crate) fn finish(self, done: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let (elapsed, bytes) = (self.bar.elapsed(), self.bar.position());
        let took = if elapsed < Duration::from_secs(60) {
            format!("{:.1} s", elapsed.as_secs_f64())
        } else {
            HumanDuration(elapsed).to_string()
        };
        let what = match self.records {
            0 => BinaryBytes(bytes).to_string(),
            records => format!("{} records", HumanCount(records)),
        };
        self.bar.finish_and_clear();
        eprintln!("{done} {what} in {took}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
