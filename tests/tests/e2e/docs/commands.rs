//! Every command in the documents works, and every link points to a file.
//!
//! In README.md, CONTRIBUTING.md, ARCHITECTURE.md and docs/*.md, only blocks that begin
//! with ```` ```sh ```` are run; others (`console`, `text`, …) are not. The blocks of
//! one file run in order in one bash, in an empty directory, with `styx` on the path.
//! Each file has its own server, and `localhost:7123` is replaced by its address. The
//! scripts that the package installs into `/usr/lib/styx` are those of `packaging/scripts`.
//! The first command that fails fails the test.
//!
//! Programs in other languages are run elsewhere: those of docs/rust.md by the crate of
//! examples/rust, those of docs/python*.md by bindings/python/tests/test_docs.py, and
//! those of docs/node*.md by bindings/node/test/docs.test.mjs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use styx_tests::{Scratch, TestServer, binary};

/// All documents, by their path from the root.
fn documents() -> Vec<PathBuf> {
    let root = binary::workspace();
    let in_folder = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
    };
    let mut found = [in_folder("."), in_folder("docs")].concat();
    found.sort();
    found
}

/// A block of commands, and its first line in the document.
struct Block {
    line: usize,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Block)> = None;
    for (index, line) in document.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                let block = Block { line: index + 1, text: String::new() };
                open = Some((language.trim() == "sh", block));
            }
            (Some(_), Some(_)) => {
                if let Some((true, block)) = open.take() {
                    blocks.push(block);
                }
                open = None;
            }
            (Some((_, block)), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// One script of all blocks. It records which block failed.
fn script(blocks: &[Block], address: &str) -> String {
    let scripts = binary::workspace().join("packaging/scripts");
    let mut script = String::from("set -eEuo pipefail\ntrap 'echo \"line $BLOCK\" >failed' ERR\n");
    for block in blocks {
        let text = block.text.replace("localhost:7123", address);
        let text = text.replace("/usr/lib/styx", &scripts.to_string_lossy());
        script.push_str(&format!("BLOCK={}\n{text}\n", block.line));
    }
    script
}

/// Runs the blocks. An error names the block that failed, with its output.
fn run(blocks: &[Block], server: &TestServer, directory: &Scratch) -> Result<(), String> {
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    std::os::unix::fs::symlink(binary::styx(), bin.join("styx")).expect("a link");
    let work = directory.join("work");
    std::fs::create_dir_all(&work).expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let script = script(blocks, &server.address().to_string());
    let output = Command::new("timeout")
        .args(["120", "bash", "-c", &script])
        .current_dir(&work)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("STYX_HOST", server.url(""))
        .stdin(Stdio::null())
        .output()
        .expect("bash is installed");
    if output.status.success() {
        return Ok(());
    }
    let failed = std::fs::read_to_string(work.join("failed")).unwrap_or_default();
    let (stdout, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("the block at {} ({}):\n{stdout}\n{errors}", failed.trim(), output.status))
}

#[test]
fn every_command_in_the_documents_works() {
    let mut failures = Vec::new();
    let mut count = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document");
        let blocks = blocks(&text);
        if blocks.is_empty() {
            continue;
        }
        count += blocks.len();
        let server = TestServer::start();
        let directory = Scratch::new("documentation");
        if let Err(failure) = run(&blocks, &server, &directory) {
            failures.push(format!("{}, {failure}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(count > 0, "no document has a command in it");
    println!("{count} blocks of commands");
}

#[test]
fn a_failing_command_is_reported_with_its_line() {
    let document = "text\n```sh\ntrue\n```\n```console\nfalse\n```\n```sh\ncurl -sSf \
                    http://localhost:7123/logs | grep nothing\ntrue\n```\n";
    let blocks = blocks(document);
    assert_eq!(blocks.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 8]);
    let server = TestServer::start();
    let directory = Scratch::new("documentation");
    let failure = run(&blocks, &server, &directory).expect_err("grep finds nothing");
    assert!(failure.contains("line 8"), "{failure}");
    let well = Scratch::new("documentation");
    assert_eq!(run(&blocks[..1], &server, &well), Ok(()));
}

#[test]
fn every_link_points_to_an_existing_file() {
    let mut broken = Vec::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document");
        let folder = path.parent().unwrap_or(Path::new("/"));
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !folder.join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The targets of `[text](target)`, outside of code blocks.
fn links(document: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut code = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if !code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(str::to_owned));
        }
    }
    links
}
