//! `STYX_…` variables that set no key, and which of them are mistakes.
//!
//! Other parts of Styx use such variables too, and Kubernetes sets some for every
//! service whose name begins with `styx`.

use super::keys::KEYS;

/// Variables of the command line and of its logging.
const COMMAND_LINE: [&str; 6] =
    ["STYX_CONFIG", "STYX_LOG", "STYX_LOG_FORMAT", "STYX_HOST", "STYX_TOKEN", "STYX_CA_FILE"];

/// Variables of the project's own tests and examples.
const TESTS: [&str; 6] =
    ["STYX_BIN", "STYX_RELEASE_BIN", "STYX_EXAMPLES", "STYX_PYTHON", "STYX_NODE", "STYX_C"];
/// The same, if they begin so.
const TESTS_BEGIN: [&str; 5] =
    ["STYX_SEED", "STYX_FAULT_", "STYX_TEST_", "STYX_CONFORMANCE_", "STYX_SOAK_"];

/// How similar an unknown variable must be to a known one to count as a typing error.
const TYPING_ERROR_LIKENESS: f64 = 0.94;

/// The warning about a variable that sets no key; `None` if something else uses it.
pub(super) fn warning(variable: &str, text: &str) -> Option<String> {
    if COMMAND_LINE.contains(&variable)
        || TESTS.contains(&variable)
        || TESTS_BEGIN.iter().any(|begin| variable.starts_with(begin))
        || is_of_kubernetes(variable, text)
    {
        return None;
    }
    let aliases = KEYS.iter().filter_map(|key| key.alias).map(|alias| format!("STYX_{alias}"));
    let others = COMMAND_LINE.iter().map(|name| (*name).to_owned());
    let known = KEYS.iter().map(|key| key.variable()).chain(aliases).chain(others);
    let nearest = known
        .map(|name| (strsim::jaro_winkler(&name, variable), name))
        .filter(|(likeness, _)| *likeness >= TYPING_ERROR_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((_, name)) => format!("did you mean {name}?"),
        None => "unset it, or use a key that styx serve --print-config lists".to_owned(),
    };
    Some(format!("unknown variable {variable}: {hint}"))
}

/// Whether Kubernetes sets this variable for a service, for example `STYX_SERVICE_HOST`,
/// `STYX_PORT=tcp://10.0.0.1:7123` or `STYX_PORT_7123_TCP_ADDR`.
fn is_of_kubernetes(variable: &str, text: &str) -> bool {
    let after_port = variable.split_once("_PORT_").map(|(_, rest)| rest);
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT") && text.contains("://")
        || after_port.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_warned_about() {
        for (variable, part) in [
            ("STYX_TCP_TIMEOT", "did you mean STYX_TCP_TIMEOUT?"),
            ("STYX_DATA_DIRECTRY", "did you mean STYX_DATA_DIRECTORY?"),
            ("STYX_BIND_ADRESS", "did you mean STYX_BIND_ADDRESS?"),
            ("STYX_CONFG", "did you mean STYX_CONFIG?"),
            ("STYX_PORT", "--print-config"),
            ("STYX_QUUX", "--print-config"),
        ] {
            let warning = warning(variable, "1").expect(variable);
            assert!(warning.contains(variable) && warning.contains(part), "{warning}");
        }
    }

    #[test]
    fn variables_that_something_else_uses_are_known() {
        for variable in [
            "STYX_CONFIG",
            "STYX_HOST",
            "STYX_NODE",
            "STYX_C",
            "STYX_BIN",
            "STYX_FAULT_SEED",
            "STYX_SEEDS",
        ] {
            assert_eq!(warning(variable, "x"), None);
        }
        for (variable, text) in [
            ("STYX_SERVICE_HOST", "10.0.0.1"),
            ("STYX_SERVICE_PORT_HTTP", "7123"),
            ("STYX_PORT", "tcp://10.0.0.1:7123"),
            ("STYX_HEADLESS_PORT_7123_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(warning(variable, text), None);
        }
    }
}
