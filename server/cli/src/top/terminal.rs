//! The terminal: takes it, runs the loop of samples and keys, and gives it back.
//!
//! The loop draws only after a sample, a key or a change of the size, so an idle screen costs
//! nothing but a look at the signals ten times a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as TerminalEvent};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::input;
use super::sample::{Event, Feed, Request};
use super::screen::Screen;
use super::state::{Effect, State};
use crate::failure::Failure;

/// How long a signal or a sample waits at most to be noticed.
const TURN: Duration = Duration::from_millis(100);

/// Shows the state until a key or a signal ends it.
pub(super) fn show(
    screen: &Screen,
    state: &mut State,
    start: impl FnOnce() -> Result<Feed, Failure>,
) -> Result<(), Failure> {
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).map_err(failed)?;
    }
    // It also restores the terminal at a panic of any thread.
    let mut terminal = ratatui::try_init().map_err(|error| {
        ratatui::restore();
        failed(error)
    })?;
    let done = start().and_then(|feed| run(&mut terminal, screen, state, &feed, &is_ended));
    let restored = ratatui::try_restore().map_err(failed);
    done.and(restored)
}

fn run(
    terminal: &mut DefaultTerminal,
    screen: &Screen,
    state: &mut State,
    feed: &Feed,
    is_ended: &AtomicBool,
) -> Result<(), Failure> {
    let mut is_changed = true;
    while !is_ended.load(Ordering::Relaxed) {
        loop {
            match feed.events.try_recv() {
                Ok(Event::Sample(sample)) => state.sampled(*sample),
                Ok(Event::Details(sample)) => state.detailed(sample),
                Ok(Event::Failed(message)) => state.failed(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    let message = "the thread that asks the server has ended because of a bug";
                    return Err(Failure::Failed(message.to_owned()));
                }
            }
            is_changed = true;
        }
        if is_changed {
            terminal.draw(|frame| screen.draw(frame, state)).map_err(failed)?;
            is_changed = false;
        }
        if !poll()? {
            continue;
        }
        is_changed = true;
        let TerminalEvent::Key(key) = event::read().map_err(failed)? else { continue };
        let Some(input) = input::of_key(key, state.is_typing) else { continue };
        match state.apply(input) {
            Effect::None => {}
            Effect::Quit => return Ok(()),
            Effect::Refresh => feed.request(Request::Now),
            Effect::Details(log) => feed.request(Request::Details(log)),
        }
    }
    Ok(())
}

/// Whether there is an event to read.
fn poll() -> Result<bool, Failure> {
    match event::poll(TURN) {
        // A signal has come.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        polled => polled.map_err(failed),
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot use the terminal: {error}; add --once to print the numbers once"
    ))
}
