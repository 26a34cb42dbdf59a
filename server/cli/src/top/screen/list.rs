//! The list of logs: a heading, and the rows around the selection.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::format::{bytes, count, sparkline};
use super::super::state::{Row, SortKey, State};
use super::{Look, Screen};

/// The width of the columns besides the name and the activity.
const NUMBERS: usize = 46;
const NAME_MIN: usize = 12;
const BARS_MAX: usize = 30;
/// From this width on, rates of bytes are shown too.
const WIDE: usize = 110;
const BYTES: usize = 18;

pub(super) fn draw(screen: &Screen, buffer: &mut Buffer, area: Rect, state: &State) {
    let width = usize::from(area.width);
    let is_wide = width >= WIDE;
    let numbers = if is_wide { NUMBERS + BYTES } else { NUMBERS };
    let rest = width.saturating_sub(numbers);
    let bars = (rest / 3).min(BARS_MAX);
    let name = rest.saturating_sub(bars + 1).max(NAME_MIN);
    screen.put(buffer, area, 0, &heading(state, name, is_wide), Look::Heading);
    let rows = usize::from(area.height).saturating_sub(1);
    // The selection is in the middle once it is far from the top.
    let first = state.selected.saturating_sub(rows / 2);
    let first = first.min(state.visible().len().saturating_sub(rows));
    for (index, row) in state.visible().enumerate().skip(first).take(rows) {
        let y = (index - first + 1) as u16;
        let look = match () {
            () if index == state.selected => Look::Selected,
            () if row.log.status != "ok" => Look::Alarm,
            () => Look::Plain,
        };
        screen.put(buffer, area, y, &text(row, name, is_wide), look);
        if let Some(history) = state.meter.history(&row.log.name) {
            let x = area.x.saturating_add((name + numbers + 1) as u16);
            let right = Rect { x, width: area.right().saturating_sub(x), ..area };
            let bars = sparkline(history.iter(), bars.saturating_sub(1));
            if !bars.is_empty() && right.width > 0 {
                let y = area.y + y;
                let style = screen.style(if look == Look::Selected { look } else { Look::Bars });
                buffer.set_stringn(right.x, y, bars, usize::from(right.width), style);
            }
        }
    }
    if state.visible().len() == 0 && state.server.is_some() {
        let text = match state.filter.is_empty() {
            true => "no logs that this token may observe; create one with styx logs create",
            false => "no log has this in its name",
        };
        screen.put(buffer, area, 1, text, Look::Faint);
    }
}

fn heading(state: &State, name: usize, is_wide: bool) -> String {
    let mark = |key, text: &str| match (state.sort == key, state.is_reversed) {
        (false, _) => text.to_owned(),
        (true, false) => format!("{text}*"),
        (true, true) => format!("{text}^"),
    };
    let (append, read) = (mark(SortKey::Append, "APPEND/s"), mark(SortKey::Read, "READ/s"));
    let (written, read_bytes) = if is_wide { (" BYTES/s", " BYTES/s") } else { ("", "") };
    format!(
        "{:<name$} {append:>9}{written:>w$} {read:>8}{read_bytes:>w$} {:>7} {:>6} {:>7}  ACTIVITY",
        mark(SortKey::Name, "NAME"),
        mark(SortKey::Size, "SIZE"),
        "FOLLOW",
        mark(SortKey::Lag, "LAG"),
        w = if is_wide { BYTES / 2 } else { 0 },
    )
}

fn text(row: &Row, name: usize, is_wide: bool) -> String {
    let (log, rates) = (&row.log, row.rates);
    let shown = match log.status.as_str() {
        "ok" => log.name.clone(),
        status => format!("{status}: {}", log.name),
    };
    let byte_rate = |rate| if is_wide { bytes(rate) } else { String::new() };
    format!(
        "{:<name$} {:>9}{:>w$} {:>8}{:>w$} {:>7} {:>6} {:>7}",
        cut(&shown, name),
        count(rates.appended),
        byte_rate(rates.written_bytes),
        count(rates.read),
        byte_rate(rates.read_bytes),
        bytes(log.disk_bytes as f64),
        count(log.followers as f64),
        count(row.lag() as f64),
        w = if is_wide { BYTES / 2 } else { 0 },
    )
}

/// The text in at most `width` columns; a tilde shows that it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('~');
    cut
}
