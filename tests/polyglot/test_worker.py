"""worker.py is killed at each point where a kill could lose or double a result."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from styx_client import Client, RecordBatch
from styx_client.testing import Server
from suite import EXAMPLE, until

sys.path.insert(0, str(EXAMPLE))

import worker

READINGS = 20
SENSORS = ["kettle", "cold room"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with both logs, and readings in the first one."""
    with Server(tmp_path / "server") as server, Client(server.url) as client:
        client.create_log("readings")
        client.create_log("results")
        append_readings(client, range(READINGS))
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the server."""
    with Client(server.url) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database."""
    return tmp_path / "sensors.sqlite"


def append_readings(client: Client, numbers: range) -> None:
    """Appends readings with these numbers."""
    with client.producer("readings") as producer:
        for number in numbers:
            sensor = SENSORS[number % len(SENSORS)]
            reading = {"reading": number, "sensor": sensor, "celsius": number / 10}
            producer.append(json.dumps(reading).encode())


def process_and_crash(client: Client, file: Path, appended: int) -> None:
    """A worker that is killed after a transaction, when this many results were appended."""
    database = worker.open_database(str(file))
    results = worker.process(database, first_batch(client))
    assert len(results) == READINGS
    with client.producer("results", producer_id=worker.PRODUCER_ID) as producer:
        worker.append(producer, results[:appended])
    database.close()


def first_batch(client: Client) -> RecordBatch:
    """All readings."""
    with client.consumer("readings") as consumer:
        batch = consumer.poll()
    assert batch is not None
    return batch


def run_worker(server: Server, file: Path, count: int) -> None:
    """Runs a worker until there is this number of results, and kills it."""
    process = subprocess.Popen(call(file), env={"STYX_HOST": server.url})
    try:
        with Client(server.url) as client:
            until(lambda: client.get_log("results").end_position >= count, lambda: "all results")
    finally:
        process.kill()
        process.wait()


def call(file: Path) -> list[str | Path]:
    """A call of the worker."""
    return [sys.executable, EXAMPLE / "worker.py", "readings", "results", file]


def check_results(client: Client, file: Path, count: int) -> None:
    """Each reading has one result, and counts once in the database."""
    with client.consumer("results") as consumer:
        results: list[dict[str, Any]] = [json.loads(record.payload) for record in consumer]
    assert [result["reading"] for result in results] == list(range(count))
    assert [result["count"] for result in results] == [number // 2 + 1 for number in range(count)]
    database = worker.open_database(str(file))
    counts = dict(database.execute("SELECT sensor, count FROM sensors").fetchall())
    database.close()
    assert counts == dict.fromkeys(SENSORS, count // 2)


def test_results_of_a_committed_batch_are_appended_after_a_crash(
    server: Server, client: Client, file: Path
) -> None:
    process_and_crash(client, file, appended=0)
    run_worker(server, file, READINGS)
    check_results(client, file, READINGS)


def test_appended_results_are_not_appended_again_after_a_crash(
    server: Server, client: Client, file: Path
) -> None:
    process_and_crash(client, file, appended=READINGS)
    append_readings(client, range(READINGS, READINGS + 10))
    run_worker(server, file, READINGS + 10)
    check_results(client, file, READINGS + 10)


def test_partly_appended_results_are_completed_after_a_crash(
    server: Server, client: Client, file: Path
) -> None:
    process_and_crash(client, file, appended=7)
    run_worker(server, file, READINGS)
    check_results(client, file, READINGS)


def test_crash_inside_the_transaction_stores_nothing(client: Client, file: Path) -> None:
    with client.producer("readings") as producer:
        producer.append(b"no reading")
    database = worker.open_database(str(file))
    with pytest.raises(json.JSONDecodeError):
        worker.process(database, first_batch(client))
    for table in ["sensors", "outbox", "checkpoint"]:
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


def test_appended_results_leave_the_outbox(client: Client, file: Path) -> None:
    database = worker.open_database(str(file))
    batch = first_batch(client)
    for part in [batch[:5], batch[5:]]:
        worker.process(database, part)
    assert database.execute("SELECT min(number), count(*) FROM outbox").fetchone() == (5, 15)
    database.close()


@pytest.mark.parametrize("log", ["readings", "results"])
def test_database_of_a_recreated_log_is_refused(
    server: Server, client: Client, file: Path, log: str
) -> None:
    run_worker(server, file, READINGS)
    # One more batch, after which the first one has left the outbox.
    append_readings(client, range(READINGS, READINGS + 10))
    run_worker(server, file, READINGS + 10)
    client.delete_log(log)
    run = subprocess.run(
        call(file), env={"STYX_HOST": server.url}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert f"{file} belongs to other logs, remove it: " in run.stderr


def test_worker_without_a_server_says_so(file: Path) -> None:
    run = subprocess.run(
        call(file),
        env={"STYX_HOST": "styx://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: cannot connect to styx://127.0.0.1:1: ")
