"""Styx: the binary of this tree, measured by `styx benchmark`. An ack always follows fsync."""

from __future__ import annotations

import json
import os
import struct
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

from running import Failed, Running, free_port, run, running
from wire import ConsumerWire, ProducerWire, Wire, expect_status, http_head, u32

from peers.base import DURABLE, Peer, Rates, Setting, Unavailable

ROOT = Path(__file__).resolve().parents[3]
RECORD, ACK, HEARTBEAT, ERROR = 1, 2, 3, 4
ACK_BYTES = 18


class Styx(Peer):
    name = "Styx"
    version = "this tree"
    client = "styx benchmark over styx/1; latencies over styx/0"
    settings = (Setting(DURABLE, "fsync before each ack, in groups"),)

    def prepare(self) -> None:
        named = os.environ.get("STYX_BIN")
        self.program = Path(named) if named else ROOT / "target/release/styx"
        if not self.program.exists():
            text = f"{self.program} does not exist: run `cargo build --release`, or set STYX_BIN"
            raise Unavailable(text)
        self.version = run([self.program, "--version"]).split()[-1]

    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        port = free_port()
        command = [self.program, "serve", "--bind-address", f"127.0.0.1:{port}"]
        command += ["--log-level", "warn", "--data-directory", data / "data"]
        return running(command, port, data)

    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        host = f"http://127.0.0.1:{server.port}"
        command = [self.program, "benchmark", "produce", "consume", "--protocol", "styx/1"]
        command += ["--size", str(size), "--rounds", "1", "--seconds", str(seconds)]
        command += ["--directory", self.folder, "--host", host, "--format", "json"]
        command += ["--quick"] if quick else []
        # A run whose limits changed too much has exit code 1.
        report = json.loads(run(command, codes=(0, 1)))
        by_name = {row["workload"]: row["figures"][0]["median"] for row in report["results"]}
        moved = report["moved_most"]
        is_invalid = not report["valid"] and not quick
        why = f"styx benchmark: a limit changed, {moved['limit']} by {moved['share']:.0%}"
        return Rates(by_name["produce"], by_name["consume"], invalid=why if is_invalid else None)

    def create_streams(self, server: Running, count: int) -> None:
        for number in range(count):
            body = json.dumps({"name": f"compare-{number}"}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{server.port}/logs",
                body,
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=30).close()

    def producer(self, stream: int) -> ProducerWire:
        return _Producer(f"POST /logs/compare-{stream}/records")

    def consumer(self, stream: int) -> ConsumerWire:
        return _Consumer(f"GET /logs/compare-{stream}/records?whence=end&follow=true")


class _Stream(Wire):
    """A connection of styx/0."""

    def __init__(self, request: str) -> None:
        super().__init__()
        self._request = request
        head = f"{request} HTTP/1.1\r\nHost: localhost\r\nX-Styx-Timeout: 600\r\n"
        self.out += (head + "Connection: Upgrade\r\nUpgrade: styx/0\r\n\r\n").encode()

    def parse(self, data: bytes) -> int:
        at = 0
        if not self.ready:
            found = http_head(data)
            if found is None:
                return 0
            head, at = found
            expect_status(head, 101, self._request)
            self.ready = True
        while (used := self.message(data, at)) is not None:
            at += used
        return at

    def message(self, data: bytes, at: int) -> int | None:
        """Handles one message, and returns its length."""
        if len(data) < at + 2:
            return None
        kind = data[at + 1]
        if kind == HEARTBEAT:
            self.out += b"\0\3"
            return 2
        if kind == ACK and len(data) >= at + ACK_BYTES:
            self.on_ack(struct.unpack_from(">q", data, at + 10)[0])
            return ACK_BYTES
        if kind == RECORD and len(data) >= at + 6:
            end = at + 6 + u32(data, at + 2)
            if len(data) < end:
                return None
            self.on_record(data[at + 6 : end])
            return end - at
        if kind == ERROR:
            raise Failed("the server sent an error over styx/0")
        return None

    def on_ack(self, count: int) -> None:
        """All of the first `count` records of the stream are durable."""

    def on_record(self, payload: bytes) -> None:
        """A record was received."""


class _Producer(_Stream, ProducerWire):
    _durable = 0

    def append(self, payload: bytes) -> None:
        self.out += struct.pack(">hi", RECORD, len(payload)) + payload

    def on_ack(self, count: int) -> None:
        self.acked += count - self._durable
        self._durable = count


class _Consumer(_Stream, ConsumerWire):
    def on_record(self, payload: bytes) -> None:
        self.payloads.append(payload)
