//! Ends a process that hangs, with everything that it started. Before that, it prints what
//! each thread waits for. Reads `/proc`, so elsewhere it ends only the process itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The frames that are printed of the kernel's stack of a thread.
const FRAMES: usize = 5;

/// Prints the threads of a process and of its descendants, and TCP connections with unread
/// or unsent bytes, then kills all of them. Returns the same in a few lines.
pub(crate) fn describe_and_kill(process: u32) -> Vec<String> {
    let all = with_descendants(process);
    let mut summary: Vec<String> = all.iter().map(|process| describe(*process)).collect();
    summary.extend(busy_connections());
    summary.push(system());
    for process in all {
        let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
    }
    summary
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
    field(Path::new(&format!("/proc/{process}")), "PPid:")?.parse().ok()
}

/// Prints the threads. Returns how many wait in which function of the kernel.
fn describe(process: u32) -> String {
    let folder = format!("/proc/{process}");
    let call = fs::read_to_string(format!("{folder}/cmdline")).unwrap_or_default();
    eprintln!("process {process}: {}", call.replace('\0', " "));
    let mut places: BTreeMap<String, u32> = BTreeMap::new();
    for thread in fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten() {
        let read = |name| line_of(&thread.path(), name);
        let state = field(&thread.path(), "State:").unwrap_or_default();
        let place = read("wchan");
        eprintln!("  {}: {state}, {place} {}", read("comm"), read("syscall"));
        for frame in read("stack").lines().take(FRAMES) {
            eprintln!("    {frame}");
        }
        let state = state.chars().next().unwrap_or('?');
        *places.entry(format!("{state} {place}")).or_default() += 1;
    }
    let places: Vec<String> =
        places.iter().map(|(place, count)| format!("{count} x {place}")).collect();
    format!("{} {process}: {}", line_of(Path::new(&folder), "comm"), places.join(", "))
}

/// TCP connections with bytes that are not read or not acknowledged, as `/proc/net/tcp`
/// shows them: local and remote address, state, `unsent:unread`, all in hexadecimal.
fn busy_connections() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let queues = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().skip(1).take(4).collect();
        let is_busy = columns.last().is_some_and(|queues| *queues != "00000000:00000000");
        (is_busy && columns.len() == 4).then(|| format!("tcp {}", columns.join(" ")))
    };
    let busy: Vec<String> = table.lines().skip(1).filter_map(queues).collect();
    busy.iter().for_each(|line| eprintln!("{line}"));
    busy
}

/// Whether the whole machine waits for processors or for a disk.
fn system() -> String {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().filter(|line| {
        ["MemAvailable", "Dirty:", "Writeback:"].iter().any(|name| line.starts_with(name))
    });
    let memory: Vec<String> =
        memory.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let pressure = line_of(Path::new("/proc/pressure"), "io").replace('\n', "; ");
    let load = line_of(Path::new("/proc"), "loadavg");
    let system = format!("load {load}, {}, io {pressure}", memory.join(", "));
    eprintln!("{system}");
    system
}

/// A field of the file `status` in this folder of `/proc`.
fn field(folder: &Path, name: &str) -> Option<String> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

/// The content of a small file; empty if it cannot be read.
fn line_of(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned()
}
