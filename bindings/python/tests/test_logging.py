"""Events are logged to logging.getLogger("styx_client"), on the thread that calls."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from faces import Face
from programs import check_quiet, run
from styx_client import Client, PositionMismatchError
from styx_client.testing import Server


def test_a_lost_connection_is_logged_on_the_thread_that_calls(
    face: Face, styx_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "styx_client")
    client = face.connect(styx_server.address)
    client.create_log("events")
    producer, consumer = (
        client.producer("events"),
        client.consumer("events", follow=True),
    )
    producer.send(b"a")
    styx_server.kill()
    styx_server.start()
    producer.send(b"b")
    assert [record.payload for _, record in zip("ab", consumer, strict=False)] == [
        b"a",
        b"b",
    ]
    client.close()
    records = [record for record in caplog.records if record.name == "styx_client"]
    for subject in ("producer", "consumer"):
        levels = [
            (record.levelname, record.getMessage().partition(":")[0])
            for record in records
            if record.getMessage().startswith(f"the {subject} of events")
        ]
        assert ("INFO", f"the {subject} of events is connected") in levels
        assert ("WARNING", f"the {subject} of events has lost its connection") in levels
    assert {record.thread for record in records} == {threading.get_ident()}


def test_no_thread_of_the_core_is_a_python_thread(server: Server, log: str) -> None:
    before = threading.active_count()
    with Client(server.address, threads=4) as client, client.producer(log) as producer:
        producer.send(b"a")
        assert threading.active_count() == before


def test_nothing_prints_without_a_logging_configuration(styx_server: Server) -> None:
    program = """
    client = styx_client.Client(address, silence_timeout=2)
    client.create_log("quiet")
    with client.producer("quiet", deadline=0.3) as producer:
        producer.send(b"a")
        os.kill(int(os.environ["STYX_SERVER"]), signal.SIGKILL)
        try:
            producer.send(b"b")
        except TimeoutError:
            pass
    client.close()
    """
    program = program.replace('int(os.environ["STYX_SERVER"])', str(styx_server.pid))
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == ""


def test_events_reach_the_handlers_of_a_program(styx_server: Server) -> None:
    program = f"""
    import logging
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    client = styx_client.Client(address)
    client.create_log("loud")
    with client.producer("loud", deadline=0.3) as producer:
        producer.send(b"a")
        os.kill({styx_server.pid}, signal.SIGKILL)
        try:
            producer.send(b"b")
        except TimeoutError:
            pass
    client.close()
    """
    ended = run(program, styx_server.address)
    check_quiet(ended)
    lines = ended.output.splitlines()
    assert lines[0] == "INFO the producer of loud is connected"
    assert any(line.startswith("WARNING the producer of loud has lost") for line in lines)
    assert any(line.startswith("INFO the producer of loud connects again in") for line in lines)


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
