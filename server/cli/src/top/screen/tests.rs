use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::input::Input;
use super::super::sample::{Cursor, Follower, LogSample, Sample, Segment, Warning};
use super::super::state::SortKey;
use super::super::testing::{details, log, sample};
use super::*;

fn screen(has_colours: bool) -> Screen {
    let address = "http://localhost:7123".to_owned();
    Screen { address, interval: Duration::from_secs(2), has_colours }
}

fn drawn(state: &mut State, width: u16, height: u16, has_colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
    terminal.draw(|frame| screen(has_colours).draw(frame, state)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// The lines of the screen without spaces at their ends.
fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let lines = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    lines.map(|line| line.trim_end().to_owned()).collect()
}

fn text(state: &mut State, width: u16, height: u16) -> Vec<String> {
    lines(&drawn(state, width, height, false))
}

fn state() -> State {
    let mut state = State::new(SortKey::Append, String::new());
    state.sampled(sample(1));
    state.sampled(sample(3));
    state
}

#[test]
fn list_fits_into_80_columns() {
    assert_eq!(
        text(&mut state(), 80, 10),
        [
            "styx 1.2.3 at http://localhost:7123       up 3s  2026-01-01 00:00:03Z  every 2 s",
            "append    1.0k records/s   62.5Ki/s                               █",
            "read        50 records/s    4.9Ki/s                               █",
            "3 logs, 24.0Ki on disk, 5.0Gi free  connections 12 of 10.0k (styx/1 3)",
            "",
            "NAME                   APPEND/s*   READ/s    SIZE FOLLOW     LAG  ACTIVITY",
            "b-events                    1.0k        0   8.0Ki      1       8              █",
            "a-orders                      10        0   4.0Ki      1       9              █",
            "c-idle                         0       50  12.0Ki      1       7              █",
            "enter details  / filter  s sort  r reverse  ? help  q quit",
        ]
    );
}

#[test]
fn wide_screen_also_has_rates_of_bytes() {
    let lines = text(&mut state(), 140, 10);
    assert!(lines[5].contains("APPEND/s*  BYTES/s   READ/s  BYTES/s"), "{}", lines[5]);
    assert!(lines[6].contains("62.5Ki"), "{}", lines[6]);
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    let mut states = [state(), state(), state(), State::new(SortKey::Name, "x".to_owned())];
    let _ = states[1].apply(Input::Help);
    let _ = states[2].apply(Input::Open);
    states[2].detailed(Some(details("b-events")));
    for state in &mut states {
        for width in [1, 2, 11, 47, 80, 109, 110, 300] {
            for height in [1, 2, 5, 6, 7, 24] {
                let _ = drawn(state, width, height, true);
            }
        }
    }
}

#[test]
fn long_list_scrolls_to_the_selection() {
    let mut state = State::new(SortKey::Name, String::new());
    let logs = (0..1000).map(|number| log(&format!("log-{number:03}"), 1)).collect();
    state.sampled(Sample { logs, ..sample(1) });
    assert!(text(&mut state, 80, 24)[6].starts_with("log-000"));
    let _ = state.apply(Input::Last);
    assert!(text(&mut state, 80, 24)[22].starts_with("log-999"));
    let _ = state.apply(Input::Move(-300));
    let lines = text(&mut state, 80, 24);
    assert!(lines.iter().any(|line| line.starts_with("log-699")), "{lines:#?}");
}

#[test]
fn lost_server_hides_warnings_and_keeps_the_numbers() {
    let mut state = state();
    let warning = |message: &str| Warning { code: "c".to_owned(), message: message.to_owned() };
    state.sampled(Sample { warnings: vec![warning("full disk"), warning("w")], ..sample(4) });
    assert_eq!(text(&mut state, 80, 24)[4], "! 1 more warnings, and: full disk");
    state.failed("cannot connect".to_owned());
    let lines = text(&mut state, 80, 24);
    assert_eq!(lines[4], "NO ANSWER (1), trying again; numbers are old: cannot connect");
    assert!(lines[6].starts_with("b-events"));
}

#[test]
fn filter_is_shown_while_it_is_typed_and_afterwards() {
    let mut state = state();
    let _ = state.apply(Input::BeginFilter);
    let _ = state.apply(Input::Type('z'));
    let lines = text(&mut state, 80, 24);
    assert_eq!(
        (lines[23].as_str(), lines[6].as_str()),
        ("filter: z_", "no log has this in its name")
    );
    let _ = state.apply(Input::Open);
    assert!(text(&mut state, 80, 24)[23].starts_with("filter: z (0 of 3)"));
}

#[test]
fn details_have_the_configuration_segments_followers_and_cursors() {
    let mut state = state();
    let _ = state.apply(Input::Open);
    assert!(text(&mut state, 80, 24)[6].starts_with("asking the server"));
    let mut found = details("b-events");
    if let Some(details) = &mut found.details {
        details.followers.push(Follower {
            protocol: "styx/1".to_owned(),
            principal: "billing".to_owned(),
            peer: Some("10.0.0.1:4711".to_owned()),
            since: found.time - 61_000_000,
            position: 95,
            lag: 5,
        });
        let cursor = |lag| Cursor { cursor: "c".to_owned(), position: 90, updated: 0, lag };
        details.cursors = Some(vec![cursor(Some(10)), cursor(None)]);
        details.segments.push(Segment {
            start_position: 0,
            end_position: 100,
            disk_bytes: 4096,
            timestamp_first: Some(1_767_225_600_000_000),
            timestamp_last: Some(1_767_225_601_000_000),
        });
    }
    state.detailed(Some(found));
    let lines = text(&mut state, 100, 40).join("\n");
    for part in [
        "LOG b-events",
        "positions 0 to 100  records 100",
        "segment_max_size 1073741824",
        "log_max_age no limit",
        "1 FOLLOWER\nstyx/1       at           95  behind      5   1m01s  10.0.0.1:4711 billing",
        "2 CURSORS",
        "behind     10",
        "older than the log",
        "1 SEGMENT\n           0 to          100     4.0Ki  2026-01-01 00:00:00Z to 2026-01-01 00:00:01Z",
    ] {
        assert!(lines.contains(part), "no {part:?} in\n{lines}");
    }
    let _ = state.apply(Input::Move(1000));
    let end = text(&mut state, 100, 12);
    assert!(end[10].contains("2026-01-01"), "{end:#?}");
    let _ = state.apply(Input::Move(-1));
    assert_ne!(text(&mut state, 100, 12), end);
}

#[test]
fn without_colours_every_cell_has_the_colours_of_the_terminal() {
    let is_coloured = |buffer: &Buffer| {
        let is_default = |color| color == Color::Reset;
        !buffer.content.iter().all(|cell| is_default(cell.fg) && is_default(cell.bg))
    };
    let mut state = state();
    state.failed("away".to_owned());
    assert!(!is_coloured(&drawn(&mut state, 80, 24, false)));
    assert!(is_coloured(&drawn(&mut state, 80, 24, true)));
}

#[test]
fn status_of_a_broken_log_is_in_front_of_its_name_and_long_names_are_cut() {
    let mut state = State::new(SortKey::Name, String::new());
    let broken = LogSample { status: "tainted".to_owned(), ..log(&"n".repeat(255), 1) };
    state.sampled(Sample { logs: vec![broken], ..sample(1) });
    let line = &text(&mut state, 80, 24)[6];
    assert!(line.starts_with("tainted: nnn") && line.contains("n~ "), "{line}");
}
