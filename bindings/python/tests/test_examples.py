"""Every program in examples/python does what its first lines say."""

from __future__ import annotations

import csv
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from styx_client import Client
from styx_client.testing import Server
from waiting import until

EXAMPLES = Path(__file__).parents[3] / "examples/python"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))

#: Seconds after which a test that waits for something fails.
LIMIT = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "styx") as server:
        yield server


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / program), *arguments]


def environment(server: Server) -> dict[str, str]:
    return {**os.environ, "STYX_HOST": server.address}


def run(server: Server, program: str, *arguments: str, lines: list[bytes] | None = None) -> str:
    """The output of the program, which must succeed."""
    done = subprocess.run(
        command(program, *arguments),
        input=b"".join(line + b"\n" for line in lines or []),
        capture_output=True,
        env=environment(server),
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return done.stdout.decode()


@contextmanager
def started(server: Server, program: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """The running program. It is killed at the end, if it has not ended by itself."""
    with subprocess.Popen(
        command(program, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(server),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pipe(file: IO[bytes] | None) -> IO[bytes]:
    assert file is not None
    return file


def append(server: Server, log: str, payloads: list[bytes]) -> None:
    with Client(server.address) as client:
        client.create_log(log, exist_ok=True)
        with client.producer(log) as producer:
            producer.append_many(payloads)


def test_every_program_is_in_the_table_of_the_readme() -> None:
    rows = (EXAMPLES / "README.md").read_text().splitlines()
    listed = [row.split("](")[1].split(")")[0] for row in rows if row.startswith("| [")]
    assert sorted(listed) == PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_says_what_the_program_does(program: str) -> None:
    done = subprocess.run(command(program, "--help"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {program}")


def test_consume_prints_what_produce_has_appended(server: Server) -> None:
    lines = [b"one", b"", b"three"]
    assert run(server, "produce.py", "orders", lines=lines) == "3 lines, the last at position 2\n"
    assert run(server, "consume.py", "orders") == "0 one\n1 \n2 three\n"


def test_produce_without_lines_creates_the_log(server: Server) -> None:
    assert run(server, "produce.py", "orders") == "no lines\n"
    assert run(server, "consume.py", "orders") == ""


def test_consume_starts_and_stops_where_it_is_told(server: Server) -> None:
    append(server, "orders", [b"a", b"b", b"c", b"d"])
    assert run(server, "consume.py", "orders", "--start", "end-3", "--count", "2") == "1 b\n2 c\n"


def test_follow_prints_new_records_across_a_restart_of_the_server(
    server: Server,
) -> None:
    append(server, "orders", [b"old"])
    with started(server, "follow.py", "orders") as follow:
        errors, output = pipe(follow.stderr), pipe(follow.stdout)
        while (line := errors.readline()) != b"following orders from position 1\n":
            assert line, "it has ended"
        append(server, "orders", [b"before", b"the restart"])
        assert [output.readline(), output.readline()] == [b"before\n", b"the restart\n"]
        server.kill()
        server.start()
        append(server, "orders", [b"after"])
        assert output.readline() == b"after\n"
        follow.send_signal(signal.SIGINT)
        log = errors.read().decode()
        assert follow.wait(LIMIT) == 0, log
    assert "the consumer of orders has lost its connection" in log
    assert "stopped at position 4\n" in log


def test_reliable_counts_each_record_once_although_it_is_killed(
    server: Server, tmp_path: Path
) -> None:
    """The end of each with statement kills the program."""
    file = tmp_path / "totals.sqlite"

    def position() -> int:
        """Up to where the records are counted."""
        with sqlite3.connect(file) as database:
            row: tuple[str] | None = None
            if database.execute(
                "SELECT * FROM sqlite_master WHERE name = 'checkpoint'"
            ).fetchall():
                row = database.execute("SELECT text FROM checkpoint").fetchone()
        database.close()
        return int(row[0].rpartition(":")[2]) if row else 0

    def wait_for(target: int) -> None:
        until(lambda: position() >= target, LIMIT)

    expected: Counter[bytes] = Counter()
    total = 0
    for _ in range(5):
        payloads = [b"word%d and %d" % (number % 7, total) for number in range(20_000)]
        append(server, "orders", payloads)
        total += len(payloads)
        expected.update(payload.split()[0] for payload in payloads)
        before = position()
        with started(server, "reliable.py", "orders", str(file)):
            wait_for(before + 1)
    with started(server, "reliable.py", "orders", str(file)):
        wait_for(total)
        # It continues by itself when the server is there again.
        server.kill()
        server.start()
        append(server, "orders", [b"last"])
        expected[b"last"] += 1
        wait_for(total + 1)
    with sqlite3.connect(file) as database:
        counted = dict(database.execute("SELECT word, records FROM totals"))
    database.close()
    assert counted == expected


class Gateway:
    """The running example, and requests to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        line = pipe(process.stdout).readline().decode()
        assert line.startswith("listening on http://"), line
        self.address = line.strip().rpartition("/")[2]

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if is_json else {}
        finally:
            connection.close()

    def events(self, path: str, last_id: str = "") -> Generator[tuple[str, str]]:
        """The first lines and the data of the events."""
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT)
        try:
            connection.request("GET", path, headers={"Last-Event-ID": last_id} if last_id else {})
            response = connection.getresponse()
            assert response.status == 200
            assert response.headers.get_content_type() == "text/event-stream"
            while lines := list(iter(lambda: response.readline().decode().rstrip("\n"), "")):
                data = [line[6:] for line in lines if line.startswith("data: ")]
                yield lines[0], "\n".join(data)
        finally:
            connection.close()


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    append(server, "orders", [])
    with started(server, "gateway.py", "--port", "0") as process:
        yield Gateway(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
        assert pipe(process.stderr).read() == b""


def test_gateway_streams_what_was_posted_and_continues_after_an_event(
    gateway: Gateway,
) -> None:
    assert gateway.request("POST", "/logs/orders", b"a book") == (200, {"position": 0})
    assert gateway.request("POST", "/logs/orders", b"two\r\nlines") == (
        200,
        {"position": 1},
    )
    events = gateway.events("/logs/orders?start=0")
    first, second = next(events), next(events)
    assert (first[1], second[1]) == ("a book", "two\nlines")
    assert next(gateway.events("/logs/orders", first[0].removeprefix("id: "))) == second


def test_gateway_continues_when_the_server_restarts(gateway: Gateway, server: Server) -> None:
    events = gateway.events("/logs/orders?start=0")
    gateway.request("POST", "/logs/orders", b"before")
    assert next(events)[1] == "before"
    server.kill()
    server.start()
    assert gateway.request("POST", "/logs/orders", b"after") == (200, {"position": 1})
    assert next(events)[1] == "after"


def test_gateway_ends_although_a_reader_is_connected(gateway: Gateway) -> None:
    gateway.request("POST", "/logs/orders", b"a book")
    events = gateway.events("/logs/orders?start=0")
    assert next(events)[1] == "a book"
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(10) == 0


def test_gateway_ends_a_stream_with_the_code_of_its_error(
    gateway: Gateway, server: Server
) -> None:
    gateway.request("POST", "/logs/orders", b"a book")
    events = gateway.events("/logs/orders?start=0")
    assert next(events)[1] == "a book"
    with Client(server.address) as client:
        client.delete_log("orders")
    assert list(events) == [("event: error", "log_not_found")]


def test_gateway_answers_errors_with_their_codes(gateway: Gateway) -> None:
    status, answer = gateway.request("POST", "/logs/nothing", b"x")
    assert (status, answer["code"]) == (404, "log_not_found")
    status, answer = gateway.request("GET", "/logs/orders?start=soon")
    assert (status, answer["code"]) == (400, "invalid_argument")
    assert gateway.request("POST", "/logs/orders", b"x" * 300_000)[0] == 413
    assert gateway.request("POST", "/logs/orders", b"x")[0] == 200


FLIGHTS = [
    f"2013,{month},{day},517,515,2,830,819,{delay},{carrier},1545,N14228,{origin},IAH,227,1400"
    for month in (1, 9, 10, 12)
    for day in range(1, 29)
    for delay, carrier, origin in [
        (day, "UA", "EWR"),
        (-day, "AA", "JFK"),
        ("NA", "UA", "JFK"),
        (month, "B6", "EWR" if day % 2 else "LGA"),
    ]
]
ROWS = list(csv.reader(FLIGHTS))


@pytest.fixture
def flights(server: Server) -> Server:
    """A server with a log of flights, in several batches."""
    for part in range(0, len(FLIGHTS), 100):
        append(server, "flights", [line.encode() for line in FLIGHTS[part : part + 100]])
    return server


def test_numpy_counts_the_flights_of_each_month(flights: Server) -> None:
    expected = Counter(int(row[1]) for row in ROWS)
    lines = run(flights, "flights_numpy.py", "flights").splitlines()
    assert lines == [f"{month:2} {expected[month]}" for month in range(1, 13)]


def test_pandas_computes_the_mean_delay_of_each_airline(flights: Server) -> None:
    delays: dict[str, list[int]] = {}
    for row in ROWS:
        if row[8] != "NA":
            delays.setdefault(row[9], []).append(int(row[8]))
    lines = run(flights, "flights_pandas.py", "flights").splitlines()
    assert lines == [f"{name} {sum(of) / len(of):.2f}" for name, of in sorted(delays.items())]


def test_polars_counts_the_departures_of_each_airport(flights: Server) -> None:
    counts = Counter(row[12] for row in ROWS)
    last = {row[12]: position for position, row in enumerate(ROWS)}
    lines = run(flights, "flights_polars.py", "flights").splitlines()
    assert lines == [
        f"{origin} {count} flights, the last at position {last[origin]}"
        for origin, count in counts.most_common()
    ]
