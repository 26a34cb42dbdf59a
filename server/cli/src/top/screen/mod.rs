//! Draws the [`State`]: a header, the list or a page of text, and a line with keys.
//!
//! ```text
//! header   server, rates, connections, disk, the gravest warning
//! body     list | details of a log | help
//! footer   keys, or the filter while it is typed
//! ```
//! Everything is a function of the state and the size, so tests compare whole screens. Text is
//! cut at the edge; nothing wraps, except long warnings, which end with the number of others.

mod details;
mod header;
mod list;

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::state::{State, View};

/// The settings of the screen, which do not change while it is shown.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) address: String,
    pub(super) interval: Duration,
    /// Whether to use colours; without them, text is bold, underlined or reversed only.
    pub(super) has_colours: bool,
}

/// The meaning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Strong,
    Faint,
    Bars,
    Warning,
    Alarm,
    Heading,
    Selected,
}

/// A line of a page of text.
type Line = (String, Look);

const HELP: &[&str] = &[
    "up, down, j, k     select a log, or scroll",
    "page up/down       the same, ten lines at a time; home, end: the first, the last",
    "enter              show the selected log: configuration, segments, followers, cursors",
    "esc                go back; in the list: remove the filter",
    "/                  filter by name; enter ends typing, ctrl-u empties it",
    "n a d z l          sort by name, append rate, read rate, size, lag",
    "s                  sort by the next of these; r reverses the order",
    "space              ask the server now",
    "q, ctrl-c          quit",
    "",
    "APPEND/s, READ/s   records per second since the sample before",
    "SIZE               bytes of segments on disk",
    "FOLLOW             reads that wait for new records",
    "LAG                records that the slowest follower, or cursor, is behind the end",
    "ACTIVITY           records appended and read, the newest at the right end",
];

impl Screen {
    pub(super) fn draw(&self, frame: &mut Frame<'_>, state: &mut State) {
        let area = frame.area();
        let buffer = frame.buffer_mut();
        let header = header::lines(self, state, usize::from(area.width));
        let header_rows = header.len() as u16;
        for (row, (text, look)) in header.iter().enumerate() {
            self.put(buffer, area, row as u16, text, *look);
        }
        let footer_row = area.height.saturating_sub(1);
        let body = Rect {
            y: header_rows.min(footer_row),
            height: footer_row.saturating_sub(header_rows),
            ..area
        };
        match &state.view {
            View::List => list::draw(self, buffer, body, state),
            View::Log(name) => {
                let lines = details::lines(name, state);
                self.draw_page(buffer, body, state, &lines);
            }
            View::Help => {
                let lines: Vec<_> = HELP.iter().map(|l| ((*l).to_owned(), Look::Plain)).collect();
                self.draw_page(buffer, body, state, &lines);
            }
        }
        let (text, look) = footer(state);
        self.put(buffer, area, footer_row, &text, look);
    }

    /// Draws a page that can be scrolled.
    fn draw_page(&self, buffer: &mut Buffer, area: Rect, state: &mut State, lines: &[Line]) {
        let last = lines.len().saturating_sub(usize::from(area.height));
        state.scroll = state.scroll.min(last);
        let shown = lines.iter().skip(state.scroll).take(usize::from(area.height));
        for (row, (text, look)) in shown.enumerate() {
            self.put(buffer, area, row as u16, text, *look);
        }
    }

    /// Writes a line, cut at the edge. A row outside of the area is left out.
    fn put(&self, buffer: &mut Buffer, area: Rect, row: u16, text: &str, look: Look) {
        if row >= area.height {
            return;
        }
        let (x, y, style) = (area.x, area.y + row, self.style(look));
        if matches!(look, Look::Selected | Look::Heading) {
            buffer.set_style(Rect { y, height: 1, ..area }, style);
        }
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        buffer.set_stringn(x, y, text, usize::from(area.width), style);
    }

    fn style(&self, look: Look) -> Style {
        let plain = Style::new();
        let colour = |colour, otherwise: Modifier| match self.has_colours {
            true => plain.fg(colour),
            false => plain.add_modifier(otherwise),
        };
        match look {
            Look::Plain => plain,
            Look::Strong => plain.add_modifier(Modifier::BOLD),
            Look::Faint => plain.add_modifier(Modifier::DIM),
            Look::Bars => colour(Color::Cyan, Modifier::empty()),
            Look::Warning => colour(Color::Yellow, Modifier::BOLD),
            Look::Alarm => colour(Color::Red, Modifier::BOLD).add_modifier(Modifier::BOLD),
            Look::Heading => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            Look::Selected => plain.add_modifier(Modifier::REVERSED),
        }
    }
}

fn footer(state: &State) -> Line {
    match &state.view {
        View::List if state.is_typing => (format!("filter: {}_", state.filter), Look::Strong),
        View::List if !state.filter.is_empty() => {
            let text = format!(
                "filter: {} ({} of {})  esc removes it  enter details  ? help  q quit",
                state.filter,
                state.visible().len(),
                state.log_count()
            );
            (text, Look::Faint)
        }
        View::List => {
            let keys = "enter details  / filter  s sort  r reverse  ? help  q quit";
            (keys.to_owned(), Look::Faint)
        }
        View::Log(_) => ("esc back  up, down scroll  ? help  q quit".to_owned(), Look::Faint),
        View::Help => ("esc back  q quit".to_owned(), Look::Faint),
    }
}

#[cfg(test)]
mod tests;
