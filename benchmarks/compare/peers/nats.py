"""NATS JetStream, from the Go module proxy: nats-server and `nats bench`."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from running import Failed, Running, free_port, run, running
from wire import ConsumerWire, ProducerWire, Wire

from peers.base import DEFAULT, DURABLE, Peer, Rates, Setting, Unavailable, for_seconds

SERVER = "github.com/nats-io/nats-server/v2@v2.15.3"
CLI = "github.com/nats-io/natscli/nats@v0.5.1"
STREAM = "speed"
#: Messages in flight of an asynchronous publisher.
BATCH = 500


class Nats(Peer):
    name = "NATS JetStream"
    version = SERVER.partition("@v")[2]
    client = f"nats bench js pub async --batch {BATCH}, js ordered (nats {CLI.partition('@v')[2]})"
    settings = (
        Setting(DURABLE, "a file store with sync_interval: always"),
        Setting(DEFAULT, "a file store, synced every two minutes"),
    )

    def prepare(self) -> None:
        for module, name in ((SERVER, "nats-server"), (CLI, "nats")):
            if (self.folder / name).exists():
                continue
            # One package at a time, so that nothing else on the machine suffers.
            command = ["nice", "-n", "10", "go", "install", "-p", "1", module]
            try:
                run(command, 1800, {"GOBIN": str(self.folder), "GOTOOLCHAIN": "local"})
            except Failed as error:
                raise Unavailable(f"cannot build {module}: {error}") from error

    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        port = free_port()
        sync = ", sync_interval: always" if setting == DURABLE else ""
        configuration = data / "nats.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{port}"\nmax_connections: 20000\n'
            f'jetstream {{ store_dir: "{data}"{sync} }}\n'
        )
        return running([self.folder / "nats-server", "-c", configuration], port, data)

    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        address = f"nats://127.0.0.1:{server.port}"
        bench = [self.folder / "nats", "--server", address, "--no-context", "bench", "js"]
        common = ["--no-progress", "--stream", STREAM]

        def produce(records: int) -> float:
            _request(server.port, f"STREAM.DELETE.{STREAM}", {}, missing_is_error=False)
            command = [*bench, "pub", "async", STREAM, *common, "--create", "--batch", BATCH]
            command += ["--size", size, "--msgs", records, "--storage", "file"]
            command += ["--maxbytes", "16GB"]
            return _rate(run(command))

        rate = for_seconds(produce, seconds)
        info = _request(server.port, f"STREAM.INFO.{STREAM}", {})
        records = info["state"]["messages"]
        return Rates(rate, _rate(run([*bench, "ordered", *common, "--msgs", records])))

    def create_streams(self, server: Running, count: int) -> None:
        for number in range(count):
            name = f"compare-{number}"
            config = {"name": name, "subjects": [name], "storage": "file"}
            _request(server.port, f"STREAM.CREATE.{name}", config)

    def producer(self, stream: int) -> ProducerWire:
        return _Producer(stream)

    def consumer(self, stream: int) -> ConsumerWire:
        return _Consumer(stream)


def _rate(output: str) -> float:
    """The messages a second that `nats bench` prints."""
    found = re.findall(r"([\d,.]+) msgs/sec", output)
    if not found:
        raise Failed(f"nats bench printed no rate:\n{output}")
    return float(found[-1].replace(",", ""))


def _request(
    port: int, api: str, body: Mapping[str, object], missing_is_error: bool = True
) -> dict[str, dict[str, int]]:
    """Asks the JetStream API."""
    text = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB reply 1\r\n')
        connection.sendall(b"PUB $JS.API.%b reply %d\r\n%b\r\n" % (api.encode(), len(text), text))
        received, end = b"", time.monotonic() + 10
        while time.monotonic() < end:
            received += connection.recv(65536)
            found = re.search(rb"MSG reply 1 (\d+)\r\n", received)
            if found and len(received) >= found.end() + int(found.group(1)):
                answer = json.loads(received[found.end() : found.end() + int(found.group(1))])
                if "error" in answer and missing_is_error:
                    raise Failed(f"NATS answered {answer['error']} to {api}")
                return dict(answer)
    raise Failed(f"NATS did not answer {api}")


_numbers = iter(range(1 << 62))


class _Client(Wire):
    """A connection of the text protocol of NATS."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        self.out += b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'

    def parse(self, data: bytes) -> int:
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            words = data[at:end].split(b" ")
            body = b""
            used = end + 2
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if len(data) < used + size + 2:
                    break
                body = data[used : used + size]
                used += size + 2
                self.on_message(words, body)
            elif words[0] == b"PING":
                self.out += b"PONG\r\n"
            elif words[0] == b"PONG":
                self.on_pong()
            elif words[0] == b"-ERR":
                raise Failed(f"NATS answered {data[at:end].decode()}")
            at = used
        return at

    def on_message(self, words: list[bytes], body: bytes) -> None:
        """A message was received."""

    def on_pong(self) -> None:
        """Everything that was sent before the PING is done."""


class _Producer(_Client, ProducerWire):
    def __init__(self, stream: int) -> None:
        super().__init__()
        self._subject = b"compare-%d" % stream
        self._reply = b"_INBOX.p%d" % self.number
        self.out += b"SUB %b 1\r\nPING\r\n" % self._reply

    def append(self, payload: bytes) -> None:
        head = b"PUB %b %b %d\r\n" % (self._subject, self._reply, len(payload))
        self.out += head + payload + b"\r\n"

    def on_pong(self) -> None:
        self.ready = True

    def on_message(self, words: list[bytes], body: bytes) -> None:
        if b'"error"' in body:
            raise Failed(f"NATS refused a record: {body.decode(errors='replace')}")
        self.acked += 1


class _Consumer(_Client, ConsumerWire):
    """An ephemeral push consumer without acks, from the next message on."""

    def __init__(self, stream: int) -> None:
        super().__init__()
        deliver = f"deliver.{self.number}"
        config = {
            "deliver_subject": deliver,
            "deliver_policy": "new",
            "ack_policy": "none",
            "inactive_threshold": 300_000_000_000,
        }
        body = json.dumps({"stream_name": f"compare-{stream}", "config": config}).encode()
        inbox = f"_INBOX.c{self.number}"
        api = f"$JS.API.CONSUMER.CREATE.compare-{stream}"
        self.out += f"SUB {inbox} 1\r\nSUB {deliver} 2\r\n".encode()
        self.out += f"PUB {api} {inbox} {len(body)}\r\n".encode() + body + b"\r\n"

    def on_message(self, words: list[bytes], body: bytes) -> None:
        if words[2] == b"2":
            self.payloads.append(body)
        elif b'"error"' in body:
            raise Failed(f"NATS refused a consumer: {body.decode(errors='replace')}")
        else:
            self.ready = True
