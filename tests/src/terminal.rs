//! [`Terminal`]: a program in a pseudo-terminal, and the screen that its user would see.
//!
//! The program is the leader of a session of its own, whose terminal this is (`setsid -c` of
//! util-linux), so it gets signals when the size changes, and finds no other terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::wait;

/// How long the program may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// See the module.
pub struct Terminal {
    child: Child,
    master: File,
    /// Keeps the terminal after the program has ended.
    slave: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts the command in a terminal of this size.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn start(command: &Command, rows: u16, columns: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it can be used");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let slave = ioctl_tiocgptpeer(&master, flags).expect("its other end");
        tcsetwinsize(&master, size(rows, columns)).expect("a size");
        let before = tcgetattr(&slave).expect("its settings");
        let copy = || slave.try_clone().expect("a descriptor");
        let mut wrapped = Command::new("setsid");
        wrapped.arg("-c").arg(command.get_program()).args(command.get_args());
        wrapped.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped.stdin(copy()).stdout(copy()).stderr(copy());
        let child = wrapped.spawn().expect("setsid of util-linux is installed");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(columns), 0)));
        let raw = Arc::default();
        let master = File::from(master);
        let mut output = master.try_clone().expect("a descriptor");
        let (shown, bytes) = (Arc::clone(&screen), Arc::<Mutex<Vec<u8>>>::clone(&raw));
        // It ends with the process of the test, because this side keeps the terminal open.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..count]);
                shown.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..count]);
            }
        });
        Terminal { child, master, slave, before, screen, raw }
    }

    /// The text on the screen.
    #[must_use]
    pub fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Everything that was written so far, with escape sequences.
    #[must_use]
    pub fn raw(&self) -> String {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// Waits until the screen is as wanted. Returns its text.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_wanted: impl FnMut(&str) -> bool) -> String {
        let what = || format!("{what}; the screen is\n{}", self.text());
        let start = std::time::Instant::now();
        loop {
            let text = self.text();
            if is_wanted(&text) {
                return text;
            }
            assert!(start.elapsed() < LIMIT, "waited in vain: {}", what());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for this text. Returns the text of the screen.
    ///
    /// # Panics
    /// As [`until`](Self::until).
    #[track_caller]
    pub fn shows(&self, part: &str) -> String {
        self.until(part, |text| text.contains(part))
    }

    /// Types these bytes.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes them");
    }

    /// Changes the size.
    ///
    /// # Panics
    /// When that fails.
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen_mut().set_size(some(rows), some(columns));
        tcsetwinsize(&self.master, size(rows, columns)).expect("a size");
    }

    /// Sends a signal to the program.
    ///
    /// # Panics
    /// When that fails.
    pub fn tell(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the end of the program, and checks that it has left the terminal as it was: its
    /// settings, the main screen, a visible cursor.
    ///
    /// # Panics
    /// When it does not end, or the terminal is not as before.
    #[track_caller]
    pub fn ends_restored(mut self) -> ExitStatus {
        let status =
            wait::until("the program ends", LIMIT, || self.child.try_wait().ok().flatten());
        let after = tcgetattr(&self.slave).expect("its settings");
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        wait::until_true("the main screen and the cursor are back", LIMIT, || {
            let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("child", &self.child).finish_non_exhaustive()
    }
}

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size above 0")
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
