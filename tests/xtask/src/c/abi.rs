//! The step `c-abi`: a program that was compiled with an older header runs with this library.
//!
//! | file in `bindings/c/abi` | content |
//! |---|---|
//! | `symbols.txt` | the exported functions |
//! | `layouts.txt` | the sizes and offsets of the structs, and the values of the constants |
//!
//! Both are compared with the library and the header. `cargo xtask c-abi --accept` replaces them.
//! Adding functions, constants and fields at the end of a struct that is passed with its size is
//! compatible; everything else needs another `STYX_ABI_VERSION`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::{are_programs_installed, library, sources};
use crate::tally::Tally;
use crate::{run, tools};

/// See the module.
pub(crate) fn step() -> Tally {
    Tally::step(check(false))
}

/// Replaces the committed files.
pub(crate) fn accept() -> bool {
    check(true)
}

fn check(accept: bool) -> bool {
    if !are_programs_installed() || !tools::build_styx() {
        return false;
    }
    let Ok(header) = fs::read_to_string(sources().join("include/styx.h")) else {
        eprintln!("cannot read include/styx.h");
        return false;
    };
    let Some(exported) = exported(&library()) else { return false };
    let functions = functions(&header);
    let Some(layouts) = layouts(&header) else { return false };
    let results = [
        are_same(&functions, &exported),
        are_tested(&functions),
        is_committed("symbols.txt", &lines(&exported), accept),
        is_committed("layouts.txt", &layouts, accept),
    ];
    results.into_iter().all(|passed| passed)
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

/// The symbols that a shared library exports.
fn exported(library: &Path) -> Option<BTreeSet<String>> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output().ok()?;
    if !output.status.success() {
        eprintln!("nm cannot read {}", library.display());
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // With a version script, the name of the version is a symbol too.
    let symbols = text.lines().filter(|line| !line.contains(" A "));
    let name = |line: &str| Some(line.rsplit(' ').next()?.split('@').next()?.to_owned());
    Some(symbols.filter_map(name).collect())
}

/// The functions that a header declares.
fn functions(header: &str) -> BTreeSet<String> {
    let code = without_comments(header);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // Not the pointers to functions in a typedef: a parenthesis is before their name.
    let declarations = code.split('(').filter_map(|before| before.rsplit(|c| !is_name(c)).next());
    declarations.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn without_comments(header: &str) -> String {
    let parts = header.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code));
    parts.collect()
}

fn are_same(declared: &BTreeSet<String>, exported: &BTreeSet<String>) -> bool {
    for name in declared.difference(exported) {
        eprintln!("{name} is in styx.h, but libstyx.so does not export it");
    }
    for name in exported.difference(declared) {
        eprintln!("libstyx.so exports {name}, which is not in styx.h");
    }
    declared == exported
}

/// Whether the tests in C call each function.
fn are_tested(functions: &BTreeSet<String>) -> bool {
    let files = fs::read_dir(sources().join("tests/c")).into_iter().flatten().flatten();
    let tests: String = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
    let missing = functions.iter().filter(|name| !tests.contains(&format!("{name}(")));
    missing.map(|name| eprintln!("no test in bindings/c/tests/c calls {name}")).count() == 0
}

/// The output of a program that is generated from the header.
fn layouts(header: &str) -> Option<String> {
    let folder = tools::target().join("c");
    let (source, program) = (folder.join("layouts.c"), folder.join("layouts"));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&source, printer(header)));
    if let Err(e) = written {
        eprintln!("cannot write {}: {e}", source.display());
        return None;
    }
    let mut compile = Command::new("gcc");
    compile.args(["-std=c11", "-Wall", "-Werror", "-I"]).arg(sources().join("include"));
    compile.arg("-o").arg(&program).arg(&source);
    if !run("gcc", &mut compile) {
        return None;
    }
    let output = Command::new(&program).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program that prints the constants and structs of a header.
fn printer(header: &str) -> String {
    let code = without_comments(header);
    let mut body = String::new();
    let constants = code.lines().filter_map(|line| line.strip_prefix("#define STYX_"));
    // The guard of the header has no value.
    for name in constants.filter_map(|constant| Some(constant.split_once(' ')?.0)) {
        body += &format!("    CONSTANT(STYX_{name});\n");
    }
    for (kind, text) in [("enum", "typedef enum {"), ("struct", "typedef struct {")] {
        for definition in code.split(text).skip(1) {
            let Some((members, rest)) = definition.split_once('}') else { continue };
            let name = rest.split(';').next().unwrap_or_default().trim();
            body += &format!("    SIZE({name});\n");
            for member in members.split([';', ',']).map(str::trim).filter(|m| !m.is_empty()) {
                if kind == "enum" {
                    let constant = member.split(' ').next().unwrap_or_default();
                    body += &format!("    CONSTANT({constant});\n");
                    continue;
                }
                let field = member.split('[').next().unwrap_or_default();
                let field = field.rsplit([' ', '*']).next().unwrap_or_default();
                body += &format!("    FIELD({name}, {field});\n");
            }
        }
    }
    format!("{PROGRAM_BEGIN}{body}    return 0;\n}}\n")
}

const PROGRAM_BEGIN: &str = r#"/* Generated from styx.h by `cargo xtask test --only c-abi`. */
#include <stdio.h>

#include <styx.h>

#define CONSTANT(name) printf("%s = %llu\n", #name, (unsigned long long)(name))
#define SIZE(type) printf("%s: %zu bytes, aligned to %zu\n", #type, sizeof(type), _Alignof(type))
#define FIELD(type, field) \
    printf("  %s: %zu bytes at %zu\n", #field, sizeof(((type *)0)->field), offsetof(type, field))

int main(void)
{
"#;

/// Compares a text with a committed file, or replaces the file.
fn is_committed(name: &str, text: &str, accept: bool) -> bool {
    let path: PathBuf = sources().join("abi").join(name);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed == text {
        return true;
    }
    if accept {
        let written: io::Result<()> = fs::write(&path, text);
        return written.is_ok();
    }
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) =
        (committed.lines().collect(), text.lines().collect());
    old.difference(&new).for_each(|line| eprintln!("- {line}"));
    new.difference(&old).for_each(|line| eprintln!("+ {line}"));
    eprintln!(
        "the ABI is not that of {}: if older programs still run, accept the change with \
         `cargo xtask c-abi --accept`",
        path.display()
    );
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
#ifndef STYX_H
#define STYX_H
/* styx_not_this(): a comment. */
#define STYX_E_ONE 1
typedef enum {
    /* The first; not a value. */
    STYX_A = 1,
    STYX_B = 2,
} styx_kind;
typedef struct styx_opaque styx_opaque;
typedef struct {
    const uint8_t *data;
    /* Of data. */
    size_t size;
    char text[64];
} styx_pair;
typedef void (*styx_callback)(const styx_pair *pair, void *user_data);
styx_error *styx_one(const styx_opaque *opaque,
                     char (*id)[40]);
void styx_two(void);
#endif
";

    #[test]
    fn functions_of_a_header_are_found() {
        let expected = ["styx_one", "styx_two"].map(str::to_owned);
        assert_eq!(functions(HEADER), BTreeSet::from(expected));
    }

    #[test]
    fn constants_and_structs_are_printed() {
        let printer = printer(HEADER);
        let body: Vec<&str> = printer
            .lines()
            .map(str::trim)
            .filter(|line| {
                ["CONSTANT(", "SIZE(", "FIELD("].iter().any(|begin| line.starts_with(begin))
            })
            .collect();
        let expected = [
            "CONSTANT(STYX_E_ONE);",
            "SIZE(styx_kind);",
            "CONSTANT(STYX_A);",
            "CONSTANT(STYX_B);",
            "SIZE(styx_pair);",
            "FIELD(styx_pair, data);",
            "FIELD(styx_pair, size);",
            "FIELD(styx_pair, text);",
        ];
        assert_eq!(body, expected);
    }
}
