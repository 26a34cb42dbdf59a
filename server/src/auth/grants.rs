//! Grants: an action and the logs that it is allowed on, such as `append:orders-*`.
//!
//! | action | allows |
//! |---|---|
//! | `read` | read and follow records; change cursors that have the principal's name |
//! | `append` | append records |
//! | `manage` | create, delete, truncate, trim, adopt, back up and restore logs; change every cursor |
//! | `observe` | see the log, and its metrics |
//! | `admin` | all of them |
//!
//! With any grant on a log, a principal sees the log: its description, its cursors, and its
//! entry in lists.

use std::fmt;
use std::str::FromStr;

/// An action that a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table of the module says what each action means")]
pub enum Action {
    Read,
    Append,
    Manage,
    Observe,
    Admin,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 5] =
        [Action::Read, Action::Append, Action::Manage, Action::Observe, Action::Admin];

    /// Its name in a grant.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Append => "append",
            Action::Manage => "manage",
            Action::Observe => "observe",
            Action::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The logs of a grant: one name, or all names with a prefix, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogPattern {
    /// One log.
    Name(String),
    /// All logs whose names begin so.
    Prefix(String),
}

impl LogPattern {
    /// Whether it includes the log. The name may be any text.
    #[must_use]
    pub fn includes(&self, log: &str) -> bool {
        match self {
            LogPattern::Name(name) => name == log,
            LogPattern::Prefix(prefix) => log.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for LogPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogPattern::Name(name) => f.write_str(name),
            LogPattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// An action on some logs, written `action:pattern`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The allowed action.
    pub action: Action,
    /// The logs that it is allowed on.
    pub logs: LogPattern,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action, self.logs)
    }
}

/// A text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a grant: {reason}")]
pub struct InvalidGrant {
    /// The text.
    pub text: String,
    /// The reason, and a text to write instead.
    pub reason: String,
}

impl FromStr for Grant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Grant, InvalidGrant> {
        let invalid = |reason: String| {
            let text = text.chars().take(300).collect();
            InvalidGrant { text, reason }
        };
        let known = |name: &str| Action::ALL.into_iter().find(|action| action.as_str() == name);
        let Some((action, logs)) = text.split_once(':') else {
            return Err(invalid(match known(text) {
                Some(action) => {
                    format!("add the logs, as in {action}:orders, {action}:orders-* or {action}:*")
                }
                None => "use ACTION:LOG or ACTION:PREFIX*, as in read:orders or append:orders-*"
                    .to_owned(),
            }));
        };
        let action = known(action).ok_or_else(|| {
            invalid(format!(
                "there is no action {action:?}; use read, append, manage, observe or admin"
            ))
        })?;
        let logs = pattern(logs).ok_or_else(|| {
            invalid(
                "the logs must be a name of letters, digits, _ and -, or a prefix of names \
                 followed by *"
                    .to_owned(),
            )
        })?;
        Ok(Grant { action, logs })
    }
}

fn pattern(text: &str) -> Option<LogPattern> {
    let is_valid = |name: &str| name.parse::<styx_protocol::LogName>().is_ok();
    match text.strip_suffix('*') {
        Some("") => Some(LogPattern::Prefix(String::new())),
        Some(prefix) => is_valid(prefix).then(|| LogPattern::Prefix(prefix.to_owned())),
        None => is_valid(text).then(|| LogPattern::Name(text.to_owned())),
    }
}

/// All grants of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grants(Vec<Grant>);

impl Grants {
    pub(crate) fn new(grants: Vec<Grant>) -> Grants {
        Grants(grants)
    }

    /// Whether the action is allowed on the log.
    pub(crate) fn allows(&self, action: Action, log: &str) -> bool {
        self.of(action).any(|grant| grant.logs.includes(log))
    }

    /// Whether the action is allowed on some log.
    pub(crate) fn allows_somewhere(&self, action: Action) -> bool {
        self.of(action).next().is_some()
    }

    /// Whether there is any grant on the log.
    pub(crate) fn sees(&self, log: &str) -> bool {
        self.0.iter().any(|grant| grant.logs.includes(log))
    }

    fn of(&self, action: Action) -> impl Iterator<Item = &Grant> {
        let is_it = move |grant: &&Grant| grant.action == action || grant.action == Action::Admin;
        self.0.iter().filter(is_it)
    }
}

/// The requirement of a method of a route. It is a part of the row in `http/route`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing. A valid token may still show more.
    Public,
    /// A valid token, whatever its grants. The answer has only what the principal sees.
    AnyToken,
    /// The action on some log. The answer has only the logs on which it is allowed.
    Somewhere(Action),
    /// Any grant on the log in the path.
    See,
    /// The action on the log in the path.
    OnLog(Action),
    /// The action on some log. The handler checks the log that the request names, with
    /// `Call::new_log`.
    OnNamedLog(Action),
    /// `append` on the log in the path if the request upgrades to a stream that writes,
    /// otherwise `read`.
    Stream,
    /// `manage` on the log in the path, or `read` for a cursor with the principal's name.
    ChangeCursor,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Grants {
        Grants::new(texts.iter().map(|text| text.parse().expect(text)).collect())
    }

    #[test]
    fn grants_round_trip() {
        for text in ["read:orders", "append:orders-*", "manage:*", "observe:a_b", "admin:*"] {
            assert_eq!(text.parse::<Grant>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn error_says_what_to_write() {
        for (text, hint) in [
            ("", "use ACTION:LOG"),
            ("orders", "use ACTION:LOG"),
            ("read", "read:orders-*"),
            ("admin", "admin:*"),
            ("write:orders", "no action \"write\""),
            ("Read:orders", "no action \"Read\""),
            ("read:", "letters, digits"),
            ("read:*-orders", "letters, digits"),
            ("read:a*b", "letters, digits"),
            ("read:**", "letters, digits"),
            ("read:a b", "letters, digits"),
            ("read:../x", "letters, digits"),
        ] {
            let error = text.parse::<Grant>().expect_err(text).to_string();
            assert!(error.contains(hint) && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn grant_is_valid_for_its_action_and_its_logs_only() {
        let some = grants(&["append:orders-*", "read:users"]);
        assert!(some.allows(Action::Append, "orders-eu") && some.allows(Action::Append, "orders-"));
        assert!(some.allows(Action::Read, "users"));
        for (action, log) in [
            (Action::Append, "orders"),
            (Action::Append, "users"),
            (Action::Read, "orders-eu"),
            (Action::Read, "users2"),
            (Action::Read, "Users"),
            (Action::Manage, "users"),
            (Action::Observe, "users"),
        ] {
            assert!(!some.allows(action, log), "{action}:{log}");
        }
        assert!(some.sees("users") && some.sees("orders-x") && !some.sees("orders"));
        assert!(some.allows_somewhere(Action::Read) && !some.allows_somewhere(Action::Manage));
    }

    #[test]
    fn admin_implies_every_action_on_its_logs() {
        let admin = grants(&["admin:a*"]);
        for action in Action::ALL {
            assert!(admin.allows(action, "abc") && admin.allows_somewhere(action), "{action}");
            assert!(!admin.allows(action, "b"), "{action}");
        }
    }
}
