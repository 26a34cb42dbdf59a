//! Writes the generated documents, and checks that they are up to date.

use std::process::Stdio;

use crate::{root, tools};

/// A document, and the package and example that print it.
const GENERATED: [(&str, &str, &str); 1] = [("docs/errors.md", "styx-protocol", "errors_md")];

/// Writes every generated document.
pub(crate) fn write() -> bool {
    each(|path, text| std::fs::write(root().join(path), text).is_ok())
}

/// Whether every generated document is up to date.
pub(crate) fn unchanged() -> bool {
    each(|path, text| {
        let same = std::fs::read_to_string(root().join(path)).is_ok_and(|old| old == text);
        if !same {
            eprintln!("{path} is out of date: run `cargo xtask docs`");
        }
        same
    })
}

fn each(act: impl Fn(&str, &str) -> bool) -> bool {
    GENERATED.iter().all(|(path, package, example)| {
        let mut command = tools::cargo(&["run", "--quiet", "--package", package, "--example"]);
        let output = command.arg(example).stderr(Stdio::inherit()).output();
        match output {
            Ok(output) if output.status.success() => {
                act(path, &String::from_utf8_lossy(&output.stdout))
            }
            _ => {
                eprintln!("{path} cannot be generated: {command:?} failed");
                false
            }
        }
    })
}
