//! [`WrongClock`]: a server whose wall clock is wrong.
//!
//! A small library is loaded before libc (`LD_PRELOAD`). It adds an offset to the wall time, which a
//! test can change while the server runs. The monotonic clock and the times of files are right.

use std::path::PathBuf;
use std::process::Command;

use crate::{Scratch, Settings, binary};

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_OFFSET");
    if (failed || clock != CLOCK_REALTIME || !path) return failed;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return failed;
    char text[32] = {0};
    if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atoll(text);
    close(file);
    return failed;
}
"#;

/// The wall clock of a server.
#[derive(Debug)]
pub struct WrongClock {
    offset: PathBuf,
    script: PathBuf,
}

impl WrongClock {
    /// Compiles the library in this directory. The clock is right at first.
    ///
    /// # Panics
    /// When there is no C compiler. Building the server needs one too.
    #[must_use]
    pub fn new(scratch: &Scratch) -> WrongClock {
        let source = scratch.write("clock.c", LIBRARY);
        let library = scratch.join("clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source);
        let output = compiler.output().expect("cc can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let offset = scratch.join("clock-offset");
        let script = scratch.write(
            "with-clock",
            format!(
                "CLOCK_OFFSET='{}' LD_PRELOAD='{}' exec '{}' \"$@\"\n",
                offset.display(),
                library.display(),
                binary::styx().display()
            ),
        );
        let clock = WrongClock { offset, script };
        clock.set_offset(0);
        clock
    }

    /// The settings of a server with this clock.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::default().script(&self.script)
    }

    /// Sets the difference between the wall clock and the true time, in seconds.
    ///
    /// # Panics
    /// When the file with it cannot be written.
    pub fn set_offset(&self, seconds: i64) {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, seconds.to_string()).expect("it can be written");
        std::fs::rename(new, &self.offset).expect("it can be renamed");
    }
}
