//! [`Rules`]: the content of the limits file.
//!
//! ```toml
//! [default]                # each principal without an entry, or without a key in it
//! append_bytes = 1048576   # a second
//!
//! [[principal]]
//! name = "visitor-*"       # one name, or a prefix: each such principal has its own limit
//! connections = 2
//!
//! [[log]]
//! name = "orders"
//! stored_bytes = 10000000000
//! ```
//!
//! A name is better than a prefix, and a longer prefix than a shorter one.

use std::collections::HashSet;
use std::str::FromStr;

use serde::Deserialize;

/// Largest value of every key.
const VALUE_MAX: u64 = 1 << 50;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    default: Limit,
    principals: Vec<Entry>,
    logs: Vec<Entry>,
}

/// The limits of one principal or log; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limit {
    /// Bytes and requests a second.
    pub(super) append_bytes: u64,
    pub(super) append_requests: u64,
    pub(super) read_bytes: u64,
    pub(super) read_requests: u64,
    /// Requests for records and streams at the same time.
    pub(super) connections: u64,
    /// Logs that a principal may manage.
    pub(super) logs: u64,
    /// Bytes of the logs that a principal may append to, or of a log.
    pub(super) stored_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The name, or the prefix.
    name: String,
    is_prefix: bool,
    limit: Keys,
}

/// The keys of a table. One that is not there has the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Keys([Option<u64>; 7]);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    default: Option<TableToml>,
    #[serde(default)]
    principal: Vec<TableToml>,
    #[serde(default)]
    log: Vec<TableToml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableToml {
    name: Option<String>,
    append_bytes: Option<i64>,
    append_requests: Option<i64>,
    read_bytes: Option<i64>,
    read_requests: Option<i64>,
    connections: Option<i64>,
    logs: Option<i64>,
    stored_bytes: Option<i64>,
}

impl FromStr for Rules {
    type Err = String;

    /// # Errors
    /// The mistake, its place, and what to write.
    fn from_str(text: &str) -> Result<Rules, String> {
        let file: FileToml =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let default = match &file.default {
            Some(table) if table.name.is_some() => {
                return Err("[default] has a name; use [[principal]] for that".to_owned());
            }
            Some(table) => table.keys("[default]")?.over(Limit::default()),
            None => Limit::default(),
        };
        let principals = entries(&file.principal, "principal")?;
        let logs = entries(&file.log, "log")?;
        for (table, entry) in file.log.iter().zip(&logs) {
            let shown = entry.shown();
            if table.logs.is_some() {
                return Err(format!("log {shown} has the key logs, which only a principal has"));
            }
            let is_name = entry.name.is_empty() && entry.is_prefix
                || entry.name.parse::<styx_protocol::LogName>().is_ok();
            if !is_name {
                return Err(format!(
                    "{shown:?} is no name of a log: use letters, digits, _ and -, or a prefix of \
                     them followed by *"
                ));
            }
        }
        Ok(Rules { default, principals, logs })
    }
}

impl Rules {
    /// The limits of a principal.
    pub(super) fn of_principal(&self, name: &str) -> Limit {
        let found = best(&self.principals, name);
        found.map_or(self.default, |entry| entry.limit.over(self.default))
    }

    /// The limits of a log.
    pub(super) fn of_log(&self, name: &str) -> Limit {
        best(&self.logs, name).map_or(Limit::default(), |entry| entry.limit.over(Limit::default()))
    }

    /// Whether any limit needs the stored bytes.
    pub(super) fn count_stored_bytes(&self) -> bool {
        let counts = |entry: &Entry| entry.limit.over(Limit::default()).stored_bytes > 0;
        self.default.stored_bytes > 0 || self.principals.iter().chain(&self.logs).any(counts)
    }

    /// The number of entries, for the server's log.
    pub(super) fn len(&self) -> usize {
        self.principals.len() + self.logs.len()
    }
}

/// The entry that fits the name best.
fn best<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    let fits = |entry: &&Entry| match entry.is_prefix {
        true => name.starts_with(entry.name.as_str()),
        false => name == entry.name,
    };
    entries.iter().filter(fits).max_by_key(|entry| (!entry.is_prefix, entry.name.len()))
}

fn entries(tables: &[TableToml], kind: &str) -> Result<Vec<Entry>, String> {
    let mut names = HashSet::new();
    tables
        .iter()
        .map(|table| {
            let text = table.name.as_deref().filter(|name| !name.is_empty());
            let text = text.ok_or_else(|| format!("a [[{kind}]] has no name"))?;
            if !names.insert(text) {
                return Err(format!("there are two entries of {kind} {text}; remove one"));
            }
            let (name, is_prefix) = match text.strip_suffix('*') {
                Some(prefix) => (prefix, true),
                None => (text, false),
            };
            if name.contains('*') {
                return Err(format!("{kind} {text}: a * may only be at the end"));
            }
            let limit = table.keys(&format!("{kind} {text}"))?;
            Ok(Entry { name: name.to_owned(), is_prefix, limit })
        })
        .collect()
}

impl Entry {
    fn shown(&self) -> String {
        format!("{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

impl TableToml {
    fn keys(&self, shown: &str) -> Result<Keys, String> {
        let values = [
            ("append_bytes", self.append_bytes),
            ("append_requests", self.append_requests),
            ("read_bytes", self.read_bytes),
            ("read_requests", self.read_requests),
            ("connections", self.connections),
            ("logs", self.logs),
            ("stored_bytes", self.stored_bytes),
        ];
        let mut keys = Keys::default();
        for (slot, (name, value)) in keys.0.iter_mut().zip(values) {
            let Some(value) = value else { continue };
            let valid = u64::try_from(value).ok().filter(|value| *value <= VALUE_MAX);
            *slot = Some(valid.ok_or_else(|| {
                format!("{shown}: {name} is {value}; use a whole number from 1 to {VALUE_MAX}, or 0 for no limit")
            })?);
        }
        Ok(keys)
    }
}

impl Keys {
    /// These values, and `below` for those that are not there.
    fn over(self, below: Limit) -> Limit {
        let [append_bytes, append_requests, read_bytes, read_requests, connections, logs, stored] =
            self.0;
        Limit {
            append_bytes: append_bytes.unwrap_or(below.append_bytes),
            append_requests: append_requests.unwrap_or(below.append_requests),
            read_bytes: read_bytes.unwrap_or(below.read_bytes),
            read_requests: read_requests.unwrap_or(below.read_requests),
            connections: connections.unwrap_or(below.connections),
            logs: logs.unwrap_or(below.logs),
            stored_bytes: stored.unwrap_or(below.stored_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_entry_counts_and_its_missing_keys_are_the_default() {
        let rules: Rules = "
            default = { append_bytes = 10, connections = 5 }
            principal = [
                { name = 'a-*', append_bytes = 20 },
                { name = 'a-b*', append_bytes = 30 },
                { name = 'a-b', append_bytes = 0, logs = 1 },
            ]
            log = [{ name = '*', read_bytes = 7 }, { name = 'orders', stored_bytes = 1 }]
        "
        .parse()
        .expect("it is valid");
        let bytes = |name: &str| rules.of_principal(name).append_bytes;
        assert_eq!([bytes("x"), bytes("a-c"), bytes("a-bc"), bytes("a-b")], [10, 20, 30, 0]);
        let limit = rules.of_principal("a-b");
        assert_eq!((limit.connections, limit.logs), (5, 1));
        assert_eq!(rules.of_log("users").read_bytes, 7);
        assert_eq!(rules.of_log("orders"), Limit { stored_bytes: 1, ..Limit::default() });
        assert!(rules.count_stored_bytes() && rules.len() == 5);
        let empty: Rules = "".parse().expect("it is valid");
        assert_eq!(empty.of_principal("a"), Limit::default());
        assert!(!empty.count_stored_bytes());
    }

    #[test]
    fn mistake_is_an_error_with_its_place() {
        for (text, part) in [
            ("x = 1", "unknown field `x`"),
            ("[default]\nname = 'a'", "[default] has a name"),
            ("[[principal]]\nappend_bytes = 1", "[[principal]] has no name"),
            ("[[principal]]\nname = ''", "[[principal]] has no name"),
            ("[[principal]]\nname = 'a*b'", "a * may only be at the end"),
            ("[[log]]\nname = 'a'\n[[log]]\nname = 'a'", "two entries of log a"),
            ("[[log]]\nname = 'a b'", "\"a b\" is no name of a log"),
            ("[[log]]\nname = 'a'\nlogs = 1", "only a principal"),
            ("[[log]]\nname = 'a'\nbytes = 1", "unknown field `bytes`"),
            ("[default]\nread_bytes = -1", "[default]: read_bytes is -1; use a whole number"),
            ("[default]\nread_bytes = 1.5", "line 2"),
            ("[default]\nlogs = 1125899906842625", "logs is 1125899906842625"),
        ] {
            let error = text.parse::<Rules>().expect_err(text);
            assert!(error.contains(part), "{part:?} is missing: {error}");
        }
    }
}
