//! Command lines, and how they are parsed.

use clap::CommandFactory;
use styx_protocol::{LineEnding, LogConfig};

use super::*;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(line.split(' '))
}

fn logs(line: &str) -> (Global, LogsCommand) {
    match parse(line) {
        Ok(CommandLine { global, command: Command::Logs(command) }) => (global, command),
        other => panic!("{line}: {other:?}"),
    }
}

/// The exit code of a line that is refused.
fn refused(line: &str) -> i32 {
    parse(line).expect_err(line).exit_code()
}

#[test]
fn command_definitions_are_consistent() {
    CommandLine::command().debug_assert();
    ServerCommandLine::command().debug_assert();
}

#[test]
fn global_flags_are_accepted_anywhere() {
    for line in [
        "styx -H http://h:1 -f json logs get x",
        "styx logs -H http://h:1 -f json get x",
        "styx logs get -H http://h:1 -f json x",
        "styx logs get x --host http://h:1 --format json",
        "styx logs get x -Hhttp://h:1 --format=json",
    ] {
        let (global, command) = logs(line);
        assert_eq!(global.host.as_deref(), Some("http://h:1"), "{line}");
        assert_eq!(global.format, Format::Json, "{line}");
        assert!(matches!(command, LogsCommand::Get { name } if name == "x"), "{line}");
    }
}

#[test]
fn flags_are_accepted_after_the_log_name() {
    let (_, command) = logs("styx logs read x -P -3 -w end -n 2 -F -u -l crlf");
    let LogsCommand::Read(read) = command else { panic!("{command:?}") };
    assert_eq!((read.position.as_str(), read.whence.as_str()), ("-3", "end"));
    assert_eq!((read.count.as_str(), read.follow, read.unbuffered), ("2", true, true));
    assert_eq!((read.binary, read.line_ending), (false, LineEnding::CrLf));

    let (_, command) = logs("styx logs write x -ub");
    let LogsCommand::Write(write) = command else { panic!("{command:?}") };
    assert!(write.unbuffered && write.binary);
}

#[test]
fn cursors_are_addressed_by_log_and_name() {
    let command = |line: &str| match parse(line) {
        Ok(CommandLine { command: Command::Cursors(command), .. }) => command,
        other => panic!("{line}: {other:?}"),
    };
    let set = command("styx cursors set orders billing -P 7");
    let CursorsCommand::Set { log, cursor, position } = set else { panic!("{set:?}") };
    assert_eq!((log.as_str(), cursor.as_str(), position), ("orders", "billing", 7));
    for line in ["styx cursors", "styx cursors get a", "styx cursors set a b", "styx cursors list"]
    {
        assert_eq!(refused(line), 2, "{line}");
    }
    let (_, command) = logs("styx logs read x --cursor billing");
    let LogsCommand::Read(read) = command else { panic!("{command:?}") };
    assert_eq!(read.cursor.as_deref(), Some("billing"));
}

#[test]
fn create_flags_override_the_default_configuration() {
    let line = "styx logs create x --log-max-age -1 --max-record-size=9 --segment-max-count 5";
    let (_, command) = logs(line);
    let LogsCommand::Create(create) = command else { panic!("{command:?}") };
    let expected = LogConfig { max_record_size: 9, segment_max_count: 5, ..LogConfig::default() };
    assert_eq!(create.config(), expected);
}

#[test]
fn misuse_exits_with_2_and_help_with_0() {
    for line in [
        "styx",
        "styx logs",
        "styx logs frobnicate",
        "styx logs get",
        "styx logs get a b",
        "styx logs read x -l zz",
        "styx logs write x -b -l lf",
        "styx logs trim x",
        "styx logs list -f yaml",
        "styx serve --set x",
        "styx serve --log-level loud",
    ] {
        assert_eq!(refused(line), 2, "{line}");
    }
    for line in ["styx -h", "styx --help", "styx logs create -h", "styx logs read -h"] {
        assert_eq!(refused(line), 0, "{line}");
    }
}

#[test]
fn usage_is_that_of_the_selected_command() {
    for (line, expected) in [
        ("styx", "Usage: styx [OPTIONS] <COMMAND>"),
        ("styx logs -f xml list", "Usage: styx logs list [OPTIONS]"),
        ("styx -H list logs get x", "Usage: styx logs get [OPTIONS] <NAME>"),
    ] {
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        let usage = selected(CommandLine::command(), &arguments).render_usage().to_string();
        assert_eq!(usage, expected, "{line}");
    }
}

#[test]
fn serve_flags_become_configuration_keys() {
    let line = "styx serve -b :1 --data-directory /d --set tcp_timeout=5 --set pid_file=a=b";
    let Ok(CommandLine { command: Command::Serve(serve), .. }) = parse(line) else {
        panic!("{line}")
    };
    let keys: Vec<_> = serve.overrides().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    let expected = ["tcp_timeout=5", "pid_file=a=b", "bind_address=:1"];
    assert_eq!(keys[..3], expected);
    assert_eq!(keys[3..], ["log_manager.data_directory=/d"]);
}

#[test]
fn styx_server_accepts_the_flags_of_0_x() {
    let parse = |line: &str| ServerCommandLine::try_parse_from(line.split(' ')).map(Serve::from);
    let serve = parse("styx-server").expect("no flag is required");
    assert_eq!(serve.config.as_deref(), Some("./config.toml".as_ref()));
    let serve = parse("styx-server --config=c --log-level FATAL").expect("valid flags");
    assert_eq!(serve.config.as_deref(), Some("c".as_ref()));
    assert_eq!(serve.log_level, Some(LogLevel::Fatal));
    assert!(parse("styx-server --bind-address :1").is_err());
}

#[test]
fn import_accepts_a_directory_and_any_number_of_logs() {
    let line =
        parse("styx import old --data-directory new --log a b --log c").expect("a valid line");
    let Command::Import(import) = line.command else { panic!("{line:?}") };
    let logs: Vec<_> = import.log.iter().map(LogName::as_str).collect();
    assert_eq!((import.directory, import.data_directory), ("old".into(), "new".into()));
    assert_eq!(logs, ["a", "b", "c"]);
    for misuse in ["styx import", "styx import old --log a.b", "styx import old new"] {
        assert_eq!(refused(misuse), 2, "{misuse}");
    }
}
