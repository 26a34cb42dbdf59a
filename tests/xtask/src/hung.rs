//! Ends a process that hangs, with everything that it started. Before that, it prints what
//! each thread waits for. Reads `/proc`, so elsewhere it ends only the process itself.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Prints the threads of a process and of its descendants, then kills all of them.
pub(crate) fn describe_and_kill(process: u32) {
    let all = with_descendants(process);
    for process in &all {
        describe(*process);
    }
    for process in all {
        let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
    }
}

/// The process, its children, their children and so on.
fn with_descendants(process: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let mut all = vec![process];
    let mut next = 0;
    while let Some(&current) = all.get(next) {
        all.extend(parents.iter().filter(|(_, parent)| *parent == current).map(|(child, _)| child));
        next += 1;
    }
    all
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn describe(process: u32) {
    let folder = format!("/proc/{process}");
    let call = fs::read_to_string(format!("{folder}/cmdline")).unwrap_or_default();
    eprintln!("process {process}: {}", call.replace('\0', " "));
    for thread in fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten() {
        let read = |name| line_of(&thread.path(), name);
        eprintln!("  {}: {} {}", read("comm"), read("wchan"), read("syscall"));
    }
}

/// The content of a file of one line; empty if it cannot be read.
fn line_of(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned()
}
