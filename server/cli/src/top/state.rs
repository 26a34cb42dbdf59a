//! [`State`]: the content of the screen, as a function of samples and keys. It does no I/O.
//!
//! ```text
//! sample ─▶ meter ─▶ rows ─▶ filter ─▶ sort ─▶ visible rows, with a selection
//! key    ─▶ view, sort, filter, selection ─▶ Effect for the feed
//! ```
//! Invariant: the selection stays on its log when rows move, and inside the visible rows.

use std::cmp::Ordering;

use clap::ValueEnum;

use super::input::Input;
use super::rates::{Meter, Rates};
use super::sample::{LogSample, Sample};

/// The order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SortKey {
    /// By name, ascending; every other order is descending
    Name,
    /// By records appended per second
    #[default]
    Append,
    /// By records read per second
    Read,
    /// By bytes on disk
    Size,
    /// By the lag of the follower or cursor that is farthest behind
    Lag,
}

/// The view on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    List,
    /// The details of a log.
    Log(String),
    Help,
}

/// The connection to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    /// The last request failed with this message, and so did so many before it.
    Lost {
        message: String,
        attempts: u64,
    },
}

/// A request to the code around the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Quit,
    Refresh,
    /// Ask for the details of this log, or of none.
    Details(Option<String>),
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) log: LogSample,
    pub(super) rates: Rates,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    /// The last sample, without its logs, which are in the rows.
    pub(super) server: Option<Sample>,
    pub(super) meter: Meter,
    pub(super) link: Link,
    pub(super) view: View,
    pub(super) details: Option<Box<Sample>>,
    pub(super) sort: SortKey,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    rows: Vec<Row>,
    visible: Vec<usize>,
    pub(super) selected: usize,
    /// The log that the selection stays on, once it was moved.
    follows: Option<String>,
    /// First line of the details that is shown.
    pub(super) scroll: usize,
}

/// How many rows a page key moves.
const PAGE: isize = 10;

impl Row {
    /// The records that the slowest reader is behind.
    pub(super) fn lag(&self) -> u64 {
        self.log.follower_lag.max(self.log.cursor_lag.unwrap_or(0))
    }
}

impl State {
    pub(super) fn new(sort: SortKey, filter: String) -> State {
        State {
            server: None,
            meter: Meter::default(),
            link: Link::Up,
            view: View::List,
            details: None,
            sort,
            is_reversed: false,
            filter,
            is_typing: false,
            rows: Vec::new(),
            visible: Vec::new(),
            selected: 0,
            follows: None,
            scroll: 0,
        }
    }

    /// Takes a sample of all logs.
    pub(super) fn sampled(&mut self, mut sample: Sample) {
        self.meter.update(&sample);
        let logs = std::mem::take(&mut sample.logs).into_iter();
        self.rows = logs.map(|log| Row { rates: self.meter.rates(&log.name), log }).collect();
        self.server = Some(sample);
        self.link = Link::Up;
        self.arrange();
    }

    /// Takes the details of a log; `None` if the log is gone.
    pub(super) fn detailed(&mut self, sample: Option<Box<Sample>>) {
        let View::Log(name) = &self.view else { return };
        let is_wanted = |sample: &Sample| sample.logs.first().is_some_and(|log| log.name == *name);
        if sample.as_deref().is_none_or(is_wanted) {
            self.details = sample;
        }
    }

    /// Notes that a request failed.
    pub(super) fn failed(&mut self, message: String) {
        let attempts = match &self.link {
            Link::Up => 1,
            Link::Lost { attempts, .. } => attempts + 1,
        };
        self.link = Link::Lost { message, attempts };
    }

    /// The number of logs, shown or not.
    pub(super) fn log_count(&self) -> usize {
        self.rows.len()
    }

    /// The rows that the filter leaves, in order.
    pub(super) fn visible(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.visible.iter().map(|index| &self.rows[*index])
    }

    /// Every row.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Does what a key asks for.
    pub(super) fn apply(&mut self, input: Input) -> Effect {
        match input {
            Input::Quit => Effect::Quit,
            Input::Refresh => Effect::Refresh,
            Input::Help if self.view == View::Help => self.leave(View::List),
            Input::Help => self.leave(View::Help),
            _ if self.view == View::List => self.apply_to_list(input),
            _ => self.apply_to_page(input),
        }
    }

    /// Does it to a page of text.
    fn apply_to_page(&mut self, input: Input) -> Effect {
        match input {
            Input::Back | Input::Open => return self.leave(View::List),
            Input::Move(lines) => self.scroll_by(lines),
            Input::Page(pages) => self.scroll_by(pages.saturating_mul(PAGE)),
            Input::First => self.scroll = 0,
            Input::Last => self.scroll = usize::MAX,
            _ => {}
        }
        Effect::None
    }

    fn apply_to_list(&mut self, input: Input) -> Effect {
        match input {
            Input::Open if self.is_typing => self.is_typing = false,
            Input::Open => {
                let Some(name) = self.selected_log() else { return Effect::None };
                self.view = View::Log(name.clone());
                (self.details, self.scroll) = (None, 0);
                return Effect::Details(Some(name));
            }
            Input::Move(rows) => self.move_by(rows),
            Input::Page(pages) => self.move_by(pages.saturating_mul(PAGE)),
            Input::First => self.move_by(isize::MIN),
            Input::Last => self.move_by(isize::MAX),
            Input::NextSort => {
                let keys = SortKey::value_variants();
                let after = keys.iter().skip_while(|key| **key != self.sort).nth(1);
                self.sort_by(after.or(keys.first()).copied().unwrap_or_default());
            }
            Input::Sort(key) => self.sort_by(key),
            Input::Reverse => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            Input::BeginFilter => self.is_typing = true,
            Input::Back | Input::Clear => {
                self.is_typing &= input == Input::Clear;
                self.filter.clear();
                self.arrange();
            }
            Input::Type(c) => {
                self.filter.push(c);
                self.arrange();
            }
            Input::Erase => {
                self.filter.pop();
                self.arrange();
            }
            Input::Quit | Input::Refresh | Input::Help => {}
        }
        Effect::None
    }

    fn selected_log(&self) -> Option<String> {
        self.visible().nth(self.selected).map(|row| row.log.name.clone())
    }

    fn leave(&mut self, to: View) -> Effect {
        let had_details = matches!(self.view, View::Log(_));
        (self.view, self.details, self.scroll) = (to, None, 0);
        if had_details { Effect::Details(None) } else { Effect::None }
    }

    fn sort_by(&mut self, key: SortKey) {
        (self.sort, self.is_reversed) = (key, false);
        self.arrange();
    }

    fn move_by(&mut self, rows: isize) {
        let last = self.visible.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
        self.follows = self.selected_log();
    }

    fn scroll_by(&mut self, lines: isize) {
        self.scroll = self.scroll.saturating_add_signed(lines);
    }

    /// Filters and sorts the rows, and keeps the selection on its log.
    fn arrange(&mut self) {
        let State { rows, visible, filter, .. } = self;
        let wanted = filter.to_lowercase();
        let is_wanted = |name: &str| wanted.is_empty() || name.to_lowercase().contains(&wanted);
        visible.clear();
        visible.extend((0..rows.len()).filter(|index| is_wanted(&rows[*index].log.name)));
        let (sort, is_reversed) = (self.sort, self.is_reversed);
        // The server sends the logs sorted by name, and the sort keeps that among equals.
        visible.sort_by(|a, b| {
            let order = compare(&rows[*a], &rows[*b], sort);
            if is_reversed { order.reverse() } else { order }
        });
        let last = visible.len().saturating_sub(1);
        let follows = self.follows.as_deref();
        let at = follows.and_then(|name| visible.iter().position(|i| rows[*i].log.name == name));
        self.selected = at.unwrap_or(self.selected).min(last);
    }
}

fn compare(a: &Row, b: &Row, key: SortKey) -> Ordering {
    match key {
        SortKey::Name => a.log.name.cmp(&b.log.name),
        SortKey::Append => b.rates.appended.total_cmp(&a.rates.appended),
        SortKey::Read => b.rates.read.total_cmp(&a.rates.read),
        SortKey::Size => b.log.disk_bytes.cmp(&a.log.disk_bytes),
        SortKey::Lag => b.lag().cmp(&a.lag()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{details, sample};
    use super::*;

    fn state() -> State {
        let mut state = State::new(SortKey::default(), String::new());
        state.sampled(sample(1));
        state.sampled(sample(2));
        state
    }

    fn names(state: &State) -> Vec<&str> {
        state.visible().map(|row| row.log.name.as_str()).collect()
    }

    fn selected(state: &State) -> &str {
        names(state).get(state.selected).copied().unwrap_or_default()
    }

    #[test]
    fn each_sort_key_has_its_order_and_reverse_turns_it() {
        let mut state = state();
        for (key, expected) in [
            (SortKey::Append, ["b-events", "a-orders", "c-idle"]),
            (SortKey::Read, ["c-idle", "a-orders", "b-events"]),
            (SortKey::Size, ["c-idle", "b-events", "a-orders"]),
            (SortKey::Lag, ["a-orders", "b-events", "c-idle"]),
            (SortKey::Name, ["a-orders", "b-events", "c-idle"]),
        ] {
            let _ = state.apply(Input::Sort(key));
            assert_eq!(names(&state), expected, "{key:?}");
        }
        let _ = state.apply(Input::Reverse);
        assert_eq!(names(&state), ["c-idle", "b-events", "a-orders"]);
        let _ = state.apply(Input::NextSort);
        assert_eq!((state.sort, state.is_reversed), (SortKey::Append, false));
    }

    #[test]
    fn filter_is_typed_ignores_case_and_is_removed_by_escape() {
        let mut state = state();
        let _ = state.apply(Input::BeginFilter);
        for c in "EVx".chars() {
            let _ = state.apply(Input::Type(c));
        }
        assert_eq!(names(&state), [""; 0]);
        let _ = state.apply(Input::Erase);
        assert_eq!(names(&state), ["b-events"]);
        let _ = state.apply(Input::Open);
        assert!(!state.is_typing && state.view == View::List);
        state.sampled(sample(3));
        assert_eq!(names(&state), ["b-events"]);
        let _ = state.apply(Input::Back);
        assert_eq!(names(&state).len(), 3);
    }

    #[test]
    fn selection_stays_on_its_log_when_the_order_changes() {
        let mut state = state();
        let _ = state.apply(Input::Last);
        assert_eq!(selected(&state), "c-idle");
        let _ = state.apply(Input::Sort(SortKey::Size));
        assert_eq!((selected(&state), state.selected), ("c-idle", 0));
        let _ = state.apply(Input::Move(-1));
        assert_eq!(state.selected, 0);
        let _ = state.apply(Input::Page(1));
        assert_eq!(selected(&state), "a-orders");
        // Its log was deleted.
        let mut fewer = sample(3);
        fewer.logs.remove(0);
        state.sampled(fewer);
        assert_eq!(state.selected, 1);
        state.sampled(Sample { logs: Vec::new(), ..sample(4) });
        assert_eq!((state.selected, state.apply(Input::Open)), (0, Effect::None));
    }

    #[test]
    fn untouched_selection_stays_at_the_top() {
        let mut state = state();
        let _ = state.apply(Input::Sort(SortKey::Size));
        assert_eq!(state.selected, 0);
    }

    #[test]
    fn details_are_asked_for_and_ended_and_those_of_another_log_are_ignored() {
        let mut state = state();
        assert_eq!(state.apply(Input::Open), Effect::Details(Some("b-events".to_owned())));
        state.detailed(Some(details("a-orders")));
        assert!(state.details.is_none());
        state.detailed(Some(details("b-events")));
        assert!(state.details.is_some());
        assert_eq!(state.apply(Input::Back), Effect::Details(None));
        assert_eq!((&state.view, state.details.is_none()), (&View::List, true));
        // It was under way.
        state.detailed(Some(details("b-events")));
        assert!(state.details.is_none());
    }

    #[test]
    fn failure_keeps_the_last_numbers_and_the_next_sample_ends_it() {
        let mut state = state();
        state.failed("no server".to_owned());
        state.failed("still none".to_owned());
        let lost = Link::Lost { message: "still none".to_owned(), attempts: 2 };
        assert_eq!((&state.link, state.log_count()), (&lost, 3));
        state.sampled(sample(1));
        assert_eq!(state.link, Link::Up);
        // The server was restarted, so there are no rates yet.
        assert_eq!(state.meter.total(), Rates::default());
    }

    #[test]
    fn help_opens_and_closes_and_quit_works_in_every_view() {
        let mut state = state();
        let _ = state.apply(Input::Help);
        assert_eq!(state.view, View::Help);
        assert_eq!(state.apply(Input::Quit), Effect::Quit);
        let _ = state.apply(Input::Back);
        let _ = state.apply(Input::Open);
        assert_eq!(state.apply(Input::Help), Effect::Details(None));
        let _ = state.apply(Input::Help);
        assert_eq!(state.view, View::List);
        assert_eq!(state.apply(Input::Refresh), Effect::Refresh);
    }
}
