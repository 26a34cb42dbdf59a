//! Writes the generated documents, and checks that they are up to date.

use std::process::{Command, Stdio};

use crate::{root, run, tools};

/// A document, and the example that prints it.
const GENERATED: [(&str, &str); 1] = [("docs/errors.md", "errors_md")];

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
    GENERATED.iter().all(|(path, example)| {
        // The whole workspace, so that its features are those of the other steps.
        let mut build = tools::cargo(&["build", "--quiet", "--workspace", "--example", example]);
        let program = tools::target().join("debug/examples").join(example);
        if !run("build", &mut build) {
            return false;
        }
        match Command::new(&program).current_dir(root()).stderr(Stdio::inherit()).output() {
            Ok(output) if output.status.success() => {
                act(path, &String::from_utf8_lossy(&output.stdout))
            }
            _ => {
                eprintln!("{path} cannot be generated: {} failed", program.display());
                false
            }
        }
    })
}
