//! [`Input`]: the command of a key. In the filter, letters are text; elsewhere they are commands.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::SortKey;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Quit,
    Help,
    /// Moves the selection by this many rows.
    Move(isize),
    /// Moves it by pages.
    Page(isize),
    First,
    Last,
    /// Shows the selected log.
    Open,
    /// Leaves what is shown now.
    Back,
    /// Sorts by the next key.
    NextSort,
    Sort(SortKey),
    Reverse,
    BeginFilter,
    /// Adds a character to the filter.
    Type(char),
    Erase,
    /// Removes the filter's text.
    Clear,
    /// Asks the server at once.
    Refresh,
}

/// The command of a key; `None` if it has none. `types` says whether the filter is being typed.
pub(super) fn of_key(key: KeyEvent, types: bool) -> Option<Input> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Input::Quit,
        KeyCode::Char('l') if control => Input::Refresh,
        KeyCode::Char('u') if control => Input::Clear,
        KeyCode::Char(_) if control => return None,
        KeyCode::Up => Input::Move(-1),
        KeyCode::Down => Input::Move(1),
        KeyCode::PageUp => Input::Page(-1),
        KeyCode::PageDown => Input::Page(1),
        KeyCode::Home => Input::First,
        KeyCode::End => Input::Last,
        KeyCode::Enter => Input::Open,
        KeyCode::Esc => Input::Back,
        KeyCode::Backspace if types => Input::Erase,
        KeyCode::Char(c) if types => Input::Type(c),
        KeyCode::Char('q') => Input::Quit,
        KeyCode::Char('?' | 'h') => Input::Help,
        KeyCode::Char('k') => Input::Move(-1),
        KeyCode::Char('j') => Input::Move(1),
        KeyCode::Char('/') => Input::BeginFilter,
        KeyCode::Char('s') => Input::NextSort,
        KeyCode::Char('r') => Input::Reverse,
        KeyCode::Char('n') => Input::Sort(SortKey::Name),
        KeyCode::Char('a') => Input::Sort(SortKey::Append),
        KeyCode::Char('d') => Input::Sort(SortKey::Read),
        KeyCode::Char('z') => Input::Sort(SortKey::Size),
        KeyCode::Char('l') => Input::Sort(SortKey::Lag),
        KeyCode::Char(' ') => Input::Refresh,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_are_commands_except_in_the_filter() {
        for (code, command, text) in [
            (KeyCode::Char('q'), Some(Input::Quit), Some(Input::Type('q'))),
            (KeyCode::Char('/'), Some(Input::BeginFilter), Some(Input::Type('/'))),
            (KeyCode::Char('x'), None, Some(Input::Type('x'))),
            (KeyCode::Backspace, None, Some(Input::Erase)),
            (KeyCode::Enter, Some(Input::Open), Some(Input::Open)),
            (KeyCode::Down, Some(Input::Move(1)), Some(Input::Move(1))),
            (KeyCode::F(1), None, None),
        ] {
            assert_eq!(of_key(typed(code), false), command, "{code:?}");
            assert_eq!(of_key(typed(code), true), text, "{code:?}");
        }
    }

    #[test]
    fn control_c_quits_everywhere_and_released_keys_do_nothing() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(of_key(control_c, true), Some(Input::Quit));
        assert_eq!(of_key(control_c, false), Some(Input::Quit));
        let released = KeyEvent { kind: KeyEventKind::Release, ..typed(KeyCode::Char('q')) };
        assert_eq!(of_key(released, false), None);
    }
}
