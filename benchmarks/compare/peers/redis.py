"""Redis Streams, from Debian: `XADD`, `XREAD` and redis-benchmark."""

from __future__ import annotations

import re
import shutil
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from running import Failed, Running, free_port, run, running
from wire import ConsumerWire, ProducerWire

from peers.base import DEFAULT, DURABLE, Peer, Rates, Setting, Unavailable, for_seconds

#: The version with which figures of the documents were measured.
PINNED = "7.0.15"
PIPELINE = 1_000
PAGE = 10_000
STREAM = "speed"


class Redis(Peer):
    name = "Redis Streams"
    version = PINNED
    client = f"redis-benchmark with pipelines of {PIPELINE}; XREAD COUNT {PAGE} to read"
    settings = (
        Setting(DURABLE, "appendfsync always"),
        Setting(DEFAULT, "its defaults: snapshots only, no append-only file"),
    )

    def prepare(self) -> None:
        if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
            raise Unavailable("there is no redis-server: apt-get install redis-server redis-tools")
        found = re.search(r"v=(\S+)", run(["redis-server", "--version"]))
        self.version = found.group(1) if found else "unknown"

    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        port = free_port()
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", data]
        command += ["--maxclients", "20000"]
        if setting == DURABLE:
            command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return running(command, port, data)

    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        def produce(records: int) -> float:
            command = ["redis-benchmark", "-p", server.port, "-n", records, "-P", PIPELINE]
            command += ["-c", 4, "--csv", "XADD", STREAM, "*", "p", "x" * size]
            words = run(command).strip().splitlines()[-1].split('","')
            return float(words[1].strip('"'))

        return Rates(for_seconds(produce, seconds, 10 * PIPELINE), _read(server.port, size))

    def producer(self, stream: int) -> ProducerWire:
        return _Producer(stream)

    def consumer(self, stream: int) -> ConsumerWire:
        return _Consumer(stream)


def _command(*words: bytes) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def _read(port: int, size: int) -> float:
    """Reads the stream from its start, in pages, with the next request sent at once."""
    marker = b"\r\n$1\r\np\r\n$%d\r\n" % size
    position, read, begun = b"0", 0, time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        file = connection.makefile("rb")
        total = int(_ask(connection, file, _command(b"XLEN", STREAM.encode()))[1:])
        while read < total:
            words = (b"XREAD", b"COUNT", b"%d" % PAGE, b"STREAMS", STREAM.encode(), position)
            connection.sendall(_command(*words))
            page, position = _page(file)
            read += page.count(marker)
    if read != total:
        raise Failed(f"{read} of {total} records were read from Redis")
    return read / (time.perf_counter() - begun)


def _ask(connection: socket.socket, file: BinaryIO, command: bytes) -> bytes:
    connection.sendall(command)
    return file.readline()


def _page(file: BinaryIO) -> tuple[bytes, bytes]:
    """The bytes of an answer to XREAD, and the id of its last entry."""
    parts, last_id, left = [], b"", 1
    while left:
        line = file.readline()
        parts.append(line)
        left -= 1
        if line[:1] == b"*":
            left += max(int(line[1:]), 0)
        elif line[:1] == b"$":
            body = file.read(int(line[1:]) + 2)
            parts.append(body)
            if b"-" in body[:24] and len(body) < 40 and body[0:1].isdigit():
                last_id = body[:-2]
        elif line[:1] == b"-":
            raise Failed(f"Redis answered {line.decode().strip()}")
    return b"".join(parts), last_id


class _Producer(ProducerWire):
    def __init__(self, stream: int) -> None:
        super().__init__()
        self._stream = b"compare-%d" % stream
        self.out += _command(b"PING")

    def append(self, payload: bytes) -> None:
        self.out += _command(b"XADD", self._stream, b"*", b"p", payload)

    def parse(self, data: bytes) -> int:
        at = 0
        while (reply := _reply(data, at)) is not None:
            value, at = reply
            if self.ready:
                self.acked += 1
            self.ready = self.ready or value == b"PONG"
        return at


class _Consumer(ConsumerWire):
    """Asks for the newest entry first, so that nothing after it is missed."""

    def __init__(self, stream: int) -> None:
        super().__init__()
        self._stream = b"compare-%d" % stream
        self.out += _command(b"XREVRANGE", self._stream, b"+", b"-", b"COUNT", b"1")

    def parse(self, data: bytes) -> int:
        reply = _reply(data, 0)
        if reply is None:
            return 0
        value, used = reply
        if not self.ready:
            self._position = value[0][0] if value else b"0"
            self.ready = True
        else:
            for _, entries in value or []:
                self.payloads += [fields[1] for _, fields in entries]
                self._position = entries[-1][0]
        words = (b"XREAD", b"BLOCK", b"0", b"STREAMS", self._stream, self._position)
        self.out += _command(*words)
        return used


#: A value of RESP: bytes, or a list of values, or `None`.
Value = Any


def _reply(data: bytes, at: int) -> tuple[Value, int] | None:
    """The value at `at` and the offset after it, or `None` if it is incomplete."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, text, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"-":
        raise Failed(f"Redis answered {text.decode()}")
    if kind == b"$":
        length = int(text)
        if length < 0:
            return None, at
        return (data[at : at + length], at + length + 2) if len(data) >= at + length + 2 else None
    if kind == b"*":
        values = []
        for _ in range(int(text)):
            reply = _reply(data, at)
            if reply is None:
                return None
            value, at = reply
            values.append(value)
        return (values, at) if int(text) >= 0 else (None, at)
    return text, at
