"""styx_client.testing: servers for the tests of users."""

from __future__ import annotations

import os
import signal
import sysconfig
from pathlib import Path

import pytest
from programs import start
from styx_client import Client
from styx_client.testing import Server, ServerNotFoundError, find_styx
from waiting import until


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child that has ended exists until its parent asks for its exit code.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_server_runs_for_the_time_of_a_with_block() -> None:
    with Server() as server:
        pid, directory = server.pid, server.data_directory
        assert pid is not None
        assert server.address.startswith("styx://127.0.0.1:")
        assert server.url.startswith("http://127.0.0.1:")
        with Client(server.address) as client:
            client.create_log("a")
        assert (directory / "a").is_dir()
        assert server.address in repr(server)
    assert not is_running(pid)
    assert not directory.exists()


def test_the_fixture_keeps_its_logs_in_tmp_path(styx_server: Server, tmp_path: Path) -> None:
    assert styx_server.data_directory.is_relative_to(tmp_path)
    with Client(styx_server.address) as client:
        assert client.list_logs() == []


def test_a_killed_server_starts_again_on_the_same_port_with_its_logs(
    styx_server: Server,
) -> None:
    address, pids = styx_server.address, [styx_server.pid]
    with Client(address) as client:
        client.create_log("a")
        with client.producer("a") as producer:
            producer.send(b"kept")
    styx_server.kill()
    pids.append(styx_server.pid)
    with pytest.raises(RuntimeError, match=r"call start\(\)"):
        styx_server.pause()
    styx_server.start()
    styx_server.start()
    assert styx_server.address == address
    pids.append(styx_server.pid)
    assert pids[1] is None
    assert pids[2] not in (None, pids[0])
    with Client(address) as client:
        assert client.get_log("a").record_count == 1


def test_settings_reach_the_server() -> None:
    with Server(settings={"log_manager.pad_commits": True}) as server:
        assert server.pid is not None
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
        assert "--set=log_manager.pad_commits=true" in arguments


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="no_such_key"):
        Server(settings={"no_such_key": 1})


def test_a_server_ends_with_the_process_that_started_it() -> None:
    program = """
    from styx_client.testing import Server
    server = Server()
    print(server.pid, flush=True)
    time.sleep(60)
    """
    with start(program) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_running(pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    until(lambda: not is_running(pid))


def test_environment_variables_of_clients_do_not_reach_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STYX_BIND_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("STYX_CONFIG", "/nowhere")
    with Server() as server, Client(server.address) as client:
        assert client.list_logs() == []


def test_styx_bin_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYX_BIN", "/some/styx")
    assert find_styx() == "/some/styx"
    monkeypatch.delenv("STYX_BIN")
    scripts, path = tmp_path / "scripts", tmp_path / "path"
    for directory in (scripts, path):
        directory.mkdir()
        (directory / "styx").touch(mode=0o755)

    def get_path(_name: str) -> str:
        return str(scripts)

    monkeypatch.setattr(sysconfig, "get_path", get_path)
    monkeypatch.setenv("PATH", str(path))
    assert find_styx() == str(scripts / "styx")
    (scripts / "styx").unlink()
    assert find_styx() == str(path / "styx")
    (path / "styx").unlink()
    with pytest.raises(ServerNotFoundError, match="pip install styx-server") as caught:
        find_styx()
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(ServerNotFoundError, match="STYX_BIN"):
        Server()
