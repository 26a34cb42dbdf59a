//! Progress on standard error, for people alone: nothing is shown unless it is
//! a terminal.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// A line that is drawn again as work goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    records: u64,
}

impl Progress {
    /// Bytes of a stream; with a bar if their number is known.
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

    /// Records.
    pub(crate) fn of_records() -> Progress {
        Progress::new(ProgressBar::new_spinner(), "{spinner} {msg} records in {elapsed}")
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
            ProgressStyle::with_template(template).expect("the templates above are good"),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar, records: 0 }
    }

    /// So many records in all are done.
    pub(crate) fn at_record(&mut self, records: u64) {
        self.records = records;
        self.bar.set_message(HumanCount(self.records).to_string());
    }

    /// So many more bytes are done.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// So many bytes of so many are done.
    pub(crate) fn at(&mut self, bytes: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(bytes);
    }

    /// A reader whose bytes count.
    pub(crate) fn count_bytes<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    /// Leaves a last line that says what was done.
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
