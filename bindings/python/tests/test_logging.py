"""What the logger styx_client is told, and that nothing is printed without a configuration."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from styx_client import Client, PositionMismatchError
from styx_client.testing import Server

#: A program whose producer fails, so there is a warning to log.
PROGRAM = """
from styx_client import Client, PositionMismatchError
with Client({address!r}) as client:
    producer = client.producer("orders", expected_position=7)
    try:
        producer.send(b"x")
    except PositionMismatchError:
        pass
"""


def test_a_program_without_logging_prints_no_warnings(tmp_path: Path) -> None:
    with Server(tmp_path / "styx") as server:
        with Client(server.address) as client:
            client.create_log("orders")
        call = [sys.executable, "-c", PROGRAM.format(address=server.address)]
        done = subprocess.run(call, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_permanent_error_is_not_reported_as_a_lost_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="styx_client")
    with Server(tmp_path / "styx") as server, Client(server.address) as client:
        client.create_log("orders")
        producer = client.producer("orders", expected_position=7)
        with pytest.raises(PositionMismatchError) as raised:
            producer.send(b"x")
        client.check()
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"the producer of orders has failed: {raised.value}"]
