//! Query strings and forms as pairs: names in any letter case, the last
//! duplicate wins, an empty value means the default.

use std::borrow::Cow;

use styx_protocol::read::parse_bool;

use crate::session::Error;

/// The pairs of a query string or a form, decoded.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(text.as_bytes())
}

/// The value of one parameter; `None` when it is missing or empty.
pub(crate) fn value<'t>(text: &'t str, name: &str) -> Option<Cow<'t, str>> {
    let given = pairs(text).filter(|(key, _)| key.eq_ignore_ascii_case(name));
    given.map(|(_, value)| value).last().filter(|value| !value.is_empty())
}

/// A boolean parameter; `None` when it is missing or empty.
pub(crate) fn flag(text: &str, name: &'static str) -> Result<Option<bool>, Error> {
    match value(text, name) {
        Some(value) => Ok(Some(parse_bool(name, &value)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_duplicate_of_any_letter_case_wins() {
        assert_eq!(value("name=a&NAME=b%20c&x=1", "name").as_deref(), Some("b c"));
        assert_eq!(value("name=a&name=", "name"), None);
        assert_eq!(value("", "name"), None);
        assert_eq!(value("name=%ff%zz", "name").as_deref(), Some("\u{fffd}%zz"));
    }

    #[test]
    fn flags_accept_the_values_of_the_contract() {
        for (query, expected) in
            [("details=True", Some(true)), ("DETAILS=f", Some(false)), ("details=", None)]
        {
            assert_eq!(flag(query, "details").ok(), Some(expected), "{query}");
        }
        assert!(flag("details=yes", "details").is_err());
    }
}
