"""A client of a server on a Unix socket."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import styx_client
from faces import Face
from styx_client.testing import find_styx
from waiting import until


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a server that listens only on a Unix socket."""
    path = tmp_path / "styx.sock"
    command = [
        find_styx(),
        "serve",
        f"--bind-address=unix://{path}",
        f"--data-directory={tmp_path / 'data'}",
        f"--port-file={tmp_path / 'port'}",
        f"--exit-with-parent={os.getpid()}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        until((tmp_path / "port").exists)
        yield f"unix://{path}"
        server.kill()


def test_a_server_is_used_through_its_unix_socket(face: Face, address: str) -> None:
    with face.connect(address) as client:
        assert client.address == address
        client.create_log("log")
        with client.producer("log") as producer:
            for number in range(100):
                producer.send(str(number).encode())
        assert client.get_log("log").record_count == 100
        with client.consumer("log") as consumer:
            payloads = [record.payload for record in consumer]
        assert payloads == [str(number).encode() for number in range(100)]


def test_a_socket_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(styx_client.ConnectionFailedError, match=r"no such socket"):
        styx_client.Client(f"unix://{tmp_path}/none.sock")
